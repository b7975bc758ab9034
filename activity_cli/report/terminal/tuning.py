"""What `activity tune` prints and writes: terminal summary, trials.csv, metrics.json."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from shlex import quote
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from activity_cli.common.tables import write_table
from activity_cli.evaluation.intervals import mean_with_interval
from activity_cli.model.metrics import correct_clips, evaluate_scores
from activity_cli.report.terminal import SCORE_STYLE, bar, new_table

if TYPE_CHECKING:
    from pathlib import Path

    from activity_cli.training.tuning.run import TuningRun
    from activity_cli.training.tuning.search import SearchResult, Trial
    from activity_cli.training.tuning.space import Value

_SHOWN_SETTINGS = 6
_NUMBERS = slice(1, None)
_FIGURES = ("log_loss", "accuracy", "mean_average_precision")


def write_trials(path: "Path", trials: Sequence["Trial"]) -> None:
    """Write a CSV row per finished trial; settings without effect in a trial are empty."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.point))
    several = any(t.mean_average_precision is not None for t in trials)
    shown = _FIGURES if several else _FIGURES[:2]
    header = ["trial", "state", *shown, "folds", "seconds", *names]
    rows = []
    for t in trials:
        figures = [round(getattr(t, name) or 0, 6) for name in shown]
        values = [t.point.get(name) for name in names]
        rows.append([t.number, t.state, *figures, t.num_folds, t.seconds, *values])
    write_table(path, header, rows)


def tuning_metrics(run: "TuningRun", *, command: str) -> dict[str, Any]:
    """Return the content of metrics.json, which `--json` prints."""
    result = run.result
    nested = run.nested.searches.values() if run.nested else ()
    return {
        "best": _trial_metrics(result.best),
        "default": _trial_metrics(result.default),
        "num_trials": len(result.trials),
        "num_pruned": sum(trial.state == "pruned" for trial in result.trials),
        "is_out_of_time": result.is_out_of_time,
        "importance": {name: round(share, 4) for name, share in run.importance.items()},
        "folds_by": run.folds.by,
        "nested": _nested_metrics(run),
        "num_left_out": run.data.num_left_out,
        "seconds": {
            "searching": round(run.seconds, 2),
            "search": _seconds(result),
            "all_trials": _seconds(result, *nested),
        },
        "folder": str(run.folder),
        "command": command,
    }


def show_tuning(
    run: "TuningRun", metrics: Mapping[str, Any], *, data: "Path", best_file: "Path"
) -> RenderableType:
    """Show the best settings, how reliable their score is, and the next command to type."""
    result = run.result
    head = (
        f"{len(result.trials)} trials, {metrics['num_pruned']} of them stopped early. Each trial "
        f"is scored by cross-validation, {len(run.folds.names)} folds by {run.folds.by}.\n"
    )
    parts: list[RenderableType] = [Text(head, "dim"), _show_best(run)]
    if run.importance:
        parts += [Text(), _show_importance(run.importance)]
    parts.append(Text())
    parts.append(_show_nested(metrics) if metrics["nested"] else _warn_of_optimism(result))
    if result.is_out_of_time:
        text = "The time limit ended the search early. Run the same command again to resume."
        parts.append(Text(text, "yellow"))
    parts.append(Text(f"\nsearching {run.seconds:.0f} s", "dim"))
    parts.append(Text(f"Best settings, trials, pictures and study: {run.folder}"))
    command = f"activity train {quote(str(data))} --settings {quote(str(best_file))}"
    parts.append(Text.assemble("Next:  ", (command, "bold")))
    return Group(*parts)


def _show_best(run: "TuningRun") -> Table:
    """Show scores and settings of the best trial and of the defaults, where they differ."""
    best, default = run.result.best, run.result.default
    table = new_table("", f"best: trial {best.number}", "defaults", right=_NUMBERS)
    table.add_row("log-loss", f"{best.log_loss:.4f}", f"{default.log_loss:.4f}")
    if best.mean_average_precision is not None:
        figures = [f"{one.mean_average_precision or 0:.1%}" for one in (best, default)]
        table.add_row("mAP", *figures)
    table.add_row("accuracy", f"{best.accuracy:.1%}", f"{default.accuracy:.1%}")
    base = run.space.base.point()
    for name, value in best.point.items():
        if value != base[name]:
            table.add_row(name, Text(_plain(value), "bold"), Text(_plain(base[name]), "dim"))
    return table


def _show_importance(importance: Mapping[str, float]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for name, share in list(importance.items())[:_SHOWN_SETTINGS]:
        table.add_row(f"  {name}", Text(bar(share), SCORE_STYLE), f"{share:.1%}")
    return Group(Text("Importance of settings (PED-ANOVA; an estimate from few trials):"), table)


def _warn_of_optimism(result: "SearchResult") -> Text:
    return Text(
        f"Best: {result.best.figure}; defaults: {result.default.figure}. "
        "This is optimistic: the best trial was chosen on the same clips.\n"
        "--nested measures the gain on clips that the search has not seen.",
        "yellow",
    )


def _show_nested(metrics: Mapping[str, Any]) -> RenderableType:
    """Show the scores on clips that took no part in a search."""
    nested = metrics["nested"]
    several = ["mAP"] if "mean_average_precision" in nested["tuned"] else []
    columns = [*several, "accuracy", "95% CI", "log-loss"]
    table = new_table("nested cross-validation", *columns, right=_NUMBERS)
    for name in ("tuned", "default"):
        scores = nested[name]
        low, high = scores["confidence_interval"]
        precision = [f"{scores['mean_average_precision']:.1%}" for _ in several]
        accuracy = Text(f"{scores['accuracy']:.1%}", "bold")
        interval = f"{low:.1%} to {high:.1%}"
        table.add_row(name, *precision, accuracy, interval, f"{scores['log_loss']:.3f}")
    low, high = (100 * bound for bound in nested["interval"])
    verdict = "" if low > 0 or high < 0 else ", not significant"
    return Group(
        table,
        f"Tuning changed the accuracy by {100 * nested['difference']:+.1f} points "
        f"(95% CI {low:+.1f} to {high:+.1f}, bootstrap by {nested['bootstrap_of']}){verdict}. "
        f"{len(nested['folds'])} outer folds by {nested['folds_by']}, one search each. "
        f"The search's own accuracy, {metrics['best']['accuracy']:.1%}, is optimistic.",
    )


def _seconds(*searches: "SearchResult") -> float:
    """Return the time of all trials of some searches, including earlier calls."""
    return round(sum(trial.seconds for search in searches for trial in search.trials), 2)


def _trial_metrics(trial: "Trial") -> dict[str, Any]:
    values = {name: value for name, value in asdict(trial).items() if value is not None}
    return values | {name: round(values[name], 4) for name in _FIGURES if name in values}


def _nested_metrics(run: "TuningRun") -> dict[str, Any] | None:
    nested, targets = run.nested, run.data.targets
    if nested is None:
        return None
    groups, labels = run.data.dataset.groups(), run.data.dataset.labels
    pairs = {
        "tuned": (nested.tuned, nested.tuned_thresholds),
        "default": (nested.default, nested.default_thresholds),
    }
    tuned, default = (correct_clips(scores, targets, own) for scores, own in pairs.values())
    gain = mean_with_interval(tuned.astype(float) - default, groups)
    return {
        **{
            name: evaluate_scores(scores, targets, labels, own).to_json()
            for name, (scores, own) in pairs.items()
        },
        "difference": round(gain.value, 4),
        "interval": [round(gain.low, 4), round(gain.high, 4)],
        "bootstrap_of": "clips" if groups is None else "groups",
        "folds_by": nested.outer.by,
        "folds": [
            {
                "name": name,
                "num_clips": int(rows.sum()),
                "accuracy": round(float(tuned[rows].mean()), 4),
                "default_accuracy": round(float(default[rows].mean()), 4),
                "num_trials": len(search.trials),
                "best": _trial_metrics(search.best),
            }
            for number, (name, search) in enumerate(nested.searches.items())
            for rows in [nested.outer.index == number]
        ],
    }


def _plain(value: "Value") -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
