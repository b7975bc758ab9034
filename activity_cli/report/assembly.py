"""Cross-validations, training runs and evaluations -> the content of their reports."""

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import compress
from shlex import quote
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.common import and_more, count_of, describe_parts, join_words
from activity_cli.common.processes import available_cpus
from activity_cli.data.dataset import Dataset, Sample, sample_groups
from activity_cli.evaluation import ClipPrediction, Predictions, SplitInfo
from activity_cli.evaluation.baselines import BaselineScores, Kind, most_frequent
from activity_cli.evaluation.conclusion import (
    Conclusion,
    Figures,
    biggest_problem,
    conclude_crossval,
    figures_of,
    figures_of_folds,
    state_accuracy,
)
from activity_cli.evaluation.quality_checks import Findings, compute_findings
from activity_cli.evaluation.timelines import measure_timelines
from activity_cli.features.streams import network_names
from activity_cli.model.folder import ModelDescription, installed_versions
from activity_cli.model.frame_order_ablation import OrderScores
from activity_cli.model.metrics import label_matrix, majority_scores
from activity_cli.settings import ClipSettings
from activity_cli.types import NONE

if TYPE_CHECKING:
    from activity_cli.evaluation.measurement import Measurement
    from activity_cli.features.labelled import LabelledClips
    from activity_cli.training.crossval import CrossValidation, CrossvalRun, FoldResult
    from activity_cli.training.run import TrainingRun


Metadata = Mapping[str, str]

_STREAMS = {"rgb": "RGB frames", "motion": "motion images", "flow": "optical flow"}
_STAGES = {
    "decode": "decoding",
    "cnn": "CNN",
    "lstm": "classifier",
    "network": "CNN and classifier",
}
_MAX_LABELS = 20
MEASURED_ON = {
    "test": "test clips",
    "inner-fold": "training clips, each by the network of the inner fold that held it out",
    "val": "validation clips, which also chose the best epoch, so accuracy is overestimated",
}
_HEADS: Mapping[Kind, str] = {"frame": "single frame", "mean": "mean-pool"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """The content of report.html."""

    title: str
    subtitle: str
    method: str  # how training and test clips were separated
    predictions: Predictions
    findings: Findings
    metadata: Metadata  # about data and model
    speed: Metadata  # by stage
    settings: Mapping[str, Mapping[str, Any]]  # by table
    command: str  # as the user typed it
    conclusion: Conclusion
    folds: tuple["FoldResult", ...] = ()
    heads: tuple[Figures, ...] = ()  # simpler heads on the same clips and folds
    figures: tuple[Figures, ...] = ()
    """Of random folds and of folds by suggested groups, side by side."""
    versions: Metadata = field(default_factory=installed_versions)
    created: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))


def crossval_report(
    run: "CrossvalRun", *, command: str, settings: Mapping[str, Any], source: str = "DATA"
) -> ReportData:
    """Assemble the report of a cross-validation; `source` is the data in the next command."""
    data, result = run.data, run.result
    rows = np.arange(len(data.targets))
    predictions = _predictions(data, rows, result)
    majority = run.majority.scores
    baselines = BaselineScores(
        majority=majority if data.multi_label else majority.argmax(axis=1),
        has_lstm=any(fitted.network.temporal == "lstm" for fitted in result.networks),
        orders=result.orders,
        # --compare trained these heads in full.
        heads={kind: run.rounds[_HEADS[kind]].scores for kind in _HEADS if run.rounds},
        thresholds={kind: run.rounds[_HEADS[kind]].thresholds for kind in _HEADS if run.rounds},
    )
    metadata = _labelled_metadata(data)
    if run.background is not None:
        missed, false_alarms = result.evaluation.event_errors(run.background)
        errors = f"{missed:.1%} of events missed, {false_alarms:.1%} false alarms"
        metadata[f"Background: {run.background}"] = errors
    split, number = f"folds by {run.folds.by}", len(result.folds)
    findings = compute_findings(predictions, baselines, SplitInfo(by=split, leakage=run.leakage))
    groups = data.features.groups
    figures = figures_of_folds(run)
    return ReportData(
        title=data.dataset.root.name or str(data.dataset.root),
        subtitle=f"Cross-validation, {number} {split}",
        method=f"Each clip was scored by the network trained on the other {number - 1} folds.",
        predictions=_with_interval(predictions, findings),
        findings=findings,
        metadata=metadata,
        speed=_speed_of_run(data, {"training, all folds": result.seconds}),
        settings=settings,
        command=command,
        conclusion=conclude_crossval(run, findings, figures, quote(source), predictions.evaluation),
        folds=result.folds,
        heads=tuple(figures_of(name, one, data, groups) for name, one in run.rounds.items()),
        figures=figures,
    )


def _with_interval(predictions: Predictions, findings: Findings) -> Predictions:
    """Give the evaluation the interval of the findings, by group: one for one accuracy."""
    accuracy = findings.estimates.accuracy
    interval = (accuracy.low, accuracy.high)
    evaluation = replace(predictions.evaluation, accuracy_interval=interval)
    return replace(predictions, evaluation=evaluation)


def training_report(
    run: "TrainingRun", *, command: str, settings: Mapping[str, Any], source: str = "DATA"
) -> ReportData:
    """Assemble the report of a training run on its held-out clips; `source` as above."""
    data, rows, description = run.data, run.measured_rows, run.model.description
    predictions = _predictions(data, rows, run)
    majority = majority_scores(data.targets[run.split.train], len(rows), len(description.labels))
    optimistic = "These clips also chose the best epoch, so accuracy is overestimated."
    split = SplitInfo(
        by=f"split by {run.split.by}",
        leakage=run.leakage,
        optimistic_because=optimistic if run.measured_on == "val" else "",
    )
    baselines = BaselineScores(
        majority=majority if data.multi_label else majority.argmax(axis=1),
        has_lstm=description.network.temporal == "lstm",
        orders=run.orders,
    )
    findings = compute_findings(predictions, baselines, split)
    next_command = f"activity predict VIDEO --model {quote(str(run.folder))}"
    if run.leakage and not run.leakage.has_groups:
        groups = " --groups auto" * (run.leakage.suggestion is not None)
        next_command = f"activity crossval {quote(source)}{groups}"
    parts = describe_parts(len(run.split.train), len(run.split.val), len(run.split.test))
    return ReportData(
        title=description.name,
        subtitle=f"Training run, measured on {len(rows)} {run.measured_on} clips",
        method=f"{parts}. Split by {run.split.by}.",
        predictions=_with_interval(predictions, findings),
        findings=findings,
        metadata={**_labelled_metadata(data), **_model_metadata(description)},
        speed=_speed_of_run(data, {s: run.stage_seconds[s] for s in ("training", "measuring")}),
        settings=settings,
        command=command,
        conclusion=Conclusion(
            problem=biggest_problem(findings.checks),
            sentence=state_accuracy(
                findings.estimates.accuracy,
                f"{len(rows)} {MEASURED_ON[run.measured_on]}",
                predictions.evaluation,
            )
            + ".",
            next_command=next_command,
        ),
    )


def measurement_report(
    measurement: "Measurement",
    dataset: Dataset,
    *,
    engine: str,
    orders: OrderScores | None,
    command: str,
    model: str = "MODEL",
) -> ReportData:
    """Assemble the report of an evaluation; no `orders` if the frame order was not measured.

    `model` is the model in the next command.
    """
    description, labels = measurement.description, measurement.description.labels
    predictions = replace(measurement.predictions, orders=orders)
    if description.multi_label:
        predictions = _with_timelines(predictions, measurement.dataset)
    samples = [clip.sample for clip in predictions.clips]
    durations = [clip.duration_seconds for clip in predictions.clips]
    metadata = {**_data_metadata(samples, durations, labels), **_model_metadata(description)}
    if measurement.rejected is not None:
        clips = count_of(int(measurement.rejected.sum()), "clip")
        accuracy = measurement.accuracy_of_accepted
        others = "" if accuracy is None else f"; accuracy of the others {accuracy:.1%}"
        metadata["Rejected as unknown"] = f"{clips}{others}. All metrics include these clips."
    counts = description.data.get("clips_per_label", {})
    majority = most_frequent([counts.get(label, 0) for label in labels], len(samples))
    baselines = BaselineScores(
        majority=np.zeros((len(samples), len(labels))) if description.multi_label else majority,
        has_lstm=description.network.temporal == "lstm",
        orders=orders,
    )
    findings = compute_findings(predictions, baselines, SplitInfo())
    measured_on = count_of(len(samples), "clip")
    return ReportData(
        title=description.name,
        subtitle=f"Evaluation on {dataset.root.name or dataset.root}, {len(samples)} clips",
        method="The metrics are valid for clips that the model was not trained on.",
        predictions=_with_interval(predictions, findings),
        findings=findings,
        metadata={**metadata, "Engine": engine},
        speed=_speed_of_clips(measurement.stage_seconds),
        conclusion=Conclusion(
            problem=biggest_problem(findings.checks),
            sentence=state_accuracy(
                findings.estimates.accuracy, measured_on, predictions.evaluation
            )
            + ".",
            next_command=f"activity predict VIDEO --model {quote(model)}",
        ),
        settings={
            "clip": description.clip.to_json(),
            "network": description.network.to_json(),
            "training": description.training,
        },
        command=command,
    )


def _predictions(
    data: "LabelledClips", rows: NDArray[np.int64], found: "CrossValidation | TrainingRun"
) -> Predictions:
    """Put scores (N, C) of rows of labelled features beside their clips."""
    chosen = [(data.dataset.samples[row], data.clips[row]) for row in rows.tolist()]
    targets, labels = data.targets[rows], data.dataset.labels
    _, predicted = label_matrix(found.scores, targets, found.thresholds)
    predictions = Predictions(
        clips=tuple(
            ClipPrediction(
                sample=sample,
                status=clip.status,
                reason=clip.reason,
                duration_seconds=clip.decoded.duration_seconds if clip.decoded else 0.0,
                label=" + ".join(compress(labels, own)) or NONE,
            )
            for (sample, clip), own in zip(chosen, predicted, strict=True)
        ),
        scores=found.scores,
        targets=targets,
        thresholds=found.thresholds,
        left_out=tuple((sample, clip.status, clip.reason) for sample, clip in data.left_out),
        evaluation=found.evaluation,
        orders=found.orders,
    )
    return _with_timelines(predictions, data.dataset) if data.multi_label else predictions


def _with_timelines(predictions: Predictions, dataset: Dataset) -> Predictions:
    """Add what the scores of windows give over whole videos, for a multi-label model."""
    assert predictions.thresholds is not None
    found = measure_timelines(
        dataset,
        [clip.sample for clip in predictions.clips],
        predictions.scores,
        predictions.thresholds,
    )
    return replace(predictions, evaluation=replace(predictions.evaluation, timelines=found))


def _labelled_metadata(data: "LabelledClips") -> dict[str, str]:
    """Describe labelled clips and how they were read."""
    dataset = data.dataset
    durations = [c.decoded.duration_seconds for c in data.clips if c.decoded]
    # A CNN that is trained differs from fold to fold.
    cnn = (
        "trained with the classifier"
        if data.features.holds_frames
        else network_names(data.clip, data.backbone)
    )
    return {
        **_data_metadata(dataset.samples, durations, dataset.labels),
        "Input": _input(data.clip),
        "CNN": cnn,
        "Engine": data.engine,
    }


def _data_metadata(
    samples: Sequence[Sample], durations: Sequence[float], labels: Sequence[str]
) -> Metadata:
    """Describe labelled clips."""
    groups = sample_groups(samples)
    counts = Counter(label for sample in samples for label in sample.all_labels)
    shown = and_more([f"{label} {counts[label]}" for label in labels], _MAX_LABELS, "labels")
    seconds = np.array(durations)
    median, total = np.median(seconds), f"total {seconds.sum() / 60:.1f} min"
    return {
        "Clips": f"{len(samples)}: {shown}",
        "Length": f"{min(seconds):.1f} to {max(seconds):.1f} s, median {median:.1f} s, {total}",
        "Groups": str(groups.max() + 1) if groups is not None else "none",
    }


def _model_metadata(description: ModelDescription) -> Metadata:
    """Describe a model."""
    return {
        "Model": f"{description.name}, created {description.created}",
        "CNN": network_names(description.clip, description.backbone),
        "Input": _input(description.clip),
    }


def _input(clip: ClipSettings) -> str:
    streams = join_words([_STREAMS.get(stream, stream) for stream in clip.streams])
    return f"{clip.num_frames} frames of {clip.frame_size} × {clip.frame_size} per clip: {streams}"


def _speed_of_run(data: "LabelledClips", stage_seconds: Mapping[str, float]) -> Metadata:
    """Return the time of whole stages, then per clip."""
    stages = {**data.stage_seconds, **stage_seconds}
    whole = {stage: f"{seconds:.1f} s" for stage, seconds in stages.items()}
    return whole | _speed_of_clips([clip.stage_seconds for clip in data.clips])


def _speed_of_clips(stage_seconds: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """Return the mean time per clip and stage on this machine, without cached clips."""
    fresh = [seconds for seconds in stage_seconds if seconds.get("cnn", 1.0) > 0]
    found = {}
    for stage in dict.fromkeys(stage for seconds in fresh for stage in seconds):
        mean = 1000 * np.mean([seconds.get(stage, 0.0) for seconds in fresh])
        found[f"{_STAGES.get(stage, stage)}, per clip"] = f"{mean:.1f} ms"
    if num_cached := len(stage_seconds) - len(fresh):
        found["features from the cache"] = f"{num_cached} of {len(stage_seconds)} clips"
    cores = count_of(available_cpus(), "core")
    system = f"{platform.system()} {platform.machine()}"
    return {**found, "machine": f"{system}, {cores}, Python {platform.python_version()}"}
