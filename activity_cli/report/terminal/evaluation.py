"""Evaluations, training runs and cross-validations -> what the terminal shows."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
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
    from activity_cli.evaluation.conclusion import Figures
    from activity_cli.report.assembly import ReportData
    from activity_cli.training.crossval import CrossvalRun
    from activity_cli.training.dry_run import DryRunReport
    from activity_cli.training.run import TrainingRun

REPORT_FILE = "report.html"
_MAX_LABELS_IN_MATRIX = 12
_WIDTH = 80  # columns of a usual terminal
_MAX_LEFT_OUT = 5
_FEW_TO_CALIBRATE = 30
"""Clips below which a calibration error is mostly chance."""


def show_conclusion(content: "ReportData") -> RenderableType:
    """Show the biggest problem, then the accuracy, then the next command."""
    conclusion = content.conclusion
    lines = [Text(f"Warning: {conclusion.problem}", "yellow")] if conclusion.problem else []
    lines += [Text(conclusion.sentence, "bold")]
    if conclusion.next_command:
        lines += [Text.assemble("Next:  ", (conclusion.next_command, "bold cyan"))]
    return Group(Text(), *lines, Text())


def show_evaluation(evaluation: Evaluation) -> RenderableType:
    """Show the macro averages, the metrics per label and the confusion matrix."""
    headline = Text(
        f"Macro precision {evaluation.macro_precision:.1%} · recall {evaluation.macro_recall:.1%}"
        f" · F1 {evaluation.macro_f1:.1%}"
    )
    several = ("AP",) if evaluation.multi_label else ()
    unit = "windows" if evaluation.multi_label else "clips"
    table = new_table("label", "precision", "recall", "F1", *several, unit, right=slice(1, None))
    for row in evaluation.per_label:
        metrics = [f"{share:.1%}" for share in (row.precision, row.recall, row.f1)]
        if several:
            precision = row.average_precision
            metrics.append("none" if precision is None else f"{precision:.1%}")
        table.add_row(Text(row.label), *metrics, str(row.num_clips))
    if evaluation.multi_label:
        return Group(headline, *describe_timelines(evaluation), Text(), table)
    parts: list[RenderableType] = [headline, Text(), table]
    if len(evaluation.labels) <= _MAX_LABELS_IN_MATRIX:
        parts += [Text(), _confusion(evaluation)]
    errors = evaluation.worst_confusions()
    shown = ", ".join(f"{true} -> {predicted}: {count}" for true, predicted, count in errors)
    return Group(*parts, Text(f"Most frequent errors: {shown}" if errors else "All clips correct."))


def describe_timelines(evaluation: Evaluation) -> list[Text]:
    """Show the figures of a multi-label model over whole videos."""
    lines = [
        Text(f"Mean average precision of windows {evaluation.mean_average_precision or 0:.1%}")
    ]
    if found := evaluation.timelines:
        f1 = " · ".join(f"{value:.1%} at IoU {iou}" for iou, value in found.segment_f1.items())
        over = f"{count_of(found.num_videos, 'video')}, {describe_seconds(found.seconds)}"
        lines += [
            Text(f"Frame mAP {found.frame_map:.1%} over {over}", "bold"),
            Text(f"Segment F1 {f1}"),
        ]
    return lines


def _confusion(evaluation: Evaluation) -> Table:
    """Show a row per true label, shaded by its share; columns have numbers where names are long."""
    names = evaluation.labels
    width = max(map(len, names)) + 2 + sum(max(3, len(name)) + 2 for name in names)
    columns = names
    if width > _WIDTH:
        columns = tuple(str(number) for number in range(1, len(names) + 1))
        names = tuple(f"{number:>2} {name}" for number, name in enumerate(names, 1))
    table = new_table("true \\ predicted", *columns, right=slice(1, None))
    table.columns[0].no_wrap = True
    for i, name in enumerate(names):
        total = max(int(evaluation.confusion[i].sum()), 1)
        cells = []
        for j, count in enumerate(evaluation.confusion[i].tolist()):
            colour = "green" if i == j else "red"
            style = f"bold {colour}" if count > 2 / 3 * total else colour
            cells.append(Text(str(count), style) if count else Text("·", "dim"))
        table.add_row(Text(name, overflow="ellipsis"), *cells)
    return table


def _show_figures(title: str, figures: Sequence["Figures"]) -> Table:
    """Show accuracies of the same clips below each other."""
    has_map = any(one.mean_average_precision for one in figures)
    columns = ["accuracy", "95% CI", "macro F1"]
    if has_map:
        columns.insert(0, "mAP")
    table = new_table(title, *columns, right=slice(1, None))
    for one in figures:
        interval = f"{100 * one.accuracy.low:.1f} to {one.accuracy.high:.1%}"
        accuracy = Text(f"{one.accuracy.value:.1%}", "bold")
        precision = [f"{one.mean_average_precision or 0:.1%}"] if has_map else []
        table.add_row(Text(one.name), *precision, accuracy, interval, f"{one.macro_f1:.1%}")
    return table


def _show_heads(run: "CrossvalRun", heads: Sequence["Figures"]) -> RenderableType:
    """Show several heads on the same clips, then the pairs of labels that need the frame order."""
    rounds, pairs, table = run.rounds, run.hard_pairs, _show_figures("head", heads)
    if not pairs or len(next(iter(rounds.values())).evaluation.labels) == 2:
        return table
    note = "\nTwo-way accuracy on the labels that a single frame confuses most:"
    hard = new_table("labels", *rounds, right=slice(1, None))
    for pair in pairs:
        accuracies = (f"{pair.accuracy[name]:.1%}" for name in rounds)
        hard.add_row(Text(" or ".join(pair.labels), overflow="ellipsis"), *accuracies)
    return Group(table, Text(note, "dim"), hard)


def show_training(run: "TrainingRun", content: "ReportData") -> RenderableType:
    """Show the summary of a training run, down to the next command to type."""
    return Group(
        show_conclusion(content),
        show_evaluation(content.predictions.evaluation),
        _show_lstm(_describe_fit(run), content),
        _show_calibration(run.model.description.calibration, len(run.scores)),
        Text(content.method, "dim"),
        *(Text(note, "yellow") for note in run.fitted.notes),
        *_left_out(content.predictions),
        Text("\n" + _stages(run.stage_seconds), "dim"),
        Text(f"Model: {run.folder}\nReport: {run.folder / REPORT_FILE}"),
    )


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
    parts = [show_conclusion(content)]
    if content.figures:
        parts += [_show_figures("folds", content.figures), Text()]
    num_used = sum(fold.best_epoch > 0 for fold in result.folds)
    used = f"The LSTM is used in {num_used} of {count_of(len(result.folds), 'fold')}."
    used = used if content.findings.baselines.has_lstm else ""
    parts += [
        show_evaluation(content.predictions.evaluation),
        Text(f"{content.subtitle}\nAccuracy per fold: {folds}", "dim"),
        *_notes(content),
        _show_lstm(used, content),
        _show_calibration(result.calibration, len(result.scores)),
        *_left_out(content.predictions),
    ]
    if run.rounds:
        parts += [Text("\nSimpler heads on the same clips and folds:")]
        parts += [_show_heads(run, content.heads)]
    parts.append(_show_warnings(content, announced=ANNOUNCED))
    seconds = {**run.data.stage_seconds, "training": result.seconds}
    parts.append(Text(_stages(seconds), "dim"))
    if folder is not None:
        parts.append(Text(f"Report: {folder / REPORT_FILE}"))
    if folder is not None and has_model:
        parts.append(Text(f"Model: {folder}, an ensemble of {len(result.networks)} networks"))
    return Group(*parts)


def show_measurement(content: "ReportData", folder: Path | None) -> RenderableType:
    """Show an evaluation."""
    return Group(
        show_conclusion(content),
        Text(f"{content.title}. {content.subtitle}", "dim"),
        show_evaluation(content.predictions.evaluation),
        *_notes(content),
        *_left_out(content.predictions),
        _show_lstm("", content),
        _show_warnings(content),
        *([Text(f"Report: {folder / REPORT_FILE}")] if folder else []),
    )


def _show_lstm(used: str, content: "ReportData") -> Text:
    """Show whether the LSTM is used, and its effect on the accuracy, by one rule everywhere."""
    if content.predictions.evaluation.multi_label and not content.heads:
        return Text(f"\n{used}") if used else Text()
    text = f"\nDoes the LSTM help? {used} {content.findings.baselines.conclusion()}"
    return Text(text.replace("  ", " "))


def _show_warnings(content: "ReportData", *, announced: Collection[str] = ()) -> RenderableType:
    """Show the warnings that were neither printed before nor are part of the conclusion."""
    shown = [
        f"{check.title}: {check.text}"
        for check in content.findings.checks
        if check.level == "warning"
        and check.title not in announced
        and check.text != content.conclusion.problem
    ]
    return Text("\n".join(["", *shown]), "yellow")


def _show_calibration(calibration: Calibration | None, num_clips: int) -> Text:
    """Show the calibration error on so many clips, and what `--reject auto` does."""
    if calibration is None:
        return Text()
    clips = f"{calibration.num_clips} {calibration.fitted_on}"
    rejects = f"no thresholds, because {clips} are too few (19 needed)"
    if calibration.rule is not None:
        lost = calibration.known_lost or 0
        rejects = f"rejects {calibration.rule}; rejects {lost:.1%} of known clips"
    before, after = f"{calibration.ece_before:.1%}", f"{calibration.ece_after:.1%}"
    error = f"Calibration error {after} ({calibration.measured_on})"
    if (fewest := min(num_clips, calibration.num_clips)) < _FEW_TO_CALIBRATE:
        error += f": {fewest} clips are too few to judge the scores"
    elif calibration.ece_after < calibration.ece_before:
        error += f", {before} before temperature scaling ({calibration.temperature:.2f})"
    else:
        error += f": temperature scaling did not improve it ({before} without)"
    return Text(f"{error}.\n--reject auto: {rejects}.", "dim")


def _stages(stage_seconds: Mapping[str, float]) -> str:
    """Return the time per stage of a longer job: "features 41.0 s · training 9.2 s"."""
    return " · ".join(f"{stage} {seconds:.1f} s" for stage, seconds in stage_seconds.items())


def _describe_fit(run: "TrainingRun") -> str:
    """Return whether the LSTM is used, by which loss, and why training ended early."""
    fitted = run.fitted
    pooled, best = fitted.history[0], fitted.history[fitted.best_epoch]
    kind = f"{'inner-fold' if fitted.inner else 'validation'} loss {pooled.val_loss:.2f}"
    if run.model.description.network.temporal != "lstm":
        text = ""
    elif best is pooled:
        text = f"The LSTM is not used: it did not lower the {kind}."
    else:
        epoch = f"epoch {best.epoch} of {len(fitted.history) - 1}"
        text = f"The LSTM is used: {kind} -> {best.val_loss:.2f} with it ({epoch})."
    if fitted.ending == "patience":
        text += f" Stopped early after epoch {fitted.history[-1].epoch}."
    if fitted.ending in ("time limit", "stopped"):
        done = f"epoch {fitted.history[-1].epoch} of {run.settings.most_epochs}"
        why = " by the time limit" if fitted.ending == "time limit" else ""
        text += f" Stopped{why} after {done}. To continue: --resume {run.folder}."
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
    if count > len(shown):
        lines.append(f"  and {count - len(shown)} more in the CSV files")
    return [Text("\n".join(lines), "yellow")]
