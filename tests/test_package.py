"""What importing the package does to the program that imports it: nothing."""

import importlib.metadata
import subprocess
import sys

import pytest

from activity_cli.model.folder import installed_versions
from tests.media import DrawClip

IMPORT_ALL = """
import importlib, os, pkgutil, signal, sys, warnings
import cv2, torch
import activity_cli

def host():
    return (
        dict(os.environ),
        cv2.utils.logging.getLogLevel(),
        torch.get_num_threads(),
        torch.initial_seed(),
        torch.get_default_dtype(),
        [signal.getsignal(number) for number in signal.valid_signals()],
        sys.excepthook,
        warnings.filters[:],
    )

before = host()
modules = [
    module.name
    for module in pkgutil.walk_packages(activity_cli.__path__, "activity_cli.")
    if not module.name.endswith("__main__")
]
for name in modules:
    importlib.import_module(name)
for earlier, now in zip(before, host(), strict=True):
    assert earlier == now, (earlier, now)
print(len(modules))
"""


def test_importing_every_module_changes_nothing_of_the_host() -> None:
    output = subprocess.check_output([sys.executable, "-c", IMPORT_ALL], text=True)

    assert int(output) > 100


def test_reading_a_video_restores_the_log_level_of_opencv(draw_clip: DrawClip) -> None:
    script = (
        "import os, sys, cv2\n"
        "from activity_cli.errors import VideoError\n"
        "from activity_cli.video.reader import VideoReader\n"
        "before = cv2.utils.logging.getLogLevel(), dict(os.environ)\n"
        "try:\n"
        "    VideoReader('/dev/null')\n"
        "except VideoError:\n"
        "    pass\n"
        "with VideoReader(sys.argv[1]) as reader:\n"
        "    assert cv2.utils.logging.getLogLevel() == cv2.utils.logging.LOG_LEVEL_SILENT\n"
        "assert before == (cv2.utils.logging.getLogLevel(), dict(os.environ))\n"
    )
    video = draw_clip(frames=2)
    subprocess.run([sys.executable, "-c", script, str(video)], check=True)


def test_any_distribution_of_opencv_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.metadata.distribution

    def only_headless(name: str) -> importlib.metadata.Distribution:
        if name == "opencv-python":
            raise importlib.metadata.PackageNotFoundError(name)
        return find(name.removesuffix("-headless"))

    monkeypatch.setattr(importlib.metadata, "distribution", only_headless)

    assert installed_versions()["opencv-python"] == find("opencv-python").version
