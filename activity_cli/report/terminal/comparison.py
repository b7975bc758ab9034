"""Runs side by side -> what a terminal shows, and rows for files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from activity_cli.common.files import write_json, write_text_atomically
from activity_cli.errors import OutputError
from activity_cli.evaluation.comparison import Pair, Run
from activity_cli.report.csv_text import csv_text
from activity_cli.report.terminal.elements import new_table, printable

_SURE = 0.05
"""The usual bound of a p-value, below which chance is no good explanation."""
_CELLS = (16, 24)
"""Least and most width of a run's column."""
_NONE = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A figure of every run."""

    title: str
    value: Callable[[Run], Any]
    show: Callable[[Any], str] = str
    better: Callable[[Sequence[Any]], Any] | None = None
    """Chooses the value to point out; None points out none."""
    of_clips: bool = True
    """Whether values can be compared only where all runs measured the same clips."""


def _metric(name: str) -> Callable[[Run], Any]:
    return lambda run: run.metrics.get(name)


def _share(value: float) -> str:
    return f"{value:.3f}"


_ROWS = (
    _Row(title="measured on", value=lambda run: run.measured_on),
    _Row(title="clips", value=lambda run: len(run.outcomes)),
    _Row(title="accuracy", value=_metric("accuracy"), show=_share, better=max),
    _Row(
        title="  95% interval",
        value=_metric("confidence_interval"),
        show=lambda bounds: f"{bounds[0]:.3f}-{bounds[1]:.3f}",
    ),
    _Row(title="precision", value=_metric("macro_precision"), show=_share, better=max),
    _Row(title="recall", value=_metric("macro_recall"), show=_share, better=max),
    _Row(title="F1", value=_metric("macro_f1"), show=_share, better=max),
    _Row(title="calibration error", value=_metric("calibration_error"), show=_share, better=min),
    _Row(title="trained parameters", value=lambda run: run.num_parameters, show="{:,}".format),
    _Row(
        title="model folder",
        value=lambda run: run.size_bytes,
        show=lambda size: f"{size / 1e6:.1f} MB",
    ),
    _Row(
        title="CNN + LSTM, a clip",
        value=lambda run: run.ms_per_clip,
        show=lambda ms: f"{ms:.0f} ms",
        better=min,
        of_clips=False,
    ),
    _Row(
        title="training",
        value=lambda run: run.training_seconds,
        show=lambda seconds: f"{seconds:.1f} s",
    ),
    _Row(title="made, UTC", value=lambda run: run.created.strftime("%Y-%m-%d %H:%M")),
)


def show_comparison(
    runs: Sequence[Run],
    pairs: Sequence[Pair],
    settings: Mapping[str, Sequence[Any]],
    *,
    width: int,
) -> RenderableType:
    """Figures and differing settings in tables that fit the width, then what they mean.

    Args:
        runs: in the order of the columns.
        pairs: the first run and each other one.
        settings: values of those that differ, in the order of the runs.
        width: of the terminal, in cells; runs that do not fit beside each other go below.
    """
    parts: list[RenderableType] = []
    titles = [*(row.title for row in _ROWS), *settings]
    first_column = max(map(len, titles)) + 2
    cells = min(max([_CELLS[0], *(len(printable(run.name)) for run in runs)]), _CELLS[1])
    columns = max(1, (width - first_column) // (cells + 2))
    widths = (first_column - 2, cells)
    same_clips = all(pair.result for pair in pairs)
    for start in range(0, len(runs), columns):
        shown = slice(start, start + columns)
        parts += [_figures(runs, shown, widths, same_clips=same_clips), Text()]
        if settings:
            parts += [_settings(settings, runs, shown, widths), Text()]
    if not settings and all(run.settings for run in runs):
        parts.append(Text("All settings are the same.", "dim"))
    without = [run.name for run in runs if not run.settings]
    if without:
        names = ", ".join(map(printable, without))
        parts.append(Text(f"Without a settings.toml, so settings unknown: {names}", "dim"))
    parts += [Text(describe_pair(pair)) for pair in pairs]
    parts += [Text(note, "dim") for note in _notes(pairs)]
    return Group(*parts)


def describe_pair(pair: Pair) -> str:
    """What two runs say about each other, in plain words."""
    first, second = printable(pair.first.name), printable(pair.second.name)
    counts = len(pair.first.outcomes), len(pair.second.outcomes)
    if not pair.same_labels:
        return f"{first} and {second} have clips of one name with other labels: not compared."
    result = pair.result
    if result is None:
        return (
            f"{first} and {second} were measured on different clips ({counts[0]} and {counts[1]}, "
            f"{pair.num_shared} shared), so there is no p-value: measure both on the same."
        )
    if result.only_first == result.only_second == 0:
        return f"{second} and {first} are right and wrong on the same clips."
    low, high = result.interval
    verdict = "chance explains it" if result.p_value >= _SURE else "chance hardly explains it"
    return (
        f"{second} names {_clips(result.only_second)} right that {first} gets wrong, "
        f"{result.only_first} the other way: {_p(result.p_value)}, {verdict}. The "
        f"accuracy differs by {result.difference:+.3f} (95% interval {low:+.3f} to {high:+.3f})."
    )


def comparison_rows(
    runs: Sequence[Run], pairs: Sequence[Pair], settings: Mapping[str, Sequence[Any]]
) -> list[dict[str, Any]]:
    """A flat row per run, with how it stands to the first run and the settings that differ."""
    by_second = {id(pair.second): pair for pair in pairs}
    rows = []
    for number, run in enumerate(runs):
        metrics = run.metrics
        row = {
            "run": run.name,
            "measured_on": run.measured_on,
            "clips": len(run.outcomes),
            **{
                name: metrics.get(name)
                for name in (
                    *("accuracy", "macro_precision", "macro_recall", "macro_f1"),
                    *("log_loss", "calibration_error"),
                )
            },
            "parameters": run.num_parameters,
            "size_bytes": run.size_bytes,
            "ms_per_clip": None if run.ms_per_clip is None else round(run.ms_per_clip, 2),
            "training_seconds": run.training_seconds,
            "created": run.created.isoformat(timespec="seconds"),
            **_against_first(by_second.get(id(run))),
        }
        rows.append(row | {name: values[number] for name, values in settings.items()})
    return rows


def write_comparison(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as .csv or .json, by the file's ending.

    Raises:
        OutputError: it cannot be written.
    """
    if path.suffix.lower() == ".json":
        write_json(path, rows)
    else:
        columns = list(rows[0])
        write_text_atomically(path, csv_text(columns, [[row[c] for c in columns] for row in rows]))


def check_comparison_file(path: Path, *, overwrite: bool) -> None:
    """See that a comparison can be written there.

    Raises:
        OutputError: the ending is none of these, or there is a file already.
    """
    if path.suffix.lower() not in {".csv", ".json"}:
        raise OutputError(
            f"{path}: a comparison is written as .csv or .json.", hint="Use --output runs.csv."
        )
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists.", hint="Choose another file, or add --overwrite.")


def _against_first(pair: Pair | None) -> dict[str, Any]:
    """How a run stands to the first; empty values for the first itself, and where none is told."""
    result = pair.result if pair else None
    low, high = result.interval if result else (None, None)
    return {
        "shared_clips": pair.num_shared if pair else None,
        "only_first_right": result.only_first if result else None,
        "only_this_right": result.only_second if result else None,
        "p_value": result.p_value if result else None,
        "difference": round(result.difference, 6) if result else None,
        "difference_low": low,
        "difference_high": high,
    }


def _figures(
    runs: Sequence[Run], shown: slice, widths: tuple[int, int], *, same_clips: bool
) -> Table:
    table = _table(runs[shown], widths)
    for row in _ROWS:
        values = [row.value(run) for run in runs]
        known = [value for value in values if value is not None]
        if not known:
            continue
        choose = row.better if same_clips or not row.of_clips else None
        best = choose(known) if choose and len(set(known)) > 1 else None
        cells = [
            Text(_NONE, "dim")
            if value is None
            else Text(row.show(value), "bold green" if value == best else "")
            for value in values[shown]
        ]
        table.add_row(Text(row.title, "dim"), *cells)
    return table


def _settings(
    settings: Mapping[str, Sequence[Any]],
    runs: Sequence[Run],
    shown: slice,
    widths: tuple[int, int],
) -> Table:
    table = _table(runs[shown], widths, title="setting")
    for name, values in settings.items():
        cells = [Text(_NONE if value is None else _plain(value)) for value in values[shown]]
        table.add_row(Text(printable(name), "dim"), *cells)
    return table


def _table(runs: Sequence[Run], widths: tuple[int, int], *, title: str = "") -> Table:
    table = new_table(title, *(printable(run.name) for run in runs))
    table.columns[0].width = widths[0]
    for column in table.columns[1:]:
        column.overflow = "fold"
        column.width = widths[1]
        column.justify = "right"
    return table


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _notes(pairs: Sequence[Pair]) -> list[str]:
    """What to keep in mind about the p-values above."""
    tested = [pair for pair in pairs if pair.result is not None]
    notes = []
    if any(not pair.same_folds for pair in tested):
        notes.append("Clips were held out in other folds, so the runs did not learn from the same.")
    if tested:
        notes.append("p: exact McNemar test; interval: paired bootstrap over clips.")
    if len(tested) > 2:
        notes.append(
            f"Of {len(tested)} comparisons one may look sure by chance: take p below "
            f"{_SURE / len(tested):.3f} as sure."
        )
    return notes


def _clips(number: int) -> str:
    return f"{number} clip{'s' * (number != 1)}"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"
