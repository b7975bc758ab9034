"""A comparison of runs -> what the terminal shows, and rows for files."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from activity_cli.common import count_of
from activity_cli.common.files import write_json
from activity_cli.common.tables import write_table
from activity_cli.errors import OutputError
from activity_cli.evaluation.baselines import signed_points
from activity_cli.evaluation.comparison import Pair, Run
from activity_cli.evaluation.intervals import SIGNIFICANT
from activity_cli.report.terminal import new_table, printable

_METRICS = (
    *("accuracy", "macro_precision", "macro_recall", "macro_f1", "log_loss"),
    *("calibration_error", "mean_average_precision"),
)


class _Column(NamedTuple):
    """A value of every run."""

    title: str
    value: Callable[[Run], Any]
    show: Callable[[Any], str] = str
    best: Callable[[Sequence[Any]], Any] | None = None  # chooses the value to highlight


def _metric(name: str) -> Callable[[Run], Any]:
    return lambda run: run.metrics.get(name)


_SHARE = "{:.1%}".format
_COLUMNS = (
    _Column("run", lambda run: printable(run.name)),
    _Column("measured on", lambda run: f"{len(run.outcomes)}, {run.measured_on}"),
    _Column("mAP", _metric("mean_average_precision"), _SHARE, max),  # of multi-label models
    _Column("accuracy", _metric("accuracy"), _SHARE, max),
    _Column("95% CI", _metric("confidence_interval"), lambda ci: f"{100 * ci[0]:.1f}-{ci[1]:.1%}"),
    _Column("macro F1", _metric("macro_f1"), _SHARE, max),
    _Column("calibration error", _metric("calibration_error"), _SHARE, min),
    _Column("parameters", lambda run: run.num_parameters, "{:,}".format),
    _Column("MB", lambda run: run.size_bytes, lambda size: f"{size / 1e6:.1f}"),
    _Column("ms per clip", lambda run: run.ms_per_clip, "{:.0f}".format),
    _Column("training", lambda run: run.training_seconds, "{:.1f} s".format),
)


def show_comparison(
    runs: Sequence[Run], pairs: Sequence[Pair], settings: Mapping[str, Sequence[Any]]
) -> RenderableType:
    """Show the conclusions, then a table of metrics and cost, and the settings that differ.

    `pairs` are the first run and each other one; `settings` has a value per run.
    """
    parts: list[RenderableType] = [Text(describe_pair(pair)) for pair in pairs]
    parts += [*(Text(note, "dim") for note in _notes(pairs)), Text()]
    shown = [column for column in _COLUMNS if any(column.value(run) is not None for run in runs)]
    table = new_table(*(column.title for column in shown))
    # Metrics of different clips cannot be ranked.
    same_clips = all(pair.result for pair in pairs)
    columns = [_cells([column.value(run) for run in runs], column, same_clips) for column in shown]
    for row in zip(*columns, strict=True):
        table.add_row(*row)
    parts.append(table)
    if settings:
        differing = new_table("setting", *(printable(run.name) for run in runs))
        for name, values in settings.items():
            cells = ["–" if value is None else _as_toml(value) for value in values]
            differing.add_row(*map(Text, [printable(name), *cells]))
        parts += [Text(), differing]
    elif all(run.settings for run in runs):
        parts.append(Text("All settings are the same.", "dim"))
    if without := ", ".join(printable(run.name) for run in runs if not run.settings):
        parts.append(Text(f"No settings.toml in {without}: settings are not compared.", "dim"))
    return Group(*parts)


def _as_toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cells(values: Sequence[Any], column: _Column, same_clips: bool) -> list[Text]:
    known = [value for value in values if value is not None]
    ranked = column.best is not None and same_clips and len(set(known)) > 1
    best = column.best(known) if column.best and ranked else None
    return [
        Text("–", "dim")
        if value is None
        else Text(column.show(value), "bold green" if ranked and value == best else "")
        for value in values
    ]


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
    gain, p = result.difference, result.p_value
    verdict = "significant" if p < SIGNIFICANT else "not significant"
    shown_p = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
    return (
        f"{second}: {signed_points(gain.value)} points of accuracy vs {first}, {verdict} "
        f"({shown_p}, 95% CI {signed_points(gain.low)} to {signed_points(gain.high)}). "
        f"Only {second} is correct on {count_of(result.only_second, 'clip')}, "
        f"only {first} on {result.only_first}."
    )


def comparison_rows(
    runs: Sequence[Run], pairs: Sequence[Pair], settings: Mapping[str, Sequence[Any]]
) -> list[dict[str, Any]]:
    """Return a flat row per run, with its difference to the first and the settings that differ."""
    rows = []
    for number, (run, pair) in enumerate(zip(runs, [None, *pairs], strict=True)):
        result = pair.result if pair else None
        row = {
            "run": run.name,
            "measured_on": run.measured_on,
            "clips": len(run.outcomes),
            **{name: run.metrics.get(name) for name in _METRICS},
            "parameters": run.num_parameters,
            "size_bytes": run.size_bytes,
            "ms_per_clip": None if run.ms_per_clip is None else round(run.ms_per_clip, 2),
            "training_seconds": run.training_seconds,
            "created": run.created.isoformat(timespec="seconds"),
            "shared_clips": pair.num_shared if pair else None,
            "only_first_right": result.only_first if result else None,
            "only_this_right": result.only_second if result else None,
            "p_value": result.p_value if result else None,
            "difference": round(result.difference.value, 6) if result else None,
            "difference_low": result.difference.low if result else None,
            "difference_high": result.difference.high if result else None,
        }
        rows.append(row | {name: values[number] for name, values in settings.items()})
    return rows


def write_comparison(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as .csv or .json, by the extension of the file."""
    if path.suffix.lower() == ".json":
        write_json(path, rows)
    else:
        write_table(path, list(rows[0]), [list(row.values()) for row in rows])


def check_comparison_file(path: Path, *, overwrite: bool) -> None:
    """Raise an OutputError if the extension is another one, or the file exists."""
    if path.suffix.lower() not in {".csv", ".json"}:
        raise OutputError(
            f"{path}: a comparison is written as .csv or .json.", hint="Use --output runs.csv."
        )
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists.", hint="Choose another file, or add --overwrite.")


def _notes(pairs: Sequence[Pair]) -> list[str]:
    """Return how the p-values were computed, and what limits them."""
    tested = [pair.result for pair in pairs if pair.result is not None]
    notes = []
    if tested:
        num_groups = tested[0].num_groups
        units = "clip" if num_groups is None else f"group ({count_of(num_groups, 'group')})"
        notes.append(f"p: exact sign-flip test by {units}. 95% CI: paired bootstrap by {units}.")
        if num_groups is not None and 2 / 2**num_groups >= SIGNIFICANT:
            notes.append("No difference can be significant with fewer than 6 groups.")
    if any(pair.result and not pair.same_folds for pair in pairs):
        notes.append("The runs used different folds, so they were trained on different clips.")
    if len(tested) > 2:
        notes.append(
            f"With {len(tested)} comparisons one can look significant by chance: "
            f"require p < {SIGNIFICANT / len(tested):.3f}."
        )
    return notes
