"""Worker processes that run functions of this package: a crash there costs one call, not the run.

FFmpeg and OpenCV decode whatever they are given, and some files make them crash or hang. Threads
hand their calls to a pool of workers and wait for the answers, without holding Python's lock.
"""

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from io import FileIO
from typing import ParamSpec, TypeVar, cast

from activity_cli.common.platform import enlarge_pipe
from activity_cli.common.processes import search_path
from activity_cli.common.processes.main import Message, decode, encode, receive, send
from activity_cli.errors import (
    ActivityError,
    SettingsError,
    VideoError,
    WorkerCrashError,
    WorkerTimeoutError,
)

P = ParamSpec("P")
R = TypeVar("R")

_MAX_FAILED_STARTS = 2
"""After so many workers in a row that end before they are ready, the installation is at fault."""

# Ctrl-C goes to the terminal's foreground group. A new session (on Windows, where that is ignored,
# a new group) is out of its reach.
_NEW_GROUP: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)


class PoolClosedError(RuntimeError):
    """The pool was closed before or during a call."""


class WorkerPool(AbstractContextManager["WorkerPool"]):
    """Runs functions in processes that may crash or hang. A context manager.

    Any number of threads may call at once. The first worker is started at once, if `start` says so,
    each other one when calls have waited for half the time that the first took to start: few small
    files need no second process. One that crashed or took too long is replaced. Workers end with
    this process, however it ends, and do not receive Ctrl-C. As they start, they import the modules
    `imports`, so that no call waits for that, and `environment` is added to that of this process.
    `timeout_seconds` counts from when a worker begins with a call.

    Raises:
        ActivityError: the system starts no more processes.
    """

    def __init__(
        self,
        num_workers: int,
        *,
        timeout_seconds: float | None = None,
        imports: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        start: bool = True,
    ) -> None:
        if num_workers < 1:
            raise SettingsError(f"num_workers must be at least 1, got {num_workers}")
        if timeout_seconds is not None and not timeout_seconds > 0:
            raise SettingsError(f"timeout_seconds must be more than 0, got {timeout_seconds:g}")
        self._num_workers = num_workers
        self._timeout_seconds = timeout_seconds
        self._start_worker = partial(_Worker, imports, environment or {})
        self._changed = threading.Condition()  # guards all below
        self._workers = [self._start_worker()] if start else []
        self._num_failed_starts = 0
        self._max_wait_seconds: float | None = None  # None until the first worker is ready
        self._waited_seconds = 0.0  # of all calls since then, or since another worker was started
        self._is_closed = False
        atexit.register(self.close)

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a module-level function of this package in a worker and wait for its result.

        The function, its arguments and its result are pickled; arrays are cheap.

        Raises:
            Exception: what the function raises, with its traceback in the worker as a note.
            WorkerCrashError, WorkerTimeoutError: the worker ended or took too long.
            ActivityError, PoolClosedError: no worker can be started, or the pool is closed.
        """
        return self.call_within(self._timeout_seconds, function, *args, **kwargs)

    def call_within(
        self,
        timeout_seconds: float | None,
        function: Callable[P, R],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Do the same as `call`, with a timeout of its own."""
        request = encode((function, args, kwargs))
        try:
            answer = self._ask(request, timeout_seconds)
        finally:
            self._release()
        result, error, where = decode(answer)
        if error is None:
            return cast(R, result)
        error.add_note(f"In a worker process:\n{where}")
        raise error

    def interrupt(self, threads: Collection[int]) -> None:
        """End the workers that serve these threads (by `get_ident()`): their calls fail."""
        with self._changed:
            for worker in self._workers:
                if worker.owner in threads:
                    worker.kill()

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers, busy or not. Waiting calls in other threads raise PoolClosedError."""
        with self._changed:
            self._is_closed = True
            idle = [worker for worker in self._workers if worker.owner is None]
            busy = [worker for worker in self._workers if worker.owner is not None]
            self._workers = busy  # each is cleared away by the thread that waits for it
            self._changed.notify_all()
        for worker in busy:
            worker.kill()
        for worker in idle:
            worker.clear_away()
        atexit.unregister(self.close)

    def _ask(self, request: Message, timeout_seconds: float | None) -> Message:
        worker = self._acquire()
        while not worker.wait_until_ready():
            self._release()
            with self._changed:
                self._check_open()
                self._num_failed_starts += 1
                if self._num_failed_starts >= _MAX_FAILED_STARTS:
                    raise ActivityError(
                        "Worker processes end as soon as they are started.",
                        hint="Set ACTIVITY_DEBUG=1 to see their messages.",
                    )
            worker = self._acquire()
        with self._changed:
            self._num_failed_starts = 0
            if self._max_wait_seconds is None:
                self._max_wait_seconds = worker.age_seconds / 2
                self._changed.notify_all()
        answer = worker.ask(request, timeout_seconds)
        if answer is not None:
            return answer
        with self._changed:
            self._check_open()
        raise worker.failure(timeout_seconds)

    def _acquire(self) -> "_Worker":
        """Return an idle worker, or a new one, for this thread; waits while all are busy.

        A worker is taken by one assignment, so that Ctrl-C at any point leaves it either idle or
        with an owner who gives it back.
        """
        with self._changed:
            while True:
                self._check_open()
                self._drop([w for w in self._workers if w.owner is None and w.has_ended])
                idle = [worker for worker in self._workers if worker.owner is None]
                patience = None if idle else self._patience_seconds()
                if patience == 0:
                    idle = [self._start_worker()]
                    self._workers += idle
                    self._waited_seconds = 0.0
                if idle:
                    idle[0].owner = threading.get_ident()
                    return idle[0]
                began = time.monotonic()
                self._changed.wait(patience)
                if patience is not None:
                    self._waited_seconds += time.monotonic() - began

    def _patience_seconds(self) -> float | None:
        """Return for how long a call waits before it starts a worker; None: until one is idle."""
        if not self._workers:
            return 0.0
        if len(self._workers) == self._num_workers or self._max_wait_seconds is None:
            return None
        return max(0.0, self._max_wait_seconds - self._waited_seconds)

    def _release(self) -> None:
        """Give back the worker of this thread, if any; one without an answer is ended."""
        with self._changed:
            mine = [w for w in self._workers if w.owner == threading.get_ident()]
            self._drop([w for w in mine if self._is_closed or not w.is_usable])
            for worker in mine:
                worker.owner = None
            self._changed.notify(len(mine))

    def _drop(self, workers: Sequence["_Worker"]) -> None:
        for worker in workers:
            worker.clear_away()
            self._workers.remove(worker)

    def _check_open(self) -> None:
        if self._is_closed:
            raise PoolClosedError("The pool of workers is closed.")


class _Worker:
    """A worker process and the conversation with it: one request at a time, from one thread."""

    def __init__(self, imports: Sequence[str], environment: Mapping[str, str]) -> None:
        self.owner: int | None = None
        """The thread whose call it serves."""
        self.is_usable = True
        """False while a request has no answer, and for good if none arrives."""
        self._is_ready = False
        self._is_late = False
        self._started_at = time.monotonic()
        self._process = _start_process(imports, environment)
        self._requests = cast(FileIO, self._process.stdin)
        self._answers = cast(FileIO, self._process.stdout)
        # Fewer turns to read a clip, each of which may wait for Python's lock. A user may have
        # only so many large pipes; with a small one reading takes more turns.
        with suppress(OSError):
            enlarge_pipe(self._answers.fileno())

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone, also if nobody has noticed yet."""
        return self._process.poll() is not None

    @property
    def age_seconds(self) -> float:
        """Return how long ago the process was started."""
        return time.monotonic() - self._started_at

    def wait_until_ready(self) -> bool:
        """Return whether the worker has started and imported its modules."""
        if not self._is_ready:
            self.is_usable = False
            try:
                receive(self._answers)
            except EOFError:
                return False
            self.is_usable = self._is_ready = True
        return True

    def ask(self, request: Message, timeout_seconds: float | None) -> Message | None:
        """Return the answer to a request, or None if the worker ended; see `failure`."""
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
        """Return why there was no answer to a request."""
        if self._is_late:
            return WorkerTimeoutError(f"Decoding took longer than {timeout_seconds:g} s.")
        self.clear_away()
        code = self._process.returncode
        try:
            cause = signal.Signals(-code).name
        except ValueError:
            cause = f"exit code {code}"
        if cause == "SIGKILL":
            hint = "The system may be short of memory: decode fewer videos at a time."
        else:
            hint = "The file may be damaged: convert it, for instance with ffmpeg."
        return WorkerCrashError(f"The decoder crashed on this file ({cause}).", hint=hint)

    def kill(self) -> None:
        """End the process and wait until the system has removed it. Any thread may."""
        self._process.kill()
        self._process.wait()

    def clear_away(self) -> None:
        """End the process and close its pipes; no other thread may be reading from them."""
        self.kill()
        self._requests.close()
        self._answers.close()

    def _expire(self) -> None:
        self._is_late = True
        self.kill()


def _start_process(
    imports: Sequence[str], environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
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
            env={**os.environ, **environment, "PYTHONPATH": search_path()},
            start_new_session=True,
            creationflags=_NEW_GROUP,
        )
    except OSError as error:
        raise ActivityError(
            f"Cannot start a worker process: {error.strerror or error}.",
            hint="Decode fewer videos at a time, or close other programs.",
        ) from error
