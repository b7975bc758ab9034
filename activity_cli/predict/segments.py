"""Scores of sliding windows -> timed segments.

    windows (W, C) -> cells of half a stride (N, C) -> best label per cell (N,) -> segments

W windows, N cells, C labels; times are seconds from the start of the file. The labels of all cells
are decided at once (Viterbi, 1967): those whose scores, less a price for every change of label, add
up to most. Where scores may be rejected, "unknown" competes as one more label, whose score is the
threshold at all times.

The scores of a multi-label model are decided label by label: the label against its absence, whose
odds are those of the score to the label's threshold.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.settings import SegmentSettings, check_labels
from activity_cli.types import Segment, Timeline

_CELLS_PER_STRIDE = 2
"""Boundaries lie between the middles of windows; more cells per stride did not place them better
(synthetic scores, F1 at IoU 0.5: 1 cell 0.608, 2 cells 0.619, 4 cells 0.617)."""
_SMOOTHING_WINDOWS = 1.0
"""More is better for actions that last several windows, and removes those as short as one. F1 at
IoU 0.5 on synthetic scores, windows of 2 s: actions of 3 to 12 s 0.48, 0.56, 0.62, 0.65 with 0.5,
1, 1.5 and 2 windows; of 1 to 5 s 0.49, 0.48, 0.47, 0.43; of 2 s, each right or wrong by itself,
0.51, 0.41, 0.35, 0.25. The windows' own best labels had 0.15, 0.25 and 0.42."""
_LOWEST_SCORE = 0.01
"""Scores near 0 are clipped to this, so that one logarithm cannot outvote all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellScores:
    """The scores over time: the video in N cells of equal length, but for the last one."""

    edges_seconds: NDArray[np.float64]
    """(N + 1,) increasing; cell i spans from edge i to edge i + 1."""
    scores: NDArray[np.float64]  # (N, C)

    def at(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (M, C) the scores at these times (M,)."""
        cells = np.searchsorted(self.edges_seconds, seconds, side="right") - 1
        return self.scores[np.clip(cells, 0, len(self.scores) - 1)]

    @property
    def lengths_seconds(self) -> NDArray[np.float64]:
        """(N,) the last may be shorter."""
        return np.diff(self.edges_seconds)


def find_segments(
    timeline: Timeline, settings: SegmentSettings | None = None
) -> tuple[Segment, ...]:
    """Return the actions in a video: in order, without overlaps but of a multi-label model.

    A SettingsError if a requested label is not in the timeline.
    """
    settings = settings or SegmentSettings()
    check_labels(settings.labels, timeline.labels)
    cells = cell_scores(timeline)
    wanted, scores = settings.labels or timeline.labels, cells.scores
    share = np.zeros((len(scores), 1))  # of the windows around a cell that are OOD
    if settings.max_ood_score is not None and timeline.ood_score is not None:
        is_ood = timeline.ood_score[:, None] > settings.max_ood_score
        share = _mean_around(timeline, is_ood.astype(np.float64), cells.edges_seconds)
    if timeline.thresholds is not None:
        found: list[Segment] = []
        shares = _over_threshold(scores, timeline.thresholds) * (1 - share)
        for label in wanted:
            own = shares[:, timeline.labels.index(label), None]
            path = _decide(np.hstack([own, 1 - own]), cells, settings, timeline, unknown=1)
            found += _segments(path, cells, (label,), timeline.labels.index(label))
        return tuple(sorted(found, key=lambda s: (s.start_seconds, s.label)))
    if settings.reject_below is not None or settings.max_ood_score is not None:
        unknown = np.maximum(share, settings.reject_below or 0.0)
        scores = np.hstack([scores * (1 - share), unknown])
    path = _decide(scores, cells, settings, timeline, unknown=len(timeline.labels))
    return tuple(s for s in _segments(path, cells, timeline.labels) if s.label in wanted)


def _over_threshold(
    scores: NDArray[np.float64], thresholds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return scores (N, C) whose odds are divided by those of the thresholds: 0.5 is at one."""
    yes, no = scores * (1 - thresholds), (1 - scores) * thresholds
    return yes / np.maximum(yes + no, 1e-12)


def _decide(
    scores: NDArray[np.float64],
    cells: CellScores,
    settings: SegmentSettings,
    timeline: Timeline,
    *,
    unknown: int,
) -> NDArray[np.intp]:
    """Return the column (N,) of the scores that each cell gets; one of them may be unknown."""
    smoothing = _seconds(settings.smoothing_seconds, _SMOOTHING_WINDOWS, timeline)
    # Seconds times logarithms, so that neither the stride nor the number of cells matters.
    # A segment changes the label twice, so each change costs half.
    gains = np.log(np.maximum(scores, _LOWEST_SCORE)) * cells.lengths_seconds[:, None]
    path = _best_path(gains, price=smoothing / 2)
    _tidy(path, scores, cells.edges_seconds, settings, timeline, unknown=unknown)
    return path


def cell_scores(timeline: Timeline) -> CellScores:
    """Return scores over time: the mean of the windows around each moment.

    A window tells most about its middle and nothing beyond its ends, so its weight falls from the
    one to the other. Windows that hardly overlap are interpolated.
    """
    first, end = float(timeline.starts_seconds[0]), timeline.end_seconds
    step = _stride(timeline) / _CELLS_PER_STRIDE
    num_cells = max(1, int(np.ceil((end - first) / step - 1e-6)))
    edges = np.append(first + step * np.arange(num_cells), end)
    return CellScores(edges_seconds=edges, scores=_mean_around(timeline, timeline.scores, edges))


def _stride(timeline: Timeline) -> float:
    starts = timeline.starts_seconds
    if len(starts) == 1:
        return timeline.end_seconds - float(starts[0])
    return float(np.median(np.diff(starts)))


def _mean_around(
    timeline: Timeline, values: NDArray[np.floating[Any]], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return for each cell the weighted mean (N, K) of the values (W, K) of windows around it."""
    starts, end = timeline.starts_seconds, timeline.end_seconds
    reach = max(timeline.window_seconds / 2, _stride(timeline))
    # The last windows may end with the video, which moves their middles.
    middles = (starts + np.minimum(starts + timeline.window_seconds, end)) / 2
    means = np.empty((len(edges) - 1, values.shape[1]))
    for i, centre in enumerate((edges[1:] + edges[:-1]) / 2):
        # Middles are in order, so those in reach are neighbours: time and memory stay linear.
        low, high = np.searchsorted(middles, [centre - reach, centre + reach])
        weights = 1 - np.abs(middles[low:high] - centre) / reach
        if weights.sum() < 1e-6:  # before the first middle, after the last, or in a hole
            nearest = int(np.abs(middles - centre).argmin())
            low, high, weights = nearest, nearest + 1, np.ones(1)
        means[i] = weights @ values[low:high] / weights.sum()
    return means


def _seconds(requested: float | None, windows: float, timeline: Timeline) -> float:
    """Return the requested time, or that of so many windows (none is longer than the video)."""
    if requested is not None:
        return requested
    span = timeline.end_seconds - float(timeline.starts_seconds[0])
    return windows * min(timeline.window_seconds, span)


def _best_path(gains: NDArray[np.float64], *, price: float) -> NDArray[np.intp]:
    """Return the labels (N,) whose gains (N, C), less a price per change, sum to most."""
    num_cells, num_labels = gains.shape
    came_from = np.empty((num_cells, num_labels), dtype=np.intp)
    stay = np.arange(num_labels)
    total = gains[0].copy()
    for i in range(1, num_cells):
        best = int(total.argmax())
        changed = total[best] - price
        came_from[i] = np.where(total >= changed, stay, best)
        total = np.maximum(total, changed) + gains[i]
    path = np.empty(num_cells, dtype=np.intp)
    path[-1] = total.argmax()
    for i in range(num_cells - 1, 0, -1):
        path[i - 1] = came_from[i, path[i]]
    return path


def _tidy(
    path: NDArray[np.intp],
    scores: NDArray[np.float64],
    edges: NDArray[np.float64],
    settings: SegmentSettings,
    timeline: Timeline,
    *,
    unknown: int,
) -> None:
    """Close gaps and dissolve segments that are too short, in place; `unknown` is a column."""
    longest_gap = _seconds(settings.gap_seconds, 0.5, timeline)
    shortest = _seconds(settings.min_seconds, 0.5, timeline)
    _close_gaps(path, edges, unknown, longest_gap)
    while short := _too_short(path, edges, unknown, shortest):
        for low, high in short:
            around = {int(path[i]) for i in (low - 1, high) if 0 <= i < len(path)}
            path[low:high] = max(around, key=lambda label: float(scores[low:high, label].mean()))
        _close_gaps(path, edges, unknown, longest_gap)


def _close_gaps(
    path: NDArray[np.intp], edges: NDArray[np.float64], unknown: int, longest_seconds: float
) -> None:
    for low, high in list(_runs(path)):
        between = path[low] == unknown and low > 0 and high < len(path)
        is_short = edges[high] - edges[low] < longest_seconds
        if between and is_short and path[low - 1] == path[high]:
            path[low:high] = path[high]


def _too_short(
    path: NDArray[np.intp], edges: NDArray[np.float64], unknown: int, shortest_seconds: float
) -> list[tuple[int, int]]:
    """Return runs of a label that are too short, without those that have a shorter neighbour."""
    runs = list(_runs(path))
    if len(runs) == 1:  # there is no neighbour to join
        return []
    lengths = [np.inf if path[low] == unknown else edges[high] - edges[low] for low, high in runs]
    around = [np.inf, *lengths, np.inf]
    # The tolerance is for sums of steps that miss a round number by a hair.
    return [
        run
        for run, before, length, after in zip(runs, around, lengths, around[2:], strict=False)
        if length < shortest_seconds - 1e-6 and length <= min(before, after)
    ]


def _segments(
    path: NDArray[np.intp], cells: CellScores, labels: tuple[str, ...], first: int = 0
) -> Iterator[Segment]:
    """Give the segments of a path through labels, whose scores are in the columns from `first`."""
    for low, high in _runs(path):
        label = int(path[low])
        if label < len(labels):
            scores = cells.scores[low:high, first + label]
            yield Segment(
                start_seconds=float(cells.edges_seconds[low]),
                end_seconds=float(cells.edges_seconds[high]),
                label=labels[label],
                mean_score=float(np.average(scores, weights=cells.lengths_seconds[low:high])),
                peak_score=float(scores.max()),
            )


def _runs(path: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Yield the first cell and the one after the last of each run of one label."""
    changes = np.flatnonzero(np.diff(path)) + 1
    yield from pairwise([0, *changes.tolist(), len(path)])
