"""Clips that would let a model be tested on what it has learned: copies and split groups.

Told before training, from the files and from the CNN's features; which part (train, val, test,
or a fold) each clip is in is known by then. N is clips, F features.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from shlex import quote
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.files import sha256_of
from activity_cli.common.wording import count_of
from activity_cli.data.dataset import Dataset, Sample
from activity_cli.data.name_groups import NameGroups, find_groups, guess_groups
from activity_cli.data.splits import PARTS

NEAR = 0.85
"""Cosine of two clips' standardised mean features from which they count as near copies.

On 300 surveillance clips, pairs of other sources reached 0.76, of one source 0.93; on drawn clips
of other persons 0.69. Re-encoded, brighter or trimmed copies had at least 0.91, mirrored ones in 23
of 24 cases more than 0.85, of half the size in 19, cropped by 5% on all sides in 17."""
MOST_CLIPS = 20_000
"""More are not looked through for near copies: that takes the square of their number."""
_BLOCK = 1024
_MOST_TOLD = 100

Kind = Literal["same file", "same video", "near copy"]
_WORDS: Mapping[Kind, str] = {
    "same file": "with the same bytes",
    "same video": "from one video",
    "near copy": "with nearly the same pictures",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Two clips in different parts that show the same."""

    kind: Kind
    first: int
    """Row of the clip."""
    second: int
    similarity: float = 1.0
    """Cosine of their features, for near copies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leakage:
    """What an audit found."""

    samples: tuple[Sample, ...]
    part: NDArray[np.int64]
    """(N,) position of each clip's part in `part_names`."""
    part_names: tuple[str, ...]
    leaks: tuple[Leak, ...]
    split_groups: tuple[str, ...]
    """Groups of the data that are in several parts."""
    guess: NameGroups | None
    """Groups that names seem to say, where the data has none."""
    num_guessed_split: int = 0
    """Of the guessed groups, how many are in several parts."""
    not_looked: str = ""
    """Why near copies were not looked for; empty where they were."""

    @property
    def is_found(self) -> bool:
        """Whether anything is known to be on both sides; a guess from names is not known."""
        return bool(self.leaks or self.split_groups)

    def lines(self) -> list[str]:
        """What to say about it, a line for each kind, with what to do."""
        return [*self.found_lines(), *self.guessed_lines()]

    def found_lines(self) -> list[str]:
        """What is known to be on both sides, and what was not looked for."""
        return list(self._found())

    def guessed_lines(self) -> list[str]:
        """What names seem to say."""
        return list(self._guessed())

    def _found(self) -> Iterator[str]:
        if self.leaks:
            counts = Counter(leak.kind for leak in self.leaks)
            kinds = ", ".join(f"{n} {_WORDS[kind]}" for kind, n in counts.items())
            first = self.leaks[0]
            names = " and ".join(self.samples[row].name for row in (first.first, first.second))
            yield (
                f"Leakage: {count_of(len(self.leaks), 'pair')} of clips across {self._crossed()} "
                f"({kinds}; {names}). Figures flatter: give both clips of a pair one group, or "
                "remove one."
            )
        if self.split_groups:
            yield (
                f"Leakage: {count_of(len(self.split_groups), 'group')} of the data in several "
                f"{self._parts()}, such as {self.split_groups[0]}. Figures flatter: without "
                "--fold-column or --group-column each group stays in one."
            )
        if self.not_looked:
            yield f"Near copies: not looked for, {self.not_looked}; `activity check DATA` can."

    def _guessed(self) -> Iterator[str]:
        if self.guess is not None:
            number = self.num_guessed_split
            split = f", {number} of them in several {self._parts()}" * bool(number)
            yield (
                f"Names look like {self.guess.describe()}{split}. If clips of one belong together "
                f"(person, camera, video), add --groups {quote(self.guess.pattern)}"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain values for metrics.json."""
        return {
            "found": self.is_found,
            "num_pairs": len(self.leaks),
            "pairs": [self._pair(leak) for leak in self.leaks[:_MOST_TOLD]],
            "split_groups": list(self.split_groups),
            "groups_in_names": None
            if self.guess is None
            else {
                "pattern": self.guess.pattern,
                "num_groups": len(self.guess.names),
                "num_in_several_parts": self.num_guessed_split,
            },
            "notes": self.lines(),
        }

    def _pair(self, leak: Leak) -> dict[str, Any]:
        rows = leak.first, leak.second
        return {
            "kind": leak.kind,
            "clips": [self.samples[row].name for row in rows],
            "parts": [self.part_names[self.part[row]] for row in rows],
            "similarity": round(leak.similarity, 3),
        }

    def _parts(self) -> str:
        return "parts" if self.part_names == PARTS else "folds"

    def _crossed(self) -> str:
        """Which parts leaks connect."""
        if self.part_names != PARTS:
            return "folds"
        rows = [row for leak in self.leaks for row in (leak.first, leak.second)]
        return ", ".join(self.part_names[number] for number in np.unique(self.part[rows]))


def find_leakage(
    dataset: Dataset,
    features: NDArray[np.floating[Any]] | None,
    part: NDArray[np.int64],
    part_names: Sequence[str],
) -> Leakage:
    """Look for what is on both sides of a split, or in several folds.

    Args:
        dataset: N samples.
        features: (N, S, T, D), theirs; None where a CNN has yet to learn: then near copies are
            not looked for.
        part: (N,) position of each sample's part in `part_names`.
        part_names: such as train, val, test, or the names of folds.
    """
    leaks = {(leak.first, leak.second): leak for leak in _file_leaks(dataset.samples, part)}
    not_looked = ""
    if features is None:
        not_looked = "the CNN has yet to learn"
    elif len(features) > MOST_CLIPS:
        not_looked = f"more than {MOST_CLIPS} clips"
    else:
        for leak in _near_copies(mean_features(features), part):
            leaks.setdefault((leak.first, leak.second), leak)
    guess = guess_groups(dataset)
    guessed: list[str | None] = [None] * len(part)
    if guess is not None:
        guessed = find_groups(dataset, guess.pattern)
    return Leakage(
        samples=dataset.samples,
        part=part,
        part_names=tuple(part_names),
        leaks=tuple(leaks.values()),
        split_groups=_in_several([sample.group for sample in dataset.samples], part),
        guess=guess,
        num_guessed_split=len(_in_several(guessed, part)),
        not_looked=not_looked,
    )


def mean_features(features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """(N, F) of unit length: each clip's mean over time, every feature as far from the usual."""
    rows = [np.asarray(clip, np.float32).mean(axis=1).ravel() for clip in features]
    means = np.stack(rows)  # (N, S * D)
    means -= means.mean(axis=0)
    means /= means.std(axis=0) + 1e-6
    unit: NDArray[np.float32] = means / (np.linalg.norm(means, axis=1, keepdims=True) + 1e-6)
    return unit


def _near_copies(units: NDArray[np.float32], part: NDArray[np.int64]) -> Iterator[Leak]:
    """Pairs across parts, (N, F) vectors of unit length, block by block."""
    for start in range(0, len(units), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(units)))
        similar = units[rows] @ units.T  # (B, N)
        crossing = (part[rows][:, None] != part) & (rows[:, None] < np.arange(len(units)))
        for i, second in np.argwhere((similar >= NEAR) & crossing).tolist():
            similarity = float(similar[i, second])
            yield Leak(
                kind="near copy", first=start + i, second=second, similarity=min(similarity, 1.0)
            )


def _file_leaks(samples: Sequence[Sample], part: NDArray[np.int64]) -> Iterator[Leak]:
    """Pieces of one video, and files with the same bytes, across parts."""
    by_path: defaultdict[Path, list[int]] = defaultdict(list)
    for row, sample in enumerate(samples):
        by_path[sample.path].append(row)
    for rows in by_path.values():
        yield from _across("same video", rows, part)
    for paths in same_content(by_path):
        rows = [by_path[path][0] for path in paths]
        yield from _across("same file", rows, part)


def _across(kind: Kind, rows: Sequence[int], part: NDArray[np.int64]) -> Iterator[Leak]:
    """A pair for every two parts that rows of the same content are in: one clip stands for each."""
    first_in = {int(part[row]): row for row in reversed(rows)}
    for first, second in combinations(sorted(first_in.values()), 2):
        yield Leak(kind=kind, first=first, second=second)


def same_content(paths: Mapping[Path, object]) -> list[list[Path]]:
    """Files that hold the same bytes; only those of equal size are read."""
    by_size: defaultdict[int, list[Path]] = defaultdict(list)
    by_digest: defaultdict[str, list[Path]] = defaultdict(list)
    for path in paths:
        with suppress(OSError):  # gone or locked by now: it was read before
            by_size[path.stat().st_size].append(path)
    for same_size in by_size.values():
        for path in same_size if len(same_size) > 1 else ():
            with suppress(OSError):
                by_digest[sha256_of(path)].append(path)
    return [found for found in by_digest.values() if len(found) > 1]


def _in_several(groups: Sequence[str | None], part: NDArray[np.int64]) -> tuple[str, ...]:
    """Groups whose clips are in several parts, sorted."""
    parts_of = defaultdict(set)
    for group, number in zip(groups, part.tolist(), strict=True):
        if group:
            parts_of[group].add(number)
    return tuple(sorted(group for group, parts in parts_of.items() if len(parts) > 1))
