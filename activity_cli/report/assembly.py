"""Cross-validations, training runs and evaluations -> the content of their reports."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.common import describe_parts
from activity_cli.data.dataset import Dataset, sample_groups
from activity_cli.evaluation.baselines import BaselineScores, Kind, most_frequent
from activity_cli.evaluation.predictions import ClipPrediction, Predictions, SplitInfo
from activity_cli.evaluation.quality_checks import Findings, compute_findings
from activity_cli.model.folder import installed_versions
from activity_cli.model.frame_order_ablation import OrderScores
from activity_cli.model.metrics import Evaluation
from activity_cli.report.metadata import (
    Metadata,
    background_metadata,
    data_metadata,
    labelled_metadata,
    model_metadata,
    rejection_metadata,
    speed_of_clips,
    speed_of_run,
)

if TYPE_CHECKING:  # these import torch, which an evaluation does not need
    from activity_cli.evaluation.measurement import Measurement
    from activity_cli.features.labelled import LabelledClips
    from activity_cli.training.crossval import CrossvalRun, FoldResult
    from activity_cli.training.run import TrainingRun

_HEADS: Mapping[Kind, str] = {"frame": "single frame", "mean": "mean-pool"}
Tables = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """The content of report.html."""

    title: str
    subtitle: str
    method: str
    """How training and test clips were separated."""
    predictions: Predictions
    findings: Findings
    metadata: Metadata
    """About data and model."""
    speed: Metadata
    """By stage."""
    settings: Tables
    """By table."""
    command: str
    folds: tuple["FoldResult", ...] = ()
    versions: Metadata = field(default_factory=installed_versions)
    created: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))


def crossval_report(run: "CrossvalRun", *, command: str, settings: Tables) -> ReportData:
    """Assemble the report of a cross-validation.

    Args:
        run: the cross-validation.
        command: as the user typed it.
        settings: all tables of settings.
    """
    data, result = run.data, run.result
    predictions = _predictions(
        data, np.arange(len(data.targets)), result.scores, result.evaluation, result.orders
    )
    majority = run.majority.scores.argmax(axis=1)
    heads: dict[Kind, Any] = {}
    if run.rounds:  # --compare trained these heads in full
        heads = {kind: run.rounds[_HEADS[kind]].scores for kind in _HEADS}
    baselines = BaselineScores(
        majority=majority, has_lstm=result.orders is not None, orders=result.orders, heads=heads
    )
    split, number = f"folds by {run.folds.by}", len(result.folds)
    return ReportData(
        title=data.dataset.root.name or str(data.dataset.root),
        subtitle=f"Cross-validation, {number} {split}",
        method=f"Each clip was scored by the network trained on the other {number - 1} folds.",
        predictions=predictions,
        findings=compute_findings(predictions, baselines, SplitInfo(by=split, leakage=run.leakage)),
        metadata={**labelled_metadata(data), **background_metadata(run)},
        speed=speed_of_run(data, {"training, all folds": result.seconds}),
        settings=settings,
        command=command,
        folds=result.folds,
    )


def training_report(run: "TrainingRun", *, command: str, settings: Tables) -> ReportData:
    """Assemble the report of a training run on its held-out clips; arguments as above."""
    data, rows, description = run.data, run.measured_rows, run.model.description
    predictions = _predictions(data, rows, run.scores, run.evaluation, run.orders)
    learned = np.bincount(data.targets[run.split.train], minlength=len(description.labels))
    optimistic = "These clips also chose the best epoch, so accuracy is overestimated."
    split = SplitInfo(
        by=f"split by {run.split.by}",
        leakage=run.leakage,
        optimistic_because=optimistic if run.measured_on == "val" else "",
    )
    baselines = BaselineScores(
        majority=most_frequent(learned.tolist(), len(rows)),
        has_lstm=run.orders is not None,
        orders=run.orders,
    )
    parts = describe_parts(len(run.split.train), len(run.split.val), len(run.split.test))
    return ReportData(
        title=description.name,
        subtitle=f"Training run, measured on {len(rows)} {run.measured_on} clips",
        method=f"{parts}. Split by {run.split.by}.",
        predictions=predictions,
        findings=compute_findings(predictions, baselines, split),
        metadata={**labelled_metadata(data), **model_metadata(description)},
        speed=speed_of_run(data, {s: run.stage_seconds[s] for s in ("training", "measuring")}),
        settings=settings,
        command=command,
    )


def measurement_report(
    measurement: "Measurement",
    dataset: Dataset,
    *,
    engine: str,
    orders: OrderScores | None,
    command: str,
) -> ReportData:
    """Assemble the report of an evaluation.

    Args:
        measurement: of a model.
        dataset: its clips.
        engine: that computed.
        orders: the frame-order ablation; None where it was not measured.
        command: as the user typed it.
    """
    description, labels = measurement.description, measurement.description.labels
    predictions = replace(measurement.predictions, orders=orders)
    samples = [clip.sample for clip in predictions.clips]
    durations = [clip.duration_seconds for clip in predictions.clips]
    counts = description.data.get("clips_per_label", {})
    baselines = BaselineScores(
        majority=most_frequent([counts.get(label, 0) for label in labels], len(samples)),
        has_lstm=description.network.temporal == "lstm",
        orders=orders,
    )
    metadata = data_metadata(samples, durations, labels, sample_groups(samples))
    more = {**model_metadata(description), **rejection_metadata(measurement), "Engine": engine}
    return ReportData(
        title=description.name,
        subtitle=f"Evaluation on {dataset.root.name or dataset.root}, {len(samples)} clips",
        method="The metrics are valid for clips that the model was not trained on.",
        predictions=predictions,
        findings=compute_findings(predictions, baselines, SplitInfo()),
        metadata={**metadata, **more},
        speed=speed_of_clips(measurement.stage_seconds),
        settings={
            "clip": description.clip.to_json(),
            "network": description.network.to_json(),
            "training": description.training,
        },
        command=command,
    )


def _predictions(
    data: "LabelledClips",
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    evaluation: Evaluation,
    orders: OrderScores | None,
) -> Predictions:
    """Put scores (N, C) of rows of labelled features beside their clips."""
    clips = []
    for row, label in zip(rows.tolist(), scores.argmax(axis=1).tolist(), strict=True):
        clip = data.clips[row]
        clips.append(
            ClipPrediction(
                sample=data.dataset.samples[row],
                status=clip.status,
                reason=clip.reason,
                duration_seconds=clip.decoded.duration_seconds if clip.decoded else 0.0,
                label=data.dataset.labels[label],
            )
        )
    return Predictions(
        clips=tuple(clips),
        scores=scores,
        targets=data.targets[rows],
        left_out=tuple((sample, clip.status, clip.reason) for sample, clip in data.left_out),
        evaluation=evaluation,
        orders=orders,
    )
