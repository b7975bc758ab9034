"""What the user asked to check -> files, with what the data says of each.

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
from activity_cli.data.dataset import Dataset, load_dataset
from activity_cli.errors import DataError
from activity_cli.video.sources import Found, find_sources, select

LABEL = "label"
SOURCE = "source"
"""Which of several sources a file is from: some keep train and test apart so."""

_KNOWN = (LABEL, "split", "group", SOURCE)
_MOST_FOLDS = 20
"""A column with more values is no fold that clips are split by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file to check."""

    found: Found
    columns: Mapping[str, frozenset[str]]
    """What rows say of it: `label`, `group`, `split`, `source` and folds, where there are such.
    Several values where pieces of it have rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All files to check, each once."""

    entries: tuple[Entry, ...]
    unlabelled: tuple[str, ...] = ()
    """Why folders were not read as labelled data."""

    def select(self, patterns: Sequence[str], exclude: Sequence[str]) -> Self:
        """Only the files whose names match one of the patterns, if any, and none of `exclude`.

        Raises:
            DataError: that leaves nothing.
        """
        kept = set(select([e.found for e in self.entries], patterns=patterns, exclude=exclude))
        return replace(self, entries=tuple(e for e in self.entries if e.found.path in kept))


def take_inventory(sources: Sequence[str]) -> Inventory:
    """List the files that sources stand for, with their labels, groups, splits and folds.

    Files that a table names may be missing. Links to one file count each where they are labelled.

    Raises:
        DataError: a source has no videos, or a table with labels cannot be read.
    """
    paths: dict[str, Found] = {}
    values: dict[str, dict[str, set[str]]] = {}
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
            mine = values.setdefault(key, defaultdict(set))
            for name, value in (columns | more).items():
                mine[name].add(value)
    kept = _telling_columns(values)
    return Inventory(
        entries=tuple(
            Entry(
                found=found,
                columns={n: frozenset(values[key][n]) for n in kept if n in values[key]},
            )
            for key, found in paths.items()
        ),
        unlabelled=tuple(reasons),
    )


def _as_dataset(source: Path) -> tuple[Dataset | None, str]:
    """The source as labelled data; else None, and for a folder why it is none.

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
    """The samples, by paths as the user would write them, with what their rows say."""
    root = source if is_folder(source) else source.parent
    for sample in dataset.samples:
        columns = {LABEL: sample.label, "group": sample.group, "split": sample.split}
        columns |= sample.folds
        said = {name: value for name, value in columns.items() if value}
        yield Found(root / sample.name, sample.name), said


def _telling_columns(values: Mapping[str, Mapping[str, set[str]]]) -> list[str]:
    """The columns that copies must not cross: the known ones, then those that may be folds."""
    seen: dict[str, set[str]] = {name: set() for name in _KNOWN}
    for columns in values.values():
        for name, own in columns.items():
            seen.setdefault(name, set()).update(own)
    return [name for name, own in seen.items() if name in _KNOWN or len(own) <= _MOST_FOLDS]


def _identify(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - also takes out "..", and names may be bytes
