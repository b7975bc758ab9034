"""Who has which file open, and worker processes, from /proc."""

import os
import resource
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


def limit_memory_of_workers(more_bytes: int) -> None:
    """Let each worker process of this process allocate only so much more than it has now."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_text()
            pages = int((folder / "statm").read_text().split()[0])
        except OSError:  # it has ended
            continue
        if parent == os.getpid() and "activity_cli" in command:
            limit = pages * resource.getpagesize() + more_bytes
            # The hard limit stays: only a privileged process may raise it again later.
            hard = resource.prlimit(int(folder.name), resource.RLIMIT_AS)[1]
            resource.prlimit(int(folder.name), resource.RLIMIT_AS, (limit, hard))


def _open_files() -> Iterator[tuple[int, Path]]:
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            yield int(link.parts[2]), link.readlink()
        except OSError:  # closed again
            continue
