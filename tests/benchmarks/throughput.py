"""Batch scoring against the least that it could take: decoding alone and the CNN alone.

    python -m tests.benchmarks.throughput CLIPS

CLIPS is a folder of videos; 100 of them are scored without the feature cache, by the engine that
`auto` chooses. On two cores decoders and CNN compete, so no schedule can be faster than their
CPU seconds divided by the cores. The measurements take turns; the median round counts. With
`--action MODEL`, a model trained with `--streams action`, its pipeline is compared as well.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from activity_cli.common.cache import default_cache_dir
from activity_cli.common.files import is_video, walk_files
from activity_cli.features.engines.choice import choose_engine, load_extractor
from activity_cli.features.extraction import ClipRequest
from activity_cli.model.folder import load_model
from activity_cli.predict.local_predictor import LocalPredictor, model_predictor
from activity_cli.predict.predictor import PredictConfig
from activity_cli.settings import DEFAULT_MODEL
from activity_cli.types import Images
from activity_cli.video.clips import read_clip

CORES = os.cpu_count() or 1
KEPT_IN_MEMORY = 20  # clips whose pictures the CNN alone reads again and again


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock and of the CPU."""

    wall: float
    cpu: float


def main() -> None:
    """Measure in rounds and print both bounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("clips", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--action", metavar="MODEL")
    arguments = parser.parse_args()
    clips = pick(arguments.clips, arguments.count)

    model, cache_dir = load_model(DEFAULT_MODEL), default_cache_dir()
    description = model.description
    engine = choose_engine()
    config = PredictConfig(cache_dir=cache_dir, use_cache=False)
    predictor = model_predictor(model, config)
    extractor = load_extractor(description.backbone, engine, cache_dir=cache_dir)
    pictures = decode(clips[:KEPT_IN_MEMORY])

    def cnn_alone() -> None:
        step = max(1, extractor.batch_size // len(pictures[0]))
        for start in range(0, len(clips), step):
            some = [
                pictures[i % len(pictures)] for i in range(start, min(start + step, len(clips)))
            ]
            extractor.extract(np.concatenate(some))

    def pipeline(predictor: LocalPredictor = predictor) -> None:
        results = list(predictor.predict(ClipRequest(path=clip) for clip in clips))
        assert all(result.prediction for result in results)

    measured: dict[str, list[Cost]] = {}
    work: dict[str, Callable[[], object]] = {
        "decoding": lambda: decode(clips, keep=False),
        "CNN": cnn_alone,
        "pipeline": pipeline,
    }
    if arguments.action:
        work["action"] = partial(pipeline, model_predictor(load_model(arguments.action), config))
    for _ in range(arguments.rounds):
        for name, run in work.items():
            measured.setdefault(name, []).append(measure(run))
    cost = {
        name: Cost(
            wall=statistics.median(cost.wall for cost in costs),
            cpu=statistics.median(cost.cpu for cost in costs),
        )
        for name, costs in measured.items()
    }
    print(f"{len(clips)} clips, {CORES} cores, features by {extractor.identity}")
    for name, one in cost.items():
        print(f"{name:10s} {one.wall:6.2f} s wall  {one.cpu:6.2f} s CPU")
    larger = max(cost["decoding"].wall, cost["CNN"].wall)
    shared = (cost["decoding"].cpu + cost["CNN"].cpu) / CORES
    wall = cost["pipeline"].wall
    print(f"{len(clips) / wall:.1f} clips/s")
    if arguments.action:
        action = cost["action"].wall
        print(f"{len(clips) / action:.1f} clips/s with action alone: {wall / action:.2f} times")
    print(f"pipeline / larger of the two alone:       {wall / larger:.2f}  (bound {larger:.2f} s)")
    print(f"pipeline / CPU seconds of both per core:  {wall / shared:.2f}  (bound {shared:.2f} s)")


def pick(folder: Path, count: int) -> list[Path]:
    """Videos spread evenly over a folder's."""
    videos = [path for path in walk_files(folder) if is_video(path)]
    return videos[:: max(1, len(videos) // count)][:count]


def decode(clips: Sequence[Path], *, keep: bool = True) -> list[Images]:
    """All pictures that the CNN sees of each clip, (S * T, H, W, 3)."""
    settings = load_model(DEFAULT_MODEL).description.clip

    def read(path: Path) -> Images:
        images = np.concatenate(list(read_clip(path, settings, num_threads=1).images.values()))
        return images if keep else images[:0]

    with ThreadPoolExecutor(CORES) as pool:
        return list(pool.map(read, clips))


def measure(run: Callable[[], object]) -> Cost:
    """What one run costs this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return Cost(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)


if __name__ == "__main__":
    main()
