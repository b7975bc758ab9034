"""Fingerprints -> near duplicates: the same recording re-encoded, resized or trimmed.

Shifted against each other in time, two copies move alike all along, and what they show is alike
too. Clips in which nothing moves are compared as pictures. N is movements of a clip, Q of all those
that are looked up, P the pixels of a fingerprint's pictures; an offset is how many pictures later
something is in one clip than in another.

Thresholds, from 300 clips of surveillance cameras (many from one camera) and 120 drawn ones, and
from 120 copies of 24 of the former: re-encoded, resized to 40%, trimmed at either end, with every
second frame. The movement of copies correlates by 0.86 or more. That of no other two does so by
more than 0.61 in the real clips, and 0.70 in the drawn ones, whose pictures do not agree.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from activity_cli.data.inspection.fingerprints import (
    LAG,
    STEP_SECONDS,
    FingerprintStore,
    Movement,
    movement_of,
)

Grey = NDArray[np.float32]

_SAME_MOVEMENT = 0.75
"""Correlation of the movement of copies, at least."""
_SAME_PICTURE = 0.9
"""Correlation of their mean pictures, at least."""
_MIN_OVERLAP = 10
"""Movements, 1 second, that two clips must have in common, unless one of them is shorter."""

_STILL_ENERGY = 64.0
"""Squared movement of a picture, over all pixels: half a grey level in each is noise."""
_MIN_MOVEMENTS = 5
"""A clip with fewer is compared as a picture."""
_SAME_STILL = 1.0
"""Root mean square difference, in grey levels, of pictures of clips in which nothing moves ..."""
_SAME_LIGHT = 4.0
"""... and of their mean: encoders shift it by 2."""
_SAME_LENGTH = 2
"""Pictures by which their lengths may differ."""

_LOOKED_UP = 8
"""Movements of a clip that are looked up in all others."""
_ALIKE = 0.6
"""Correlation of single movements that makes two clips worth comparing."""
_OFFSETS_TRIED = 5
_BLOCK_ROWS = 4096  # 64 MB of products at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """Two clips that show the same."""

    first: int
    second: int
    similarity: float
    """Correlation of their movement; of their pictures, where nothing moves."""
    offset_seconds: float
    """Where in the first one the second one begins."""
    overlap_seconds: float
    """How long both show the same."""


def find_copies(files: Mapping[int, int], store: FingerprintStore) -> list[Copy]:
    """Near duplicates among files.

    The time it takes grows with the square of their number.

    Args:
        files: of each fingerprint that is compared, the number of its file.
        store: of fingerprints.
    """
    if len(files) < 2:
        return []
    lookup = _Lookup()
    still: dict[int, Grey] = {}
    for number in files:
        pictures = store.pictures(number)
        movement = movement_of(pictures)
        if len(movement) >= _MIN_MOVEMENTS and _energy(movement).mean() >= _STILL_ENERGY:
            lookup.add(number, movement)
        else:
            still[number] = pictures.mean(axis=0)
    copies = list(_compare_still(still, files, store))
    for (first, second), offsets in lookup.candidates(store).items():
        pair = store.pictures(first), store.pictures(second)
        similarity, overlap, offset = max(_compare(*pair, offset) for offset in offsets)
        if similarity >= _SAME_MOVEMENT:
            copies.append(
                Copy(
                    first=files[first],
                    second=files[second],
                    similarity=similarity,
                    offset_seconds=offset * STEP_SECONDS,
                    overlap_seconds=overlap * STEP_SECONDS,
                )
            )
    return copies


class _Lookup:
    """The strongest movement of each eighth of a clip, to be found again in others."""

    def __init__(self) -> None:
        self._movements: list[Movement] = []  # (Q, P), of length 1
        self._owners: list[int] = []  # (Q,)
        self._times: list[int] = []  # (Q,)

    def add(self, number: int, movement: Movement) -> None:
        """Remember a clip, (N, P)."""
        energy = _energy(movement)
        for part in np.array_split(np.arange(len(movement)), _LOOKED_UP):
            if len(part) and energy[best := part[energy[part].argmax()]] >= _STILL_ENERGY:
                self._movements.append(movement[best] / np.sqrt(energy[best]))
                self._owners.append(number)
                self._times.append(int(best))

    def candidates(self, store: FingerprintStore) -> dict[tuple[int, int], list[int]]:
        """Pairs of clips that may be copies, with the offsets that most movements suggest."""
        votes: dict[tuple[int, int], list[int]] = defaultdict(list)
        if not self._movements:
            return {}
        known, owners = np.stack(self._movements), np.array(self._owners)
        times = np.array(self._times)
        for block in _blocks(dict.fromkeys(self._owners), store):
            for start in range(0, len(known), _BLOCK_ROWS):
                part = slice(start, start + _BLOCK_ROWS)
                alike = block.directions @ known[part].T
                rows, columns = np.nonzero(alike > _ALIKE)
                mine, theirs = block.owners[rows], owners[part][columns]
                offsets = block.times[rows] - times[part][columns]
                found = zip(mine.tolist(), theirs.tolist(), offsets.tolist(), strict=True)
                for number, other, offset in found:
                    if number < other:
                        votes[number, other].append(offset)
                    elif number > other:
                        votes[other, number].append(-offset)
        return {pair: _most_common(offsets) for pair, offsets in votes.items()}


@dataclass(frozen=True, slots=True)
class _Block:
    """Movements of several clips, R in all, that are looked at together."""

    owners: NDArray[np.int64]  # (R,)
    times: NDArray[np.int64]  # (R,)
    directions: Movement  # (R, P), of length 1, or less where next to nothing moves


def _blocks(numbers: Iterable[int], store: FingerprintStore) -> Iterator[_Block]:
    """All movements of clips, as many at a time as make large products of matrices."""
    pending: list[_Block] = []
    num_rows = 0
    for number in numbers:
        movement = movement_of(store.pictures(number))
        lengths = np.sqrt(np.maximum(_energy(movement), _STILL_ENERGY))
        directions = cast(Movement, movement / lengths[:, None])
        for start in range(0, len(movement), _BLOCK_ROWS):
            some = directions[start : start + _BLOCK_ROWS]
            times = np.arange(start, start + len(some))
            pending.append(_Block(np.full(len(some), number), times, some))
            num_rows += len(some)
            if num_rows >= _BLOCK_ROWS:
                yield _join(pending)
                pending, num_rows = [], 0
    if pending:
        yield _join(pending)


def _join(blocks: Sequence[_Block]) -> _Block:
    return _Block(
        np.concatenate([block.owners for block in blocks]),
        np.concatenate([block.times for block in blocks]),
        np.concatenate([block.directions for block in blocks]),
    )


def _most_common(offsets: list[int]) -> list[int]:
    values, votes = np.unique(offsets, return_counts=True)
    best: list[int] = values[np.argsort(-votes, kind="stable")[:_OFFSETS_TRIED]].tolist()
    return best


def _compare(first: Grey, second: Grey, offset: int) -> tuple[float, int, int]:
    """How alike two clips, (K, P) each, are when the second begins at an offset in the first.

    Returns:
        Similarity, the number of pictures that both have, the offset. The similarity is 0 where
        they have too few in common, or pictures that do not agree.
    """
    start, end = max(0, offset), min(len(first), offset + len(second))
    overlap = end - start
    if overlap - LAG < min(_MIN_OVERLAP, len(first) - LAG, len(second) - LAG):
        return 0.0, overlap, offset
    one, other = first[start:end], second[start - offset : end - offset]
    if _correlate(*(p.mean(axis=0) - p.mean() for p in (one, other))) < _SAME_PICTURE:
        return 0.0, overlap, offset
    return _correlate(movement_of(one), movement_of(other)), overlap, offset


def _compare_still(
    pictures: Mapping[int, Grey], files: Mapping[int, int], store: FingerprintStore
) -> Iterator[Copy]:
    """Clips in which nothing moves, or too short to see it: by their mean picture, and length."""
    if not pictures:
        return
    numbers = np.array(list(pictures))
    lengths = np.array([store.num_pictures(number) for number in pictures])
    all_means = np.stack(list(pictures.values()))
    light = all_means.mean(axis=1)
    shapes = all_means - light[:, None]
    for index, number in enumerate(numbers):
        rest = slice(index + 1, None)
        distance = np.sqrt(((shapes[rest] - shapes[index]) ** 2).mean(axis=1))
        same = (
            (distance <= _SAME_STILL)
            & (np.abs(light[rest] - light[index]) <= _SAME_LIGHT)
            & (np.abs(lengths[rest] - lengths[index]) <= _SAME_LENGTH)
        )
        for other in np.flatnonzero(same) + index + 1:
            yield Copy(
                first=files[int(number)],
                second=files[int(numbers[other])],
                similarity=max(0.0, _correlate(shapes[index], shapes[other])),
                offset_seconds=0.0,
                overlap_seconds=float(min(lengths[index], lengths[other])) * STEP_SECONDS,
            )


def _energy(movement: Movement) -> NDArray[np.float32]:
    """(N,) squared movement over all pixels."""
    return cast(NDArray[np.float32], np.einsum("np,np->n", movement, movement))


def _correlate(one: Grey, other: Grey) -> float:
    """The cosine of two arrays of one shape; 1 where both are 0."""
    scale = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / scale if scale else 1.0
