"""Pictures of a search: every trial, the best so far, and which settings made the difference."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from activity_cli.report.figures.plots import new_figure, save_figure, tidy
from activity_cli.report.palette import UNKNOWN_COLOUR, label_colours

if TYPE_CHECKING:
    from activity_cli.training.tuning.search import SearchResult, Trial

_WHOLE, _BEST = label_colours(["whole", "best"]).values()
_COLUMNS = 3


def plot_history(result: "SearchResult", path: Path) -> None:
    """The log-loss of every trial in the order in which they ran, and the best until then.

    Raises:
        OutputError: the picture cannot be written.
    """
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(8, 4)
    axes = figure.subplots()
    whole = [trial for trial in result.trials if trial.state == "whole"]
    pruned = [t for t in result.trials if t.state == "pruned" and np.isfinite(t.log_loss)]
    best = np.minimum.accumulate([trial.log_loss for trial in whole])
    axes.step(
        [*(t.number for t in whole), len(result.trials)],
        [*best, best[-1]],
        where="post",
        color=_BEST,
        linewidth=2,
        label="best so far",
    )
    for trials, colour, marker, label in (
        (whole, _WHOLE, "o", "whole trial"),
        (pruned, UNKNOWN_COLOUR, "x", "given up early: as far behind as then"),
    ):
        numbers, losses = [t.number for t in trials], [result.expected_loss(t) for t in trials]
        axes.scatter(numbers, losses, color=colour, marker=marker, s=28, label=label, zorder=3)
    axes.axhline(result.default.log_loss, color=UNKNOWN_COLOUR, linewidth=1, linestyle=":")
    axes.annotate(
        "began with",
        (1, result.default.log_loss),
        xytext=(0, 4),
        textcoords="offset points",
        color="#6b7280",
        fontsize=8,
    )
    axes.set(xlabel="trial", ylabel="log-loss", title=_title(result.best))
    axes.set_ylim(top=_upper_limit(result))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    tidy(axes)
    save_figure(figure, path)


def plot_importance(importance: Mapping[str, float], path: Path) -> None:
    """The share of every setting in what makes a trial one of the best.

    Raises:
        OutputError: the picture cannot be written.
    """
    names = list(importance)[::-1]
    figure = new_figure(7, 1.2 + 0.32 * len(names))
    axes = figure.subplots()
    shares = [100 * importance[name] for name in names]
    bars = axes.barh(names, shares, color=_BEST, height=0.65)
    axes.bar_label(bars, [f"{share:.0f}%" for share in shares], padding=4, fontsize=9)
    axes.set(title="What made the difference between trials", xlim=(0, max(shares) * 1.12))
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(length=0, labelbottom=False)
    save_figure(figure, path)


def plot_settings(result: "SearchResult", path: Path) -> None:
    """The log-loss of the whole trials over each setting that was searched.

    Raises:
        OutputError: the picture cannot be written.
    """
    from matplotlib.ticker import NullFormatter

    whole = [trial for trial in result.trials if trial.state == "whole"]
    names = list(dict.fromkeys(name for trial in whole for name in trial.point))
    rows = -(-len(names) // _COLUMNS)
    figure = new_figure(9, 2.4 * rows)
    panels = figure.subplots(rows, _COLUMNS, squeeze=False, sharey=True)
    for axes in panels.flat[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(panels.flat, names, strict=False):
        trials = [trial for trial in whole if name in trial.point]
        values = [trial.point[name] for trial in trials]
        numbers = [value for value in values if isinstance(value, float)]
        if numbers and min(numbers) > 0 and max(numbers) > 20 * min(numbers):
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
        shown = values if numbers else [str(v) for v in sorted_values(values)]
        places = numbers or [shown.index(str(value)) for value in values]
        losses = [trial.log_loss for trial in trials]
        colours = [_BEST if trial is result.best else _WHOLE for trial in trials]
        axes.scatter(places, losses, color=colours, s=22)
        if not numbers:
            axes.set_xticks(range(len(shown)), shown)
            axes.set_xlim(-0.6, len(shown) - 0.4)
        axes.set_xlabel(name)
        tidy(axes)
    for axes in panels[:, 0]:
        axes.set_ylabel("log-loss")
        axes.set_ylim(top=_upper_limit(result))
    save_figure(figure, path)


def sorted_values(values: Sequence[str | int | float]) -> list[str | int | float]:
    """Each value once: numbers by size, words as they come."""
    once = list(dict.fromkeys(values))
    return once if any(isinstance(v, str) for v in once) else sorted(once, key=float)


def _upper_limit(result: "SearchResult") -> float:
    """Few terrible trials must not press all others together."""
    losses = [result.expected_loss(t) for t in result.trials if np.isfinite(t.log_loss)]
    low, high = min(losses), float(np.quantile(losses, 0.9))
    highest = min(max(losses), max(high + 0.5 * (high - low), result.default.log_loss))
    return highest + 0.08 * max(highest - low, 0.01)


def _title(best: "Trial") -> str:
    return f"Best log-loss {best.log_loss:.3f} (accuracy {best.accuracy:.3f}), trial {best.number}"
