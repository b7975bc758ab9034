"""A map in two pipelined stages: many threads prepare, one computes, in order, in bounded memory.

So decoders, which release the GIL, run ahead, and one inference may take frames of several videos.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

Request = TypeVar("Request")
Prepared = TypeVar("Prepared")
Result = TypeVar("Result")

_Item = tuple[Prepared, Future[Result]]
_Batch = list[_Item[Prepared, Result]]
_Ready = queue.Queue[_Item[Prepared, Result] | None]
"""Values between the stages, each with the promise of its result; None is the end."""

_WINDOW_PER_WORKER = 32
"""Requests per worker that may be begun before the oldest one is finished: a long video delays the
results behind it, not the work, and a waiting result is small."""


def pipelined_map(
    requests: Iterable[Request],
    *,
    prepare: Callable[[Request], Prepared],
    compute: Callable[[Sequence[Prepared]], Sequence[Result]],
    size_of: Callable[[Prepared], int],
    batch_size: int,
    num_workers: int,
    stop: threading.Event | None = None,
    interrupt: Callable[[], None] = lambda: None,
) -> Generator[Result]:
    """Give the results of `compute` for all requests, in their order; raises its or their errors.

    `prepare` is called in `num_workers` threads; at most twice as many prepared values are held.
    `compute` is called in one thread with all values that are ready, but no more than `batch_size`
    by their `size_of` unless one alone is larger. Once `stop` is set, no further request is begun.
    `interrupt` is called when the caller drops the generator, to cut `prepare` short.
    """
    ready: _Ready[Prepared, Result] = queue.Queue(maxsize=num_workers)
    stopped = threading.Event()
    stop = stop or threading.Event()

    def work(request: Request, promise: "Future[Result]") -> None:
        if stop.is_set() or stopped.is_set():
            promise.cancel()
            return
        try:
            ready.put((prepare(request), promise))
        except BaseException as error:  # raised again where the result is read
            promise.set_exception(error)

    waiting = iter(requests)
    promises: deque[Future[Result]] = deque()
    running: set[Future[None]] = set()
    batches = _batches(ready, size_of, batch_size)
    consumer = threading.Thread(
        target=_compute_all, args=(batches, compute, stopped), name="compute", daemon=True
    )
    consumer.start()
    with ThreadPoolExecutor(num_workers, thread_name_prefix="prepare") as pool:

        def start(count: int) -> None:
            for request in islice(waiting, 0 if stop.is_set() else count):
                promise: Future[Result] = Future()
                promises.append(promise)
                task = pool.submit(work, request, promise)
                running.add(task)
                task.add_done_callback(running.discard)

        try:
            start(_WINDOW_PER_WORKER * num_workers)
            while promises:
                try:
                    result = promises.popleft().result()
                except CancelledError:
                    continue
                start(1)
                yield result
        finally:
            stopped.set()  # values in the queue are dropped
            pool.shutdown(wait=False, cancel_futures=True)
            while running:  # repeatedly: one may just have begun
                interrupt()
                wait(tuple(running), timeout=0.1)
            ready.put(None)
            consumer.join()


def _compute_all(
    batches: Iterable[_Batch[Prepared, Result]],
    compute: Callable[[Sequence[Prepared]], Sequence[Result]],
    stopped: threading.Event,
) -> None:
    """Compute batch by batch and set the promises; once `stopped` is set, values are dropped."""
    for batch in batches:
        try:
            results = [] if stopped.is_set() else compute([prepared for prepared, _ in batch])
            for (_, promise), result in zip(batch, results, strict=not stopped.is_set()):
                promise.set_result(result)
        except BaseException as error:  # raised again where the result is read
            for _, promise in batch:
                if not promise.done():
                    promise.set_exception(error)


def _batches(
    ready: _Ready[Prepared, Result], size_of: Callable[[Prepared], int], batch_size: int
) -> Iterator[_Batch[Prepared, Result]]:
    """Group values that are ready into batches; never waits to fill one. None is the end."""
    carried: _Item[Prepared, Result] | None = None
    while (first := carried or ready.get()) is not None:
        batch, carried = [first], None
        room = batch_size - size_of(first[0])
        while room > 0 and not ready.empty():  # nobody else takes from it
            following = ready.get()
            if following is None:
                yield batch
                return
            room -= size_of(following[0])
            if room < 0:
                carried = following
            else:
                batch.append(following)
        yield batch
