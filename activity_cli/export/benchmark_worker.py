"""One setup of a benchmark in a process of its own: a task as JSON on stdin, figures on stdout."""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activity_cli.common.cache import ENGINES
from activity_cli.common.platform import peak_memory_mib
from activity_cli.errors import ActivityError, DataError
from activity_cli.features.action_weights import action_weights_file
from activity_cli.features.backbones import weights_file
from activity_cli.features.engines.choice import Engine
from activity_cli.features.extraction import ClipRequest
from activity_cli.features.streams import load_streams
from activity_cli.model.folder import WEIGHTS_FILE, load_model
from activity_cli.predict.exported import open_exported, read_exported
from activity_cli.predict.predictor import PredictConfig, load_predictor
from activity_cli.video.clips import read_clip, read_frames

_ROUNDS = 3
_SECONDS_PER_ROUND = 1.0
_SECONDS_FOR_CLIPS = 5.0
"""All clips are scored again until so much time is spent: few clips alone say little."""
_CLIPS_IN_MEMORY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a process measures."""

    model: str
    engine: dict[str, Any] | None
    """Fields of an `Engine`; None for an export, which has its own runtime."""
    cache_dir: str
    clips: list[str]
    measure: bool  # False to score the clips and no more


def main() -> int:
    """Do the task on stdin."""
    task = Task(**json.load(sys.stdin))
    engine = Engine(**task.engine) if task.engine else None
    try:
        figures = _score(task, engine)
        if task.measure:
            figures |= {
                "frames_per_second": _frames_per_second(task, engine),
                "size_mb": _network_bytes(task, engine) / 1e6,
                "peak_mib": peak_memory_mib(),
            }
    except ActivityError as error:
        print(error.message, file=sys.stderr)
        return 1
    json.dump(figures, sys.stdout)
    return 0


def _score(task: Task, engine: Engine | None) -> dict[str, Any]:
    """Score all clips, and measure the time per clip with decoding and computing overlapped."""
    where: Any = {}
    if engine is not None:
        where = {"engine": engine.name, "device": engine.device, "precision": engine.precision}
    config = PredictConfig(cache_dir=Path(task.cache_dir), use_cache=False, **where)
    predictor = load_predictor(task.model, config)
    requests = [ClipRequest(path=Path(clip)) for clip in task.clips]
    if task.measure:
        list(predictor.predict(requests[:1]))  # warms up
    started, rounds = time.perf_counter(), 0
    while not rounds or (task.measure and time.perf_counter() - started < _SECONDS_FOR_CLIPS):
        results = list(predictor.predict(requests))
        rounds += 1
    seconds = time.perf_counter() - started
    scores = [r.prediction.scores.tolist() for r in results if r.prediction is not None]
    if not scores:
        raise DataError(f"{results[0].path}: {results[0].reason}")
    return {"scores": scores, "ms_per_clip": 1000 * seconds / rounds / len(requests)}


def _frames_per_second(task: Task, engine: Engine | None) -> float:
    """Measure the CNN (of an export: the whole network) on pictures in memory, best of rounds."""
    clips = [Path(clip) for clip in task.clips][:_CLIPS_IN_MEMORY]
    if engine is None:
        export = read_exported(Path(task.model))
        runner = open_exported(export)
        settings = export.description.clip
        frames = [read_frames(clip, settings).images for clip in clips]
        inputs = [{role: stack[None] for role, stack in images.items()} for images in frames]

        def run() -> int:
            for images in inputs:
                runner.score(images)
            return len(inputs) * settings.num_frames * len(settings.streams)
    else:
        description = load_model(task.model).description
        extractor = load_streams(
            description.backbone, description.clip, engine, cache_dir=Path(task.cache_dir)
        )
        pictures = [read_clip(clip, description.clip).images for clip in clips]

        def run() -> int:
            found = extractor.extract(pictures)
            return sum(len(features) for clip in found for features in clip.values())

    run()
    rates = []
    for _ in range(_ROUNDS):
        started, done = time.perf_counter(), 0
        while (seconds := time.perf_counter() - started) < _SECONDS_PER_ROUND:
            done += run()
        rates.append(done / seconds)
    return max(rates)


def _network_bytes(task: Task, engine: Engine | None) -> int:
    """Return the size of the files that the network is loaded from."""
    if engine is None:
        files = [file for file in Path(task.model).iterdir() if file.suffix != ".md"]
    elif engine.name == "torch":
        model = load_model(task.model)
        streams = set(model.description.clip.streams)
        files = [] if model.is_kinetics600 else [model.folder / WEIGHTS_FILE]
        files += [weights_file(model.description.backbone)] if streams - {"action"} else []
        files += [action_weights_file()] if "action" in streams else []
    else:  # without the compiled ones (.blob), which fit this machine only
        files = [f for f in (Path(task.cache_dir) / ENGINES).iterdir() if f.suffix != ".blob"]
    return sum(file.stat().st_size for file in files)


if __name__ == "__main__":
    sys.exit(main())
