"""What is done about an event: a command is run, an address is told. Neither holds up the watch."""

import json
import os
import queue
import shlex
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from activity_cli.common.closeable import Closeable
from activity_cli.errors import SettingsError

_MOST_COMMANDS = 16
"""So many may run at once; then something is wrong with them."""
_MOST_POSTS = 100
"""So many may wait for an address that does not answer."""
_POST_TIMEOUT_SECONDS = 10.0
_POST_WAITS_SECONDS = (1.0, 3.0, 9.0)
"""Before each attempt after the first."""
_FINISH_SECONDS = 5.0
"""How long the end of the watch waits for what has begun."""


class EventActions(Closeable):
    """Runs a command and posts to an address, once per call of `start`. A context manager.

    Args:
        command: a program with its arguments, by `split_command`; none runs nothing.
        url: where to post events as JSON, by `check_url`; empty posts nothing.
        note: told in one line what failed; called from other threads.
    """

    def __init__(self, command: Sequence[str], url: str, note: Callable[[str], None]) -> None:
        self._command = command
        self._url = url
        self._note = note
        self._running: list[threading.Thread] = []
        self._posts: queue.Queue[bytes | None] = queue.Queue(maxsize=_MOST_POSTS)
        self._poster = threading.Thread(target=self._post_all, name="post", daemon=True)
        self._is_closing = threading.Event()
        if self._url:
            self._poster.start()

    def start(self, event: Mapping[str, Any]) -> None:
        """Do what is to be done about the start of an event, and return at once.

        Args:
            event: what is posted; `label`, `score` and `time` are told to the command as well.
        """
        if self._command:
            self._run(event)
        if self._url:
            try:
                self._posts.put_nowait(json.dumps(event).encode())
            except queue.Full:
                self._note(f"--post: {_MOST_POSTS} events wait already; this one is left out.")

    def close(self) -> None:
        """Wait a few seconds for what has begun. Commands that take longer go on by themselves."""
        end = time.monotonic() + _FINISH_SECONDS
        self._is_closing.set()
        if self._url:
            with suppress(queue.Full):  # then nobody takes them, and the thread ends with us
                self._posts.put_nowait(None)
            self._poster.join(_FINISH_SECONDS)
        for thread in self._running:
            thread.join(max(0.0, end - time.monotonic()))

    def _run(self, event: Mapping[str, Any]) -> None:
        self._running = [thread for thread in self._running if thread.is_alive()]
        if len(self._running) >= _MOST_COMMANDS:
            self._note(f"--run: {_MOST_COMMANDS} commands still run; this event starts none.")
            return
        environment = {f"ACTIVITY_{name.upper()}": str(event[name]) for name in _TOLD}
        try:
            process = subprocess.Popen(
                self._command,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno(),  # stdout is for JSON
                start_new_session=True,  # Ctrl-C ends the watch, not what it has started
            )
        except OSError as error:
            self._note(f"--run cannot start {self._command[0]}: {error.strerror or error}.")
            return
        waiter = threading.Thread(target=self._wait_for, args=(process,), daemon=True)
        waiter.start()
        self._running.append(waiter)

    def _wait_for(self, process: "subprocess.Popen[bytes]") -> None:
        if code := process.wait():
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            self._note(f"--run: {self._command[0]} ended with {how}.")

    def _post_all(self) -> None:
        """Runs in a thread of its own."""
        while (content := self._posts.get()) is not None:
            if problem := self._post(content):
                self._note(f"--post: {problem}. An event is not delivered.")

    def _post(self, content: bytes) -> str:
        """Deliver one event; what went wrong, or nothing."""
        request = urllib.request.Request(
            self._url, data=content, headers={"Content-Type": "application/json"}
        )
        problem = ""
        for wait in (0.0, *_POST_WAITS_SECONDS):
            if wait and self._is_closing.wait(wait):
                break
            try:
                with urllib.request.urlopen(request, timeout=_POST_TIMEOUT_SECONDS):
                    return ""
            except urllib.error.HTTPError as error:
                problem = f"the answer is {error.code} {error.reason}"
                error.close()
                if error.code < 500:  # the next attempt would be answered alike
                    break
            except (OSError, ValueError) as error:
                problem = str(getattr(error, "reason", error))
        return problem


_TOLD = ("label", "score", "time")


def split_command(command: str | None) -> list[str]:
    """A program with its arguments, as in a shell but without one; none where there is none.

    Raises:
        SettingsError: there is no such program, or the quotes do not match.
    """
    if command is None:
        return []
    try:
        parts = shlex.split(command)
    except ValueError as error:
        raise SettingsError(
            f"--run {command}: {error}.", hint="Quote it as in a shell: --run 'play \"a b.wav\"'"
        ) from None
    if not parts or shutil.which(parts[0]) is None:
        raise SettingsError(
            f"--run: there is no program {parts[0] if parts else 'given'}.",
            hint="It is run without a shell; for pipes and the like: --run \"sh -c '...'\"",
        )
    return parts


def check_url(url: str | None) -> str:
    """The address as it was given; empty where there is none.

    Raises:
        SettingsError: it is no web address.
    """
    if url is None:
        return ""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"--post {url} is no web address.", hint="--post https://host/path")
    return url
