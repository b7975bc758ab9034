"""Who has which file open, from /proc."""

import time
from collections.abc import Iterator
from pathlib import Path


def readers_of(*paths: Path) -> Iterator[int]:
    """Processes that have one of these files open."""
    return (pid for pid, path in _open_files() if path in paths)


def process_that_reads(video: str, seconds: float = 60) -> int:
    """The process that has a file of this name open."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for pid, path in _open_files():
            if path.name == video:
                return pid
    raise AssertionError(f"nobody opened {video}")


def _open_files() -> Iterator[tuple[int, Path]]:
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            yield int(link.parts[2]), link.readlink()
        except OSError:  # closed again
            continue
