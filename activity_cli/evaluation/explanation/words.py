"""An explanation in plain words."""

from dataclasses import dataclass

import numpy as np

from activity_cli.common.wording import join_words
from activity_cli.evaluation.explanation.values import AGREES, Explanation, Floats, Importance
from activity_cli.settings import Stream

_MOST = 2 / 3  # of what is said for a label: from here on it is "mostly" that
_LITTLE = 0.15  # of what is said
_SHORT = 0.4  # of the clip; half of the evidence lies in half of it where all frames say as much
_SOMEWHERE = 0.2  # of the heat in one of nine fields; a ninth where it is all over

_PLACES = (
    ("in the upper left", "at the top", "in the upper right"),
    ("on the left", "in the middle", "on the right"),
    ("in the lower left", "at the bottom", "in the lower right"),
)
STREAM_WORDS: dict[Stream, str] = {"rgb": "the picture", "motion": "motion", "flow": "flow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The shortest run of frames with half of what speaks for the label."""

    first: int
    last: int
    share: float
    """Of the clip's frames."""

    @property
    def is_short(self) -> bool:
        """Whether that is less than chance would have it."""
        return self.share <= _SHORT


def summarise(explanation: Explanation) -> str:
    """All of it in one sentence."""
    parts = [_when(explanation), _by_what(explanation)]
    said = ", ".join(part for part in parts if part)
    return f"{_what(explanation)}: {said}; {describe_lstm(explanation)}."


def find_span(importance: Importance) -> Span | None:
    """Where half of what speaks for the label lies; None where nothing speaks for it."""
    positive = np.maximum(importance.per_frame, 0)
    half, count = positive.sum() / 2, len(positive)
    if not half:
        return None
    before = np.concatenate([[0.0], np.cumsum(positive)])
    for length in range(1, count + 1):
        sums = before[length:] - before[:-length]
        first = int(sums.argmax())
        if sums[first] >= half * (1 - 1e-6):
            return Span(first=first, last=first + length - 1, share=length / count)
    raise AssertionError("all frames together have more than half")


def span_seconds(explanation: Explanation, span: Span) -> tuple[float, float]:
    """When a span starts and ends in the video; a frame stands for an equal part of the clip."""
    step = explanation.decoded.duration_seconds / len(explanation.seconds)
    start = explanation.start_seconds
    return start + span.first * step, start + (span.last + 1) * step


def share_by_stream(importance: Importance) -> Floats:
    """(S,) how much of what speaks for the label each stream says."""
    positive = np.maximum(importance.contributions, 0).sum(axis=1)
    shares: Floats = positive / max(float(positive.sum()), 1e-12)
    return shares


def where(heat: Floats, importance: Importance) -> str:
    """Where a stream's heat (T, h, w) is, over all frames that speak for the label."""
    weights = np.maximum(importance.per_frame, 0)
    total = np.tensordot(weights, np.maximum(heat, 0), axes=1)  # (h, w)
    fields = _in_thirds(heat.shape[1]) @ total @ _in_thirds(heat.shape[2]).T  # (3, 3)
    row, column = divmod(int(fields.argmax()), 3)
    if fields.max() < _SOMEWHERE * fields.sum() or not fields.sum():
        return "all over the frame"
    return _PLACES[row][column]


def describe_lstm(explanation: Explanation) -> str:
    """What the LSTM has to do with it."""
    if not explanation.has_lstm:
        return "this model has no LSTM"
    if explanation.life is None:
        return "the LSTM says nothing in this model"
    share = explanation.importance.order_share
    if share < _LITTLE:
        return "the LSTM adds little"
    if explanation.importance.order.sum() < 0:
        return f"the LSTM speaks against it ({share:.0%} of all that is said)"
    return f"{share:.0%} of what is said comes from the LSTM"


def describe_agreement(importance: Importance) -> str:
    """Whether the ways of measuring importance agree, and what it means if they do not."""
    found = importance.agreement
    if found is None:
        return "All frames say as much, so there is no order of importance to check."
    if not importance.order.any():
        return (
            "What each frame says is exact, as only their mean decides; leaving out each frame in "
            f"turn says the same (rank correlation {found:.2f})."
        )
    if found >= AGREES:
        return f"Leaving out each frame in turn says the same (rank correlation {found:.2f})."
    return (
        f"Leaving out each frame in turn says otherwise (rank correlation {found:.2f}): what a "
        "frame says depends on the others, so it is uncertain which ones decided."
    )


def describe_attention(importance: Importance) -> str:
    """Whether attention lies where evidence comes from; empty where it decides nothing."""
    found = importance.attention_agreement
    if importance.attention is None or found is None:
        return ""
    if not importance.attention_matters:
        return (
            f"The LSTM says {importance.order_share:.1%} of all that is said, so its attention "
            "matters as little."
        )
    if found >= AGREES:
        return f"Attention lies on the frames by which the LSTM decides ({found:.2f})."
    return (
        f"Attention lies elsewhere ({found:.2f}): it weighs what the LSTM knows by then, "
        "which came in with other frames."
    )


def _what(explanation: Explanation) -> str:
    best, label = explanation.prediction, explanation.label
    said = f"{label} {explanation.score:.2f}"
    return said if label == best.label else f"{said}, not {best.label} {best.score:.2f}"


def _when(explanation: Explanation) -> str:
    span = find_span(explanation.importance)
    verb = "decided" if explanation.label == explanation.prediction.label else "supported"
    if span is None:
        return "nothing in the clip speaks for it"
    if not span.is_short:
        return f"{verb} by the whole clip"
    start, end = span_seconds(explanation, span)
    return f"{verb} by {start:.1f} to {end:.1f} s"


def _by_what(explanation: Explanation) -> str:
    shares, streams = share_by_stream(explanation.importance), list(explanation.heat)
    most = int(shares.argmax())
    if not shares[most]:
        return ""
    place = where(explanation.heat[streams[most]], explanation.importance)
    if len(streams) == 1:
        return place
    if shares[most] >= _MOST:
        return f"mostly by {STREAM_WORDS[streams[most]]} {place}"
    words = sorted((STREAM_WORDS[stream] for stream in streams), reverse=True)
    return f"by {join_words(words)} {place}"


def _in_thirds(cells: int) -> Floats:
    """(3, cells) the share of each cell that lies in each third."""
    edges = np.arange(cells + 1) / cells * 3
    thirds = np.arange(3)[:, None]
    inside = np.minimum(edges[1:], thirds + 1) - np.maximum(edges[:-1], thirds)
    shares: Floats = np.maximum(inside, 0) * cells / 3
    return shares
