"""The memory of a command and of all the processes that it starts. Looks into /proc."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def watch_memory(pid: int) -> Iterator[list[float]]:
    """Memory in MiB of a process and its children, twice a second, while the block runs."""
    seen: list[float] = []
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(0.5):
            seen.append(sum(memory_mib(p) for p in [pid, *children(pid)]))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return [int(c) for task in tasks for c in (task / "children").read_text().split()]
    except OSError:
        return []


def memory_mib(pid: int) -> float:
    """What a process has in memory, with its share of what it shares."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0
