"""The worker processes of a program, from /proc: which one reads a file, and their memory."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

PATIENCE_SECONDS = 600.0
"""Longer than anything takes on a machine that is busy with other things."""


def stop_once(process: "subprocess.Popen[str]", is_so: Callable[[], bool]) -> None:
    """Stop a process (SIGSTOP) as soon as something is true.

    It is stopped also while that is looked at, so that it does not get much further meanwhile.
    """
    if not Path("/proc").is_dir():
        pytest.skip("looks into /proc")
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        _stop(process.pid)
        if is_so():
            return
        assert state_of(process.pid) != "Z", "it ended before"
        assert time.monotonic() < give_up, "it did not happen in time"
        os.kill(process.pid, signal.SIGCONT)
        time.sleep(0.005)


def _stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    while state_of(pid) not in "TZ":
        time.sleep(0.0001)


def stopped_reader(
    *paths: Path, of: int | None = None, besides: Collection[int] = frozenset()
) -> int:
    """The worker process, of this process or `of` another one, that has one of these files open.

    It is stopped (SIGSTOP). So is each worker while its open files are looked at: none can be
    through with a file before that is noticed, however busy the machine is, if they are few. Those
    that earlier tests left are many: they are `besides`.
    """
    give_up = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up:
        for pid in set(workers_of(of or os.getpid())) - set(besides):
            try:
                _stop(pid)
                if any(path in paths for path in _open_files(pid)):
                    return pid
                os.kill(pid, signal.SIGCONT)
            except OSError:  # it has ended
                continue
        time.sleep(0.002)
    raise AssertionError(f"nobody opened {paths}")


def state_of(pid: int) -> str:
    """The state of a process: T is stopped, Z has ended. An OSError once it is gone."""
    return _status(pid)[0]


def limit_memory_of_workers(more_bytes: int) -> None:
    """Let each worker process of this process allocate only so much more than it has now."""
    import resource  # not on Windows

    for pid in workers_of(os.getpid()):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + more_bytes
        # The hard limit stays: only a privileged process may raise it again later.
        hard = resource.prlimit(pid, resource.RLIMIT_AS)[1]
        resource.prlimit(pid, resource.RLIMIT_AS, (limit, hard))


def workers_of(parent: int) -> Iterator[int]:
    """The worker processes of a process."""
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        try:
            if _status(pid)[1] == str(parent) and "activity_cli" in _command(pid):
                yield pid
        except OSError:  # it has ended
            continue


def _status(pid: int) -> list[str]:
    """State, parent and so on: what follows the name in parentheses."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def _open_files(pid: int) -> Iterator[Path]:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        yield link.readlink()
