"""Dry run: a few clips through every step of a training, written to a temporary folder."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from activity_cli.data.dataset import Dataset
from activity_cli.data.splits import INNER_FOLDS, Split
from activity_cli.training.fitting import Plan, fit_split, read_clips_for
from activity_cli.training.run import TrainingRun, save_run
from activity_cli.types import no_progress

_CLIPS_PER_LABEL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunReport:
    """What was tried, and the estimated time of the whole training."""

    clips: int  # number of clips that were read
    all_clips: int
    batch_size: int
    epochs: int  # maximum number of epochs of the training
    stage_seconds: Mapping[str, float]
    """Estimated time of each stage, with an empty cache and all epochs."""
    notes: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Estimated time of the whole training."""
        return sum(self.stage_seconds.values())

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {**asdict(self), "seconds": round(self.seconds, 1)}


def run_dry(plan: Plan) -> DryRunReport:
    """Read a few clips, train on one batch, save, and score through the engine that predicts."""
    dataset = plan.load()
    split = plan.split(dataset)
    with TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        small = replace(
            plan,
            data_config=replace(
                plan.data_config, cache_dir=Path(scratch) / "cache", on_progress=no_progress
            ),
            head=replace(plan.head, training=replace(plan.head.training, epochs=1)),
            cnn=replace(plan.cnn, epochs=1),
        )
        labelled = read_clips_for(_first_clips(dataset), small.data_config, small.cnn)
        rows = np.arange(len(labelled.targets))
        batch = np.resize(rows, min(plan.head.training.batch_size, len(split.train)))
        parts = Split(train=batch, val=rows, test=rows, by="nothing")
        run = save_run(fit_split(small, labelled, parts), Path(scratch) / "run")
        return _estimate(plan, run, split, all_clips=len(dataset.samples))


def _first_clips(dataset: Dataset) -> Dataset:
    """Return the first clips of every label."""
    by_label = [[s for s in dataset.samples if s.label == label] for label in dataset.labels]
    samples = chain.from_iterable(found[:_CLIPS_PER_LABEL] for found in by_label)
    return replace(dataset, samples=tuple(samples))


def _estimate(plan: Plan, run: TrainingRun, split: Split, *, all_clips: int) -> DryRunReport:
    """Estimate the time of the whole training from the time of its parts."""
    seconds, num_train = run.stage_seconds, len(split.train)
    epochs, batch_size = plan.num_epochs(num_train), len(run.split.train)
    # The trial has one inner fold.
    is_frozen = plan.cnn.mode == "frozen"
    num_networks = (1 + INNER_FOLDS) / 2 if is_frozen and not len(split.val) else 1
    clips = len(run.data.targets) + len(run.data.left_out)
    of_batch = sum(epoch.seconds for epoch in run.fitted.history[1:])
    of_epochs = of_batch * math.ceil(num_train / batch_size) * epochs
    stages = {"load CNN": seconds["load CNN"]} if "load CNN" in seconds else {}
    for stage in ("decoding", "first stages", "features"):
        if stage in seconds:
            stages[stage] = seconds[stage] / clips * all_clips
    return DryRunReport(
        clips=clips,
        all_clips=all_clips,
        batch_size=batch_size,
        epochs=epochs,
        stage_seconds={
            **stages,
            "training": num_networks * (seconds["training"] - of_batch + of_epochs),
            "measuring": seconds["measuring"],
        },
        notes=run.fitted.notes,
    )
