"""How much of the time segments have the right label, as in Lea et al. (2017)."""

from collections.abc import Sequence
from itertools import pairwise

from activity_cli.evaluation.segment_metrics import Span


def frame_accuracy(
    found: Sequence[Sequence[Span]],
    true: Sequence[Sequence[Span]],
    durations_seconds: Sequence[float],
) -> float:
    """Return the share of the time of several videos with the right label, or rightly none.

    That of frames, if each lasts as long as the next; computed from the times, it needs no frame
    rate.

    Args:
        found: per video, in order and apart.
        true: per video, in order and apart; moments in none of them have no label.
        durations_seconds: length of each video; what is beyond it does not count as time.
    """
    right = sum(map(_seconds_right, found, true, durations_seconds))
    total = sum(durations_seconds)
    return float(right / total) if total else 1.0


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
