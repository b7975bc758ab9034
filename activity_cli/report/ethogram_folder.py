"""The files of an ethogram: tables and pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from activity_cli.common.tables import write_table
from activity_cli.evaluation.agreement import Agreement
from activity_cli.evaluation.ethogram import GroupFigure, TimeBudget, time_budgets, transitions
from activity_cli.evaluation.recordings import Recording
from activity_cli.predict.results import SECONDS_DIGITS
from activity_cli.report.figures.gantt import plot_gantt


def write_ethogram(
    folder: Path,
    recordings: Sequence[Recording],
    labels: Sequence[str],
    *,
    bin_seconds: float | None,
    figures: Sequence[GroupFigure],
    agreement: Agreement | None,
) -> None:
    """Write ethogram.csv, ethogram_wide.csv, transitions.csv and gantt.png and .svg.

    Further bins.csv, groups.csv and disagreements.csv, where they were asked for.
    """
    groups = {one.path: one.group for one in recordings}
    budgets = list(time_budgets(recordings))
    _write_long(folder / "ethogram.csv", budgets, groups)
    _write_wide(folder / "ethogram_wide.csv", recordings, budgets)
    counts = transitions(recordings, labels).tolist()
    rows = [[label, *row] for label, row in zip(labels, counts, strict=True)]
    write_table(folder / "transitions.csv", ["from", *labels], rows)
    if bin_seconds is not None:
        bins = list(time_budgets(recordings, bin_seconds=bin_seconds))
        _write_long(folder / "bins.csv", bins, groups)
    if figures:
        columns = ["label", "metric", "group", "videos", "mean", "low", "high"]
        values = [
            [f.label, f.metric, f.group, f.num_videos, *map(_short, (f.mean, f.low, f.high))]
            for f in figures
        ]
        write_table(folder / "groups.csv", columns, values)
    if agreement is not None:
        write_table(
            folder / "disagreements.csv",
            ["path", "start", "end", "seconds", "found", "against"],
            [
                [
                    d.path,
                    *(_seconds(t) for t in (d.start_seconds, d.end_seconds)),
                    _seconds(d.end_seconds - d.start_seconds),
                    *("; ".join(names) for names in (d.found, d.other)),
                ]
                for d in agreement.disagreements
            ],
        )
    plot_gantt(recordings, labels, [folder / "gantt.png", folder / "gantt.svg"])


def _write_long(path: Path, budgets: Sequence[TimeBudget], groups: dict[str, str]) -> None:
    """Write a row per video (and bin) and label."""
    has_groups = any(groups.values())
    columns = ["path", *["group"] * has_groups, "start", "end", "label"]
    rows: list[list[Any]] = [
        [
            budget.path,
            *[groups[budget.path]] * has_groups,
            _seconds(budget.start_seconds),
            _seconds(budget.end_seconds),
            budget.label,
            *budget.values().values(),
        ]
        for budget in budgets
    ]
    write_table(path, [*columns, *budgets[0].values()], rows)


def _write_wide(path: Path, recordings: Sequence[Recording], budgets: Sequence[TimeBudget]) -> None:
    """Write a row per video, with columns such as `run: seconds`."""
    by_path: dict[str, list[TimeBudget]] = {}
    for budget in budgets:
        by_path.setdefault(budget.path, []).append(budget)
    names = [f"{b.label}: {name}" for b in by_path[budgets[0].path] for name in b.values()]
    rows = [
        [
            *(one.path, one.group, _seconds(one.duration_seconds)),
            *(value for budget in by_path[one.path] for value in budget.values().values()),
        ]
        for one in recordings
    ]
    write_table(path, ["path", "group", "seconds", *names], rows)


def _seconds(seconds: float) -> float:
    return round(seconds, SECONDS_DIGITS)


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
