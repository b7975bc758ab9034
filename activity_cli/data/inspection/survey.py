"""Sources of `activity check` -> files with their labels, and a survey of them.

A folder of label folders, or a table with labels, is read as labelled data; anything else is a list
of videos without labels. The survey holds every file's check, counts over all files, and
duplicates. Times are seconds.
"""

import math
import os
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from activity_cli.common.files import is_file, is_folder
from activity_cli.common.tables import TABLE_SUFFIXES, read_table
from activity_cli.data.dataset import Dataset
from activity_cli.data.inspection.checks import DEFAULT_TIMEOUT_SECONDS, FileCheck, check_files
from activity_cli.data.inspection.duplicates import DuplicateSet, find_duplicates
from activity_cli.data.inspection.fingerprints import FingerprintStore
from activity_cli.data.loading import load_dataset
from activity_cli.errors import DataError
from activity_cli.video.sources import Found, find_sources, select

LABEL = "label"
SOURCE = "source"
"""Which of several sources a file is from: some data sets keep train and test apart in this way."""

_KNOWN = (LABEL, "split", "group", SOURCE)
_MOST_FOLDS = 20
"""A column with more values is not taken for folds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file to check."""

    found: Found
    columns: Mapping[str, frozenset[str]]
    """Its `label`, `group`, `split`, `source` and folds, as far as there are any. Several values
    where pieces of it have rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All files to check, each once."""

    entries: tuple[Entry, ...]
    unlabelled: tuple[str, ...] = ()
    """Why folders were not read as labelled data."""

    def select(self, patterns: Sequence[str], exclude: Sequence[str]) -> Self:
        """Keep the files whose names match one of the patterns, if any, and none of `exclude`."""
        kept = set(select([e.found for e in self.entries], patterns=patterns, exclude=exclude))
        return replace(self, entries=tuple(e for e in self.entries if e.found.path in kept))


def take_inventory(sources: Sequence[str]) -> Inventory:
    """List the files of the sources, with their labels, groups, splits and folds.

    Files that a table lists may be missing. In labelled data each link to a file counts by itself.
    It is a DataError if a source has no videos, or a table with labels cannot be read.
    """
    paths: dict[str, Found] = {}
    values: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    reasons = []
    num_collections = sum(not is_file(Path(s)) or _is_list(Path(s)) for s in sources)
    for source in sources:
        dataset, reason = _as_dataset(Path(source))
        reasons += [reason] if reason else []
        rows = [*_labelled(Path(source), dataset)] if dataset else []
        known = {_identify(found.path) for found, _ in rows}
        if dataset is None or is_folder(Path(source)):
            others = find_sources([source])
            rows += [(found, {}) for found in others if _identify(found.path) not in known]
        for found, columns in rows:
            key = _identify(found.path)
            paths.setdefault(key, found)
            more = {SOURCE: source} if num_collections > 1 else {}
            for name, value in (columns | more).items():
                values[key][name].add(value)
    kept = _relevant_columns(values)
    entries = tuple(
        Entry(
            found=found,
            columns={name: frozenset(values[key][name]) for name in kept if name in values[key]},
        )
        for key, found in paths.items()
    )
    return Inventory(entries=entries, unlabelled=tuple(reasons))


def _as_dataset(source: Path) -> tuple[Dataset | None, str]:
    """Read the source as labelled data; else return None, and for a folder the reason."""
    is_table = source.suffix.lower() in TABLE_SUFFIXES and is_file(source)
    if is_table:
        if LABEL not in read_table(source, required=("path",)).columns:
            return None, ""
    elif not is_folder(source):
        return None, ""
    try:
        return load_dataset(source, min_labels=1, allow_missing=True), ""
    except DataError as error:
        if is_table or is_file(source / "labels.csv"):
            raise
        return None, error.message


def _is_list(source: Path) -> bool:
    return source.suffix.lower() in (".txt", *TABLE_SUFFIXES)


def _labelled(source: Path, dataset: Dataset) -> Iterator[tuple[Found, dict[str, str]]]:
    """Give the samples, by paths as the user would write them, with the values of their rows."""
    root = source if is_folder(source) else source.parent
    for sample in dataset.samples:
        columns = {LABEL: sample.label, "group": sample.group, "split": sample.split}
        columns |= sample.folds
        given = {name: value for name, value in columns.items() if value}
        yield Found(root / sample.name, sample.name), given


def _relevant_columns(values: Mapping[str, Mapping[str, set[str]]]) -> list[str]:
    """Return the columns that copies must not cross: the known ones, then those of folds."""
    seen: dict[str, set[str]] = {name: set() for name in _KNOWN}
    for columns in values.values():
        for name, own in columns.items():
            seen.setdefault(name, set()).update(own)
    return [name for name, own in seen.items() if name in _KNOWN or len(own) <= _MOST_FOLDS]


def _identify(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - also removes "..", and names may be bytes


_MOST_BINS = 8


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
    duplicates: tuple[DuplicateSet, ...]

    @property
    def leaks(self) -> tuple[DuplicateSet, ...]:
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
        done = entries[: len(checks)]
        columns = [entry.columns for entry in done]
        duplicates = find_duplicates(checks, store, columns)
        on_compare(1)
    return Survey(
        entries=done,
        checks=tuple(checks),
        overview=_count(checks, [own.get(LABEL, ()) for own in columns]),
        duplicates=tuple(duplicates),
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
