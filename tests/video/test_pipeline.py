"""Overlapping stages: order, bounds, errors, and no thread left behind."""

import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from activity_cli.video.pipeline import pipelined_map


def double(batch: Sequence[int]) -> list[int]:
    return [2 * value for value in batch]


def run(
    requests: Iterator[int] | range,
    *,
    prepare: object = None,
    compute: object = double,
    batch_size: int = 4,
    num_workers: int = 3,
) -> Iterator[int]:
    return pipelined_map(
        requests,
        prepare=prepare or (lambda value: value),  # type: ignore[arg-type]
        compute=compute,  # type: ignore[arg-type]
        size_of=lambda value: value % 3,
        batch_size=batch_size,
        num_workers=num_workers,
    )


def test_results_come_in_order_whoever_is_ready_first() -> None:
    def slow_first(value: int) -> int:
        time.sleep(0.05 if value % 7 == 0 else 0)
        return value

    assert list(run(range(50), prepare=slow_first)) == [2 * value for value in range(50)]


def test_batches_hold_what_is_ready_and_fits() -> None:
    sizes = []

    def compute(batch: Sequence[int]) -> list[int]:
        time.sleep(0.005)  # the others get ready meanwhile
        sizes.append((len(batch), sum(value % 3 for value in batch)))
        return list(batch)

    assert list(run(range(60), compute=compute)) == list(range(60))
    assert max(count for count, _ in sizes) > 1
    assert max(size for _, size in sizes) <= 4


def test_neither_requests_nor_prepared_values_pile_up() -> None:
    asked: list[int] = []
    prepared: list[int] = []
    computed: list[int] = []

    def requests() -> Iterator[int]:
        for value in range(10_000):
            asked.append(value)
            yield value

    def prepare(value: int) -> int:
        prepared.append(value)
        return value

    def compute(batch: Sequence[int]) -> list[int]:
        time.sleep(0.001)
        computed.extend(batch)
        most_held.append(len(prepared) - len(computed))
        return list(batch)

    most_held: list[int] = []
    results = run(requests(), prepare=prepare, compute=compute, num_workers=2)
    for _ in range(100):
        next(results)
    time.sleep(0.1)

    assert len(asked) <= 100 + 2 * 32
    # Two in the hands of workers, two in the queue, one put back by the batch before.
    assert max(most_held) <= 5
    results.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("stage", ["prepare", "compute"])
def test_an_error_comes_where_its_result_would_and_ends_all_threads(stage: str) -> None:
    def fail_at_5(value: int) -> int:
        if value == 5:
            raise RuntimeError("broken")
        return value

    def compute(batch: Sequence[int]) -> list[int]:
        return [fail_at_5(value) for value in batch]

    before = threading.active_count()
    results = (
        run(range(20), prepare=fail_at_5)
        if stage == "prepare"
        else run(range(20), compute=compute, batch_size=1)
    )
    first = [next(results) for _ in range(5)]

    assert len(first) == 5
    with pytest.raises(RuntimeError, match="broken"):
        list(results)
    assert threading.active_count() <= before


def test_whoever_stops_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    results = run(iter(range(10**9)))

    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]

    assert threading.active_count() <= before
