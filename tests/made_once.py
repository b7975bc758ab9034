"""What takes long to make is made by the first worker of pytest that asks, for all of them."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

MAKING_SECONDS = 800.0


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder that `make` fills, once in a run of pytest. Read it or copy it; it is shared."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # each worker has a folder of its own in there
    done, lock = base / f"once-{name}", base / f"once-{name}.making"
    give_up = time.monotonic() + MAKING_SECONDS
    while not done.exists():
        try:
            lock.mkdir()
        except FileExistsError:  # another worker is at it
            assert time.monotonic() < give_up, f"nobody has made {done}"
            time.sleep(0.1)
            continue
        try:
            if not done.exists():  # it may have come to be just before the lock
                folder = lock / name
                folder.mkdir()
                make(folder)
                folder.rename(done)
        finally:
            shutil.rmtree(lock)
    return done
