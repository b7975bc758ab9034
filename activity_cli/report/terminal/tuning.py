"""A tuning -> a terminal's screen, trials.csv, metrics.json."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from shlex import quote
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from activity_cli.common.files import write_json
from activity_cli.report.figures.tuning import plot_history, plot_importance, plot_settings
from activity_cli.report.terminal.elements import SCORE_STYLE, bar, new_table

if TYPE_CHECKING:
    from pathlib import Path

    from activity_cli.training.tuning.nested import NestedResult
    from activity_cli.training.tuning.run import TuningRun
    from activity_cli.training.tuning.search import SearchResult, Trial
    from activity_cli.training.tuning.space import Point, Value

_SHOWN_TRIALS = 5
_SHOWN_SETTINGS = 6


def trials_csv(trials: Sequence["Trial"]) -> str:
    """A row per trial that came to an end; settings that did not matter in it are empty."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.point))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", "log_loss", "accuracy", "folds", "seconds", *names])
    for trial in trials:
        figures = [round(trial.log_loss, 6), round(trial.accuracy, 6)]
        figures += [trial.num_folds, trial.seconds]
        settings = [trial.point.get(name) for name in names]
        writer.writerow([trial.number, trial.state, *figures, *settings])
    return text.getvalue()


def write_tuning(run: "TuningRun", metrics: Mapping[str, Any]) -> None:
    """Write metrics.json and the pictures; trials.csv and best.toml are there already.

    Raises:
        OutputError: something cannot be written.
    """
    write_json(run.folder / "metrics.json", metrics)
    plot_history(run.result, run.folder / "history.png")
    plot_settings(run.result, run.folder / "settings.png")
    if run.importance:
        plot_importance(run.importance, run.folder / "importance.png")


def tuning_metrics(run: "TuningRun", *, command: str) -> dict[str, Any]:
    """The content of a tuning's metrics.json, which `--json` prints as well."""
    result = run.result
    nested_folds = run.nested.folds if run.nested else ()
    return {
        "best": _trial_metrics(result.best),
        "default": _trial_metrics(result.default),
        "num_trials": len(result.trials),
        "num_pruned": sum(trial.state == "pruned" for trial in result.trials),
        "is_out_of_time": result.is_out_of_time,
        "importance": {name: round(share, 4) for name, share in run.importance.items()},
        "folds_by": run.folds.by,
        "nested": _nested_metrics(run.nested) if run.nested else None,
        "num_left_out": run.material.num_left_out,
        "seconds": {
            "searching": round(run.seconds, 2),
            "search": _seconds(result),
            "all_trials": _seconds(result, *(fold.search for fold in nested_folds)),
        },
        "folder": str(run.folder),
        "command": command,
    }


def show_tuning(run: "TuningRun", *, data: "Path", best_file: "Path") -> RenderableType:
    """What the search found and how far it can be believed, down to the next command to type."""
    result = run.result
    pruned = sum(trial.state == "pruned" for trial in result.trials)
    head = (
        f"{len(result.trials)} trials, {pruned} of them given up early; every trial judged by "
        f"{len(run.folds.names)} folds, by {run.folds.by}.\n"
    )
    parts: list[RenderableType] = [Text(head, "dim"), _show_trials(result), Text()]
    parts.append(_show_changes(run))
    if run.importance:
        parts += [Text(), _show_importance(run.importance)]
    parts += [Text(), _show_worth(run)]
    if result.is_out_of_time:
        parts.append(Text("The time was up before all trials; the same command goes on.", "yellow"))
    parts.append(Text(f"\nsearching {run.seconds:.0f} s", "dim"))
    parts.append(Text(f"Best settings, trials, pictures and study: {run.folder}"))
    command = f"activity train {quote(str(data))} --settings {quote(str(best_file))}"
    parts.append(Text.assemble("Next:  ", (command, "bold")))
    return Group(*parts)


def describe_best(trial: "Trial") -> str:
    """The best so far, beside the progress."""
    return f"best {trial.log_loss:.3f} ({trial.accuracy:.1%})"


def _show_trials(result: "SearchResult") -> Table:
    """The best whole trials, and the one that it began with."""
    whole = sorted((t for t in result.trials if t.state == "whole"), key=lambda t: t.log_loss)
    shown = whole[:_SHOWN_TRIALS]
    shown += [] if result.default in shown else [result.default]
    table = new_table("trial", "log-loss", "accuracy", "settings")
    for column in table.columns[:3]:
        column.justify = "right"
        column.no_wrap = True
    for trial in shown:
        is_default = trial is result.default
        style = "bold" if trial is shown[0] else ""
        settings = "those it began with" if is_default else _describe_point(trial.point)
        table.add_row(
            str(trial.number),
            Text(f"{trial.log_loss:.4f}", style),
            Text(f"{trial.accuracy:.3f}", style),
            Text(settings, "dim"),
        )
    return table


def _show_changes(run: "TuningRun") -> RenderableType:
    """The best settings beside those that it began with, where they differ."""
    best, default = run.result.best.point, run.space.base.point()
    changed = [name for name, value in best.items() if value != default[name]]
    if not changed:
        return Text("Nothing was better than the settings that it began with.")
    table = new_table("setting", "best", "began with")
    for column in table.columns[1:]:
        column.justify = "right"
    for name in changed:
        table.add_row(name, Text(_plain(best[name]), "bold"), Text(_plain(default[name]), "dim"))
    return table


def _show_importance(importance: Mapping[str, float]) -> RenderableType:
    """Which settings made the difference."""
    table = Table.grid(padding=(0, 2))
    for name, share in list(importance.items())[:_SHOWN_SETTINGS]:
        table.add_row(f"  {name}", Text(bar(share), SCORE_STYLE), f"{share:.0%}")
    return Group(Text("What made the difference between trials (a hint only):"), table)


def _show_worth(run: "TuningRun") -> RenderableType:
    """The honest score, or that there is none."""
    best, default = run.result.best, run.result.default
    if run.nested is None:
        return Text(
            f"Accuracy {best.accuracy:.3f}, {default.accuracy:.3f} before: optimistic, because the "
            "best of many trials was chosen on the same clips.\n"
            "--nested measures what tuning is worth on clips that it did not see.",
            "yellow",
        )
    nested = run.nested
    table = new_table("on clips unseen by the search", "accuracy", "95% interval", "log-loss")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, evaluation in (("tuned", nested.tuned), ("began with", nested.default)):
        low, high = evaluation.accuracy_interval
        table.add_row(
            name,
            Text(f"{evaluation.accuracy:.3f}", "bold"),
            f"{low:.3f} to {high:.3f}",
            f"{evaluation.log_loss:.3f}",
        )
    low, high = nested.interval
    verdict = "" if low > 0 or high < 0 else ": no difference that these clips can show"
    text = (
        f"Tuning changed the accuracy by {nested.difference:+.3f} ({low:+.3f} to {high:+.3f}, "
        f"bootstrap of {nested.drawn}){verdict}. A search per fold, {len(nested.folds)} folds by "
        f"{nested.folds_by}. The search's own {best.accuracy:.3f} is optimistic."
    )
    return Group(table, Text(text))


def _seconds(*searches: "SearchResult") -> float:
    """Time for all trials of some searches, whichever call they were run by."""
    return round(sum(trial.seconds for search in searches for trial in search.trials), 2)


def _trial_metrics(trial: "Trial") -> dict[str, Any]:
    return {
        **{k: v for k, v in asdict(trial).items() if k != "running"},
        "num_folds": trial.num_folds,
        "log_loss": round(trial.log_loss, 4),
        "accuracy": round(trial.accuracy, 4),
        "point": dict(trial.point),
    }


def _nested_metrics(nested: "NestedResult") -> dict[str, Any]:
    return {
        "tuned": nested.tuned.to_json(),
        "default": nested.default.to_json(),
        "difference": round(nested.difference, 4),
        "interval": [round(bound, 4) for bound in nested.interval],
        "bootstrap_of": nested.drawn,
        "folds_by": nested.folds_by,
        "folds": [
            {
                "name": fold.name,
                "num_clips": fold.num_clips,
                "accuracy": round(fold.accuracy, 4),
                "default_accuracy": round(fold.default_accuracy, 4),
                "num_trials": len(fold.search.trials),
                "best": _trial_metrics(fold.search.best),
            }
            for fold in nested.folds
        ],
    }


def _describe_point(point: "Point") -> str:
    return ", ".join(f"{name} {_plain(value)}" for name, value in point.items())


def _plain(value: "Value") -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
