"""The files of a run folder: metrics, settings, predictions, learning curves, model card."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from activity_cli.common import describe_parts
from activity_cli.common.files import write_json, write_text_atomically
from activity_cli.common.settings_file import SETTINGS_FILE
from activity_cli.common.tables import write_table
from activity_cli.data.dataset import Sample
from activity_cli.evaluation import Predictions
from activity_cli.evaluation.comparison import METRICS_FILE, PREDICTIONS_FILE, SPLIT_FILE
from activity_cli.model.folder import CARD_FILE, CONFUSION_FILE, ModelDescription
from activity_cli.model.metrics import Evaluation
from activity_cli.report.assembly import ReportData
from activity_cli.report.figures import plot_confusion, plot_curves

if TYPE_CHECKING:
    from activity_cli.evaluation.measurement import Measurement
    from activity_cli.model.calibration import Calibration
    from activity_cli.model.folder import Model
    from activity_cli.training.crossval import CrossvalRun
    from activity_cli.training.run import TrainingRun


_SCORE_DIGITS = 6


def begin_run(folder: Path, settings: str) -> None:
    """Write the settings of a run that begins, so that it can be resumed.

    Raises:
        OutputError: they cannot be written.
    """
    write_text_atomically(folder / SETTINGS_FILE, settings)


def training_metrics(run: "TrainingRun", content: ReportData) -> dict[str, Any]:
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
        "command": content.command,
        "run": str(run.folder),
        **content.findings.to_json(),
    }


def crossval_metrics(run: "CrossvalRun", content: ReportData) -> dict[str, Any]:
    """Return the content of a cross-validation's metrics.json, which `--json` prints as well."""
    background = None
    if run.background is not None:
        missed, false_alarms = run.result.evaluation.event_errors(run.background)
        background = {
            "label": run.background,
            "missed": round(missed, 4),
            "false_alarms": round(false_alarms, 4),
        }
    return {
        **run.result.evaluation.to_json(),
        "calibration": _calibration(run.result.calibration),
        "background": background,
        "folds": [asdict(fold) for fold in run.result.folds],
        "folds_by": run.folds.by,
        "leakage": run.leakage.to_json(),
        "num_left_out": len(run.data.left_out),
        "heads": {name: result.evaluation.to_json() for name, result in run.rounds.items()},
        "hard_pairs": [asdict(pair) for pair in run.hard_pairs],
        "seconds": {**run.data.stage_seconds, "training": run.result.seconds},
        "command": content.command,
        **content.findings.to_json(),
    }


def measurement_metrics(measurement: "Measurement", content: ReportData) -> dict[str, Any]:
    """Return the content of an evaluation's metrics.json, which `--json` prints as well."""
    rejected, accuracy = measurement.rejected, measurement.accuracy_of_accepted
    return {
        **content.predictions.evaluation.to_json(),
        "model": measurement.description.name,
        "rejected": None
        if rejected is None
        else {
            "num_clips": int(rejected.sum()),
            "share": round(float(rejected.mean()), 4),
            "accuracy_of_others": None if accuracy is None else round(accuracy, 4),
        },
        "num_left_out": len(content.predictions.left_out),
        "command": content.command,
        **content.findings.to_json(),
    }


def write_training_run(
    run: "TrainingRun", content: ReportData, metrics: Mapping[str, Any], settings: str
) -> None:
    """Write the files of a training run but its model and report.html.

    These are metrics.json, settings.toml, history.csv, split.csv, predictions.csv of the held-out
    clips and curves.png; in the model folder the model card and confusion.png.

    Args:
        run: the finished training.
        content: of its report.
        metrics: content of metrics.json.
        settings: all settings as TOML.

    Raises:
        OutputError: a file cannot be written; the model itself is already saved.
    """
    folder, history = run.folder, run.fitted.history
    write_json(folder / METRICS_FILE, metrics)
    write_text_atomically(folder / SETTINGS_FILE, settings)
    columns = [field.name for field in fields(history[0])]
    rows = [[getattr(epoch, column) for column in columns] for epoch in history]
    write_table(folder / "history.csv", columns, rows)
    _write_split(run)
    write_predictions(folder / PREDICTIONS_FILE, content.predictions)
    plot_curves(history, run.fitted.best_epoch, folder / "curves.png")
    write_card(run.model, content, run.measured_on)


def write_evaluation(
    folder: Path,
    content: ReportData,
    metrics: Mapping[str, Any],
    *,
    settings: str = "",
    folds: Sequence[str] | None = None,
) -> None:
    """Write metrics.json, predictions.csv and confusion.png of an evaluation or cross-validation.

    Args:
        folder: to write to.
        content: of the report.
        metrics: content of metrics.json.
        settings: all settings as TOML; empty for an evaluation.
        folds: name of the fold that held out each clip.

    Raises:
        OutputError: a file cannot be written.
    """
    write_json(folder / METRICS_FILE, metrics)
    if settings:
        write_text_atomically(folder / SETTINGS_FILE, settings)
    write_predictions(folder / PREDICTIONS_FILE, content.predictions, folds)
    plot_confusion(content.predictions.evaluation, folder / CONFUSION_FILE, title=content.subtitle)


def write_card(model: "Model", content: ReportData, measured_on: str) -> None:
    """Write the model card and confusion.png into the model folder.

    Raises:
        OutputError: a file cannot be written; the model itself is already saved.
    """
    evaluation = content.predictions.evaluation
    title = f"{model.description.name}: {evaluation.num_clips} {measured_on} clips"
    plot_confusion(evaluation, model.folder / CONFUSION_FILE, title=title)
    results = held_out_results(evaluation, measured_on)
    card = write_model_card(model.description, results=results, command=content.command)
    write_text_atomically(model.folder / CARD_FILE, card)


def write_predictions(
    path: Path, predictions: Predictions, folds: Sequence[str] | None = None
) -> None:
    """Write one row per labelled clip: true label, predicted label, scores; or why it has none.

    Args:
        path: the CSV.
        predictions: of N clips.
        folds: (N,) name of the fold that held out each clip.

    Raises:
        OutputError: the file cannot be written.
    """
    has_groups = any(clip.sample.group for clip in predictions.clips)
    columns = ["path", "start", "end", "true_label", "label", "score", "status", "reason"]
    columns += ["group"] if has_groups else []
    columns += ["fold"] if folds is not None else []
    columns += [f"score_{label}" for label in predictions.labels]
    rows: list[list[object]] = []
    for index, clip in enumerate(predictions.clips):
        scores = [round(float(score), _SCORE_DIGITS) for score in predictions.scores[index]]
        row = [*_piece(clip.sample), clip.sample.label, clip.label, max(scores)]
        row += [clip.status.value, clip.reason]
        row += [clip.sample.group] if has_groups else []
        row += [folds[index]] if folds is not None else []
        rows.append([*row, *scores])
    for sample, status, reason in predictions.left_out:
        row = [*_piece(sample), sample.label, None, None, status.value, reason]
        rows.append(row + [None] * (len(columns) - len(row)))
    write_table(path, columns, rows)


def _calibration(calibration: "Calibration | None") -> dict[str, Any] | None:
    return calibration.to_json() if calibration else None


def _write_split(run: "TrainingRun") -> None:
    parts = {"train": run.split.train, "val": run.split.val, "test": run.split.test}
    part_of = {int(row): part for part, rows in parts.items() for row in rows}
    rows: list[list[object]] = [
        [*_piece(sample), sample.label, sample.group, part_of[row]]
        for row, sample in enumerate(run.data.dataset.samples)
    ]
    rows += [[*_piece(s), s.label, s.group, clip.status.value] for s, clip in run.data.left_out]
    columns = ["path", "start", "end", "label", "group", "split"]
    write_table(run.folder / SPLIT_FILE, columns, rows)


def _piece(sample: Sample) -> list[object]:
    return [sample.name, sample.start_seconds, sample.end_seconds]


_TEMPLATE = Path(__file__).with_name("model_card.md.j2")
_WIDTH = 96
_MEASURED_ON = {
    "test": "clips that were used neither for training nor to choose the best epoch",
    "val": "the validation clips, which also chose the best epoch: accuracy is overestimated",
    "inner-fold": "each scored by a network trained on the other inner folds. The model itself was "
    "trained on all of them",
    "out of fold": "each scored by the one member that was not trained on it. The ensemble, which "
    "averages its members, was trained on all clips and measured on none",
}

_LIMITS = """\
The model can only answer one of these labels: a video of another action gets the most similar
label, unless `--reject auto` reports it as unknown, which detects only some of them. The results
hold for videos similar to the training data. Do not make decisions about people by its output
alone."""


def write_model_card(
    description: ModelDescription,
    *,
    results: str,
    command: str,
    data_notes: str = "",
    limits: str = _LIMITS,
) -> str:
    """Return the card as Markdown.

    Args:
        description: of the model.
        results: as Markdown; `held_out_results` writes them for a training run.
        command: that trains the model again.
        data_notes: source and licence of the data.
        limits: of the model.
    """
    from jinja2 import Environment

    environment = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters["percent"] = "{:.1%}".format
    environment.filters["paragraph"] = _paragraph
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        description=description,
        results=results,
        command=command,
        data_notes=data_notes,
        limits=limits,
        describe_parts=describe_parts,
    )


def held_out_results(evaluation: Evaluation, measured_on: str) -> str:
    """Return the metrics of an evaluation as Markdown.

    `measured_on` is `test`, `inner-fold`, `val` or `out of fold`.
    """
    low, high = evaluation.accuracy_interval
    measured = f"Measured on {evaluation.num_clips} held-out clips: {_MEASURED_ON[measured_on]}."
    rows = [
        f"| {row.label} | {row.precision:.1%} | {row.recall:.1%} | {row.f1:.1%} | {row.num_clips} |"
        for row in evaluation.per_label
    ]
    return "\n".join(
        [
            fill(measured, _WIDTH),
            "",
            "| accuracy | 95% CI | macro precision | macro recall | macro F1 |",
            "|---|---|---|---|---|",
            f"| {evaluation.accuracy:.1%} | {100 * low:.1f} to {high:.1%} "
            f"| {evaluation.macro_precision:.1%} | {evaluation.macro_recall:.1%} "
            f"| {evaluation.macro_f1:.1%} |",
            "",
            "| label | precision | recall | F1 | clips |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )


def _paragraph(text: str) -> str:
    """Fill the lines of a template into one paragraph."""
    return fill(" ".join(text.split()), _WIDTH)
