"""Fixtures that several test modules share."""

import ctypes
import shutil
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from activity_cli import load_model
from activity_cli.sampledata import draw_dataset
from tests.made_once import made_once
from tests.media import DrawClip, Picture, plain_pictures, write_video
from tests.processes import PATIENCE_SECONDS
from tests.workplace import LABELS, QUICK, Workplace

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LONG = (
    "test_cluster",
    "test_cli",
    "test_exporting",
    "test_live",
    "test_page",
    "test_wheel",
    "test_engines",
    "test_describing",
    "test_benchmark",
    "test_resuming",
    "test_parity",
    "test_tuning",
    "test_loop",
    "test_finetuning",
)
"""Test modules that take longest, in the order in which they should begin.

The first one waits for most of its time, and so does the fourth. The exports that `test_exporting`
makes are there when `test_parity` reads them.
"""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long modules first: a worker that begins one at the end leaves the others nothing to do.

    Tests of exports are slow, whatever they do: the exports take 15 seconds.
    """
    for item in items:
        if "exports" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
    ranks = {name: rank for rank, name in enumerate(LONG)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(LONG)))


@pytest.fixture(scope="session", autouse=True)
def _hear_ctrl_c() -> None:
    """A shell starts background jobs deaf to Ctrl-C, and their children inherit it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class _Stack(ctypes.Structure):
    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@pytest.fixture
def _own_stack() -> None:
    """Handle signals on the thread's own stack.

    Where a test has made a second Core of OpenVINO, the stack for signals is a freed one: Ctrl-C
    would end the process (see `openvino_core`).
    """
    disable = 2 if sys.platform == "linux" else 4
    ctypes.CDLL(None).sigaltstack(ctypes.byref(_Stack(None, disable, 0)), None)


@pytest.fixture
def draw_clip(tmp_path: Path) -> DrawClip:
    """Draws a video into the test's folder: frame i is RGB (50 * i modulo 250, 30, 30)."""

    def draw(
        name: str = "clip.avi",
        *,
        frames: int = 5,
        fps: float = 10,
        size: tuple[int, int] = (64, 48),
        pictures: Iterable[Picture] | None = None,
    ) -> Path:
        if pictures is None:
            pictures = plain_pictures(frames, size)
        return write_video(tmp_path / name, pictures, fps)

    return draw


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache, shared by all workers of pytest, with the shipped model prepared for OpenVINO."""

    def make(folder: Path) -> None:
        load_model("surveillance-fight", cache_dir=folder).close()

    return made_once(tmp_path_factory, "prepared", make)


@pytest.fixture(scope="session")
def shared(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A workplace with `clips` (3 actions, 6 persons) and `runs/first`, trained on them."""

    def make(folder: Path) -> None:
        draw_dataset(folder / "clips", clips_per_label=12, labels=LABELS)
        shutil.copytree(prepared, folder / "cache")
        Workplace(folder, folder / "cache").run("train", "clips", "--name", "first", *QUICK)

    folder = tmp_path_factory.mktemp("shared") / "workplace"
    shutil.copytree(made_once(tmp_path_factory, "workplace", make), folder)
    return Workplace(folder, folder / "cache")


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no chromium on this machine (Debian: apt install chromium)")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright, which drives the browser, is not installed"
    )
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"], timeout=1000 * PATIENCE_SECONDS
        )
        yield running
        running.close()


@pytest.fixture
def workplace(shared: Workplace, tmp_path: Path) -> Workplace:
    """An empty folder that shares the prepared CNN and features."""
    return Workplace(tmp_path, shared.cache)
