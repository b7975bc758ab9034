"""A timeline and its segments -> what to show at a time. Times are seconds."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from activity_cli.types import Segment, Timeline


def scores_at(timeline: Timeline, seconds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return scores (N, C) at times (N,), interpolated between the middles of the windows."""
    starts = timeline.starts_seconds
    ends = np.minimum(starts + timeline.window_seconds, timeline.end_seconds)
    middles = (starts + ends) / 2
    columns = [np.interp(seconds, middles, column) for column in timeline.scores.T]
    return np.stack(columns, axis=1).astype(np.float32)


def score_curve(
    timeline: Timeline, label: str
) -> Callable[[NDArray[np.float64]], NDArray[np.float32]]:
    """Return a function from times (N,) to scores (N,) of a label."""
    number = timeline.labels.index(label)
    return lambda seconds: scores_at(timeline, seconds)[:, number]


def segment_at(segments: Sequence[Segment], seconds: float) -> Segment | None:
    """Return the segment at a time, if any; its end is not part of it."""
    for segment in segments:
        if segment.start_seconds <= seconds < segment.end_seconds:
            return segment
    return None


def leading_labels(timeline: Timeline, segments: Sequence[Segment], most: int) -> list[str]:
    """Return the most relevant labels: those found, then those with high scores."""
    found = {segment.label for segment in segments}
    highest = timeline.scores.max(axis=0)
    order = sorted(
        range(len(timeline.labels)),
        key=lambda index: (timeline.labels[index] not in found, -float(highest[index]), index),
    )
    shown = sorted(order[:most])  # in the model's order, as everywhere
    return [timeline.labels[index] for index in shown]


def clock_decimals(end_seconds: float) -> int:
    """Return how many decimals of a second tell moments of a video apart."""
    return 2 if end_seconds < 10 else 1


def clock(seconds: float, *, decimals: int = 0) -> str:
    """Format a time: 0:07, 12:34.5, 1:02:03. Truncated, not rounded, as on clocks."""
    ticks = int(max(seconds, 0) * 10**decimals + 1e-6)
    whole, rest = divmod(ticks, 10**decimals)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    text = f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
    return f"{text}.{rest:0{decimals}}" if decimals else text
