"""Segments found and true segments -> how well they agree.

F1 looks at whole segments: it also counts how often an action is torn apart or invented. It pools
all videos. Segments are counted as in Lea et al., "Temporal Convolutional Networks for Action
Segmentation and Detection" (2017).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

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
