"""One setup of a benchmark in a process of its own: a task as JSON in, figures as JSON out.

{"model": ..., "engine": {...} or null for an export, "cache_dir": ..., "clips": [...],
"measure": false to score the clips and no more}
"""

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from activity_cli.common.cache import ENGINES
from activity_cli.errors import ActivityError, DataError
from activity_cli.features.backbones import weights_file
from activity_cli.features.engines.choice import Engine
from activity_cli.features.engines.loading import load_extractor
from activity_cli.features.extraction import ClipRequest
from activity_cli.model.folder import WEIGHTS_FILE, find_model, load_model
from activity_cli.predict.exported.loading import open_exported, read_exported
from activity_cli.predict.predictor import PredictConfig, load_predictor
from activity_cli.video.clips import read_clip, read_frames

_ROUNDS = 3
_SECONDS_PER_ROUND = 1.0
_CLIPS_IN_MEMORY = 4


def main() -> int:
    """Do the task on stdin."""
    task = json.load(sys.stdin)
    engine = Engine(**task["engine"]) if task["engine"] else None
    try:
        figures = _score(task, engine)
        if task["measure"]:
            figures |= {"frames_per_second": _measure_network(task, engine)}
    except ActivityError as error:
        print(error.message, file=sys.stderr)
        return 1
    json.dump(figures, sys.stdout)
    return 0


def _score(task: dict[str, Any], engine: Engine | None) -> dict[str, Any]:
    """Scores of all clips, and what a clip costs with everything overlapped."""
    config = PredictConfig(cache_dir=Path(task["cache_dir"]), use_cache=False)
    if engine is not None:
        config = replace(
            config, engine=engine.name, device=engine.device, precision=engine.precision
        )
    predictor = load_predictor(task["model"], config)
    requests = [ClipRequest(path=Path(clip)) for clip in task["clips"]]
    seconds = []
    for _ in range(_ROUNDS if task["measure"] else 1):
        started = time.perf_counter()
        results = list(predictor.predict(requests))
        seconds.append(time.perf_counter() - started)
    scores = [r.prediction.scores.tolist() for r in results if r.prediction is not None]
    if not scores:
        raise DataError(f"{results[0].path}: {results[0].reason}")
    return {
        "scores": scores,
        "ms_per_clip": 1000 * statistics.median(seconds) / len(requests),
        "size_mb": _size_of_network(task, engine) / 1e6,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _measure_network(task: dict[str, Any], engine: Engine | None) -> float:
    """Frames per second through the CNN (for an export: the whole network), best of the rounds."""
    clips = [Path(clip) for clip in task["clips"]][:_CLIPS_IN_MEMORY]
    if engine is None:
        export = read_exported(Path(task["model"]))
        runner = open_exported(export)
        settings = export.description.clip
        frames = [read_frames(clip, settings).images for clip in clips]
        inputs = [{role: stack[None] for role, stack in images.items()} for images in frames]

        num_images = len(inputs) * settings.num_frames * len(settings.streams)

        def run() -> int:
            for images in inputs:
                runner.score(images)
            return num_images
    else:
        description = load_model(task["model"]).description
        extractor = load_extractor(
            description.backbone,
            engine,
            cache_dir=Path(task["cache_dir"]),
            frame_size=description.clip.frame_size,
        )
        streams = [read_clip(clip, description.clip).images.values() for clip in clips]
        pictures = np.concatenate([images for clip in streams for images in clip])

        def run() -> int:
            return len(extractor.extract(pictures))

    run()
    return max(_rate(run) for _ in range(_ROUNDS))


def _rate(run: Callable[[], int]) -> float:
    started, frames = time.perf_counter(), 0
    while (seconds := time.perf_counter() - started) < _SECONDS_PER_ROUND:
        frames += run()
    return frames / seconds


def _size_of_network(task: dict[str, Any], engine: Engine | None) -> int:
    """Bytes of the files that the network is loaded from."""
    if engine is None:
        return sum(f.stat().st_size for f in Path(task["model"]).iterdir() if f.suffix != ".md")
    if engine.name == "torch":
        description = load_model(task["model"]).description
        files = [weights_file(description.backbone), find_model(task["model"]) / WEIGHTS_FILE]
    else:  # compiled ones (.blob) are those of this machine
        files = [f for f in (Path(task["cache_dir"]) / ENGINES).iterdir() if f.suffix != ".blob"]
    return sum(file.stat().st_size for file in files)


if __name__ == "__main__":
    sys.exit(main())
