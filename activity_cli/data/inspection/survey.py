"""Files to check -> a survey: every file, counts over all of them, and duplicates.

The one place where the parts meet; it neither prints nor writes. Times are seconds.
"""

import math
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from activity_cli.data.inspection.checks import DEFAULT_TIMEOUT_SECONDS, FileCheck, check_files
from activity_cli.data.inspection.duplicates import DuplicateSet, crossed_columns, find_duplicates
from activity_cli.data.inspection.fingerprints import FingerprintStore
from activity_cli.data.inspection.inventory import LABEL, Entry

_MOST_BINS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDuplicates:
    """Files that show the same, and the columns in which they disagree."""

    files: DuplicateSet
    crosses: Mapping[str, tuple[str, ...]]
    """Columns with their values: a label, a group, a split, a source or a fold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """How long the clips are."""

    shortest: float
    median: float
    longest: float
    total: float
    edges: tuple[float, ...]
    """(B + 1,) edges of the histogram's bins."""
    counts: tuple[int, ...]
    """(B,) clips in each bin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Counts over all files, the most frequent first.

    Lengths, sizes, frame rates and codecs are of the files that gave frames.
    """

    num_files: int
    num_unsound: int
    """Files that are damaged or give no frames."""
    num_frames: int
    num_bytes: int
    statuses: Mapping[str, int]
    labels: Mapping[str, int]
    """Files by label, in the order of labels; empty without labels."""
    sound_labels: Mapping[str, int]
    """Sound files by label."""
    lengths: Lengths | None
    """None where no file gave frames."""
    sizes: Mapping[str, int]
    """Files by width x height."""
    frame_rates: Mapping[str, int]
    """Files by measured frames per second, rounded."""
    codecs: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The result of `activity check`."""

    entries: tuple[Entry, ...]
    """The files that were checked; not all of them after an interruption."""
    checks: tuple[FileCheck, ...]
    """One for each entry."""
    overview: Overview
    duplicates: tuple[FoundDuplicates, ...]

    @property
    def leaks(self) -> tuple[FoundDuplicates, ...]:
        """Duplicates that cross a label, a group, a split, a source or a fold."""
        return tuple(one for one in self.duplicates if one.crosses)


def survey(
    entries: tuple[Entry, ...],
    *,
    num_workers: int | None = None,
    timeout_seconds: float | None = DEFAULT_TIMEOUT_SECONDS,
    stop: threading.Event | None = None,
    on_check: Callable[[FileCheck], None] = lambda _: None,
    on_compare: Callable[[int], None] = lambda _: None,
) -> Survey:
    """Check all files, then compare them with each other.

    Arguments and errors are those of `check_files`. `on_check` is called with each file's result,
    in order; `on_compare` with 0 before the comparison and with 1 after it.
    """
    checks: list[FileCheck] = []
    with FingerprintStore(Path(tempfile.gettempdir())) as store:
        for check in check_files(
            [entry.found.path for entry in entries],
            store,
            num_workers=num_workers,
            num_threads=0 if len(entries) == 1 else 1,
            timeout_seconds=timeout_seconds,
            stop=stop,
        ):
            checks.append(check)
            on_check(check)
        on_compare(0)
        sets = find_duplicates(checks, store)
        on_compare(1)
    done = entries[: len(checks)]
    columns = [entry.columns for entry in done]
    return Survey(
        entries=done,
        checks=tuple(checks),
        overview=_count(checks, [own.get(LABEL, ()) for own in columns]),
        duplicates=tuple(
            FoundDuplicates(files=one, crosses=crossed_columns(one, columns)) for one in sets
        ),
    )


def _count(checks: Sequence[FileCheck], labels: Sequence[Iterable[str]]) -> Overview:
    """Count over all files; a file has several labels if its pieces do."""
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
