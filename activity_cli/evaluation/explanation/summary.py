"""An explanation in sentences."""

from typing import NamedTuple, cast

import cv2
import numpy as np

from activity_cli.common import join_words
from activity_cli.evaluation.explanation.values import AGREES, Explanation, Floats, Importance
from activity_cli.settings import Stream

_MOSTLY = 2 / 3  # share of the evidence from which on a stream is "mostly"
_LITTLE = 0.15  # share of the evidence
_SHORT = 0.4  # of the clip; where all frames contribute alike, half of the evidence takes half
_LOCAL = 0.2  # share of the heat in one of nine fields; evenly spread, each has a ninth

_REGIONS = (
    ("in the upper left", "at the top", "in the upper right"),
    ("on the left", "in the middle", "on the right"),
    ("in the lower left", "at the bottom", "in the lower right"),
)
_STREAM_WORDS: dict[Stream, str] = {"rgb": "the picture", "action": "the action network"}


class Span(NamedTuple):
    """The shortest run of frames with half of the evidence for the label."""

    first: int
    last: int
    is_short: bool  # whether it is concentrated in time


def summarise(explanation: Explanation) -> str:
    """Return one sentence: label, time, region and stream, share of the LSTM."""
    e, best = explanation, explanation.prediction
    what = f"{e.label} {e.score:.1%}"
    if e.label != best.label:
        what += f", not {best.label} {best.score:.1%}"
    text = ", ".join(part for part in (_when(e), _by_what(e)) if part)
    return f"{what}: {text}; {describe_lstm(e)}."


def find_span(importance: Importance) -> Span | None:
    """Return where half of the evidence for the label lies; None where no frame has any."""
    positive = np.maximum(importance.per_frame, 0)
    half, count = positive.sum() / 2, len(positive)
    if not half:
        return None
    before = np.concatenate([[0.0], np.cumsum(positive)])
    sums = (before[length:] - before[:-length] for length in range(1, count + 1))
    length, best = next((n, s) for n, s in enumerate(sums, 1) if s.max() >= half * (1 - 1e-6))
    first = int(best.argmax())
    return Span(first, first + length - 1, is_short=length <= _SHORT * count)


def span_seconds(explanation: Explanation, span: Span) -> tuple[float, float]:
    """Return start and end of a span in the video; a frame stands for an equal part of the clip."""
    step = explanation.decoded.duration_seconds / len(explanation.seconds)
    start = explanation.start_seconds
    return start + span.first * step, start + (span.last + 1) * step


def share_by_stream(importance: Importance) -> Floats:
    """Return (S,) the share of each stream in the evidence for the label."""
    positive = np.maximum(importance.contributions, 0).sum(axis=1)
    return cast(Floats, positive / max(float(positive.sum()), 1e-12))


def where(heat: Floats, importance: Importance) -> str:
    """Return the region of a stream's heat (T, h, w), over all frames that support the label."""
    weights = np.maximum(importance.per_frame, 0)
    total = np.tensordot(weights, np.maximum(heat, 0), axes=1)  # (h, w)
    fields = cv2.resize(total, (3, 3), interpolation=cv2.INTER_AREA)  # means of the cells inside
    row, column = divmod(int(fields.argmax()), 3)
    if fields.max() < _LOCAL * fields.sum() or not fields.sum():
        return "all over the frame"
    return _REGIONS[row][column]


def describe_lstm(explanation: Explanation) -> str:
    """Return the share of the LSTM in the evidence, in words."""
    if not explanation.has_lstm:
        return "this model has no LSTM"
    if explanation.lstm is None:
        return "the LSTM is not used by this model"
    share = explanation.importance.lstm_share
    if share < _LITTLE:
        return "the LSTM adds little"
    text = f"LSTM share of the evidence: {share:.1%}"
    return f"{text}, against the label" if explanation.importance.temporal.sum() < 0 else text


def describe_agreement(importance: Importance) -> str:
    """Return whether occlusion confirms the contributions, in words."""
    correlation = importance.agreement
    if correlation is None:
        return "All frames contribute alike, so there is no ranking to check."
    result = f"rank correlation {correlation:.2f}"
    if not importance.temporal.any():
        return f"Contributions are exact: only the mean of the frames counts (occlusion: {result})."
    if correlation >= AGREES:
        return f"Leaving out each frame in turn (occlusion) gives a similar ranking ({result})."
    return (
        f"Leaving out each frame in turn (occlusion) gives another ranking ({result}): the "
        "contribution of a frame depends on the others, so the ranking is uncertain."
    )


def describe_attention(importance: Importance) -> str:
    """Return whether attention and contributions agree, in words; empty without attention."""
    correlation = importance.attention_agreement
    if importance.attention is None or correlation is None:
        return ""
    if not importance.attention_matters:
        return f"LSTM share of the evidence: {importance.lstm_share:.1%}; attention matters little."
    result = f"rank correlation {correlation:.2f}"
    if correlation >= AGREES:
        return f"Attention is high on the frames with a large LSTM contribution ({result})."
    return f"Attention and contribution differ ({result}): the LSTM state carries earlier frames."


def _when(explanation: Explanation) -> str:
    span = find_span(explanation.importance)
    verb = "decided" if explanation.label == explanation.prediction.label else "supported"
    if span is None:
        return "no frame supports it"
    if not span.is_short:
        return f"{verb} by the whole clip"
    start, end = span_seconds(explanation, span)
    return f"{verb} by {start:.1f} to {end:.1f} s"


def _by_what(explanation: Explanation) -> str:
    shares, streams = share_by_stream(explanation.importance), list(explanation.heat)
    largest = int(shares.argmax())
    if not shares[largest]:
        return ""
    main = streams[largest]
    region = where(explanation.heat[main], explanation.importance)
    if len(streams) == 1:
        return region
    if shares[largest] >= _MOSTLY:
        return f"mostly by {_STREAM_WORDS.get(main, main)} {region}"
    words = sorted((_STREAM_WORDS.get(stream, stream) for stream in streams), reverse=True)
    return f"by {join_words(words)} {region}"
