"""Checked files -> what the data set is like as a whole.

Times are seconds. Only files that gave frames count for lengths, sizes, frame rates and codecs.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from activity_cli.data.inspection.checks import FileCheck

_MOST_BINS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """How long the clips are."""

    shortest: float
    median: float
    longest: float
    total: float
    edges: tuple[float, ...]
    """(B + 1,) limits of the histogram's bins, from the shortest to the longest."""
    counts: tuple[int, ...]
    """(B,) clips in each bin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Counts over all files, the most frequent first."""

    num_files: int
    num_unsound: int
    """Files that are damaged or give no frames."""
    num_frames: int
    num_bytes: int
    statuses: Mapping[str, int]
    labels: Mapping[str, int]
    """Files by label, in the order of labels; empty where there are none."""
    sound_labels: Mapping[str, int]
    """Those of them that are sound."""
    lengths: Lengths | None
    """None where no file gave frames."""
    sizes: Mapping[str, int]
    """Files by width x height."""
    frame_rates: Mapping[str, int]
    """Files by measured frames per second, rounded."""
    codecs: Mapping[str, int]


def look_over(checks: Sequence[FileCheck], labels: Sequence[Iterable[str]]) -> Overview:
    """Count what there is.

    Args:
        checks: the files.
        labels: of each; none, or several where pieces of it have labels.
    """
    decoded = [check for check in checks if check.num_frames]
    by_label = Counter(label for own in labels for label in own)
    sound = Counter(
        label for check, own in zip(checks, labels, strict=True) if check.is_sound for label in own
    )
    rates = [check.fps_measured or check.fps_from_header for check in decoded]
    return Overview(
        num_files=len(checks),
        num_unsound=sum(not check.is_sound for check in checks),
        num_frames=sum(check.num_frames or 0 for check in decoded),
        num_bytes=sum(check.num_bytes or 0 for check in decoded),
        statuses=_ranked(check.status for check in checks),
        labels={label: by_label[label] for label in sorted(by_label)},
        sound_labels={label: sound[label] for label in sorted(by_label)},
        lengths=_lengths([check.duration_seconds or 0.0 for check in decoded]),
        sizes=_ranked(f"{check.width}x{check.height}" for check in decoded),
        frame_rates=_ranked(f"{rate:.3g}" for rate in rates if rate),
        codecs=_ranked(check.codec for check in decoded),
    )


def _lengths(seconds: Sequence[float]) -> Lengths | None:
    if not seconds:
        return None
    bins = min(_MOST_BINS, math.isqrt(len(seconds) - 1) + 1) if min(seconds) < max(seconds) else 1
    counts, edges = np.histogram(seconds, bins=bins)
    return Lengths(
        shortest=min(seconds),
        median=float(np.median(seconds)),
        longest=max(seconds),
        total=sum(seconds),
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
    )


def _ranked(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
