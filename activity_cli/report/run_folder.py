"""The files of a run folder: metrics, settings, predictions, learning curves, model card."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import fill
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from activity_cli.common import describe_parts
from activity_cli.common.files import write_json, write_text_atomically
from activity_cli.common.settings_file import SETTINGS_FILE
from activity_cli.common.tables import write_table
from activity_cli.data.dataset import Sample
from activity_cli.data.scene_groups import SuggestedGroups
from activity_cli.data.splits import Folds
from activity_cli.evaluation import Predictions
from activity_cli.evaluation.comparison import METRICS_FILE, PREDICTIONS_FILE, SPLIT_FILE
from activity_cli.evaluation.intervals import plain_values
from activity_cli.model.folder import CARD_FILE, CONFUSION_FILE, ModelDescription
from activity_cli.model.metrics import Evaluation
from activity_cli.report.assembly import ReportData
from activity_cli.report.figures import Draw, draw_here, plot_confusion, plot_curves

if TYPE_CHECKING:
    from activity_cli.evaluation.measurement import Measurement
    from activity_cli.model.folder import Model
    from activity_cli.training.crossval import CrossvalRun
    from activity_cli.training.run import TrainingRun


_SCORE_DIGITS = 6
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


def training_metrics(run: "TrainingRun", content: ReportData) -> dict[str, Any]:
    """Return the content of a training run's metrics.json, which `--json` prints as well."""
    calibration = run.model.description.calibration
    return {
        "conclusion": content.conclusion.to_json(),
        "measured_on": run.measured_on,
        **content.predictions.evaluation.to_json(),
        "best_epoch": run.fitted.best_epoch,
        "num_epochs": run.fitted.history[-1].epoch,
        "ended_by": run.fitted.ending,
        "notes": list(run.fitted.notes),
        "calibration": calibration.to_json() if calibration else None,
        "num_left_out": len(run.data.left_out),
        "seconds": {stage: round(seconds, 2) for stage, seconds in run.stage_seconds.items()},
        "leakage": run.leakage.to_json() if run.leakage else None,
        "command": content.command,
        "run": str(run.folder),
        **content.findings.to_json(),
    }


def crossval_metrics(run: "CrossvalRun", content: ReportData) -> dict[str, Any]:
    """Return the content of a cross-validation's metrics.json, which `--json` prints as well."""
    background, calibration = None, run.result.calibration
    if run.background is not None:
        names = ("missed", "false_alarms")
        errors = [round(share, 4) for share in run.result.evaluation.event_errors(run.background)]
        background = {"label": run.background, **dict(zip(names, errors, strict=True))}
    other = run.other
    return {
        "conclusion": content.conclusion.to_json(),
        **content.predictions.evaluation.to_json(),
        "calibration": calibration.to_json() if calibration else None,
        "background": background,
        "folds": [asdict(fold) for fold in run.result.folds],
        "folds_by": run.folds.by,
        "leakage": run.leakage.to_json(),
        "num_left_out": len(run.data.left_out),
        "suggested_groups": other
        and {
            "by": "names" if other.groups.pattern else "scenes",
            "num_groups": len(other.groups.names),
            "figures": [plain_values(one) for one in content.figures],
            "not_measured": other.problem or None,
        },
        "heads": {
            name: result.evaluation.to_json()
            | {"confidence_interval": plain_values(one)["accuracy"][1:]}
            for (name, result), one in zip(run.rounds.items(), content.heads, strict=True)
        },
        "hard_pairs": [asdict(pair) for pair in run.hard_pairs],
        "seconds": {**run.data.stage_seconds, "training": run.result.seconds},
        "command": content.command,
        **content.findings.to_json(),
    }


def measurement_metrics(measurement: "Measurement", content: ReportData) -> dict[str, Any]:
    """Return the content of an evaluation's metrics.json, which `--json` prints as well."""
    accuracy, rejected = measurement.accuracy_of_accepted, None
    if measurement.rejected is not None:
        rejected = {
            "num_clips": int(measurement.rejected.sum()),
            "share": round(float(measurement.rejected.mean()), 4),
            "accuracy_of_others": None if accuracy is None else round(accuracy, 4),
        }
    return {
        "conclusion": content.conclusion.to_json(),
        **content.predictions.evaluation.to_json(),
        "model": measurement.description.name,
        "rejected": rejected,
        "num_left_out": len(content.predictions.left_out),
        "command": content.command,
        **content.findings.to_json(),
    }


def write_training_run(
    run: "TrainingRun",
    content: ReportData,
    metrics: Mapping[str, Any],
    settings: str,
    draw: Draw = draw_here,
) -> None:
    """Write the files of a training run but its model and report.html.

    `settings` are TOML. Raises an OutputError; the model itself is already saved.
    """
    folder = run.folder
    write_json(folder / METRICS_FILE, metrics)
    write_text_atomically(folder / SETTINGS_FILE, settings)
    epochs = [asdict(epoch) for epoch in run.fitted.history]
    write_table(folder / "history.csv", list(epochs[0]), [list(row.values()) for row in epochs])
    _write_split(run)
    write_predictions(folder / PREDICTIONS_FILE, content.predictions)
    counts = np.array(list(run.data.dataset.counts().values()))
    # Of multi-label windows the accuracy of the loop is the share of labels that are right.
    share = counts / len(run.data.targets)
    majority = float(np.maximum(share, 1 - share).mean() if run.data.multi_label else share.max())
    draw(plot_curves, epochs, run.fitted.best_epoch, folder / "curves.png", majority=majority)
    write_card(run.model, content, run.measured_on, draw)


def write_evaluation(
    folder: Path,
    content: ReportData,
    metrics: Mapping[str, Any],
    *,
    settings: str = "",
    folds: Folds | None = None,
    groups: SuggestedGroups | None = None,
) -> None:
    """Write metrics.json, predictions.csv and confusion.png of an evaluation or cross-validation.

    A cross-validation also has `settings` as TOML, folds, and suggested groups where the data has
    none. May raise an OutputError.
    """
    write_json(folder / METRICS_FILE, metrics)
    if settings:
        write_text_atomically(folder / SETTINGS_FILE, settings)
    more = {"suggested_group": [groups.names[n] for n in groups.numbers]} if groups else {}
    more |= {"fold": [folds.names[index] for index in folds.index]} if folds else {}
    write_predictions(folder / PREDICTIONS_FILE, content.predictions, more)
    evaluation = content.predictions.evaluation
    if not evaluation.multi_label:
        plot_confusion(evaluation, folder / CONFUSION_FILE, title=content.subtitle)


def write_card(
    model: "Model", content: ReportData, measured_on: str, draw: Draw = draw_here
) -> None:
    """Write the model card and confusion.png into the model folder; may raise an OutputError."""
    evaluation = content.predictions.evaluation
    if not evaluation.multi_label:
        title = f"{model.description.name}: {evaluation.num_clips} {measured_on} clips"
        draw(plot_confusion, evaluation, model.folder / CONFUSION_FILE, title=title)
    card = write_model_card(
        model.description,
        evaluation=evaluation,
        measured_on=_MEASURED_ON[measured_on],
        command=content.command,
    )
    write_text_atomically(model.folder / CARD_FILE, card)


def write_predictions(
    path: Path, predictions: Predictions, more: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> None:
    """Write a CSV row per labelled clip: true label, predicted label, scores; or why it has none.

    `more` are (N,) values of the clips in further columns. May raise an OutputError.
    """
    has_groups = any(clip.sample.group for clip in predictions.clips)
    rows: list[dict[str, object]] = []
    for index, clip in enumerate(predictions.clips):
        scores = [round(float(score), _SCORE_DIGITS) for score in predictions.scores[index]]
        row = {**_piece(clip.sample, "true_label"), "label": clip.label, "score": max(scores)}
        row |= {"status": clip.status.value, "reason": clip.reason}
        row |= {"group": clip.sample.group} if has_groups else {}
        row |= {name: values[index] for name, values in more.items()}
        columns = [f"score_{label}" for label in predictions.labels]
        rows.append(row | dict(zip(columns, scores, strict=True)))
    for sample, status, reason in predictions.left_out:
        why = {"status": status.value, "reason": reason}
        rows.append(_piece(sample, "true_label") | why)
    write_table(path, list(rows[0]), [[row.get(name) for name in rows[0]] for row in rows])


def _write_split(run: "TrainingRun") -> None:
    parts = {"train": run.split.train, "val": run.split.val, "test": run.split.test}
    part_of = {int(row): part for part, rows in parts.items() for row in rows}
    clips = [(sample, part_of[row]) for row, sample in enumerate(run.data.dataset.samples)]
    clips += [(sample, clip.status.value) for sample, clip in run.data.left_out]
    rows = [_piece(s, "label") | {"group": s.group, "split": part} for s, part in clips]
    write_table(run.folder / SPLIT_FILE, list(rows[0]), [list(row.values()) for row in rows])


def _piece(sample: Sample, label: str) -> dict[str, object]:
    """Return the first columns of a clip; `label` is the name of the column of its label."""
    times = {"start": sample.start_seconds, "end": sample.end_seconds}
    return {"path": sample.name, **times, label: sample.label}


def write_model_card(
    description: ModelDescription,
    *,
    command: str,
    evaluation: Evaluation | None = None,
    measured_on: str = "",
    results: str = "",
    data_notes: str = "",
    limits: str = _LIMITS,
) -> str:
    """Return the card as Markdown; `command` trains the model again.

    Results are those of an evaluation on held-out clips (`measured_on` says which), or Markdown.
    `data_notes` are source and licence of the data.
    """
    from jinja2 import Environment

    environment = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters["percent"] = "{:.1%}".format
    environment.filters["paragraph"] = lambda text: fill(" ".join(text.split()), _WIDTH)
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        description=description,
        evaluation=evaluation,
        measured_on=measured_on,
        results=results,
        command=command,
        data_notes=data_notes,
        limits=limits,
        describe_parts=describe_parts,
    )
