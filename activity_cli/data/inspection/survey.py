"""Sources of `activity check` -> their files with labels, and a survey of them.

A folder of label folders, or a table with labels, is read as labelled data; anything else is a list
of videos without labels. Times are seconds.
"""

import math
import os
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from activity_cli.common.files import is_file, is_folder
from activity_cli.common.tables import TABLE_SUFFIXES, read_table
from activity_cli.data.annotations.formats import is_annotation_file
from activity_cli.data.dataset import Dataset
from activity_cli.data.inspection.checks import DEFAULT_TIMEOUT_SECONDS, FileCheck, check_files
from activity_cli.data.inspection.duplicates import Columns, DuplicateSet, find_duplicates
from activity_cli.data.inspection.fingerprints import FingerprintStore
from activity_cli.data.loading import load_dataset
from activity_cli.errors import DataError
from activity_cli.video.sources import Found, find_sources, select

LABEL = "label"
SOURCE = "source"
"""Which of several sources a file is from: some data sets keep train and test apart in this way."""

_KNOWN = (LABEL, "split", "group", SOURCE)
_MOST_FOLDS = 20  # a column with more values is not taken for folds
_MOST_BINS = 8


def find_files(
    sources: Sequence[str],
    patterns: Sequence[str] = (),
    exclude: Sequence[str] = (),
    *,
    videos: Path | None = None,
) -> tuple[dict[Path, Columns], list[str]]:
    """List the files to check, each with its label, group, split, source and folds.

    Files that a table lists may be missing. In labelled data each link to a file counts by itself.
    Names must match one of `patterns`, if there are any, and none of `exclude`. `videos` is the
    folder of the videos that a CSV or an annotation file names. Also returns why folders were not
    read as labelled data.
    """
    paths: dict[str, Found] = {}
    values: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    reasons = []
    lists = (".txt", *TABLE_SUFFIXES)
    collections = [s for s in sources if not is_file(Path(s)) or s.lower().endswith(lists)]
    for source in sources:
        dataset, reason = _as_dataset(Path(source), videos)
        reasons += [reason] if reason else []
        rows = [*_labelled(Path(source), dataset, videos)] if dataset else []
        known = {_identify(found.path) for found, _ in rows}
        if dataset is None or is_folder(Path(source)):
            others = find_sources([source])
            rows += [(found, {}) for found in others if _identify(found.path) not in known]
        for found, columns in rows:
            key = _identify(found.path)
            paths.setdefault(key, found)
            more = {SOURCE: source} if len(collections) > 1 else {}
            for name, value in (columns | more).items():
                values[key][name].add(value)
    distinct: dict[str, set[str]] = {name: set() for name in _KNOWN}
    for own in values.values():
        for name, some in own.items():
            distinct.setdefault(name, set()).update(some)
    kept = [n for n, found in distinct.items() if n in _KNOWN or len(found) <= _MOST_FOLDS]
    files = {
        found.path: {name: frozenset(values[key][name]) for name in kept if name in values[key]}
        for key, found in paths.items()
    }
    selected = select([*paths.values()], patterns=patterns, exclude=exclude)
    return {path: files[path] for path in selected}, reasons


def _as_dataset(source: Path, videos: Path | None) -> tuple[Dataset | None, str]:
    """Read the source as labelled data; else return None, and for a folder the reason."""
    is_table = source.suffix.lower() in TABLE_SUFFIXES and is_file(source)
    if not (is_file(source) and is_annotation_file(source)):
        if not is_table and not is_folder(source):
            return None, ""
        if is_table and LABEL not in read_table(source, required=("path",)).columns:
            return None, ""
    try:
        return load_dataset(
            source, min_labels=1, allow_missing=True, videos=videos, multi_label=None
        ), ""
    except DataError as error:
        if is_file(source) or is_file(source / "labels.csv"):
            raise
        return None, error.message


def _labelled(
    source: Path, dataset: Dataset, videos: Path | None
) -> Iterator[tuple[Found, dict[str, str]]]:
    """Give the samples, by paths as the user would write them, with the values of their rows."""
    root = source if is_folder(source) else videos or source.parent
    for sample in dataset.samples:
        columns = {LABEL: sample.label, "group": sample.group, "split": sample.split}
        given = {name: value for name, value in {**columns, **sample.folds}.items() if value}
        yield Found(root / sample.name, sample.name), given


def _identify(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - also removes "..", and names may be bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Counts over all files, the most frequent first.

    Lengths, sizes, frame rates and codecs are of the files that gave frames.
    """

    num_files: int
    num_unsound: int  # damaged, or without frames
    num_frames: int
    num_bytes: int
    statuses: Mapping[str, int]
    labels: Mapping[str, int]  # files by label, in the order of labels
    sound_labels: Mapping[str, int]
    lengths: Mapping[str, Any] | None
    """`shortest`, `median`, `longest` and `total` seconds; a histogram, (B + 1,) `edges` and (B,)
    `counts`. None where no file gave frames."""
    sizes: Mapping[str, int]  # by width x height
    frame_rates: Mapping[str, int]  # measured, rounded
    codecs: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The result of `activity check`."""

    checks: tuple[FileCheck, ...]  # not of all files after an interruption
    columns: tuple[Columns, ...]  # of each check
    overview: Overview
    duplicates: tuple[DuplicateSet, ...]

    @property
    def leaks(self) -> tuple[DuplicateSet, ...]:
        """Duplicates that cross a label, a group, a split, a source or a fold."""
        return tuple(one for one in self.duplicates if one.crosses)


def survey(
    files: Mapping[Path, Columns],
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
            files,
            store,
            num_workers=num_workers,
            num_threads=0 if len(files) == 1 else 1,
            timeout_seconds=timeout_seconds,
            stop=stop,
        ):
            checks.append(check)
            on_check(check)
        on_compare(0)
        columns = tuple(files.values())[: len(checks)]
        duplicates = find_duplicates(checks, store, columns)
        on_compare(1)
    return Survey(
        checks=tuple(checks),
        columns=columns,
        overview=_count(checks, [own.get(LABEL, frozenset()) for own in columns]),
        duplicates=tuple(duplicates),
    )


def _count(checks: Sequence[FileCheck], labels: Sequence[Iterable[str]]) -> Overview:
    """Count over all files; a file has several labels if its pieces do."""
    decoded = [check for check in checks if check.num_frames]
    pairs = [(label, c) for c, own in zip(checks, labels, strict=True) for label in own]
    by_label = Counter(label for label, _ in pairs)
    sound = Counter(label for label, check in pairs if check.is_sound)
    rates = [check.fps_measured or check.fps_from_header for check in decoded]
    return Overview(
        num_files=len(checks),
        num_unsound=sum(not check.is_sound for check in checks),
        num_frames=sum(check.num_frames or 0 for check in decoded),
        num_bytes=sum(check.num_bytes or 0 for check in decoded),
        statuses=_ranked(check.status for check in checks),
        labels=dict(sorted(by_label.items())),
        sound_labels={label: sound[label] for label in sorted(by_label)},
        lengths=_lengths([check.duration_seconds or 0.0 for check in decoded]),
        sizes=_ranked(f"{check.width}x{check.height}" for check in decoded),
        frame_rates=_ranked(f"{rate:.3g}" for rate in rates if rate),
        codecs=_ranked(check.codec for check in decoded),
    )


def _lengths(seconds: Sequence[float]) -> dict[str, Any] | None:
    if not seconds:
        return None
    bins = min(_MOST_BINS, math.isqrt(len(seconds) - 1) + 1) if min(seconds) < max(seconds) else 1
    counts, edges = np.histogram(seconds, bins=bins)
    return {
        **{"shortest": min(seconds), "median": float(np.median(seconds)), "longest": max(seconds)},
        **{"total": sum(seconds), "edges": edges.tolist(), "counts": counts.tolist()},
    }


def _ranked(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
