"""Guess from file names which clips belong together.

File names often contain the person or source: `person03`, `_g01_`, `cam2`, `fight12_003` for the
third piece of a video. The guess is only suggested, never applied without `--groups`.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import eq
from pathlib import PurePosixPath
from typing import Literal

from activity_cli.data.dataset import Dataset
from activity_cli.errors import DataError
from activity_cli.settings import AUTO_GROUPS

_WHO = "person|subject|subj|actor|user|participant|volunteer|player|patient"
_WHERE = "camera|cam|scene|room|session|source|video|vid"
_PATTERNS: Mapping[str, Literal["sure", "mark", "prefix"]] = {
    r"_(g\d+)_c\d+": "sure",  # UCF: v_Archery_g03_c02
    r"S\d{3}C\d{3}(P\d{3})R\d{3}": "sure",  # NTU: S001C002P003R002A013
    rf"(?i:{_WHO})[ _-]?\d+": "sure",  # KTH: person03_boxing_d1
    r"([^/]+)_[a-z]_[cn]m_np\d_[a-z]{2}_[a-z]{3}_\d+\.\w+$": "sure",  # HMDB: what is before it
    r"(?<![A-Za-z0-9])[SsPp]\d{2,3}(?![A-Za-z0-9])": "mark",  # S01_2
    rf"(?<![A-Za-z])(?i:{_WHERE})[ _-]?\d+": "mark",
    r"([^/]*\d[^/]*?)[ _.-]+(?:part|clip|seg|piece)?[ _-]?\d+\.\w+$": "mark",  # fight12_003
    r"(?:^|/)([^\W\d_][^/ _.-]*)[ _-][^/]*$": "prefix",  # Weizmann: daria_walk
}
"""Naming patterns, the most reliable first. The group is the first bracket, or all that matches.

A "mark" that is the whole name only numbers the clips, as in wave/video3.mp4. A "prefix" counts
only where several labels share it; otherwise it may just repeat the label.
"""

_LEAST_SHARE = 0.9  # least share of clips that match the pattern
_LEAST_GROUPS = 3  # one each for train, val and test
_LEAST_CLIPS_PER_GROUP = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class NameGroups:
    """Groups that the names of clips suggest."""

    pattern: str  # the regular expression that finds a clip's group in its path
    names: tuple[str, ...]  # of the groups, sorted

    def describe(self) -> str:
        """Describe the groups in a few words."""
        first, last = self.names[0], self.names[-1]
        return f"{len(self.names)} groups such as {first} and {last}"


def guess_groups(dataset: Dataset) -> NameGroups | None:
    """Guess groups from names; None where the data has groups, or the names suggest none."""
    if any(sample.group for sample in dataset.samples):
        return None
    for pattern, kind in _PATTERNS.items():
        found = find_groups(dataset, pattern)
        known = {group for group in found if group}
        if sum(map(bool, found)) < _LEAST_SHARE * len(found) or len(known) < _LEAST_GROUPS:
            continue
        if len(found) < _LEAST_CLIPS_PER_GROUP * len(known):
            continue
        stems = [PurePosixPath(sample.name).stem for sample in dataset.samples]
        if kind == "mark" and 2 * sum(map(eq, stems, found)) > len(found):
            continue
        if _tells_more_than_labels(dataset, found, spans_labels=kind == "prefix"):
            return NameGroups(pattern=_simplest(dataset, pattern), names=tuple(sorted(known)))
    return None


def find_groups(dataset: Dataset, pattern: str) -> list[str | None]:
    """Return what a regular expression finds in each path: its first bracket, or all it matches."""
    expression = re.compile(pattern)
    matches = [expression.search(sample.name) for sample in dataset.samples]
    return [(m[1] if expression.groups else m[0]) or None if m else None for m in matches]


def group_by_name(dataset: Dataset, pattern: str | None) -> Dataset:
    """Take groups from what a pattern finds in each path; None and `auto` leave the data as it is.

    It is a DataError if all clips get the same group, or none.
    """
    if pattern in {None, AUTO_GROUPS}:
        return dataset
    assert pattern is not None
    groups = find_groups(dataset, pattern)
    if len(set(groups)) == 1:
        first = dataset.samples[0].name
        what = f"finds {groups[0]} in every path" if groups[0] else "finds nothing in any path"
        hint = "Write a regular expression for the part of the path that is the group."
        raise DataError(f"--groups {pattern!r} {what}; the first is {first}.", hint=hint)
    samples = [replace(s, group=g) for s, g in zip(dataset.samples, groups, strict=True)]
    found = find_groups(replace(dataset, samples=dataset.events), pattern)
    events = [replace(e, group=g) for e, g in zip(dataset.events, found, strict=True)]
    return replace(dataset, samples=tuple(samples), events=tuple(events))


def _simplest(dataset: Dataset, pattern: str) -> str:
    """Return a shorter pattern of a single word, if it finds the same groups."""
    found = find_groups(dataset, pattern)
    example = next(group for group in found if group)
    simple = re.sub(r"\d+", r"\\d+", example)
    plain = re.fullmatch(r"[\w -]*\d[\w -]*", example) is not None
    return simple if plain and find_groups(dataset, simple) == found else pattern


def _tells_more_than_labels(
    dataset: Dataset, groups: Sequence[str | None], *, spans_labels: bool
) -> bool:
    """Return whether most labels have several groups, and if asked, most groups several labels."""
    groups_of, labels_of = defaultdict(set), defaultdict(set)
    for sample, group in zip(dataset.samples, groups, strict=True):
        groups_of[sample.label].add(group)
        labels_of[group].add(sample.label)
    most_split = 2 * sum(len(found) > 1 for found in groups_of.values()) > len(groups_of)
    most_span = 2 * sum(len(found) > 1 for found in labels_of.values()) > len(labels_of)
    return most_split and (most_span or not spans_labels)
