"""Find clips that leak between the parts of a split: copies, and groups that are in several parts.

N is clips, F features. Pairs of clips with similar CNN features, which training needs anyway, are
candidates; copies are those of them whose movement agrees, by the rule of `activity check`
(`data.inspection.duplicates`). The others are of one scene: `data.scene_groups` suggests groups.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from heapq import nlargest
from itertools import combinations
from pathlib import Path
from shlex import quote
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from activity_cli.common import count_of
from activity_cli.common.files import sha256_of
from activity_cli.data.dataset import Dataset, Sample
from activity_cli.data.scene_groups import SuggestedGroups
from activity_cli.data.splits import PARTS

NEAR = 0.85
"""Cosine of two clips' standardised mean features from which they may be copies.

On 300 surveillance clips, pairs of different sources reached 0.76, of one source 0.93; on drawn
clips of different persons 0.69. Re-encoded, brighter or trimmed copies had at least 0.91, mirrored
ones in 23 of 24 cases more than 0.85, of half the size in 19, cropped by 5% on all sides in 17."""
MOST_CLIPS = 20_000
"""No search for near copies among more: its time grows with the square of their number."""
MOST_PAIRS = 100  # pairs that are kept for the report; the others are only counted
_BLOCK = 256

Confirm = Callable[[Sequence[tuple[Path, Path]]], Sequence[bool]]
"""Returns which pairs of files are copies."""

Kind = Literal["same file", "same video", "near copy"]
_WORDS: Mapping[Kind, str] = {
    "same file": "identical files",
    "same video": "from the same video",
    "near copy": "near duplicates",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Two clips in different parts that show the same."""

    kind: Kind
    first: int  # row of the clip
    second: int
    similarity: float = 1.0  # cosine of their features, for near copies


@dataclass(frozen=True, slots=True, kw_only=True)
class Leakage:
    """What is in several parts."""

    samples: tuple[Sample, ...]
    part: NDArray[np.int64]  # (N,) position of each clip's part in `part_names`
    part_names: tuple[str, ...]
    leaks: tuple[Leak, ...]
    """At most `MOST_PAIRS`: identical files and videos first, then the most similar pairs."""
    num_leaks: Mapping[Kind, int]  # all pairs that were found, kept or not
    split_groups: tuple[str, ...]  # groups of the data that are in several parts
    has_groups: bool = True
    suggestion: SuggestedGroups | None = None  # where the data has no groups
    num_suggested_split: int = 0  # how many of these are in several parts
    skipped: str = ""  # why there was no search for near copies

    @property
    def num_pairs(self) -> int:
        """Pairs of clips that show the same, in different parts."""
        return sum(self.num_leaks.values())

    @property
    def is_found(self) -> bool:
        """Whether there is leakage; groups that are only suggested don't count."""
        return bool(self.leaks or self.split_groups)

    def lines(self) -> list[str]:
        """Describe everything, a line for each kind, with what to do."""
        return [*self.found_lines(), *self.group_lines()]

    def found_lines(self) -> list[str]:
        """Describe the leakage, and whether the search for near copies was skipped."""
        lines = []
        if self.leaks:
            kinds = ", ".join(f"{n} {_WORDS[kind]}" for kind, n in self.num_leaks.items())
            rows = [row for leak in self.leaks for row in (leak.first, leak.second)]
            names = " and ".join(self.samples[row].name for row in rows[:2])
            crossed = "folds"
            if self.part_names == PARTS:
                crossed = ", ".join(PARTS[number] for number in np.unique(self.part[rows]))
            lines.append(
                f"Leakage: {count_of(self.num_pairs, 'pair')} of clips across {crossed} "
                f"({kinds}; {names}). Accuracy is overestimated: put both clips of a pair in the "
                "same group, or remove one."
            )
        if self.split_groups:
            lines.append(
                f"Leakage: {count_of(len(self.split_groups), 'group')} of the data in several "
                f"{self._parts}, such as {self.split_groups[0]}. Accuracy is overestimated: "
                "without --fold-column or --group-column each group stays in one."
            )
        if self.skipped:
            lines.append(
                f"No search for near duplicates: {self.skipped}; `activity check DATA` finds them."
            )
        return lines

    def group_lines(self) -> list[str]:
        """Warn where the data has no groups, and propose some."""
        if self.has_groups:
            return []
        warning = (
            "No groups given: if clips of one camera, person or video are in training and test, "
            "accuracy is overestimated."
        )
        if self.suggestion is None:
            return [f"{warning} None are suggested by names or scenes: add a `group` column."]
        number = self.num_suggested_split
        split = f", {number} of them in several {self._parts}" if number else ""
        option = quote(self.suggestion.pattern) if self.suggestion.pattern else "auto"
        return [
            f"{warning} Suggested: {self.suggestion.describe()}{split}. Use `--groups {option}`."
        ]

    @property
    def _parts(self) -> str:
        return "parts" if self.part_names == PARTS else "folds"

    def to_json(self) -> dict[str, Any]:
        """Return plain values for metrics.json."""
        pairs = [
            {
                "kind": leak.kind,
                "clips": [self.samples[row].name for row in (leak.first, leak.second)],
                "parts": [self.part_names[self.part[row]] for row in (leak.first, leak.second)],
                "similarity": round(leak.similarity, 3),
            }
            for leak in self.leaks
        ]
        one = self.suggestion
        suggested = one and {
            "by": "names" if one.pattern else "scenes",
            "pattern": one.pattern or None,
            "num_groups": len(one.names),
            "num_in_several_parts": self.num_suggested_split,
        }
        found = {"found": self.is_found, "num_pairs": self.num_pairs, "pairs": pairs}
        groups = {"split_groups": list(self.split_groups), "suggested_groups": suggested}
        return found | groups | {"notes": self.lines()}


def find_leakage(
    dataset: Dataset,
    features: NDArray[np.floating[Any]] | None,
    part: NDArray[np.int64],
    part_names: Sequence[str],
    suggestion: SuggestedGroups | None = None,
    *,
    confirm: Confirm | None = None,
) -> Leakage:
    """Find clips that show the same, and groups, in several parts of a split of N samples.

    Features are (N, S, T, D); None where the CNN is still to be fine-tuned: then there is no search
    for near copies. Candidates for them are `confirm`ed, pieces of videos excepted. `part` is (N,)
    the position of each sample's part, or fold, in `part_names`.
    """
    same = {(leak.first, leak.second): leak for leak in _same_sources(dataset.samples, part)}
    num_leaks = Counter[Kind](leak.kind for leak in same.values())
    near: list[Leak] = []
    skipped = ""
    if features is None:
        skipped = "the CNN is not trained yet"
    elif len(features) > MOST_CLIPS:
        skipped = f"there are more than {MOST_CLIPS} clips"
    else:
        near, num_near = _near_copies(mean_features(features), part, known=same)
        if confirm is not None and near:
            near = _confirmed(near, dataset.samples, confirm)
            num_near = len(near)
        num_leaks += Counter[Kind]({"near copy": num_near})
    suggested = [] if suggestion is None else [str(n) for n in suggestion.numbers]
    return Leakage(
        samples=dataset.samples,
        part=part,
        part_names=tuple(part_names),
        leaks=(*same.values(), *near)[:MOST_PAIRS],
        num_leaks=num_leaks,
        split_groups=_in_several([sample.group for sample in dataset.samples], part),
        has_groups=dataset.groups() is not None,
        suggestion=suggestion,
        num_suggested_split=len(_in_several(suggested, part)) if suggested else 0,
        skipped=skipped,
    )


def mean_features(features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return (N, F) of unit length: the standardised mean over time of each clip's features."""
    rows = [np.asarray(clip, np.float32).mean(axis=1).ravel() for clip in features]
    means = np.stack(rows)  # (N, S * D)
    means -= means.mean(axis=0)
    means /= means.std(axis=0) + 1e-6
    unit: NDArray[np.float32] = means / (np.linalg.norm(means, axis=1, keepdims=True) + 1e-6)
    return unit


def _near_copies(
    units: NDArray[np.float32], part: NDArray[np.int64], known: Mapping[tuple[int, int], object]
) -> tuple[list[Leak], int]:
    """Find similar pairs across parts among (N, F) vectors of unit length, block by block.

    Returns the most similar pairs, at most `MOST_PAIRS`, and the number of all, both without the
    known ones.
    """
    best: list[tuple[float, int, int]] = []
    count = 0
    columns = np.arange(len(units))
    known_first, known_second = np.array([*known], np.int64).reshape(-1, 2).T
    for start in range(0, len(units), _BLOCK):
        rows = columns[start : start + _BLOCK]
        similarity = units[rows] @ units.T  # (B, N)
        is_leak = (similarity >= NEAR) & (part[rows][:, None] != part) & (rows[:, None] < columns)
        here = (known_first >= start) & (known_first < start + len(rows))
        is_leak[known_first[here] - start, known_second[here]] = False
        found = np.flatnonzero(is_leak)
        count += len(found)
        if len(found) > MOST_PAIRS:
            found = found[np.argpartition(-similarity.flat[found], MOST_PAIRS)[:MOST_PAIRS]]
        for first, second in zip(*np.unravel_index(found, similarity.shape), strict=True):
            best.append((float(similarity[first, second]), start + int(first), int(second)))
        best = nlargest(MOST_PAIRS, best)
    leaks = [
        Leak(kind="near copy", first=first, second=second, similarity=min(similarity, 1.0))
        for similarity, first, second in best
    ]
    return leaks, count


def _confirmed(near: Sequence[Leak], samples: Sequence[Sample], confirm: Confirm) -> list[Leak]:
    """Return the candidates that are copies. Pieces are not compared: their videos may be long."""
    whole, pairs = [], []
    for leak in near:
        first, second = samples[leak.first], samples[leak.second]
        times = [(sample.start_seconds, sample.end_seconds) for sample in (first, second)]
        whole.append(times == [(None, None)] * 2)
        if whole[-1]:
            pairs.append((first.path, second.path))
    answers = iter(confirm(pairs))
    return [leak for leak, one in zip(near, whole, strict=True) if not one or next(answers)]


def _same_sources(samples: Sequence[Sample], part: NDArray[np.int64]) -> Iterator[Leak]:
    """Find pieces of the same video, and identical files, in several parts."""
    by_path: defaultdict[Path, list[int]] = defaultdict(list)
    for row, sample in enumerate(samples):
        by_path[sample.path].append(row)
    for rows in by_path.values():
        yield from _across("same video", rows, part)
    for paths in same_content(by_path):
        rows = [by_path[path][0] for path in paths]
        yield from _across("same file", rows, part)


def _across(kind: Kind, rows: Sequence[int], part: NDArray[np.int64]) -> Iterator[Leak]:
    """Pair up the parts that rows of the same content are in, one row for each part."""
    first_in = {int(part[row]): row for row in reversed(rows)}
    for first, second in combinations(sorted(first_in.values()), 2):
        yield Leak(kind=kind, first=first, second=second)


def same_content(paths: Mapping[Path, object]) -> list[list[Path]]:
    """Group files with identical content; reads only files of equal size."""
    by_size: defaultdict[int, list[Path]] = defaultdict(list)
    by_digest: defaultdict[str, list[Path]] = defaultdict(list)
    for path in paths:
        with suppress(OSError):  # removed or locked since it was decoded
            by_size[path.stat().st_size].append(path)
    for same_size in by_size.values():
        for path in same_size if len(same_size) > 1 else ():
            with suppress(OSError):
                by_digest[sha256_of(path)].append(path)
    return [found for found in by_digest.values() if len(found) > 1]


def _in_several(groups: Sequence[str | None], part: NDArray[np.int64]) -> tuple[str, ...]:
    """Return the groups whose clips are in several parts, sorted."""
    pairs = {(group, number) for group, number in zip(groups, part.tolist(), strict=True) if group}
    num_parts = Counter(group for group, _ in pairs)
    return tuple(sorted(group for group, number in num_parts.items() if group and number > 1))
