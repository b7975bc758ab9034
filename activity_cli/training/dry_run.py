"""A training in small: a few clips through every stage, to see that all is well.

What it writes goes to a temporary folder, features included, so nothing is left of it.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from activity_cli.data.dataset import Dataset
from activity_cli.data.splits import INNER_FOLDS, Split
from activity_cli.training.fitting import Plan, learn_from
from activity_cli.training.run import TrainingRun, keep
from activity_cli.types import no_progress

_CLIPS_PER_LABEL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunReport:
    """What was tried, and what the whole will take."""

    clips: int
    """That were read."""
    all_clips: int
    batch_size: int
    """Clips in the batch that was learned from."""
    epochs: int
    """The most that the training will have."""
    stage_seconds: Mapping[str, float]
    """Time of each stage of the whole, nothing in the cache, all epochs done."""
    notes: tuple[str, ...]
    """What happened on the way."""

    @property
    def seconds(self) -> float:
        """Time of the whole."""
        return sum(self.stage_seconds.values())

    def to_json(self) -> dict[str, Any]:
        """Its figures."""
        return {**asdict(self), "seconds": round(self.seconds, 1)}


def run_dry(plan: Plan) -> DryRunReport:
    """Read a few clips, learn one batch, save, and score through the engine that predicts.

    Raises:
        ActivityError: whatever the training itself would end with.
    """
    dataset = plan.load()
    split = plan.split(dataset)
    few = _few(dataset)
    with TemporaryDirectory(ignore_cleanup_errors=True) as place:
        data_config = replace(
            plan.data_config, cache_dir=Path(place) / "cache", on_progress=no_progress
        )
        small = replace(
            plan,
            data_config=data_config,
            settings=replace(plan.settings, epochs=1),
            cnn=replace(plan.cnn, epochs=1),
        )
        labelled = small.read(few)
        rows = np.arange(len(labelled.targets))
        batch = np.resize(rows, min(plan.settings.batch_size, len(split.train)))
        parts = Split(train=batch, val=rows, test=rows, by="nothing")
        run = keep(learn_from(small, labelled, parts), Path(place) / "run")
        return _estimate(plan, run, split, all_clips=len(dataset.samples))


def _few(dataset: Dataset) -> Dataset:
    """The first clips of every label."""
    taken: dict[str, int] = defaultdict(int)
    samples = []
    for sample in dataset.samples:
        taken[sample.label] += 1
        if taken[sample.label] <= _CLIPS_PER_LABEL:
            samples.append(sample)
    return replace(dataset, samples=tuple(samples))


def _estimate(plan: Plan, run: TrainingRun, split: Split, *, all_clips: int) -> DryRunReport:
    """What the whole takes, by what its parts took."""
    seconds, to_learn = run.stage_seconds, len(split.train)
    epochs = plan.num_epochs(to_learn)
    num_networks = 1 if len(split.val) else 1 + INNER_FOLDS
    clips = len(run.data.targets) + len(run.data.left_out)
    batch_size = len(run.split.train)
    of_batch = sum(epoch.seconds for epoch in run.fitted.history[1:])
    return DryRunReport(
        clips=clips,
        all_clips=all_clips,
        batch_size=batch_size,
        epochs=epochs,
        stage_seconds={
            **({"load CNN": seconds["load CNN"]} if "load CNN" in seconds else {}),
            **{
                stage: seconds[stage] / clips * all_clips
                for stage in ("decoding", "first stages", "features")
                if stage in seconds
            },
            "training": num_networks
            * (
                seconds["training"]
                - of_batch
                + of_batch * math.ceil(to_learn / batch_size) * epochs
            ),
            "measuring": seconds["measuring"],
        },
        notes=run.fitted.notes,
    )
