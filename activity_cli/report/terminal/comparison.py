"""A comparison of runs -> what the terminal shows, and rows for files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from activity_cli.common.files import write_json
from activity_cli.common.tables import write_table
from activity_cli.common.wording import count_of
from activity_cli.errors import OutputError
from activity_cli.evaluation.baselines import signed_points
from activity_cli.evaluation.comparison import Pair, Run
from activity_cli.report.terminal.elements import new_table, printable

_SIGNIFICANT = 0.05
_MIN_WIDTH, _MAX_WIDTH = 16, 24  # of a run's column
_METRICS = ("accuracy", "macro_precision", "macro_recall", "macro_f1", "log_loss")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One value of every run."""

    title: str
    value: Callable[[Run], Any]
    show: Callable[[Any], str] = str
    best: Callable[[Sequence[Any]], Any] | None = None
    """Chooses the value to highlight; None highlights none."""
    needs_same_clips: bool = True
    """Whether values are comparable only where all runs measured the same clips."""


def _metric(title: str, name: str, best: Callable[[Sequence[Any]], Any] = max) -> _Row:
    return _Row(
        title=title, value=lambda run: run.metrics.get(name), show="{:.1%}".format, best=best
    )


_ROWS = (
    _Row(title="measured on", value=lambda run: run.measured_on),
    _Row(title="clips", value=lambda run: len(run.outcomes)),
    _metric("accuracy", "accuracy"),
    _Row(
        title="  95% CI",
        value=lambda run: run.metrics.get("confidence_interval"),
        show=lambda bounds: f"{100 * bounds[0]:.1f} to {bounds[1]:.1%}",
    ),
    _metric("macro precision", "macro_precision"),
    _metric("macro recall", "macro_recall"),
    _metric("macro F1", "macro_f1"),
    _metric("calibration error", "calibration_error", min),
    _Row(title="trained parameters", value=lambda run: run.num_parameters, show="{:,}".format),
    _Row(
        title="model folder",
        value=lambda run: run.size_bytes,
        show=lambda size: f"{size / 1e6:.1f} MB",
    ),
    _Row(
        title="CNN + LSTM per clip",
        value=lambda run: run.ms_per_clip,
        show="{:.0f} ms".format,
        best=min,
        needs_same_clips=False,
    ),
    _Row(title="training", value=lambda run: run.training_seconds, show="{:.1f} s".format),
    _Row(title="created, UTC", value=lambda run: run.created.strftime("%Y-%m-%d %H:%M")),
)


def show_comparison(
    runs: Sequence[Run],
    pairs: Sequence[Pair],
    settings: Mapping[str, Sequence[Any]],
    *,
    width: int,
) -> RenderableType:
    """Show the conclusions, then metrics and differing settings in tables that fit the width.

    Args:
        runs: in the order of the columns.
        pairs: the first run and each other one.
        settings: values of those that differ, in the order of the runs.
        width: of the terminal, in cells; runs that do not fit beside each other go below.
    """
    parts: list[RenderableType] = [Text(describe_pair(pair)) for pair in pairs]
    parts += [*(Text(note, "dim") for note in _notes(pairs)), Text()]
    title_width = max(map(len, [*(row.title for row in _ROWS), *settings]))
    run_width = max([_MIN_WIDTH, *(len(printable(run.name)) for run in runs)])
    run_width = min(run_width, _MAX_WIDTH)
    columns = max(1, (width - title_width - 2) // (run_width + 2))
    same_clips = all(pair.result for pair in pairs)
    for start in range(0, len(runs), columns):
        table = new_table("", *(printable(run.name) for run in runs[start : start + columns]))
        table.columns[0].width = title_width
        for column in table.columns[1:]:
            column.width, column.overflow, column.justify = run_width, "fold", "right"
        _add_metrics(table, runs, slice(start, start + columns), same_clips=same_clips)
        if settings:
            table.add_section()
        for name, values in settings.items():
            shown = [_cell(value, _plain) for value in values[start : start + columns]]
            table.add_row(Text(printable(name), "dim"), *shown)
        parts += [table, Text()]
    if not settings and all(run.settings for run in runs):
        parts.append(Text("All settings are the same.", "dim"))
    if without := ", ".join(printable(run.name) for run in runs if not run.settings):
        parts.append(Text(f"No settings.toml in {without}: settings are not compared.", "dim"))
    return Group(*parts)


def describe_pair(pair: Pair) -> str:
    """Return the conclusion of comparing two runs, then its numbers."""
    first, second = printable(pair.first.name), printable(pair.second.name)
    counts = len(pair.first.outcomes), len(pair.second.outcomes)
    if not pair.same_labels:
        return f"{first} and {second} have different true labels for the same clips: not compared."
    result = pair.result
    if result is None:
        return (
            f"{first} and {second} were measured on different clips ({counts[0]} and {counts[1]}, "
            f"{pair.num_shared} shared): not compared. Measure both on the same clips."
        )
    if result.only_first == result.only_second == 0:
        return f"{second} and {first} are correct on the same clips: no difference."
    gain = result.difference
    verdict = "significant" if result.p_value < _SIGNIFICANT else "not significant"
    return (
        f"{second}: {signed_points(gain.value)} points of accuracy vs {first}, {verdict} "
        f"({_p(result.p_value)}, 95% CI {signed_points(gain.low)} to {signed_points(gain.high)}). "
        f"Only {second} is correct on {count_of(result.only_second, 'clip')}, "
        f"only {first} on {result.only_first}."
    )


def comparison_rows(
    runs: Sequence[Run], pairs: Sequence[Pair], settings: Mapping[str, Sequence[Any]]
) -> list[dict[str, Any]]:
    """Return a flat row per run, with its difference to the first and the settings that differ."""
    by_second = {id(pair.second): pair for pair in pairs}
    rows = []
    for number, run in enumerate(runs):
        row = {
            "run": run.name,
            "measured_on": run.measured_on,
            "clips": len(run.outcomes),
            **{name: run.metrics.get(name) for name in (*_METRICS, "calibration_error")},
            "parameters": run.num_parameters,
            "size_bytes": run.size_bytes,
            "ms_per_clip": None if run.ms_per_clip is None else round(run.ms_per_clip, 2),
            "training_seconds": run.training_seconds,
            "created": run.created.isoformat(timespec="seconds"),
            **_difference_to_first(by_second.get(id(run))),
        }
        rows.append(row | {name: values[number] for name, values in settings.items()})
    return rows


def write_comparison(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as .csv or .json, by the extension of the file.

    Raises:
        OutputError: it cannot be written.
    """
    if path.suffix.lower() == ".json":
        write_json(path, rows)
    else:
        columns = list(rows[0])
        write_table(path, columns, [[row[column] for column in columns] for row in rows])


def check_comparison_file(path: Path, *, overwrite: bool) -> None:
    """Check that a comparison can be written there.

    Raises:
        OutputError: the extension is another one, or the file exists.
    """
    if path.suffix.lower() not in {".csv", ".json"}:
        raise OutputError(
            f"{path}: a comparison is written as .csv or .json.", hint="Use --output runs.csv."
        )
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists.", hint="Choose another file, or add --overwrite.")


def _difference_to_first(pair: Pair | None) -> dict[str, Any]:
    """Return the comparison with the first run; empty values for the first itself."""
    result = pair.result if pair else None
    return {
        "shared_clips": pair.num_shared if pair else None,
        "only_first_right": result.only_first if result else None,
        "only_this_right": result.only_second if result else None,
        "p_value": result.p_value if result else None,
        "difference": round(result.difference.value, 6) if result else None,
        "difference_low": result.difference.low if result else None,
        "difference_high": result.difference.high if result else None,
    }


def _add_metrics(table: Table, runs: Sequence[Run], shown: slice, *, same_clips: bool) -> None:
    for row in _ROWS:
        values = [row.value(run) for run in runs]
        known = [value for value in values if value is not None]
        if not known:
            continue
        choose = row.best if same_clips or not row.needs_same_clips else None
        best = choose(known) if choose and len(set(known)) > 1 else None
        cells = [
            _cell(value, row.show, "bold green" if best is not None and value == best else "")
            for value in values[shown]
        ]
        table.add_row(Text(row.title, "dim"), *cells)


def _cell(value: Any, show: Callable[[Any], str], style: str = "") -> Text:
    return Text("–", "dim") if value is None else Text(show(value), style)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _notes(pairs: Sequence[Pair]) -> list[str]:
    """Return how the p-values were computed, and what limits them."""
    tested = [pair.result for pair in pairs if pair.result is not None]
    notes = []
    if tested:
        num_groups = tested[0].num_groups
        units = f"group ({num_groups} groups)" if num_groups else "clip"
        notes.append(f"p: exact sign-flip test by {units}. 95% CI: paired bootstrap by {units}.")
    if any(pair.result and not pair.same_folds for pair in pairs):
        notes.append("The runs used different folds, so they were trained on different clips.")
    if len(tested) > 2:
        notes.append(
            f"With {len(tested)} comparisons one can look significant by chance: "
            f"require p < {_SIGNIFICANT / len(tested):.3f}."
        )
    return notes


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"
