"""Evaluations, training runs and cross-validations -> what the terminal shows."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from activity_cli.common import count_of
from activity_cli.evaluation.quality_checks import ANNOUNCED
from activity_cli.model.calibration import Calibration
from activity_cli.model.metrics import Evaluation
from activity_cli.report.terminal import describe_seconds, new_table

if TYPE_CHECKING:
    from activity_cli.evaluation import Predictions
    from activity_cli.evaluation.quality_checks import Findings
    from activity_cli.report.assembly import ReportData
    from activity_cli.training.crossval import CrossValidation, CrossvalRun, PairComparison
    from activity_cli.training.dry_run import DryRunReport
    from activity_cli.training.run import TrainingRun

REPORT_FILE = "report.html"
_FEW_CLIPS_PER_LABEL = 30
_MAX_LABELS_IN_MATRIX = 12
_MAX_LEFT_OUT = 5
_HELD_OUT = {
    "test": "test clips",
    "inner-fold": "training clips, each by the network of the inner fold that held it out",
    "val": "validation clips, which also chose the best epoch, so accuracy is overestimated",
}


def show_evaluation(evaluation: Evaluation) -> RenderableType:
    """Show accuracy and macro averages, the metrics per label and the confusion matrix."""
    interval = _range(*evaluation.accuracy_interval)
    headline = Text.assemble(
        "Accuracy ",
        (f"{evaluation.accuracy:.1%}", "bold cyan"),
        (f"  (95% CI {interval}, {evaluation.num_clips} clips)\n", "dim"),
        f"Macro precision {evaluation.macro_precision:.1%} · recall {evaluation.macro_recall:.1%}"
        f" · F1 {evaluation.macro_f1:.1%}",
    )
    table = new_table("label", "precision", "recall", "F1", "clips", right=slice(1, None))
    for row in evaluation.per_label:
        metrics = (f"{share:.1%}" for share in (row.precision, row.recall, row.f1))
        table.add_row(Text(row.label), *metrics, str(row.num_clips))
    parts: list[RenderableType] = [headline, Text(), table]
    if len(evaluation.labels) <= _MAX_LABELS_IN_MATRIX:
        parts += [Text(), _confusion(evaluation)]
    errors = evaluation.worst_confusions()
    shown = ", ".join(f"{true} -> {predicted}: {count}" for true, predicted, count in errors)
    return Group(*parts, Text(f"Most frequent errors: {shown}" if errors else "All clips correct."))


def _confusion(evaluation: Evaluation) -> Table:
    """Show a row per true label, shaded by its share."""
    labels = [label if len(label) <= 10 else f"{label[:9]}…" for label in evaluation.labels]
    table = new_table("true \\ predicted", *labels, right=slice(1, None))
    for i, label in enumerate(evaluation.labels):
        total = max(int(evaluation.confusion[i].sum()), 1)
        cells = []
        for j, count in enumerate(evaluation.confusion[i].tolist()):
            colour = "green" if i == j else "red"
            style = f"bold {colour}" if count > 2 / 3 * total else colour
            cells.append(Text(str(count), style) if count else Text("·", "dim"))
        table.add_row(Text(label), *cells)
    return table


def _show_heads(
    rounds: Mapping[str, "CrossValidation"], pairs: Sequence["PairComparison"]
) -> RenderableType:
    """Show several heads on the same clips, then the pairs of labels that need the frame order."""
    table = new_table("head", "accuracy", "95% CI", "macro F1", right=slice(1, None))
    for name, result in rounds.items():
        evaluation = result.evaluation
        accuracy, interval = f"{evaluation.accuracy:.1%}", _range(*evaluation.accuracy_interval)
        table.add_row(Text(name), Text(accuracy, "bold"), interval, f"{evaluation.macro_f1:.1%}")
    if len(next(iter(rounds.values())).evaluation.labels) == 2:
        return table
    note = "\nTwo-way accuracy on the labels that a single frame confuses most:"
    hard = new_table("labels", *rounds, right=slice(1, None))
    for pair in pairs:
        accuracies = (f"{pair.accuracy[name]:.1%}" for name in rounds)
        hard.add_row(Text(" or ".join(pair.labels), overflow="ellipsis"), *accuracies)
    return Group(table, Text(note, "dim"), hard)


def show_training(run: "TrainingRun", content: "ReportData") -> RenderableType:
    """Show the summary of a training run, down to the next command to type."""
    evaluation = run.evaluation
    parts: list[RenderableType] = [
        Text(f"\nMeasured on {evaluation.num_clips} {_HELD_OUT[run.measured_on]}:"),
        show_evaluation(evaluation),
        _show_calibration(run.model.description.calibration),
        Text(f"{content.method}\n{_describe_fit(run)}", "dim"),
        *(Text(note, "yellow") for note in run.fitted.notes),
        *_left_out(content.predictions),
    ]
    if len(run.split.train) < _FEW_CLIPS_PER_LABEL * len(evaluation.labels):
        parts.append(Text("Few clips: `activity crossval` tests on all of them.", "yellow"))
    parts += [
        Text("\n" + _stages(run.stage_seconds), "dim"),
        Text(f"Model and report: {run.folder}"),
        _next_command(run.folder),
    ]
    return Group(*parts)


def show_dry_run(report: "DryRunReport") -> RenderableType:
    """Show what a dry run tried, and how long the training will take."""
    stages = _stages(report.stage_seconds)
    return Group(
        Text.assemble(
            ("Dry run passed: ", "green"),
            f"read {report.clips} of {report.all_clips} clips, trained one batch of "
            f"{report.batch_size}, saved and measured a model. All of it was deleted again.",
        ),
        *(Text(note, "yellow") for note in report.notes),
        Text.assemble("Training takes about ", (describe_seconds(report.seconds), "bold cyan")),
        Text(f"{stages}. Less with cached features or an end before epoch {report.epochs}.", "dim"),
    )


def show_crossval(
    run: "CrossvalRun", content: "ReportData", folder: Path | None, *, has_model: bool = False
) -> RenderableType:
    """Show a cross-validation, and where its ensemble is if it was saved."""
    result = run.result
    folds = ", ".join(f"{fold.name}: {fold.accuracy:.1%}" for fold in result.folds)
    parts: list[RenderableType] = [
        show_evaluation(result.evaluation),
        Text(f"\n{content.subtitle}\nAccuracy per fold: {folds}", "dim"),
        *_notes(content),
        _show_calibration(result.calibration),
        *_left_out(content.predictions),
    ]
    if run.rounds:
        parts += [Text("\nSimpler heads on the same clips and folds:")]
        parts += [_show_heads(run.rounds, run.hard_pairs)]
    # The warnings of some checks were printed before.
    parts.append(_show_findings(content.findings, announced=ANNOUNCED))
    seconds = {**run.data.stage_seconds, "training": result.seconds}
    parts.append(Text("\n" + _stages(seconds), "dim"))
    if folder is not None:
        parts.append(Text(f"Report: {folder / REPORT_FILE}"))
    if folder is not None and has_model:
        parts.append(Text(f"Model: {folder}, an ensemble of {len(result.networks)} networks"))
        parts.append(_next_command(folder))
    return Group(*parts)


def show_measurement(content: "ReportData", folder: Path | None) -> RenderableType:
    """Show an evaluation."""
    return Group(
        Text(f"{content.title}. {content.subtitle}\n", "dim"),
        show_evaluation(content.predictions.evaluation),
        *_notes(content),
        *_left_out(content.predictions),
        _show_findings(content.findings),
        *([Text(f"Report: {folder / REPORT_FILE}")] if folder else []),
    )


def _show_findings(findings: "Findings", *, announced: Collection[str] = ()) -> Text:
    """Show whether the LSTM helps, the interval by group, and warnings."""
    lines = [f"\nDoes the LSTM help? {findings.baselines.conclusion()}"]
    if findings.estimates.by_group:
        accuracy, units = findings.estimates.accuracy, findings.estimates.units
        bounds = _range(accuracy.low, accuracy.high)
        lines.append(f"95% CI of the accuracy by group ({units}): {bounds}")
    text = Text("\n".join(lines))
    for check in findings.checks:
        if check.level == "warning" and check.title not in announced:
            text.append(f"\n{check.title}: {check.text}", "yellow")
    return text


def _show_calibration(calibration: Calibration | None) -> Text:
    """Show the calibration error, and what `--reject auto` does."""
    if calibration is None:
        return Text()
    clips = f"{calibration.num_clips} {calibration.fitted_on}"
    rejects = f"no thresholds, because {clips} are too few (19 needed)"
    if calibration.rule is not None:
        lost = calibration.known_lost or 0
        rejects = f"rejects {calibration.rule}; rejects {lost:.1%} of known clips"
    return Text(
        f"\nCalibration error {calibration.ece_before:.1%} -> {calibration.ece_after:.1%} "
        f"with temperature {calibration.temperature:.2f} ({calibration.measured_on}).\n"
        f"--reject auto: {rejects}.",
        "dim",
    )


def _stages(stage_seconds: Mapping[str, float]) -> str:
    """Return the time per stage of a longer job: "features 41.0 s · training 9.2 s"."""
    return " · ".join(f"{stage} {seconds:.1f} s" for stage, seconds in stage_seconds.items())


def _describe_fit(run: "TrainingRun") -> str:
    """Return which epoch was kept, whether the LSTM is used, and why training ended early."""
    fitted = run.fitted
    pooled, best = fitted.history[0], fitted.history[fitted.best_epoch]
    loss = f"{'Inner-fold' if fitted.inner else 'Validation'} loss {pooled.val_loss:.2f}"
    if run.model.description.network.temporal != "lstm":
        text = "Mean pooling without an LSTM."
    elif best is pooled:
        text = f"The LSTM is not used: it did not improve the loss. {loss}"
    else:
        epoch = f"Best epoch {best.epoch} of {len(fitted.history) - 1}"
        text = f"{epoch}. {loss} -> {best.val_loss:.2f} with the LSTM"
    if fitted.ending == "time limit":
        done = f"epoch {fitted.history[-1].epoch} of {run.settings.most_epochs}"
        text += f"\nStopped by the time limit after {done}. To continue: --resume {run.folder}"
    return text


def _notes(content: "ReportData") -> list[RenderableType]:
    """Show rejected clips, or missed events and false alarms."""
    shown = ("Background", "Rejected")
    return [Text(f"{k}: {v}") for k, v in content.metadata.items() if k.startswith(shown)]


def _left_out(predictions: "Predictions") -> list[RenderableType]:
    """Show the clips that could not be decoded."""
    if not (count := len(predictions.left_out)):
        return []
    shown = predictions.left_out[:_MAX_LEFT_OUT]
    lines = [f"{count_of(count, 'clip')} could not be decoded and took no part:"]
    lines += [f"  {sample.name}: {status}, {why}" for sample, status, why in shown]
    lines += [f"  and {count - len(shown)} more in the CSV files"] * (count > len(shown))
    return [Text("\n".join(lines), "yellow")]


def _next_command(folder: Path) -> Text:
    command = f"activity predict VIDEO --model {quote(str(folder))}"
    return Text.assemble("Next:  ", (command, "bold"))


def _range(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {high:.1%}"
