"""How much faster a long video is scored again, with other windows, another stride, other labels.

    python -m tests.benchmarks.window_cache [--minutes 10]

Draws a video of 1280 x 720 (15 frames per second), scores it with the included model into an empty
cache, then with other options; each in a process of its own. CPU seconds are those of all its
processes. Fails where another window is less than 20 times faster.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from activity_cli.settings import DEFAULT_MODEL
from tests.benchmarks.long_video import draw_video

RUNS = (
    ("first", ()),
    ("again", ()),
    ("--window 3", ("--window", "3")),
    ("--stride 0.25", ("--stride", "0.25")),
    ("--min-seconds 4", ("--min-seconds", "4")),
)


def main() -> None:
    """Draw, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        warm_up = draw_video(Path(folder, "short.mp4"), 10)
        video = draw_video(Path(folder, "video.mp4"), 60 * arguments.minutes)
        os.environ["ACTIVITY_CACHE_DIR"] = str(Path(folder, "cache"))
        cpu_seconds(warm_up)  # prepares the networks
        found = {name: cpu_seconds(video, *options) for name, options in RUNS}
        size = sum(
            path.stat().st_size for path in Path(folder, "cache", "features").rglob("*.video")
        )
    print(f"{arguments.minutes:g} minutes, {size / 1e6:.0f} MB in the cache")
    for name, seconds in found.items():
        print(f"{name:16s} {seconds:7.1f} CPU s  {found['first'] / seconds:6.1f} times faster")
    if found["first"] < 20 * found["--window 3"]:
        raise SystemExit("FAILED: another window is less than 20 times faster")


def cpu_seconds(video: Path, *options: str) -> float:
    """Score a video and return the CPU seconds of that."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "activity_cli", "predict", str(video), "--model"]
    subprocess.run([*command, DEFAULT_MODEL, "-q", *options], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
