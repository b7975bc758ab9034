"""Worker processes that run functions of this package: a crash there costs one call, not the run.

FFmpeg and OpenCV decode whatever they are given, and some files make them crash or hang. Threads
hand their calls to a pool of workers and wait, outside Python, for the answers.
"""

import atexit
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import ParamSpec, TypeVar, cast

from activity_cli.common.processes.messages import Message, decode, encode
from activity_cli.common.processes.process import Worker
from activity_cli.errors import ActivityError, SettingsError

P = ParamSpec("P")
R = TypeVar("R")

_MAX_FAILED_STARTS = 2
"""So many workers in a row that end before they are ready, and the installation is at fault."""


class PoolClosedError(RuntimeError):
    """The pool was closed before or during a call."""


class WorkerPool(AbstractContextManager["WorkerPool"]):
    """Runs functions in processes that may crash or hang. A context manager.

    Any number of threads may call at once. One worker is started at once, the others when calls
    need them; one that crashed or took too long is replaced. Workers end with this process,
    however it ends, and do not hear Ctrl-C.

    Args:
        num_workers: how many calls run at a time.
        timeout_seconds: how long a call may take once a worker has begun with it; None is for ever.
        imports: modules that workers import as they start, so that no call waits for that.

    Raises:
        ActivityError: the system starts no more processes.
    """

    def __init__(
        self,
        num_workers: int,
        *,
        timeout_seconds: float | None = None,
        imports: Sequence[str] = (),
    ) -> None:
        if num_workers < 1:
            raise SettingsError(f"num_workers must be at least 1, got {num_workers}")
        if timeout_seconds is not None and not timeout_seconds > 0:
            raise SettingsError(f"timeout_seconds must be more than 0, got {timeout_seconds:g}")
        self._num_workers = num_workers
        self._timeout_seconds = timeout_seconds
        self._imports = imports
        self._changed = threading.Condition()  # guards all below
        self._workers = [Worker(imports)]
        self._num_failed_starts = 0
        self._is_closed = False
        atexit.register(self.close)

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a module-level function of this package in a worker and wait for what it returns.

        The function, its arguments and its result are pickled; arrays are cheap.

        Raises:
            Exception: what the function raises, with its traceback in the worker as a note.
            WorkerCrashError: the worker died of it.
            WorkerTimeoutError: it took too long.
            ActivityError: no worker can be started.
            PoolClosedError: the pool is closed, or was while this call waited.
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
        """As `call`, with a timeout of its own."""
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
        """End the workers that serve these threads now: their calls raise WorkerCrashError.

        Args:
            threads: their identifiers, `threading.get_ident()`.
        """
        with self._changed:
            for worker in self._workers:
                if worker.owner in threads:
                    worker.kill()

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers, busy or not. Calls that wait in other threads raise PoolClosedError."""
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
                        hint="Set ACTIVITY_DEBUG=1 to see what they say.",
                    )
            worker = self._acquire()
        self._num_failed_starts = 0
        answer = worker.ask(request, timeout_seconds)
        if answer is not None:
            return answer
        with self._changed:
            self._check_open()
        raise worker.failure(timeout_seconds)

    def _acquire(self) -> Worker:
        """An idle worker, or a new one, for this thread; waits while all are busy.

        A worker is taken by one assignment, so that Ctrl-C at any point leaves it either idle or
        with an owner who gives it back.
        """
        with self._changed:
            while True:
                self._check_open()
                self._drop([w for w in self._workers if w.owner is None and w.has_ended])
                idle = [worker for worker in self._workers if worker.owner is None]
                if not idle and len(self._workers) < self._num_workers:
                    idle = [Worker(self._imports)]
                    self._workers += idle
                if idle:
                    idle[0].owner = threading.get_ident()
                    return idle[0]
                self._changed.wait()

    def _release(self) -> None:
        """Give back the worker that this thread has, if any; one in mid-answer is ended."""
        with self._changed:
            mine = [w for w in self._workers if w.owner == threading.get_ident()]
            self._drop([w for w in mine if self._is_closed or not w.is_usable])
            for worker in mine:
                worker.owner = None
            self._changed.notify(len(mine))

    def _drop(self, workers: Sequence[Worker]) -> None:
        for worker in workers:
            worker.clear_away()
            self._workers.remove(worker)

    def _check_open(self) -> None:
        if self._is_closed:
            raise PoolClosedError("The pool of workers is closed.")
