"""How much faster a long video is scored again: other windows, strides, labels and heads.

    python -m tests.benchmarks.window_cache [--minutes 10] [--action]

Draws a video of 1280 x 720 (15 frames per second), scores it with the included model into an empty
cache, then with other options; each in a process of its own. With --action, two models with the
action network are trained on drawn clips, which differ in their heads, and score it in place of the
included one; that needs the weights of the network. CPU seconds are those of all processes, MB
those of the cache after the run. Fails where a run without networks is less than 20 times faster,
10 times with --action, where hidden units are computed.
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
ACTION_RUNS = (
    ("first", ()),
    ("again", ()),
    ("another head", ("--model", "runs/other")),
    ("--labels walk,wave", ("--labels", "walk,wave")),
    ("--stride 1", ("--stride", "1")),  # the action network reads other windows
    ("--stride 1 again", ("--stride", "1")),
)


def main() -> None:
    """Draw, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--action", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        warm_up = draw_video(place / "short.mp4", 10)
        video = draw_video(place / "video.mp4", 60 * arguments.minutes)
        os.environ["ACTIVITY_CACHE_DIR"] = str(place / "cache")
        os.environ["PYTHONPATH"] = str(Path.cwd())
        model: str = DEFAULT_MODEL
        runs: tuple[tuple[str, tuple[str, ...]], ...] = RUNS
        if arguments.action:
            model, runs = "runs/first", ACTION_RUNS
            activity(place, "sample", "clips", "--clips-per-label", "6")
            train = ("train", "clips", "--streams", "rgb+motion+action", "--name")
            activity(place, *train, "first")
            activity(place, *train, "other", "--temporal", "mean")
        predict = ("predict", "--model", model)
        activity(place, *predict, str(warm_up))  # prepares the networks
        found: dict[str, float] = {}
        print(f"{arguments.minutes:g} minutes")
        for name, more in runs:
            found[name] = activity(place, *predict, str(video), *more)
            entries = list(place.rglob("cache/features/videos/*/*.video"))
            size = sum(path.stat().st_size for path in entries) / 1e6
            faster = found["first"] / found[name]
            print(f"{name:18s} {found[name]:7.1f} CPU s  {faster:6.1f} times faster  {size:.0f} MB")
    fast, least = ("another head", 10) if arguments.action else ("--window 3", 20)
    if found["first"] < least * found[fast]:
        raise SystemExit(f"FAILED: {fast} is less than {least} times faster")


def activity(place: Path, *arguments: str) -> float:
    """Run a command in a folder and return its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "activity_cli", *arguments, "-q"]
    subprocess.run(command, check=True, capture_output=True, cwd=place)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
