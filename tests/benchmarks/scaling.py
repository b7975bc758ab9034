"""How the CPU time of whole processes grows: number of files, workers, resolution, length, cameras.

    python -m tests.benchmarks.scaling [--most-files 1000] [--most-minutes 10] [--model MODEL]

Draws its videos. Files are hard links to one clip: with its features in the cache they show what a
file costs beside decoding and networks. Resolutions, workers and lengths are scored with
--no-cache, the lengths in windows. A camera is a recording that `watch` reads, 5 windows a second:
two cores could follow as many as its seconds, times two, are in its CPU time. The commands take
turns `--rounds` times; medians.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from activity_cli.settings import DEFAULT_MODEL

FPS = 25
HEIGHTS = {"240p": 240, "480p": 480, "720p": 720, "1080p": 1080, "4K": 2160}


def main() -> None:
    """Measure part by part and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--most-files", type=int, default=1000)
    parser.add_argument("--most-minutes", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, units, command in commands(Path(folder), arguments):
            costs = [measure(command) for _ in range(arguments.rounds + 1)][1:]  # one warms up
            wall, cpu = (statistics.median(one) for one in zip(*costs, strict=True))
            print(
                f"{name:34s} {wall:8.2f} s wall {cpu:8.2f} s CPU {cpu / units:8.3f} CPU s each",
                flush=True,
            )


Command = tuple[str, float, Sequence[str]]
"""Name, number of files or seconds of video that it scores, and its arguments."""


def commands(folder: Path, arguments: argparse.Namespace) -> Iterator[Command]:
    """Yield the commands, each when its videos are drawn."""
    model = ("--model", arguments.model, "-q")
    more: tuple[str, ...]
    clip = draw_video(folder / "clip.mp4", 2, 240)
    for count in (10**power for power in range(1, 6)):
        if count <= arguments.most_files:
            files = folder / f"links{count}"
            files.mkdir()
            for number in range(count):
                (files / f"{number}.mp4").hardlink_to(clip)
            more = ("--output", str(folder / "scores.csv"), "--overwrite")
            yield f"{count} cached clips", count, ("predict", str(files), *model, *more)
    for workers in (1, 2, 3, 4):
        more = ("--no-cache", "--workers", str(workers), "--json")
        some = [str(folder / f"links10/{number}.mp4") for number in range(10)]
        yield f"10 clips, {workers} workers", 10, ("predict", *some, *model, *more)
    for name, height in HEIGHTS.items():
        video = draw_video(folder / f"{name}.mp4", 2, height)
        yield f"2 s at {name}", 1, ("predict", str(video), *model, "--no-cache", "--json")
    for minutes in (1 / 6, 1, 10, 60):
        if minutes <= arguments.most_minutes:
            video = draw_video(folder / "long.mp4", 60 * minutes, 720)
            name = f"{60 * minutes:.0f} s of 720p in windows"
            yield name, 60 * minutes, ("predict", str(video), *model, "--no-cache", "--json")
    video = draw_video(folder / "camera.mkv", 30, 720)
    more = ("--stride", "0.2", "--until-idle", "0.5", "--json")
    yield "30 s of a 720p camera", 30, ("watch", str(video), *model, *more)


def draw_video(path: Path, seconds: float, height: int) -> Path:
    """A square that moves over a still scene, 16 x 9, MPEG-4."""
    width = 2 * (height * 8 // 9)
    noise = np.random.default_rng(0).integers(0, 256, (9, 16, 3), np.uint8)
    scene = cv2.resize(noise, (width, height), interpolation=cv2.INTER_NEAREST)
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, FPS, (width, height))
    for index in range(round(seconds * FPS)):
        picture = scene.copy()
        left = index * 7 % (width - height // 7)
        picture[height // 2 : height // 2 + height // 7, left : left + height // 7] = 255
        writer.write(picture)
    writer.release()
    return path


def measure(command: Sequence[str]) -> tuple[float, float]:
    """Seconds on the clock, and of the CPU, of a whole process and its children."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "activity_cli", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ,
        check=True,
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
