"""What the workers' tests run in workers, where it takes more than a function of Python's."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Never

from activity_cli.common.processes.pool import WorkerPool


class OddError(Exception):
    """An error that can be pickled, but not unpickled."""

    def __init__(self, *, what: str) -> None:
        super().__init__(f"odd: {what}")


def raise_odd_error() -> Never:
    raise OddError(what="very")


def print_much() -> str:
    """Everything that could get between the messages of a worker and its parent."""
    os.write(1, b"from C " * 10_000)
    os.write(2, b"double free or corruption\n" * 1000)
    print("from Python", flush=True)
    subprocess.run(["echo", "from a child"], check=True)
    return "all printed"


def note_and_spin(path: Path) -> Never:
    """Write down which process this is, then keep it busy for ever."""
    _note(path)
    while True:
        pass


def note_and_sleep(path: Path) -> Never:
    """Write down which process this is, then wait for ever."""
    _note(path)
    while True:
        time.sleep(60)


def _note(path: Path) -> None:
    path.with_suffix(".part").write_text(str(os.getpid()))
    path.with_suffix(".part").rename(path)


def main_of_parent(pid_file: Path) -> None:
    """A program with one busy and one idle worker."""
    pool = WorkerPool(2)
    print(pool.call(os.getpid), flush=True)
    pool.call(note_and_spin, pid_file)


def has_imported(module: str) -> bool:
    return module in sys.modules
