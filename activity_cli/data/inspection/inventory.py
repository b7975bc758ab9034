"""Sources of `activity check` -> files, each with its labels, groups, splits and folds.

A folder of label folders, or a table with labels, is read as labelled data; anything else is a list
of videos without labels.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from activity_cli.common.files import is_file, is_folder
from activity_cli.common.tables import TABLE_SUFFIXES, read_table
from activity_cli.data.dataset import Dataset
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
        """Keep the files whose names match one of the patterns, if any, and none of `exclude`.

        Raises:
            DataError: that leaves nothing.
        """
        kept = set(select([e.found for e in self.entries], patterns=patterns, exclude=exclude))
        return replace(self, entries=tuple(e for e in self.entries if e.found.path in kept))


def take_inventory(sources: Sequence[str]) -> Inventory:
    """List the files of the sources, with their labels, groups, splits and folds.

    Files that a table lists may be missing. In labelled data each link to a file counts by itself.

    Raises:
        DataError: a source has no videos, or a table with labels cannot be read.
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
    """Read the source as labelled data; else return None, and for a folder the reason.

    Raises:
        DataError: it is a table with labels, but cannot be read.
    """
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
