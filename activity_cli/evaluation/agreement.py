"""Two records of the same videos -> how well they agree, moment by moment and bout by bout.

N is moments, C labels. Several labels may hold at one moment; none is an answer as well.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from activity_cli.evaluation.recordings import Recording, Span
from activity_cli.evaluation.segment_metrics import Bout, segment_f1

DEFAULT_FPS = 25.0  # of moments, where the frame rate of a video is not known
_Pairs = Counter[tuple[Any, Any]]


class Disagreement(NamedTuple):
    """A time in which the records differ."""

    path: str
    start_seconds: float
    end_seconds: float
    found: tuple[str, ...]  # labels of the first record, sorted; empty for none
    other: tuple[str, ...]  # labels of the second


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelAgreement:
    """How well the records agree on one label."""

    label: str
    kappa: float | None  # None where neither record has the label, or both always
    f1: dict[float, float]  # of bouts, by IoU


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How well the records agree."""

    num_videos: int
    num_frames: int
    kappa: float | None
    """Cohen's kappa by frame; the labels of a frame together are one category."""
    share: float  # of frames with the same labels
    f1: dict[float, float]
    per_label: tuple[LabelAgreement, ...]
    disagreements: tuple[Disagreement, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without the list of disagreements."""
        return {
            "videos": self.num_videos,
            "frames": self.num_frames,
            "kappa": self.kappa,
            "share": self.share,
            "f1": {str(iou): value for iou, value in self.f1.items()},
            "labels": {
                one.label: {"kappa": one.kappa, "f1": {str(k): v for k, v in one.f1.items()}}
                for one in self.per_label
            },
            "disagreements": len(self.disagreements),
        }


def measure_agreement(
    pairs: Sequence[tuple[Recording, Recording]], labels: Sequence[str]
) -> Agreement:
    """Compare records of the same videos, the found one first, at each frame and bout.

    Only time that was looked at counts, see `Recording.looked_at`.
    """
    pairs = [_looked_at_by_both(*pair) for pair in pairs]
    counts: _Pairs = Counter()
    for one, other in pairs:
        counts += _count_frames(one, other, labels)
    num_frames = sum(counts.values())
    same = sum(count for (a, b), count in counts.items() if a == b)
    per_label = [
        LabelAgreement(
            label=label,
            kappa=cohen_kappa(_of_label(counts, position)),
            f1=_f1(pairs, label),
        )
        for position, label in enumerate(labels)
    ]
    return Agreement(
        num_videos=len(pairs),
        num_frames=num_frames,
        kappa=cohen_kappa(counts),
        share=same / num_frames if num_frames else 1.0,
        f1=_f1(pairs),
        per_label=tuple(per_label),
        disagreements=tuple(d for pair in pairs for d in find_disagreements(*pair)),
    )


def cohen_kappa(counts: _Pairs) -> float | None:
    """Return Cohen's kappa (1960) of pairs of categories; None if chance alone agrees fully."""
    total = sum(counts.values())
    first: Counter[Any] = Counter()
    second: Counter[Any] = Counter()
    for (a, b), count in counts.items():
        first[a] += count
        second[b] += count
    observed = sum(count for (a, b), count in counts.items() if a == b) * total
    expected = sum(count * second[category] for category, count in first.items())
    return None if expected == total**2 else (observed - expected) / (total**2 - expected)


def find_disagreements(one: Recording, other: Recording) -> Iterator[Disagreement]:
    """Give the times in which two records of a video differ, in order, each as long as it lasts."""
    end = max(one.duration_seconds, other.duration_seconds)
    edges = {0.0, end}
    for bout in (*one.bouts, *other.bouts):
        edges |= {bout.start_seconds, bout.end_seconds}
    edges |= {edge for span in one.looked_at for edge in span if edge < end}
    times = np.array(sorted(edges))
    labels = sorted({bout.label for bout in (*one.bouts, *other.bouts)})
    middles = (times[1:] + times[:-1]) / 2
    found, true = (labels_at(r.bouts, middles, labels) for r in (one, other))
    differs = (found != true).any(axis=1) & _is_seen(one, middles)
    is_new = np.ones(len(middles) + 1, np.bool_)
    is_new[1:-1] = ((found[1:] != found[:-1]) | (true[1:] != true[:-1])).any(axis=1)
    for low, high in pairwise(np.flatnonzero(is_new).tolist()):
        if differs[low]:
            names = [tuple(np.array(labels)[mask[low]].tolist()) for mask in (found, true)]
            yield Disagreement(one.path, float(times[low]), float(times[high]), *names)


def labels_at(
    bouts: Sequence[Bout], moments: NDArray[np.floating[Any]], labels: Sequence[str]
) -> NDArray[np.bool_]:
    """Return (N, C) which labels hold at moments (N,), which are in order."""
    held = np.zeros((len(moments), len(labels)), np.bool_)
    position = {label: number for number, label in enumerate(labels)}
    for bout in bouts:
        low, high = np.searchsorted(moments, [bout.start_seconds, bout.end_seconds])
        held[low:high, position[bout.label]] = True
    return held


def _looked_at_by_both(one: Recording, other: Recording) -> tuple[Recording, Recording]:
    """Return both with the time that was looked at in both, and their bouts within that."""
    if not (one.looked_at or other.looked_at):
        return one, other
    everything = ((0.0, np.inf),)
    spans = tuple(
        (max(a, c), min(b, d))
        for a, b in one.looked_at or everything
        for c, d in other.looked_at or everything
        if max(a, c) < min(b, d)
    )
    return (
        replace(one, looked_at=spans, bouts=_cut(one.bouts, spans)),
        replace(other, looked_at=spans, bouts=_cut(other.bouts, spans)),
    )


def _cut(bouts: Sequence[Bout], spans: Sequence[Span]) -> tuple[Bout, ...]:
    cut = (
        Bout(max(bout.start_seconds, start), min(bout.end_seconds, end), bout.label)
        for bout in bouts
        for start, end in spans
    )
    return tuple(bout for bout in cut if bout.start_seconds < bout.end_seconds)


def _is_seen(recording: Recording, moments: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Return (N,) whether moments were looked at."""
    if not recording.looked_at:
        return np.ones(len(moments), np.bool_)
    inside = [(moments >= start) & (moments < end) for start, end in recording.looked_at]
    return np.asarray(np.any(inside, axis=0))


def _count_frames(one: Recording, other: Recording, labels: Sequence[str]) -> _Pairs:
    """Count the pairs of label sets, as bytes of bits, over the frames of a video."""
    fps = one.fps or other.fps or DEFAULT_FPS
    length = max(one.duration_seconds, other.duration_seconds)
    moments = (np.arange(round(length * fps)) + 0.5) / fps
    moments = moments[_is_seen(one, moments)]
    packed = [np.packbits(labels_at(r.bouts, moments, labels), axis=1) for r in (one, other)]
    rows, counts = np.unique(np.concatenate(packed, axis=1), axis=0, return_counts=True)
    width = packed[0].shape[1]
    pairs = ((row[:width].tobytes(), row[width:].tobytes()) for row in rows)
    return Counter(dict(zip(pairs, counts.tolist(), strict=True)))


def _of_label(counts: _Pairs, position: int) -> _Pairs:
    """Return the counts of one label: it holds or not."""
    found: _Pairs = Counter()
    for (a, b), count in counts.items():
        byte, bit = position // 8, 128 >> position % 8
        found[bool(a[byte] & bit), bool(b[byte] & bit)] += count
    return found


def _f1(
    pairs: Sequence[tuple[Recording, Recording]], label: str | None = None
) -> dict[float, float]:
    """Return F1 of the bouts by IoU, of one label or of all."""
    found, true = (
        [[bout for bout in pair[side].bouts if label in {None, bout.label}] for pair in pairs]
        for side in (0, 1)
    )
    return segment_f1(found, true)
