"""The files of a run folder: metrics, settings, predictions, learning curves, model card."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.files import write_json, write_text_atomically
from activity_cli.common.settings_file import SETTINGS_FILE
from activity_cli.common.tables import write_table
from activity_cli.data.dataset import Sample
from activity_cli.model.folder import CARD_FILE, CONFUSION_FILE
from activity_cli.report.figures.plots import plot_confusion, plot_curves
from activity_cli.report.model_card import held_out_results, write_model_card
from activity_cli.types import Status

if TYPE_CHECKING:
    from activity_cli.evaluation.measurement import Measurement
    from activity_cli.model.calibration import Calibration
    from activity_cli.model.folder import Model
    from activity_cli.training.crossval import CrossvalRun
    from activity_cli.training.run import TrainingRun

_SCORE_DIGITS = 6


class Outcome(Protocol):
    """The status of a clip, from whichever stage."""

    @property
    def status(self) -> Status:
        """Return the status."""

    @property
    def reason(self) -> str:
        """Return why the status is not ok."""


def begin_run(folder: Path, settings: str) -> None:
    """Write the settings of a run that begins, so that it can be resumed.

    Raises:
        OutputError: they cannot be written.
    """
    write_text_atomically(folder / SETTINGS_FILE, settings)


def write_training_run(
    run: "TrainingRun", metrics: Mapping[str, Any], *, command: str, settings: str
) -> None:
    """Write all files of a run folder but the model.

    These are metrics.json, settings.toml, history.csv, split.csv, predictions.csv of the held-out
    clips and curves.png; in the model folder the model card and confusion.png.

    Args:
        run: the finished training.
        metrics: content of metrics.json.
        command: as the user typed it.
        settings: all settings as TOML.

    Raises:
        OutputError: a file cannot be written; the model itself is already saved.
    """
    folder, description = run.folder, run.model.description
    write_json(folder / "metrics.json", metrics)
    write_text_atomically(folder / SETTINGS_FILE, settings)
    columns = [field.name for field in fields(run.fitted.history[0])]
    rows = [asdict(epoch) for epoch in run.fitted.history]
    write_table(folder / "history.csv", columns, [[row[c] for c in columns] for row in rows])
    _write_split(run)
    samples = [run.data.dataset.samples[row] for row in run.measured_rows]
    clips = [run.data.clips[row] for row in run.measured_rows]
    write_predictions(
        folder / "predictions.csv",
        samples,
        clips,
        run.scores,
        run.evaluation.labels,
        left_out=run.data.left_out,
    )
    plot_curves(run.fitted.history, run.fitted.best_epoch, folder / "curves.png")
    title = f"{description.name}: {run.evaluation.num_clips} {run.measured_on} clips"
    plot_confusion(run.evaluation, run.model.folder / CONFUSION_FILE, title=title)
    results = held_out_results(run.evaluation, run.measured_on)
    card = write_model_card(description, results=results, command=command)
    write_text_atomically(run.model.folder / CARD_FILE, card)


def training_metrics(run: "TrainingRun", *, command: str) -> dict[str, Any]:
    """Return the content of a training run's metrics.json, which `--json` prints as well."""
    return {
        "measured_on": run.measured_on,
        **run.evaluation.to_json(),
        "best_epoch": run.fitted.best_epoch,
        "num_epochs": run.fitted.history[-1].epoch,
        "ended_by": run.fitted.ending,
        "notes": list(run.fitted.notes),
        "calibration": _calibration(run.model.description.calibration),
        "num_left_out": len(run.data.left_out),
        "seconds": {stage: round(seconds, 2) for stage, seconds in run.stage_seconds.items()},
        "leakage": run.leakage.to_json() if run.leakage else None,
        "command": command,
        "run": str(run.folder),
    }


def crossval_metrics(run: "CrossvalRun", *, command: str) -> dict[str, Any]:
    """Return the content of a cross-validation's metrics.json, which `--json` prints as well."""
    return {
        **run.result.evaluation.to_json(),
        "calibration": _calibration(run.result.calibration),
        "background": _background_metrics(run),
        "folds": [asdict(fold) for fold in run.result.folds],
        "folds_by": run.folds.by,
        "leakage": run.leakage.to_json(),
        "num_left_out": len(run.data.left_out),
        "heads": {name: result.evaluation.to_json() for name, result in run.rounds.items()},
        "hard_pairs": [asdict(pair) for pair in run.hard_pairs],
        "seconds": {**run.data.stage_seconds, "training": run.result.seconds},
        "command": command,
    }


def write_crossval(
    run: "CrossvalRun", folder: Path, metrics: Mapping[str, Any], *, settings: str
) -> None:
    """Write metrics.json, settings.toml, predictions.csv (out of fold) and confusion.png.

    Raises:
        OutputError: a file cannot be written.
    """
    write_json(folder / "metrics.json", metrics)
    write_text_atomically(folder / SETTINGS_FILE, settings)
    write_predictions(
        folder / "predictions.csv",
        run.data.dataset.samples,
        run.data.clips,
        run.result.scores,
        run.data.dataset.labels,
        left_out=run.data.left_out,
        folds=[run.folds.names[index] for index in run.folds.index],
    )
    title = f"{run.data.dataset.root.name}: out of fold, {len(run.folds.names)} folds"
    plot_confusion(run.result.evaluation, folder / CONFUSION_FILE, title=title)


def write_ensemble_card(model: "Model", run: "CrossvalRun", *, command: str) -> None:
    """Write the model card and confusion.png of a cross-validation's ensemble.

    Raises:
        OutputError: a file cannot be written; the model itself is already saved.
    """
    description, evaluation = model.description, run.result.evaluation
    title = f"{description.name}: out of fold, {description.num_members} members"
    plot_confusion(evaluation, model.folder / CONFUSION_FILE, title=title)
    results = held_out_results(evaluation, description.metrics["measured_on"])
    card = write_model_card(description, results=results, command=command)
    write_text_atomically(model.folder / CARD_FILE, card)


def measurement_metrics(measurement: "Measurement", *, command: str) -> dict[str, Any]:
    """Return the content of an evaluation's metrics.json, which `--json` prints as well."""
    return {
        **measurement.evaluation.to_json(),
        "model": measurement.description.name,
        "rejected": _rejection_metrics(measurement),
        "num_left_out": len(measurement.left_out),
        "command": command,
    }


def write_measurement(measurement: "Measurement", folder: Path, metrics: Mapping[str, Any]) -> None:
    """Write metrics.json, predictions.csv and confusion.png into the folder.

    Raises:
        OutputError: a file cannot be written.
    """
    write_json(folder / "metrics.json", metrics)
    write_predictions(
        folder / "predictions.csv",
        measurement.samples,
        measurement.results,
        measurement.scores,
        measurement.evaluation.labels,
        left_out=measurement.left_out,
        predicted=[result.label or "" for result in measurement.results],
    )
    name = measurement.description.name
    title = f"{name}: {measurement.evaluation.num_clips} clips"
    plot_confusion(measurement.evaluation, folder / CONFUSION_FILE, title=title)


def write_predictions(
    path: Path,
    samples: Sequence[Sample],
    clips: Sequence[Outcome],
    scores: NDArray[np.float32],
    labels: Sequence[str],
    *,
    left_out: Sequence[tuple[Sample, Outcome]] = (),
    folds: Sequence[str] | None = None,
    predicted: Sequence[str] | None = None,
) -> None:
    """Write one row per labelled clip: true label, predicted label, scores; or why it has none.

    Args:
        path: the CSV.
        samples: N clips with scores.
        clips: their status.
        scores: (N, C).
        labels: C names.
        left_out: clips that could not be decoded.
        folds: name of the fold that held out each clip.
        predicted: label of each clip, where it is not always the best one.

    Raises:
        OutputError: the file cannot be written.
    """
    columns = ["path", "start", "end", "true_label", "label", "score", "status", "reason"]
    has_groups = any(sample.group for sample in samples)
    columns += ["group"] if has_groups else []
    columns += ["fold"] if folds is not None else []
    columns += [f"score_{label}" for label in labels]
    rows: list[list[object]] = []
    for index, (sample, clip) in enumerate(zip(samples, clips, strict=True)):
        best = int(scores[index].argmax())
        label = predicted[index] if predicted is not None else labels[best]
        row = [*_piece(sample), sample.label, label, round(float(scores[index, best]), 6)]
        row += [clip.status.value, clip.reason]
        row += [sample.group] if has_groups else []
        row += [folds[index]] if folds is not None else []
        rows.append([*row, *(round(float(score), _SCORE_DIGITS) for score in scores[index])])
    for sample, clip in left_out:
        row = [*_piece(sample), sample.label, None, None, clip.status.value, clip.reason]
        rows.append(row + [None] * (len(columns) - len(row)))
    write_table(path, columns, rows)


def _calibration(calibration: "Calibration | None") -> dict[str, Any] | None:
    return calibration.to_json() if calibration else None


def _rejection_metrics(measurement: "Measurement") -> dict[str, Any] | None:
    """Return how many clips were rejected, and the accuracy on the others."""
    if measurement.rejected is None:
        return None
    accuracy = measurement.accuracy_of_accepted
    return {
        "num_clips": int(measurement.rejected.sum()),
        "share": round(float(measurement.rejected.mean()), 4),
        "accuracy_of_others": None if accuracy is None else round(accuracy, 4),
    }


def _background_metrics(run: "CrossvalRun") -> dict[str, Any] | None:
    """Return missed events and false alarms; None without a background label."""
    if run.background is None:
        return None
    missed, false_alarms = run.result.evaluation.event_errors(run.background)
    return {
        "label": run.background,
        "missed": round(missed, 4),
        "false_alarms": round(false_alarms, 4),
    }


def _write_split(run: "TrainingRun") -> None:
    parts = {"train": run.split.train, "val": run.split.val, "test": run.split.test}
    part_of = {int(row): part for part, rows in parts.items() for row in rows}
    rows: list[list[object]] = [
        [*_piece(sample), sample.label, sample.group, part_of[row]]
        for row, sample in enumerate(run.data.dataset.samples)
    ]
    rows += [[*_piece(s), s.label, s.group, clip.status.value] for s, clip in run.data.left_out]
    write_table(run.folder / "split.csv", ["path", "start", "end", "label", "group", "split"], rows)


def _piece(sample: Sample) -> list[object]:
    return [sample.name, sample.start_seconds, sample.end_seconds]
