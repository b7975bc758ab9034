"""Figures -> what a terminal shows: evaluations, training runs, cross-validations."""

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from activity_cli.common.wording import describe_parts
from activity_cli.evaluation.quality_checks import ANNOUNCED
from activity_cli.model.calibration import Calibration
from activity_cli.model.metrics import Evaluation
from activity_cli.report.terminal.elements import new_table

if TYPE_CHECKING:
    from activity_cli.data.dataset import Sample
    from activity_cli.evaluation.measurement import Measurement
    from activity_cli.report.data import Findings
    from activity_cli.report.run_folder import Outcome
    from activity_cli.training.crossval import CrossValidation, CrossvalRun, PairComparison
    from activity_cli.training.run import TrainingRun

REPORT_FILE = "report.html"
_FEW_CLIPS_PER_LABEL = 30
_HELD_OUT = {
    "test": "test clips, which took no part in training",
    "inner-fold": "clips, each by the network of an inner fold that did not learn from it",
    "val": "validation clips, which chose the best epoch, so this flatters",
}


def show_evaluation(evaluation: Evaluation) -> RenderableType:
    """Headline figures, the per-label table and the confusion matrix."""
    parts: list[RenderableType] = [show_headline(evaluation), Text()]
    parts.append(show_labels(evaluation))
    if len(evaluation.labels) <= 12:
        parts += [Text(), show_confusion(evaluation)]
    return Group(*parts)


def show_headline(evaluation: Evaluation) -> Text:
    """Accuracy with its interval, and the macro means."""
    low, high = evaluation.accuracy_interval
    return Text.assemble(
        "accuracy ",
        (f"{evaluation.accuracy:.3f}", "bold cyan"),
        (f"  (95% interval {low:.3f} to {high:.3f}, {evaluation.num_clips} clips)\n", "dim"),
        f"macro precision {evaluation.macro_precision:.3f} · recall {evaluation.macro_recall:.3f}"
        f" · F1 {evaluation.macro_f1:.3f}",
    )


def show_labels(evaluation: Evaluation) -> Table:
    """Precision, recall and F1 of every label."""
    table = new_table("label", "precision", "recall", "F1", "clips")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in evaluation.per_label:
        figures = (f"{row.precision:.3f}", f"{row.recall:.3f}", f"{row.f1:.3f}")
        table.add_row(Text(row.label), *figures, str(row.num_clips))
    return table


def show_confusion(evaluation: Evaluation) -> Table:
    """The confusion matrix: a row per true label, shaded by its share."""
    table = new_table("true \\ predicted", *(_shorten(label) for label in evaluation.labels))
    for column in table.columns[1:]:
        column.justify = "right"
    for i, label in enumerate(evaluation.labels):
        total = max(int(evaluation.confusion[i].sum()), 1)
        cells = [
            Text(str(count) if count else "·", _shade(count / total, right=i == j))
            for j, count in enumerate(evaluation.confusion[i].tolist())
        ]
        table.add_row(Text(label), *cells)
    return table


def show_worst_confusions(evaluation: Evaluation) -> str:
    """The most frequent mistakes in words."""
    mistakes = evaluation.worst_confusions()
    if not mistakes:
        return "No clip was named wrongly."
    return "Most frequent mistakes: " + "; ".join(
        f"{true} taken for {predicted} ({count}×)" for true, predicted, count in mistakes
    )


def show_comparison(
    rounds: Mapping[str, "CrossValidation"], pairs: Sequence["PairComparison"]
) -> RenderableType:
    """Several heads on the same clips, one line each, then the pairs that need the time order."""
    table = new_table("head", "accuracy", "interval", "macro F1")
    for name, result in rounds.items():
        low, high = result.evaluation.accuracy_interval
        table.add_row(
            Text(name),
            Text(f"{result.evaluation.accuracy:.3f}", "bold"),
            f"{low:.2f}-{high:.2f}",
            f"{result.evaluation.macro_f1:.3f}",
        )
    _numbers_to_the_right(table)
    if len(next(iter(rounds.values())).evaluation.labels) == 2:
        return table
    note = "\nTwo-way choices between the labels that a picture tells apart worst:"
    hard = new_table("labels", *rounds)
    for pair in pairs:
        hard.add_row(Text(_pair(pair)), *(f"{pair.accuracy[name]:.3f}" for name in rounds))
    _numbers_to_the_right(hard)
    return Group(table, Text(note, "dim"), hard)


def _numbers_to_the_right(table: Table) -> None:
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True


def show_training(run: "TrainingRun") -> RenderableType:
    """The closing summary of a training run, down to the next command to type."""
    parts: list[RenderableType] = []
    split = run.split
    parts.append(
        Text(
            f"{describe_parts(len(split.train), len(split.val), len(split.test))}; "
            f"split by {split.by}.\n{_describe_fit(run)}",
            "dim",
        )
    )
    parts += [Text(note, "yellow") for note in run.fitted.notes]
    parts.append(Text(f"\nOn the {run.evaluation.num_clips} {_HELD_OUT[run.measured_on]}:"))
    parts += [show_evaluation(run.evaluation), Text(show_worst_confusions(run.evaluation))]
    parts += [show_calibration(run.model.description.calibration)]
    parts += _left_out(run.data.left_out)
    if len(split.train) < _FEW_CLIPS_PER_LABEL * len(run.evaluation.labels):
        parts.append(Text("Few clips: `activity crossval` measures on all of them.", "yellow"))
    parts.append(Text("\n" + show_seconds(run.stage_seconds), "dim"))
    parts.append(Text(f"Model, figures and pictures: {run.folder}"))
    parts.append(
        Text.assemble(
            "Next:  ", (f"activity predict VIDEO --model {quote(str(run.folder))}", "bold")
        )
    )
    return Group(*parts)


def show_crossval(
    run: "CrossvalRun", findings: "Findings", folder: Path | None, *, has_model: bool = False
) -> RenderableType:
    """What a cross-validation found out, and where its ensemble is if that was kept."""
    result = run.result
    folds = " ".join(f"{fold.name}: {fold.accuracy:.3f}" for fold in result.folds)
    parts: list[RenderableType] = [
        Text(f"{len(result.folds)} folds, by {run.folds.by}; every clip held out once", "dim"),
        Text(f"accuracy per fold  {folds}\n", "dim"),
        show_evaluation(result.evaluation),
        Text(show_worst_confusions(result.evaluation)),
        *_background(run),
        show_calibration(result.calibration),
        *_left_out(run.data.left_out),
    ]
    if run.rounds:
        parts += [Text("\nThe same clips and folds, read by simpler heads:")]
        parts += [show_comparison(run.rounds, run.hard_pairs)]
    parts += [show_findings(findings, told=ANNOUNCED)]
    seconds = {**run.data.stage_seconds, "training": result.seconds}
    parts.append(Text("\n" + show_seconds(seconds), "dim"))
    if folder is not None:
        parts.append(Text(f"Report: {folder / REPORT_FILE}; figures and predictions beside it"))
    if has_model:
        members = len(result.networks)
        parts.append(
            Text(f"The folder is a model too: {members} networks whose logits are averaged.")
        )
        command = f"activity predict VIDEO --model {quote(str(folder))}"
        parts.append(Text.assemble("Next:  ", (command, "bold")))
    return Group(*parts)


def show_measurement(
    measurement: "Measurement", findings: "Findings", folder: Path | None
) -> RenderableType:
    """What an evaluation found out."""
    evaluation = measurement.evaluation
    parts: list[RenderableType] = [
        Text(f"{measurement.description.name} on {evaluation.num_clips} clips\n", "dim"),
        show_evaluation(evaluation),
        Text(show_worst_confusions(evaluation)),
        *_rejected(measurement),
        *_left_out(measurement.left_out),
        show_findings(findings),
    ]
    if folder is not None:
        parts.append(Text(f"Report: {folder / REPORT_FILE}; figures and predictions beside it"))
    return Group(*parts)


def show_findings(findings: "Findings", *, told: Collection[str] = ()) -> Text:
    """Whether reading the order helps, and what makes the figures say less than they seem to.

    Args:
        findings: of a measurement.
        told: titles of checks whose warnings were there before the work began.
    """
    lines = [f"\nDoes the LSTM help? {findings.rivalry.answer()}"]
    if findings.figures.by_group:
        accuracy = findings.figures.accuracy
        lines.append(
            f"Clips of one group are alike: by the {findings.figures.num_units} groups, the "
            f"interval of the accuracy is {accuracy.low:.3f} to {accuracy.high:.3f}."
        )
    text = Text("\n".join(lines))
    for check in findings.checks:
        if check.level == "warning" and check.title not in told:
            text.append(f"\n{check.title}: {check.text}", "yellow")
    return text


def show_calibration(calibration: Calibration | None) -> Text:
    """How far scores can be believed, and what `--reject auto` would do."""
    if calibration is None:
        return Text()
    rule, clips = calibration.rule, f"{calibration.num_clips} {calibration.fitted_on}"
    lines = [
        f"\nCalibration error {calibration.ece_before:.3f} before, "
        f"{calibration.ece_after:.3f} after "
        f"(temperature {calibration.temperature:.2f}; {calibration.measured_on})."
    ]
    if rule is None:
        lines.append(f"No rule for unknown clips: {clips} are too few to choose one (19).")
    else:
        lines.append(
            f"--reject auto calls unknown: {rule} ({calibration.known_lost or 0:.1%} of known "
            "clips are lost)."
        )
    return Text("\n".join(lines), "dim")


def show_seconds(stage_seconds: Mapping[str, float]) -> str:
    """Time per stage of a longer job: "features 41.0 s · training 9.2 s"."""
    return " · ".join(f"{stage} {seconds:.1f} s" for stage, seconds in stage_seconds.items())


def _describe_fit(run: "TrainingRun") -> str:
    """Which epoch was kept, whether the order of the frames helped at all, and why it ended."""
    fitted = run.fitted
    if fitted.ending == "time limit":
        done, wanted = fitted.history[-1].epoch, run.settings.most_epochs
        limit = f"The time limit ended it after epoch {done} of {wanted}"
        return f"{_describe_best(run)}\n{limit}; --resume {run.folder} goes on."
    return _describe_best(run)


def _describe_best(run: "TrainingRun") -> str:
    fitted = run.fitted
    if run.model.description.network.temporal != "lstm":
        return "Fitted to the clips' means; no LSTM."
    summary, best = fitted.history[0], fitted.history[fitted.best_epoch]
    if best is summary:
        return (
            f"The LSTM gained less than chance would on the {_judged_by(run)}, so the model "
            f"relies on the clips' means alone (loss {summary.val_loss:.2f})."
        )
    return (
        f"Best of {len(fitted.history) - 1} epochs: {best.epoch}. With the LSTM the loss of the "
        f"{_judged_by(run)} fell from {summary.val_loss:.2f} to {best.val_loss:.2f}."
    )


def _judged_by(run: "TrainingRun") -> str:
    """The clips that say whether the LSTM helps."""
    return "clips held out by inner folds" if run.fitted.inner else "validation clips"


def _background(run: "CrossvalRun") -> list[RenderableType]:
    """Whether anything happens at all, where a label stands for nothing."""
    if run.background is None:
        return []
    missed, false_alarms = run.result.evaluation.event_errors(run.background)
    text = f"{missed:.1%} of the events taken for {run.background}, {false_alarms:.1%} false alarms"
    return [Text(text)]


def _rejected(measurement: "Measurement") -> list[RenderableType]:
    """What was called unknown, and how the others did."""
    if measurement.rejected is None:
        return []
    count, accuracy = int(measurement.rejected.sum()), measurement.accuracy_of_accepted
    others = "" if accuracy is None else f"; accuracy of the others {accuracy:.3f}"
    share = measurement.rejected.mean()
    return [Text(f"\nCalled unknown: {count} of {measurement.rejected.size} ({share:.1%}){others}")]


def _left_out(left_out: "Sequence[tuple[Sample, Outcome]]", most: int = 5) -> list[RenderableType]:
    """Clips that could not be used, by name; none is dropped in silence."""
    if not left_out:
        return []
    count = len(left_out)
    lines = [f"{count} clip{'s' * (count > 1)} could not be decoded and took no part:"]
    lines += [f"  {s.name}: {clip.status}, {clip.reason}" for s, clip in left_out[:most]]
    lines += [f"  and {count - most} more; all are in the CSV files"] * (count > most)
    return [Text("\n".join(lines), "yellow")]


def _pair(pair: "PairComparison") -> str:
    return " or ".join(_shorten(label, 24) for label in pair.labels)


def _shorten(label: str, length: int = 10) -> str:
    return label if len(label) <= length else label[: length - 1] + "…"


def _shade(share: float, *, right: bool) -> str:
    if share == 0:
        return "dim"
    level = math.ceil(share * 3)  # thirds: light, medium, strong
    colour = "green" if right else "red"
    return {1: colour, 2: colour, 3: f"bold {colour}"}[level]
