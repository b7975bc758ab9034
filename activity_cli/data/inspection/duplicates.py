"""Checked files -> sets of files that are, or show, the same, and what a set must not cross.

A data set in which a recording is there twice measures what a model remembers: with one copy in
training and the other in the test, or with two labels, of which one is wrong.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from activity_cli.data.inspection.checks import FileCheck
from activity_cli.data.inspection.copies import Copy, find_copies
from activity_cli.data.inspection.fingerprints import FingerprintStore

Columns = Mapping[str, frozenset[str]]
"""What a file's row says, by column; several values where pieces of it have rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateSet:
    """Files of which each shows the same as another one of the set."""

    files: tuple[int, ...]
    """Their numbers, in order, at least two."""
    same_content: Mapping[int, int]
    """Of files that are the same to the last bit as an earlier one: the first of these."""
    copies: tuple[Copy, ...]
    """Near duplicates, each with the first of its content."""


def find_duplicates(checks: Sequence[FileCheck], store: FingerprintStore) -> list[DuplicateSet]:
    """Files that have the same content, or show the same; files without frames are not compared.

    Args:
        checks: the files. They are numbered by their order.
        store: of their fingerprints.
    """
    first_of: dict[str, int] = {}
    same_content = {}
    for file, check in enumerate(checks):
        if check.sha256 and (first := first_of.setdefault(check.sha256, file)) != file:
            same_content[file] = first
    numbers = {
        number: file
        for file in first_of.values()
        if (number := checks[file].fingerprint) is not None
    }
    return _join(same_content, find_copies(numbers, store))


def crossed_columns(
    duplicates: DuplicateSet, columns: Sequence[Columns]
) -> dict[str, tuple[str, ...]]:
    """The columns in which files of a set differ, with their values.

    Args:
        duplicates: the set.
        columns: of each file, those that copies should agree in. An absent one is "".
    """
    crossed = {}
    names = dict.fromkeys(name for file in duplicates.files for name in columns[file])
    for name in names:
        values = [columns[file].get(name, frozenset({""})) for file in duplicates.files]
        if len(set(values)) > 1:
            crossed[name] = tuple(sorted(frozenset().union(*values)))
    return crossed


def _join(same_content: Mapping[int, int], copies: Sequence[Copy]) -> list[DuplicateSet]:
    """Sets of all that hangs together, in the order of their first files."""
    leader: dict[int, int] = {}

    def lead(file: int) -> int:
        while (above := leader.setdefault(file, file)) != file:
            leader[file] = leader.get(above, above)
            file = above
        return file

    pairs = [*same_content.items(), *((copy.first, copy.second) for copy in copies)]
    for pair in pairs:
        low, high = sorted(map(lead, pair))
        leader[high] = low
    members = defaultdict(list)
    for file in sorted(leader):
        members[lead(file)].append(file)
    copies_of = defaultdict(list)
    for copy in copies:
        copies_of[lead(copy.first)].append(copy)
    return [
        DuplicateSet(
            files=tuple(files),
            same_content={file: same_content[file] for file in files if file in same_content},
            copies=tuple(copies_of[first]),
        )
        for first, files in sorted(members.items())
    ]
