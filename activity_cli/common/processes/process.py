"""One worker process as its parent sees it: start it, ask it, and say how it ended.

Runs `worker_main.py`, whatever the platform, with pipes of its own and out of reach of Ctrl-C.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import cast

from activity_cli.common.processes.messages import Message, receive, send
from activity_cli.errors import ActivityError, VideoError, WorkerCrashError, WorkerTimeoutError

if sys.platform == "linux":
    import fcntl

_PIPE_BYTES = 2**19
"""Instead of 64 KB. All pipes of a user may hold 64 MB by default, and there is one per worker."""

# Ctrl-C goes to the terminal's foreground group. A new session (or on Windows, where that is
# ignored, a new group) is out of it.
_NEW_GROUP: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)


class Worker:
    """A worker process, and the conversation with it: one request at a time, from one thread.

    Args:
        imports: modules that it imports as it starts.

    Raises:
        ActivityError: the system starts no more processes.
    """

    def __init__(self, imports: Sequence[str]) -> None:
        self.owner: int | None = None
        """The thread whose call it serves."""
        self.is_usable = True
        """False while an answer is on its way, and for good if it does not arrive."""
        self._is_ready = False
        self._is_late = False
        self._process = _start_process(imports)
        self._requests = cast(FileIO, self._process.stdin)
        self._answers = cast(FileIO, self._process.stdout)
        _widen(self._answers)

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone, which nobody may have noticed yet."""
        return self._process.poll() is not None

    def wait_until_ready(self) -> bool:
        """Whether the worker has started and imported its modules."""
        if not self._is_ready:
            self.is_usable = False
            try:
                receive(self._answers)
            except EOFError:
                return False
            self.is_usable = self._is_ready = True
        return True

    def ask(self, request: Message, timeout_seconds: float | None) -> Message | None:
        """The answer to a request, or None if the worker ended instead; `failure` says how."""
        self.is_usable = False
        limit = threading.TIMEOUT_MAX if timeout_seconds is None else timeout_seconds
        timer = threading.Timer(min(limit, threading.TIMEOUT_MAX), self._expire)
        timer.daemon = True
        timer.start()
        try:
            send(self._requests, request)
            answer = receive(self._answers)
        except (EOFError, OSError):
            return None
        finally:
            timer.cancel()
            timer.join()  # from here on it is certain whether the worker was killed
        self.is_usable = not self._is_late
        return answer

    def failure(self, timeout_seconds: float | None) -> VideoError:
        """Why there was no answer to a request."""
        if self._is_late:
            return WorkerTimeoutError(f"Decoding took longer than {timeout_seconds:g} s.")
        self.clear_away()
        cause = _describe_exit(self._process.returncode)
        if cause == "SIGKILL":
            hint = "The system may be short of memory: decode fewer videos at a time."
        else:
            hint = "The file may be damaged: convert it, for instance with ffmpeg."
        return WorkerCrashError(f"The decoder crashed on this file ({cause}).", hint=hint)

    def kill(self) -> None:
        """End the process, until the system knows it no more. Any thread may."""
        self._process.kill()
        self._process.wait()

    def clear_away(self) -> None:
        """End the process and close its pipes, from which no other thread may be reading."""
        self.kill()
        self._requests.close()
        self._answers.close()

    def _expire(self) -> None:
        self._is_late = True
        self.kill()


def _start_process(imports: Sequence[str]) -> "subprocess.Popen[bytes]":
    # The worker finds modules where this process does, and not in the folder it happens to be in.
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    # FFmpeg, OpenCV and the C library print to stderr, above all when they crash.
    stderr = None if os.environ.get("ACTIVITY_DEBUG") else subprocess.DEVNULL
    command = [sys.executable, "-P", "-m", "activity_cli.common.processes.main", *imports]
    try:
        return subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
            creationflags=_NEW_GROUP,
        )
    except OSError as error:
        raise ActivityError(
            f"Cannot start a worker process: {error.strerror or error}.",
            hint="Decode fewer videos at a time, or close other programs.",
        ) from error


def _widen(pipe: FileIO) -> None:
    """Let a pipe hold more: fewer turns to read a clip, each of which may wait for the GIL."""
    if sys.platform == "linux":
        with suppress(OSError):  # more than one user may have; then reading takes more turns
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _describe_exit(code: int) -> str:
    """The name of the signal that ended a process, else its exit code."""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"exit code {code}"
