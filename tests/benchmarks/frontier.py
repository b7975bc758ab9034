"""Accuracy against CPU time: frame size, frames and streams on the data sets of `heads` together.

    python -m tests.benchmarks.frontier FIGHTS WEIZMANN --output frontier.csv --plot frontier.png

Per point: CPU milliseconds of a clip (decoding with one thread, and the networks; of clips spread
over FIGHTS), accuracy and log-loss of the linear head on each data set. Features come from the
cache and are written to it; a full run computes hours of them. `--drawn FOLDER` keeps the drawn
clips. What a CPU with AVX2 alone takes shows ONEDNN_MAX_CPU_ISA=AVX2 with --costs-only.
"""

import argparse
import csv
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from activity_cli.cli.settings import SPEEDS
from activity_cli.common.cache import default_cache_dir
from activity_cli.common.processes import limit_threads
from activity_cli.features.backbones import find_backbone
from activity_cli.features.engines.choice import choose_engine
from activity_cli.features.streams import load_streams
from activity_cli.settings import ClipSettings, Stream
from activity_cli.video.clips import read_clip
from tests.benchmarks.heads import Task, fit_mean, measure, tasks
from tests.benchmarks.throughput import pick

SIZES, NUM_FRAMES, NUM_CLIPS, ROUNDS = (160, 192, 224), (8, 16, 32), 12, 3
REAL_CLIPS = ("fold_random", "fold_by_source", "weizmann")
"""Data sets whose accuracy the plot shows: the linear head cannot read the order of drawn ones."""
STREAMS: tuple[tuple[Stream, ...], ...] = (
    ("rgb", "motion"),
    ("action",),
    ("motion", "action"),
    ("rgb", "motion", "action"),
)


def main() -> None:
    """Measure all points; print a table, write it and a plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("fights", type=Path)
    parser.add_argument("weizmann", type=Path)
    parser.add_argument("--drawn", type=Path, help="folder of the drawn clips, kept")
    parser.add_argument("--costs-only", action="store_true")
    parser.add_argument("--speeds-only", action="store_true", help="the points of --speed")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, str | float]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.drawn or Path(temporary)
        for clip in points(speeds_only=arguments.speeds_only):
            found = {} if arguments.costs_only else accuracies(arguments, folder, clip)
            row = {**describe(clip), "ms": cpu_ms(arguments.fights, clip), **found}
            print(*(f"{v:.3f}" if isinstance(v, float) else v for v in row.values()), flush=True)
            rows.append(row)
    if arguments.output:
        with arguments.output.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    if arguments.plot and not arguments.costs_only:
        draw(rows, arguments.plot)


def points(*, speeds_only: bool) -> Iterator[ClipSettings]:
    """Yield what is measured: all sizes, lengths and streams, and the frame rates of rgb."""
    for streams in STREAMS:
        for point in SPEEDS.values():
            clip = ClipSettings(streams=streams, frame_size=round(224 * point.size))
            yield replace(clip, rgb_every=point.rgb_every if "rgb" in streams else 1)
        for size in () if speeds_only else SIZES:
            for count in NUM_FRAMES:
                yield ClipSettings(streams=streams, frame_size=size, num_frames=count)


def describe(clip: ClipSettings) -> dict[str, str | float]:
    """Return the columns that tell a point."""
    return {
        "streams": "+".join(clip.streams),
        "size": str(clip.frame_size),
        "frames": str(clip.num_frames),
        "rgb_every": str(clip.rgb_every),
    }


def accuracies(
    arguments: argparse.Namespace, folder: Path, clip: ClipSettings
) -> Mapping[str, float]:
    """Return accuracy and log-loss by data set."""
    found: dict[str, float] = {}
    of_tasks: Iterator[Task] = tasks(arguments.fights, arguments.weizmann, folder, clip)
    for task in of_tasks:
        measured = measure(task, fit_mean)
        found[task.name] = measured.accuracy
        found[f"{task.name}: log-loss"] = measured.loss
    return found


def cpu_ms(folder: Path, clip: ClipSettings) -> float:
    """Return CPU milliseconds per clip, of decoding and networks; the median of some rounds."""
    limit_threads(1)
    engine = choose_engine("openvino")
    extractor = load_streams(find_backbone(), clip, engine, cache_dir=default_cache_dir())
    clips = pick(folder, NUM_CLIPS)
    extractor.extract([read_clip(clips[0], clip, num_threads=1).images])
    costs = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for path in clips:
            extractor.extract([read_clip(path, clip, num_threads=1).images])
        costs.append((time.process_time() - started) / len(clips))
    return 1000 * statistics.median(costs)


def draw(rows: list[dict[str, str | float]], file: Path) -> None:
    """Draw mean accuracy on the real clips against CPU milliseconds, a line along each stream's."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for streams in dict.fromkeys(row["streams"] for row in rows):
        part = sorted((r for r in rows if r["streams"] == streams), key=lambda r: r["ms"])
        heights = [statistics.mean(float(row[name]) for name in REAL_CLIPS) for row in part]
        axes.plot([row["ms"] for row in part], heights, "o-", label=streams)
        for row, height in zip(part, heights, strict=True):
            name = f"{row['size']} x {row['frames']}, rgb/{row['rgb_every']}"
            axes.annotate(
                name,
                (row["ms"], height),
                (0, 7),
                textcoords="offset points",
                ha="center",
                fontsize=7,
            )
    axes.set(xlabel="CPU ms per clip", ylabel="accuracy, mean of fights and Weizmann")
    axes.margins(0.08)
    axes.legend()
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
