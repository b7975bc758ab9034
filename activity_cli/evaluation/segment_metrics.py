"""Segments found and true segments -> how well they agree.

Accuracy looks at every moment, F1 at whole segments: it also counts how often an action is torn
apart or invented. Both pool all videos. Moments and segments are counted as in Lea et al.,
"Temporal Convolutional Networks for Action Segmentation and Detection" (2017).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

IOU_THRESHOLDS = (0.25, 0.5, 0.75)


class Span(Protocol):
    """A labelled piece of a video: a `Segment` with scores, or a `Bout` without."""

    @property
    def start_seconds(self) -> float:
        """Its first moment."""
        ...

    @property
    def end_seconds(self) -> float:
        """The moment after its last."""
        ...

    @property
    def label(self) -> str:
        """What happens."""
        ...


@dataclass(frozen=True, slots=True)
class Bout:
    """An action in a video, and when it happens, as a person or a file states it."""

    start_seconds: float
    end_seconds: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentScores:
    """Agreement of the segments found with the true ones."""

    frame_accuracy: float
    """Share of the time with the right label, or rightly none. That of frames, if each lasts as
    long as the next; computed from the times, it needs no frame rate."""
    num_found: int
    num_true: int
    num_matched: dict[float, int]
    """Segments found that are right, by the IoU that this takes."""

    def f1(self, iou: float = 0.5) -> float:
        """Return F1 of whole segments at one of `IOU_THRESHOLDS`; 1 where nothing is to find."""
        total = self.num_found + self.num_true
        return 2 * self.num_matched[iou] / total if total else 1.0

    def to_json(self) -> dict[str, Any]:
        """Return plain values for metrics.json."""
        return {
            "frame_accuracy": round(self.frame_accuracy, 4),
            **{f"f1_at_{iou}": round(self.f1(iou), 4) for iou in self.num_matched},
            "num_found": self.num_found,
            "num_true": self.num_true,
        }


def segment_scores(
    found: Sequence[Sequence[Span]],
    true: Sequence[Sequence[Span]],
    durations_seconds: Sequence[float],
) -> SegmentScores:
    """Measure segments of several videos against the truth.

    Args:
        found: per video, in order and apart.
        true: per video, in order and apart; moments in none of them have no label.
        durations_seconds: length of each video; what is beyond it does not count as time.
    """
    videos = list(zip(found, true, durations_seconds, strict=True))
    right = sum(_seconds_right(f, t, duration) for f, t, duration in videos)
    total = sum(durations_seconds)
    return SegmentScores(
        frame_accuracy=float(right / total) if total else 1.0,
        num_found=sum(map(len, found)),
        num_true=sum(map(len, true)),
        num_matched={iou: sum(_matches(f, t, iou) for f, t, _ in videos) for iou in IOU_THRESHOLDS},
    )


def segment_f1(
    found: Sequence[Sequence[Span]], true: Sequence[Sequence[Span]]
) -> dict[float, float]:
    """Return F1 of whole segments of several videos by IoU; 1 where nothing is to find."""
    videos = list(zip(found, true, strict=True))
    total = sum(len(f) + len(t) for f, t in videos)
    return {
        iou: 2 * sum(_matches(f, t, iou) for f, t in videos) / total if total else 1.0
        for iou in IOU_THRESHOLDS
    }


def intersection_over_union(a: Span, b: Span) -> float:
    """Return the time that two spans share, as a part of the time that either takes."""
    both = max(0.0, min(a.end_seconds, b.end_seconds) - max(a.start_seconds, b.start_seconds))
    either = (a.end_seconds - a.start_seconds) + (b.end_seconds - b.start_seconds) - both
    return both / either


def _seconds_right(found: Sequence[Span], true: Sequence[Span], duration: float) -> float:
    """Return the time within the video in which both say the same, having no label included."""
    edges = {0.0, duration}
    for span in (*found, *true):
        edges |= {min(span.start_seconds, duration), min(span.end_seconds, duration)}
    times = sorted(edges)
    right = 0.0
    for low, high in pairwise(times):
        middle = (low + high) / 2
        if _label_at(found, middle) == _label_at(true, middle):
            right += high - low
    return right


def _label_at(spans: Sequence[Span], seconds: float) -> str | None:
    return next((s.label for s in spans if s.start_seconds <= seconds < s.end_seconds), None)


def _matches(found: Sequence[Span], true: Sequence[Span], threshold: float) -> int:
    """Return how many pairs agree: same label, enough overlap, each in one pair, best first."""
    pairs = [
        (intersection_over_union(f, t), i, j)
        for i, f in enumerate(found)
        for j, t in enumerate(true)
        if f.label == t.label
    ]
    taken_found: set[int] = set()
    taken_true: set[int] = set()
    for iou, i, j in sorted(pairs, reverse=True):
        if iou < threshold or iou == 0:
            break
        if i not in taken_found and j not in taken_true:
            taken_found.add(i)
            taken_true.add(j)
    return len(taken_found)
