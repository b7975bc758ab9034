"""Memory and time while one long video is scored, beside a short one.

    python -m tests.benchmarks.long_video [--minutes 60]

Draws a 1280 x 720 video of that length (15 frames per second, MPEG-4) and a 10-second one, and
scores each in a process of its own without the cache. Peak memory is that of the process; the
difference between the two is what the length costs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

FPS, WIDTH, HEIGHT = 15, 1280, 720


def main() -> None:
    """Draw, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        short = draw_video(Path(folder, "short.mp4"), 10)
        long = draw_video(Path(folder, "long.mp4"), 60 * arguments.minutes)
        print(f"drawn: {long.stat().st_size / 1e6:.0f} MB")
        measure(short)  # prepares the networks
        for name, video in (("10 seconds", short), (f"{arguments.minutes:g} minutes", long)):
            seconds, peak_mib = measure(video)
            print(f"{name:12s} {seconds:6.1f} s   peak memory {peak_mib:.0f} MiB")


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


def measure(video: Path) -> tuple[float, float]:
    """Wall seconds and peak memory in MiB of a process that scores a video."""
    command = [sys.executable, "-m", "activity_cli", "predict", str(video), "--no-cache", "--json"]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
