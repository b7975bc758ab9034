"""Charts as inline SVG. Colours are CSS classes, so that a chart is at home in both themes.

A chart is as wide as its column; sizes are in units of which 1 is a pixel at the usual width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.evaluation.intervals import Figure
from activity_cli.model.calibration import NUM_BINS
from activity_cli.model.metrics import wilson_interval
from activity_cli.report.html.markup import Markup, join, tag

_WIDTH, _HEIGHT = 440, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 14, 44
_NUM_BARS = 20


@dataclass(frozen=True, slots=True)
class _Frame:
    """The area of a chart, and what its edges stand for."""

    x0: float
    x1: float
    y0: float
    y1: float

    def x(self, value: float) -> float:
        """The place of a value."""
        return _LEFT + (value - self.x0) / (self.x1 - self.x0) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """The place of a value; up is more."""
        return (
            _HEIGHT - _BOTTOM - (value - self.y0) / (self.y1 - self.y0) * (_HEIGHT - _TOP - _BOTTOM)
        )


def reliability(
    scores: NDArray[np.floating[Any]], right: NDArray[np.bool_], error: float
) -> Markup:
    """Share of clips that are right, by their best score; on the diagonal scores mean that.

    Args:
        scores: (N, C).
        right: (N,)
        error: expected calibration error, for whoever cannot see the chart.
    """
    best = scores.max(axis=1).astype(np.float64)
    lowest = _lowest_score(scores.shape[1])
    frame = _Frame(lowest, 1.0, 0.0, 1.0)
    bins = np.minimum((best * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    counts = np.bincount(bins, minlength=NUM_BINS)
    parts = [_axes(frame, "score of the label it was given", "share that is right", percent_y=True)]
    ends = {"x1": frame.x(lowest), "y1": frame.y(lowest), "x2": frame.x(1), "y2": frame.y(1)}
    parts.append(tag("line", class_="diagonal", **ends))
    points = []
    for number in np.flatnonzero(counts).tolist():
        inside = bins == number
        mean, share, count = float(best[inside].mean()), float(right[inside].mean()), counts[number]
        low, high = wilson_interval(int(right[inside].sum()), int(count))
        x = frame.x(mean)
        told = f"{count} clips with scores about {mean:.2f}: {share:.0%} right"
        told += f" (95% interval {low:.0%} to {high:.0%})"
        points.append((x, frame.y(share)))
        parts.append(tag("line", class_="whisker", x1=x, x2=x, y1=frame.y(low), y2=frame.y(high)))
        radius = 3 + 5 * float(np.sqrt(count / counts.max()))
        dot = tag(
            "circle", tag("title", told), class_="dot model", cx=x, cy=frame.y(share), r=radius
        )
        parts.append(dot)
    path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    parts.insert(2, tag("path", class_="trend", d=path))
    return _svg(parts, f"Reliability diagram; expected calibration error {error:.3f}.")


def score_histogram(scores: NDArray[np.floating[Any]], right: NDArray[np.bool_]) -> Markup:
    """Clips by their best score: right ones up, wrong ones down. Arguments as above."""
    best = scores.max(axis=1).astype(np.float64)
    lowest = _lowest_score(scores.shape[1])
    edges = np.linspace(lowest, 1, _NUM_BARS + 1)
    best = np.clip(best, lowest, 1)
    up, _ = np.histogram(best[right], edges)
    down, _ = np.histogram(best[~right], edges)
    top, bottom = max(int(up.max()), 1), max(int(down.max()), 1)
    frame = _Frame(lowest, 1.0, -1.15 * max(bottom, 0.12 * top), 1.05 * top)
    parts = [_axes(frame, "score of the label it was given", "clips", absolute=True)]
    width = frame.x(edges[1]) - frame.x(edges[0]) - 1.5
    for bars, kind, sign in ((up, "right", 1), (down, "wrong", -1)):
        for edge, count in zip(edges, bars.tolist(), strict=False):
            if count:
                y = frame.y(max(sign * count, 0))
                told = f"{count} {kind}, scores from {edge:.2f}"
                height = abs(frame.y(0) - frame.y(count))
                bar = {"x": frame.x(edge) + 0.75, "y": y, "width": width, "height": height}
                parts.append(tag("rect", tag("title", told), class_=f"bar {kind}", **bar))
    zero = frame.y(0)
    parts.append(tag("line", class_="axis", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=zero, y2=zero))
    for kind, y in (("right", _TOP + 14), ("wrong", _TOP + 34)):
        mark = {"x": _LEFT + 12, "y": y - 10, "width": 11, "height": 11, "rx": 2}
        parts.append(tag("rect", class_=f"bar {kind}", **mark))
        parts.append(tag("text", kind, class_="key", x=_LEFT + 29, y=y))
    label = f"Histogram of scores: {int(right.sum())} clips right, {int((~right).sum())} wrong."
    return _svg(parts, label)


def interval_bar(figure: Figure | None, kind: str = "model") -> Markup:
    """A figure from 0 to 1 as a dot on a line with its interval: for a table's cell."""
    if figure is None:
        return Markup("")
    low, high, x = (100 * share for share in (figure.low, figure.high, figure.value))
    parts = [
        tag("line", class_="rail", x1=0, x2=100, y1=7, y2=7),
        tag("line", class_=f"span {kind}", x1=low, x2=max(high, low + 0.5), y1=7, y2=7),
        tag("line", class_=f"tick {kind}", x1=x, x2=x, y1=2, y2=12),
    ]
    told = f"{figure.value:.3f}, 95% interval {figure.low:.3f} to {figure.high:.3f}"
    return _mini(parts, told)


def difference_bar(figure: Figure, widest: float) -> Markup:
    """A difference with its interval around 0, for a table's cell; `widest` is at the edges."""
    low, high, x = (50 + 48 * v / widest for v in (figure.low, figure.high, figure.value))
    kind = "right" if figure.low > 0 else "wrong" if figure.high < 0 else "unsure"
    parts = [
        tag("line", class_="zero", x1=50, x2=50, y1=0, y2=14),
        tag("line", class_=f"span {kind}", x1=low, x2=max(high, low + 0.5), y1=7, y2=7),
        tag("line", class_=f"tick {kind}", x1=x, x2=x, y1=2, y2=12),
    ]
    told = f"{figure.value:+.3f}, 95% interval {figure.low:+.3f} to {figure.high:+.3f}"
    return _mini(parts, told)


def _mini(parts: Sequence[Markup], told: str) -> Markup:
    """A small drawing 100 wide, as wide as its cell; `told` is for those who hear it."""
    return tag(
        "svg",
        *parts,
        class_="mini",
        viewBox="0 0 100 14",
        preserveAspectRatio="none",
        role="img",
        aria_label=told,
    )


def score_timeline(lines: Sequence[tuple[str, str, Sequence[float]]], label: str) -> Markup:
    """Scores over the parts of a clip.

    Args:
        lines: class, name and (W,) scores from 0 to 1 of each line.
        label: for whoever cannot see it.
    """
    width, height = 300, 54
    parts = [
        tag("line", class_="grid", x1=0, x2=width, y1=y, y2=y) for y in (1, height / 2, height - 1)
    ]
    for kind, name, values in lines:
        places = (np.arange(len(values)) + 0.5) / len(values) * width
        points = [
            f"{x:.1f} {1 + (1 - v) * (height - 2):.1f}"
            for x, v in zip([0, *places, width], [values[0], *values, values[-1]], strict=True)
        ]
        d = "M" + " L".join(points)
        parts.append(tag("path", tag("title", name), class_=f"curve {kind}", d=d))
    return tag(
        "svg",
        *parts,
        class_="timeline",
        viewBox=f"0 0 {width} {height}",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )


def _lowest_score(num_labels: int) -> float:
    """Where the axis of best scores begins: no best score is below 1 / C."""
    return int(10 / num_labels) / 10


def _svg(parts: Sequence[Markup], label: str) -> Markup:
    box = f"0 0 {_WIDTH} {_HEIGHT}"
    return tag("svg", *parts, class_="chart", viewBox=box, role="img", aria_label=label)


def _axes(
    frame: _Frame, x_title: str, y_title: str, *, percent_y: bool = False, absolute: bool = False
) -> Markup:
    """Grid, ticks and titles."""
    parts = []
    for value in np.linspace(frame.x0, frame.x1, 6):
        x = frame.x(value)
        parts.append(
            tag(
                "text", f"{value:.2g}", class_="tickmark", x=x, y=_HEIGHT - 26, text_anchor="middle"
            )
        )
    ticks = np.linspace(0, 1, 6) if percent_y else _round_ticks(frame.y0, frame.y1)
    for value in ticks:
        y = frame.y(value)
        shown = f"{value:.0%}" if percent_y else f"{abs(value) if absolute else value:.0f}"
        parts.append(tag("line", class_="grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y))
        parts.append(tag("text", shown, class_="tickmark", x=_LEFT - 6, y=y + 4, text_anchor="end"))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        tag("text", x_title, class_="title", x=middle, y=_HEIGHT - 6, text_anchor="middle")
    )
    parts.append(
        tag(
            "text",
            y_title,
            class_="title",
            transform=f"translate(11 {(_TOP + _HEIGHT - _BOTTOM) / 2}) rotate(-90)",
            text_anchor="middle",
        )
    )
    return join(parts)


def _round_ticks(low: float, high: float) -> list[float]:
    """A few whole numbers between two."""
    step = next(s for p in range(9) for s in (10**p, 2 * 10**p, 5 * 10**p) if (high - low) / s <= 6)
    return [float(t) for t in range(-(int(-low) // step) * step, int(high) + 1, step)]
