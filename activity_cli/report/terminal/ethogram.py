"""Time budgets, transitions, groups and agreement -> what the terminal shows."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from activity_cli.common import count_of
from activity_cli.evaluation.agreement import Agreement
from activity_cli.evaluation.ethogram import GroupFigure, TimeBudget, time_budgets, transitions
from activity_cli.evaluation.recordings import Recording
from activity_cli.report.terminal import clock, describe_seconds, new_table, printable

_MOST_ROWS = 30  # of videos and labels
_MOST_LABELS = 8  # of transitions
_MOST_DISAGREEMENTS = 8
_METRIC_NAMES = {"share": "share", "per_minute": "per min", "mean_seconds": "mean bout"}


def show_ethogram(
    recordings: Sequence[Recording],
    labels: Sequence[str],
    figures: Sequence[GroupFigure] = (),
    agreement: Agreement | None = None,
) -> RenderableType:
    """Show the budgets of all videos together, of each if they fit, and what else there is."""
    parts: list[RenderableType] = [_summary(recordings, labels)]
    if len(recordings) > 1 and len(recordings) * len(labels) <= _MOST_ROWS:
        parts += [Text(), _each(recordings)]
    if len(labels) <= _MOST_LABELS:
        parts += [Text(), _transitions(recordings, labels)]
    if figures:
        parts += [Text(), _groups(figures)]
    if agreement is not None:
        parts += [Text(), _agreement(agreement)]
    return Group(*parts)


def _summary(recordings: Sequence[Recording], labels: Sequence[str]) -> RenderableType:
    length = sum(one.duration_seconds for one in recordings)
    budgets = list(time_budgets(recordings))
    table = new_table(
        "label", "videos", "bouts", "total", "share", "mean", "min", "max", right=slice(1, None)
    )
    for label in labels:
        own = [budget for budget in budgets if budget.label == label]
        count, total = sum(b.count for b in own), sum(b.total_seconds for b in own)
        shortest = min(b.min_seconds for b in own if b.min_seconds is not None)
        longest = max(b.max_seconds for b in own if b.max_seconds is not None)
        mean = sum(b.count * (b.mean_seconds or 0) for b in own) / count
        table.add_row(
            Text(printable(label), "bold"),
            *(str(sum(b.count > 0 for b in own)), str(count), clock(total)),
            f"{total / length:.1%}" if length else "",
            *(f"{seconds:.1f} s" for seconds in (mean, shortest, longest)),
        )
    videos = count_of(len(recordings), "video")
    return Group(Text(f"{videos}, {describe_seconds(length)}"), table)


def _each(recordings: Sequence[Recording]) -> RenderableType:
    table = new_table(
        "video", "label", "bouts", "total", "share", "first", "per min", right=slice(2, None)
    )
    table.columns[0].overflow = "fold"
    before = ""
    for budget in time_budgets(recordings):
        name = printable(Path(budget.path).name) if budget.path != before else ""
        before = budget.path
        table.add_row(Text(name), Text(printable(budget.label), "bold"), *_cells(budget))
    return table


def _cells(budget: TimeBudget) -> tuple[str, ...]:
    latency = budget.latency_seconds
    return (
        str(budget.count),
        clock(budget.total_seconds),
        f"{budget.share:.1%}",
        "" if latency is None else clock(latency),
        f"{budget.per_minute:.1f}",
    )


def _transitions(recordings: Sequence[Recording], labels: Sequence[str]) -> RenderableType:
    names = [printable(label) for label in labels]
    table = new_table("from / to", *names, right=slice(1, None))
    counts = transitions(recordings, labels).tolist()
    for name, row in zip(names, counts, strict=True):
        cells = (Text(str(count), "" if count else "dim") for count in row)
        table.add_row(Text(name, "bold"), *cells)
    return Group(Text("Transitions: bouts of a label that are followed by one of another"), table)


def _groups(figures: Sequence[GroupFigure]) -> RenderableType:
    groups = list(dict.fromkeys(figure.group for figure in figures))
    table = new_table("label", "", *map(printable, groups), right=slice(2, None))
    before = ""
    for start in range(0, len(figures), len(groups)):
        row = figures[start : start + len(groups)]
        label = printable(row[0].label) if row[0].label != before else ""
        before = row[0].label
        metric = Text(_METRIC_NAMES[row[0].metric], "dim")
        table.add_row(Text(label, "bold"), metric, *(_figure(one) for one in row))
    note = "Mean over the videos of each group (95% bootstrap interval over videos)"
    return Group(Text(note), table)


def _figure(figure: GroupFigure) -> str:
    if figure.mean is None:
        return ""
    values = [figure.mean, figure.low, figure.high]
    if figure.metric == "share":
        texts = ["" if value is None else f"{value:.1%}" for value in values]
    else:
        unit = " s" if figure.metric == "mean_seconds" else ""
        texts = ["" if value is None else f"{value:.2f}{unit}" for value in values]
    return f"{texts[0]} ({texts[1]} to {texts[2]})" if texts[1] else f"{texts[0]} (1 video)"


def _agreement(agreement: Agreement) -> RenderableType:
    kappa = "undefined" if agreement.kappa is None else f"{agreement.kappa:.3f}"
    line = (
        f"Agreement on {count_of(agreement.num_videos, 'video')}: kappa {kappa}, "
        f"{agreement.share:.1%} of {agreement.num_frames} frames"
    )
    ious = list(agreement.f1)
    table = new_table("label", "kappa", *(f"F1 at {iou}" for iou in ious), right=slice(1, None))
    for one in agreement.per_label:
        cell = "" if one.kappa is None else f"{one.kappa:.3f}"
        values = (f"{value:.3f}" for value in one.f1.values())
        table.add_row(Text(printable(one.label), "bold"), cell, *values)
    table.add_row("all", kappa, *(f"{value:.3f}" for value in agreement.f1.values()))
    found = sorted(agreement.disagreements, key=lambda d: d.start_seconds - d.end_seconds)
    if not found:
        return Group(Text(line, "bold"), table)
    longest = new_table("video", "start", "end", "found", "against")
    for time in found[:_MOST_DISAGREEMENTS]:
        longest.add_row(
            printable(Path(time.path).name),
            *(clock(time.start_seconds), clock(time.end_seconds)),
            *(printable(", ".join(names)) or "none" for names in (time.found, time.other)),
        )
    title = f"Longest of {count_of(len(found), 'disagreement')}"
    return Group(Text(line, "bold"), table, Text(), Text(title), longest)
