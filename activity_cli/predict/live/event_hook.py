"""The hook of `watch --run`: a program that is started for each event; the watch goes on."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from activity_cli.errors import SettingsError

_MAX_RUNNING = 16  # with more than that, something is wrong with the program
_FINISH_SECONDS = 5.0  # how long the end of the watch waits for programs that still run
_VARIABLES = ("label", "score", "time")


class EventHook:
    """Starts a program for each event. A context manager.

    The program gets the event as JSON on stdin, and its label, score and time in the environment.

    Args:
        command: The program with its arguments; empty starts nothing.
        note: Called with one line for each failure; other threads call it too.
    """

    def __init__(self, command: Sequence[str], note: Callable[[str], None]) -> None:
        self._command = command
        self._note = note
        self._waiting: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Wait a few seconds for programs that run. Longer ones go on by themselves."""
        end = time.monotonic() + _FINISH_SECONDS
        for thread in self._waiting:
            thread.join(max(0.0, end - time.monotonic()))

    def start(self, event: Mapping[str, Any]) -> None:
        """Start the program for an event, and return at once."""
        if not self._command:
            return
        self._waiting = [thread for thread in self._waiting if thread.is_alive()]
        if len(self._waiting) >= _MAX_RUNNING:
            self._note(f"--run: {_MAX_RUNNING} programs still run; none is started for this event.")
            return
        variables = {f"ACTIVITY_{name.upper()}": str(event[name]) for name in _VARIABLES}
        try:
            process = subprocess.Popen(
                self._command,
                env={**os.environ, **variables},
                stdin=subprocess.PIPE,
                stdout=sys.stderr.fileno(),  # stdout is for JSON lines
                start_new_session=True,  # Ctrl-C ends the watch, not the program
            )
        except OSError as error:
            self._note(f"--run cannot start {self._command[0]}: {error.strerror or error}.")
            return
        thread = threading.Thread(target=self._run, args=(process, event), daemon=True)
        thread.start()
        self._waiting.append(thread)

    def _run(self, process: "subprocess.Popen[bytes]", event: Mapping[str, Any]) -> None:
        with suppress(BrokenPipeError):  # the program does not read its stdin
            process.communicate(json.dumps(event, ensure_ascii=False).encode() + b"\n")
        if code := process.wait():
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            self._note(f"--run: {self._command[0]} ended with {how}.")


def split_command(command: str | None) -> list[str]:
    """Split a program and its arguments as a shell does; empty where there is none.

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
            hint="It runs without a shell; for pipes and the like: --run \"sh -c '...'\"",
        )
    return parts
