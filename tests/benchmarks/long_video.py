"""Memory and time while long videos are scored, and what overlapping windows cost.

    python -m tests.benchmarks.long_video [--minutes 60]

Draws 1280 x 720 videos (15 frames per second, MPEG-4) of 10 seconds, 10 minutes and that length,
and scores each in processes of their own, without the cache: in windows that slide over them, and
as one clip (--whole). Of the 10 minutes windows side by side are compared with windows every
quarter, which may cost at most 1.2 times as much. Memory is that of all processes together, at its
highest.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from activity_cli.model.folder import load_model
from activity_cli.settings import DEFAULT_MODEL
from tests.benchmarks.memory import watch_memory

FPS, WIDTH, HEIGHT = 15, 1280, 720


def main() -> None:
    """Draw, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        short = draw_video(Path(folder, "short.mp4"), 10)
        middle = draw_video(Path(folder, "middle.mp4"), 600)
        measure(short)  # prepares the networks
        window = default_window()
        cost = {
            share: min(measure(middle, "--stride", str(share * window))[0] for _ in range(2))
            for share in (1.0, 0.25)
        }
        ratio = cost[0.25] / cost[1.0]
        print(f"10 minutes, a window every quarter / side by side: {ratio:.2f}")
        long = draw_video(Path(folder, "long.mp4"), 60 * arguments.minutes)
        for name, video, options in (
            ("10 seconds in windows", short, ()),
            (f"{arguments.minutes:g} minutes in windows", long, ()),
            ("10 seconds as one clip", short, ("--whole",)),
            (f"{arguments.minutes:g} minutes as one clip", long, ("--whole",)),
        ):
            seconds, peak_mib = measure(video, *options)
            length = 10 if video == short else 60 * arguments.minutes
            print(
                f"{name:24s} {seconds:7.1f} s  {length / seconds:6.1f} times real time  "
                f"peak memory {peak_mib:.0f} MiB"
            )
        if ratio > 1.2:
            raise SystemExit("FAILED: overlap costs more than 1.2 times")


def default_window() -> float:
    """Seconds of the shipped model's windows."""
    return load_model(DEFAULT_MODEL).description.windows().window_seconds


def draw_video(path: Path, seconds: float) -> Path:
    """A square that moves over a still scene."""
    scene = np.kron(
        np.random.default_rng(0).integers(0, 256, (9, 16, 3), np.uint8),
        np.ones((HEIGHT // 9, WIDTH // 16, 1), np.uint8),
    )
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, FPS, (WIDTH, HEIGHT))
    for index in range(round(seconds * FPS)):
        picture = scene.copy()
        left = index * 7 % (WIDTH - 100)
        picture[300:400, left : left + 100] = 255
        writer.write(picture)
    writer.release()
    return path


def measure(video: Path, *options: str) -> tuple[float, float]:
    """Wall seconds and peak memory in MiB of the processes that score a video."""
    command = [
        sys.executable,
        "-m",
        "activity_cli",
        "predict",
        str(video),
        "--no-cache",
        "--json",
        "--model",
        DEFAULT_MODEL,
    ]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with watch_memory(process.pid) as seen:
        code = process.wait()
    if code != 0:
        raise SystemExit(f"{' '.join(command)} ended with {code}")
    return time.perf_counter() - started, max(seen, default=0.0)


if __name__ == "__main__":
    main()
