"""What happens how often and for how long: time budgets, transitions, comparison of groups.

Times are seconds. A bout is one occurrence of a label, as in behavioural ecology (Martin and
Bateson, "Measuring Behaviour", 2007).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.evaluation.intervals import mean_with_interval
from activity_cli.evaluation.recordings import Recording
from activity_cli.predict.results import SCORE_DIGITS, SECONDS_DIGITS

METRICS = ("share", "per_minute", "mean_seconds")
"""Figures that groups are compared by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeBudget:
    """How often and how long a label occurs in a part of a video."""

    path: str
    label: str
    start_seconds: float
    end_seconds: float  # of the part
    count: int  # bouts that begin in it
    total_seconds: float  # that bouts take within it
    mean_seconds: float | None  # of a bout that begins in it; None without one
    min_seconds: float | None
    max_seconds: float | None
    latency_seconds: float | None  # from the start of the part to the first bout

    @property
    def share(self) -> float:
        """Share of the part's time."""
        length = self.end_seconds - self.start_seconds
        return self.total_seconds / length if length else 0.0

    @property
    def per_minute(self) -> float:
        """Bouts per minute."""
        length = self.end_seconds - self.start_seconds
        return 60 * self.count / length if length else 0.0

    def values(self) -> dict[str, Any]:
        """Return the figures as a row has them."""
        return {
            "count": self.count,
            "seconds": round(self.total_seconds, SECONDS_DIGITS),
            "share": round(self.share, SCORE_DIGITS),
            "mean_seconds": _rounded(self.mean_seconds),
            "min_seconds": _rounded(self.min_seconds),
            "max_seconds": _rounded(self.max_seconds),
            "latency_seconds": _rounded(self.latency_seconds),
            "per_minute": round(self.per_minute, SECONDS_DIGITS),
        }


def labels_of(recordings: Sequence[Recording]) -> tuple[str, ...]:
    """Return all labels, sorted."""
    return tuple(sorted({bout.label for one in recordings for bout in one.bouts}))


def time_budgets(
    recordings: Sequence[Recording], *, bin_seconds: float | None = None
) -> Iterator[TimeBudget]:
    """Give the budget of every label in every video, or in each of its bins."""
    labels = labels_of(recordings)
    for one in recordings:
        length = one.duration_seconds
        bins = max(1, ceil(length / bin_seconds - 1e-9)) if bin_seconds else 1
        for number in range(bins):
            start = number * (bin_seconds or 0.0)
            end = min(start + bin_seconds, length) if bin_seconds else length
            for label in labels:
                yield time_budget(one, label, start, end)


def time_budget(recording: Recording, label: str, start: float, end: float) -> TimeBudget:
    """Return the budget of a label in the part of a video from `start` to `end`."""
    bouts = [bout for bout in recording.bouts if bout.label == label]
    within = [min(b.end_seconds, end) - max(b.start_seconds, start) for b in bouts]
    begun = [b for b in bouts if start <= b.start_seconds < end]
    lengths = [b.end_seconds - b.start_seconds for b in begun]
    return TimeBudget(
        path=recording.path,
        label=label,
        start_seconds=start,
        end_seconds=end,
        count=len(begun),
        total_seconds=sum(seconds for seconds in within if seconds > 0),
        mean_seconds=sum(lengths) / len(lengths) if lengths else None,
        min_seconds=min(lengths, default=None),
        max_seconds=max(lengths, default=None),
        latency_seconds=min((b.start_seconds - start for b in begun), default=None),
    )


def transitions(recordings: Sequence[Recording], labels: Sequence[str]) -> NDArray[np.int64]:
    """Count (C, C) how often a bout of a label (row) is followed by one of a label (column).

    Bouts follow each other by their starts within a video, whatever lies between them.
    """
    counts = np.zeros((len(labels), len(labels)), np.int64)
    position = {label: number for number, label in enumerate(labels)}
    for one in recordings:
        numbers = [position[bout.label] for bout in one.bouts]
        np.add.at(counts, (numbers[:-1], numbers[1:]), 1)
    return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFigure:
    """The mean of a figure over the videos of a group, with its 95% interval."""

    group: str
    label: str
    metric: str  # one of `METRICS`
    num_videos: int  # that have the figure
    mean: float | None
    low: float | None  # None for a single video
    high: float | None


def compare_groups(
    groups: Mapping[str, Sequence[Recording]], labels: Sequence[str]
) -> Iterator[GroupFigure]:
    """Give the figures of each group and label; intervals by the bootstrap over its videos."""
    for label in labels:
        for metric in METRICS:
            for group, recordings in groups.items():
                budgets = [time_budget(r, label, 0.0, r.duration_seconds) for r in recordings]
                values = [getattr(budget, metric) for budget in budgets]
                known = np.array([value for value in values if value is not None])
                found = mean_with_interval(known, None) if len(known) else None
                has_interval = found is not None and len(known) > 1
                yield GroupFigure(
                    group=group,
                    label=label,
                    metric=metric,
                    num_videos=len(known),
                    mean=found.value if found else None,
                    low=found.low if found and has_interval else None,
                    high=found.high if found and has_interval else None,
                )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, SECONDS_DIGITS)
