"""Charts of the HTML report: matplotlib SVG whose colours are CSS variables, for both themes.

Sizes are in units of the SVG; 1 unit is about 1 pixel at the usual width of the page.
"""

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from activity_cli.model.calibration import NUM_BINS
from activity_cli.model.metrics import wilson_interval
from activity_cli.report.figures import new_figure
from activity_cli.report.terminal import clock

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Placeholders that `_svg` replaces by the CSS variables of these names.
_NAMES = ("card", "dim", "edge", "model", "right", "wrong")
_COLOURS = {name: f"#{number:02}{number:02}{number:02}" for number, name in enumerate(_NAMES, 1)}
_POINTS_PER_INCH = 72
_SIZE = (440, 300)
_TIMELINE_SIZE = (440, 84)
_NUM_BARS = 20
_CLIPS_PER_BIN = 12  # of the reliability diagram, at least


def reliability(
    scores: NDArray[np.floating[Any]], correct: NDArray[np.bool_], error: float
) -> Markup:
    """Draw accuracy by the score of the predicted label, of scores (N, C) and `correct` (N,).

    With a single column the scores are those of any label, and `correct` is whether it is there.

    Screen readers read the expected calibration error.
    """
    best, lowest = scores.max(axis=1).astype(np.float64), _lowest_score(scores.shape[1])
    # Bins of equally many clips: those of equal width may hold a single clip, which is 0 or 100%.
    num_bins = min(NUM_BINS, max(1, len(best) // _CLIPS_PER_BIN))
    edges = np.quantile(best, np.arange(1, num_bins) / num_bins)
    bins = np.searchsorted(edges, best, side="left")
    _, bins, counts = np.unique(bins, return_inverse=True, return_counts=True)  # without empty ones
    means, hits = np.bincount(bins, best) / counts, np.bincount(bins, correct)
    shares = hits / counts
    low, high = np.array([wilson_interval(*pair) for pair in zip(hits, counts, strict=True)]).T
    figure = _new_figure(_SIZE)
    axes = figure.subplots()
    axes.plot([lowest, 1], [lowest, 1], color=_COLOURS["dim"], linewidth=1.2, dashes=(4, 4))
    axes.plot(means, shares, color=_COLOURS["model"], linewidth=2, alpha=0.5)
    axes.vlines(means, low, high, color=_COLOURS["model"], linewidth=1.4, alpha=0.55)
    axes.scatter(
        means,
        shares,
        s=(6 + 10 * np.sqrt(counts / counts.max())) ** 2,  # areas in square points
        color=_COLOURS["model"],
        edgecolors=_COLOURS["card"],
        linewidths=1.5,
        zorder=3,
    )
    is_single = scores.shape[1] == 1
    axes.set(xlabel=_score_name(scores), ylabel="share that is there" if is_single else "accuracy")
    axes.set(xlim=(lowest, 1.02), ylim=(-0.03, 1.05))
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.yaxis.set_major_formatter("{x:.0%}")
    _style(axes)
    return _svg(figure, "chart", f"Reliability diagram, expected calibration error {error:.1%}")


def score_histogram(scores: NDArray[np.floating[Any]], correct: NDArray[np.bool_]) -> Markup:
    """Draw the scores of correct clips upwards and of wrong ones downwards; arguments as above."""
    from matplotlib.ticker import MaxNLocator

    lowest = _lowest_score(scores.shape[1])
    edges = np.linspace(lowest, 1, _NUM_BARS + 1)
    best = np.clip(scores.max(axis=1).astype(np.float64), lowest, 1)
    figure = _new_figure(_SIZE)
    axes = figure.subplots()
    width, middles = 0.9 * (edges[1] - edges[0]), (edges[:-1] + edges[1:]) / 2
    is_single = scores.shape[1] == 1
    names = ("label is there", "is not") if is_single else ("correct", "wrong")
    bars = ((names[0], "right", correct, 1), (names[1], "wrong", ~correct, -1))
    for name, colour, chosen, sign in bars:
        counts, _ = np.histogram(best[chosen], edges)
        axes.bar(middles, sign * counts, width, color=_COLOURS[colour], label=name)
    axes.axhline(0, color=_COLOURS["dim"], linewidth=1)
    axes.set(xlabel=_score_name(scores), ylabel="scores" if is_single else "clips")
    axes.set(xlim=(lowest, 1))
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.yaxis.set_major_formatter(lambda count, _: f"{abs(count):.0f}")
    axes.legend(frameon=False, loc="upper left", fontsize=12, labelcolor=_COLOURS["dim"])
    _style(axes)
    label = f"Histogram of scores: {correct.sum()} clips correct, {(~correct).sum()} wrong"
    return _svg(figure, "chart", label)


def score_timeline(
    lines: Sequence[tuple[str, Sequence[float]]], *, start: float, end: float, label: str
) -> Markup:
    """Draw lines, a colour and (W,) scores each, over the parts of a clip from start to end.

    Times are in seconds; screen readers read the label.
    """
    # As text, not by matplotlib: a report has up to 16 of them.
    width, height = _TIMELINE_SIZE
    top, bottom = 4, height - 24

    def at(score: float) -> str:
        return f"{bottom - (bottom - top) * score:.1f}"

    parts = [
        f'<path d="M0 {at(score)}H{width}" stroke="var(--edge)"/>' for score in (0.0, 0.5, 1.0)
    ]
    for colour, values in lines:
        centres = (np.arange(len(values)) + 0.5) * (width / len(values))
        points = zip([0, *centres, width], [values[0], *values, values[-1]], strict=True)
        joined = " ".join(f"{x:.1f},{at(y)}" for x, y in points)
        parts.append(
            f'<polyline points="{joined}" fill="none" stroke="var(--{colour})" stroke-width="2"/>'
        )
    for x, anchor, seconds in ((0, "start", start), (width, "end", end)):
        parts.append(
            f'<text x="{x}" y="{height - 6}" text-anchor="{anchor}" font-size="12" '
            f'fill="var(--dim)">{clock(seconds)}</text>'
        )
    attributes = f'viewBox="0 0 {width} {height}"'
    return _element("timeline", label, f"{attributes}>{''.join(parts)}</svg>")


def _new_figure(size: tuple[int, int]) -> "Figure":
    return new_figure(size[0] / _POINTS_PER_INCH, size[1] / _POINTS_PER_INCH)


def _style(axes: "Axes") -> None:
    """Draw only a faint grid behind the data, and dim text."""
    axes.spines[:].set_visible(False)
    axes.patch.set_visible(False)
    axes.grid(axis="y", color=_COLOURS["edge"], linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=_COLOURS["dim"], labelsize=12)
    axes.xaxis.label.set(color=_COLOURS["dim"], fontsize=12.5)
    axes.yaxis.label.set(color=_COLOURS["dim"], fontsize=12.5)


def _svg(figure: "Figure", name: str, label: str) -> Markup:
    """Return the figure as an inline element of a CSS class that is as wide as its container."""
    import matplotlib as mpl

    file = io.StringIO()
    figure.patch.set_visible(False)
    # Text stays text, in the font of the page; a fixed salt makes equal charts equal bytes.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "activity"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(
        r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", svg, flags=re.S
    )
    svg = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", svg)  # would not be unique in the page
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg)
    for colour, placeholder in _COLOURS.items():
        svg = svg.replace(placeholder, f"var(--{colour})")
    return _element(name, label, svg.removeprefix("<svg"))


def _element(name: str, label: str, rest: str) -> Markup:
    """Return an SVG of a CSS class, with what screen readers read."""
    return Markup('<svg class="{}" role="img" aria-label="{}" ').format(name, label) + Markup(rest)


def _score_name(scores: NDArray[np.floating[Any]]) -> str:
    return "score of a label" if scores.shape[1] == 1 else "score of the predicted label"


def _lowest_score(num_labels: int) -> float:
    """Return where the axis of scores begins: no best score is below 1 / C; any single one is 0."""
    return 0.0 if num_labels == 1 else int(10 / num_labels) / 10
