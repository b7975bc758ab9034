"""What happens when, in long videos joined from clips that the model was not trained on.

    python -m tests.benchmarks.long_segments DATA

DATA is the Surveillance Camera Fight Dataset with its `labels.csv`. For each of the five folds by
source video a model is trained on the other four; the fold's clips, in runs of one to five of a
label, are joined to one long video (640 x 360, 25 frames per second) whose cuts are known. The
segments that `activity predict` finds there are compared with those cuts, and so are two baselines:
windows side by side, each with its own best label, and the same with overlapping windows.
"""

import argparse
import csv
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from activity_cli.evaluation.segment_metrics import Bout, segment_f1
from activity_cli.features.extraction import ClipRequest
from activity_cli.model.folder import load_model
from activity_cli.predict.predictor import PredictConfig, WindowConfig, load_predictor
from activity_cli.settings import SegmentSettings
from activity_cli.types import Segment
from activity_cli.video.capture import Frame
from tests.frame_accuracy import frame_accuracy
from tests.media import iter_frames

FPS, WIDTH, HEIGHT = 25, 640, 360
RAW = SegmentSettings(smoothing_seconds=0, min_seconds=0, gap_seconds=0)


@dataclass(frozen=True)
class Joined:
    """A long video and what is in it."""

    path: Path
    seconds: float
    segments: tuple[Bout, ...]


def main() -> None:
    """Train five times, join, find, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with (arguments.data / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    ways = {
        "windows side by side, no smoothing": (1.0, RAW),
        "windows every quarter, no smoothing": (0.25, RAW),
        "segments (default)": (0.25, SegmentSettings()),
    }
    found: dict[str, list[tuple[Segment, ...]]] = {way: [] for way in ways}
    videos: list[Joined] = []
    with tempfile.TemporaryDirectory() as folder:
        for fold in sorted({row["fold_by_source"] for row in rows}):
            place = Path(folder, fold)
            place.mkdir()
            model = train_without(rows, fold, arguments.data, place)
            held_out = [row for row in rows if row["fold_by_source"] == fold]
            videos.append(join(held_out, arguments.data, place / "long.mp4", arguments.seed))
            for way, (share, settings) in ways.items():
                found[way].append(find(model, videos[-1].path, share, settings))
    print(
        f"{len(videos)} videos, {sum(v.seconds for v in videos):.0f} s, "
        f"{sum(len(v.segments) for v in videos)} true segments"
    )
    true = [v.segments for v in videos]
    scores = {way: segment_f1(segments, true) for way, segments in found.items()}
    for way, f1 in scores.items():
        right = frame_accuracy(found[way], true, [v.seconds for v in videos])
        print(
            f"{way:36s} frame accuracy {right:.3f}   "
            f"F1 at IoU 0.5: {f1[0.5]:.3f}   0.25: {f1[0.25]:.3f}"
        )
    best = scores.pop("segments (default)")
    if any(best[0.5] <= other[0.5] for other in scores.values()):
        raise SystemExit("FAILED: segments do not beat windows")


def train_without(rows: Sequence[dict[str, str]], fold: str, data: Path, place: Path) -> Path:
    """Train on all folds but one, as a user does; a sixth of the sources is for early stopping."""
    groups = sorted({row["group"] for row in rows if row["fold_by_source"] != fold})
    random.Random(0).shuffle(groups)
    table = place / "train.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for row in rows:
            if row["fold_by_source"] != fold:
                split = "val" if groups.index(row["group"]) % 6 == 0 else "train"
                writer.writerow([(data / row["path"]).absolute(), row["label"], split])
    command = [sys.executable, "-m", "activity_cli", "train", str(table), "--quiet"]
    subprocess.run(
        [*command, "--output", str(place / "runs"), "--name", "fold"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return place / "runs" / "fold"


def join(rows: Sequence[dict[str, str]], data: Path, path: Path, seed: int) -> Joined:
    """Write one video of all clips, in runs of a label."""
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, FPS, (WIDTH, HEIGHT))
    num_frames = 0
    segments: list[Bout] = []
    for run in runs_of_a_label(rows, random.Random(seed)):
        start = num_frames
        for row in run:
            for frame in at_rate(data / row["path"]):
                writer.write(frame)
                num_frames += 1
        segments.append(Bout(start / FPS, num_frames / FPS, run[0]["label"]))
    writer.release()
    return Joined(path, num_frames / FPS, tuple(segments))


def runs_of_a_label(
    rows: Sequence[dict[str, str]], chance: random.Random
) -> Iterator[list[dict[str, str]]]:
    """One to five clips of a label, then as many of another, until none is left."""
    waiting = {label: [r for r in rows if r["label"] == label] for label in ("fight", "noFight")}
    for clips in waiting.values():
        chance.shuffle(clips)
    label = chance.choice(["fight", "noFight"])
    run: list[dict[str, str]] = []
    while any(waiting.values()):
        take = chance.randint(1, 5)
        run += waiting[label][:take]
        waiting[label] = waiting[label][take:]
        label = "fight" if label == "noFight" else "noFight"
        if waiting[label]:  # else the run goes on with what is left
            yield run
            run = []
        else:
            label = "fight" if label == "noFight" else "noFight"
    if run:
        yield run


def at_rate(path: Path) -> Iterator[Frame]:
    """A clip's frames at the common size and rate, BGR."""
    times, frames = [], []
    for seconds, frame in iter_frames(path):
        times.append(seconds)
        small = cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        frames.append(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    interval = (times[-1] - times[0]) / max(len(times) - 1, 1)
    for number in range(round((times[-1] - times[0] + interval) * FPS)):
        at = np.searchsorted(times, times[0] + (number + 0.5) / FPS, side="right") - 1
        yield cast(Frame, frames[int(at)])


def find(
    model: Path, video: Path, stride_share: float, settings: SegmentSettings
) -> tuple[Segment, ...]:
    """The segments of a video by a model."""
    window = load_model(model).description.windows().window_seconds
    windows = WindowConfig(stride_seconds=stride_share * window, segments=settings)
    predictor = load_predictor(model, PredictConfig(windows=windows))
    [result] = predictor.predict([ClipRequest(path=video)])
    predictor.close()
    return result.segments


if __name__ == "__main__":
    main()
