"""Checked files -> sets of files that show the same recording, also re-encoded, resized or trimmed.

Two copies move alike, shifted in time, and their pictures are alike too; clips in which nothing
moves are compared as pictures. N is movements of a clip, Q of all those that are looked up, P the
pixels of a picture; an offset is the number of pictures by which something comes later in one clip
than in another. `data.leakage` asks the same question about clips with similar CNN features.

Thresholds, from 300 clips of surveillance cameras (many from one camera) and 120 drawn ones, and
from 120 copies of 24 of the former: re-encoded, resized to 40%, trimmed at either end, with every
second frame. The movement of copies correlates by 0.86 or more. That of no other two does so by
more than 0.61 in the real clips, and 0.70 in the drawn ones, whose pictures do not agree.
"""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from activity_cli.data.inspection.checks import FileCheck, check_files
from activity_cli.data.inspection.fingerprints import (
    LAG,
    STEP_SECONDS,
    FingerprintStore,
    Movement,
    movement_of,
)

Grey = NDArray[np.float32]
Columns = Mapping[str, frozenset[str]]
"""Values of a file's rows by column; several where pieces of it have rows."""

_SAME_MOVEMENT = 0.75  # least correlation of the movement of copies
_SAME_PICTURE = 0.9  # least correlation of their mean pictures
_MIN_OVERLAP = 10
"""Movements, 1 second, that two clips must have in common, unless one of them is shorter."""

_STILL_ENERGY = 64.0
"""Squared movement of a picture, over all pixels: half a grey level in each is noise."""
_MIN_MOVEMENTS = 5  # a clip with fewer is compared as a picture
_SAME_STILL = 1.0
"""Root mean square difference, in grey levels, of pictures of clips in which nothing moves ..."""
_SAME_LIGHT = 4.0  # ... and of their mean: encoders shift it by 2
_SAME_LENGTH = 2  # pictures by which their lengths may differ

_LOOKED_UP = 8  # movements of a clip that are looked up in all others
_ALIKE = 0.6  # correlation of single movements that makes two clips worth comparing
_OFFSETS_TRIED = 5
_BLOCK_ROWS, _BLOCK_COLUMNS = 1024, 16_384  # 64 MB of products at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """Two files that show the same."""

    first: int
    second: int
    similarity: float  # correlation of their movement; of their pictures, where nothing moves
    offset_seconds: float  # where in the first one the second one begins
    overlap_seconds: float  # how long both show the same


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateSet:
    """Files of which each shows the same as another one of the set."""

    files: tuple[int, ...]  # their numbers, in order, at least two
    same_content: Mapping[int, int]  # of files with identical bytes: the first of them
    copies: tuple[Copy, ...]  # near duplicates; of identical files only the first is compared
    crosses: Mapping[str, tuple[str, ...]]
    """Columns in which the files differ, with their values; a missing value is ""."""


def find_duplicates(
    checks: Sequence[FileCheck], store: FingerprintStore, columns: Sequence[Columns]
) -> list[DuplicateSet]:
    """Find identical files and near duplicates, in the order of their first files.

    Files are numbered by the order of their checks; files without frames are not compared. The
    columns of each file are those that copies should agree in.
    """
    first_of: dict[str, int] = {}
    same_content = {}
    for file, check in enumerate(checks):
        if check.sha256 and (first := first_of.setdefault(check.sha256, file)) != file:
            same_content[file] = first
    compared = [(checks[file].fingerprint, file) for file in first_of.values()]
    numbers = {number: file for number, file in compared if number is not None}
    copies = find_copies(numbers, store)
    leader: dict[int, int] = {}

    def lead(file: int) -> int:
        while (above := leader.setdefault(file, file)) != file:
            leader[file] = leader.get(above, above)
            file = above
        return file

    for pair in [*same_content.items(), *((copy.first, copy.second) for copy in copies)]:
        low, high = sorted(map(lead, pair))
        leader[high] = low
    members, copies_of = defaultdict(list), defaultdict(list)
    for file in sorted(leader):
        members[lead(file)].append(file)
    for copy in copies:
        copies_of[lead(copy.first)].append(copy)
    return [
        DuplicateSet(
            files=tuple(files),
            same_content={file: same_content[file] for file in files if file in same_content},
            copies=tuple(copies_of[first]),
            crosses=_crossed([columns[file] for file in files]),
        )
        for first, files in members.items()
    ]


def _crossed(columns: Sequence[Columns]) -> dict[str, tuple[str, ...]]:
    crossed = {}
    for name in dict.fromkeys(name for own in columns for name in own):
        values = [own.get(name, frozenset({""})) for own in columns]
        if len(set(values)) > 1:
            crossed[name] = tuple(sorted(frozenset().union(*values)))
    return crossed


def find_copies(files: Mapping[int, int], store: FingerprintStore) -> list[Copy]:
    """Find near duplicates among fingerprints, each with the number of its file.

    The time grows with the square of their number.
    """
    moving: list[int] = []
    still: dict[int, Grey] = {}
    for number in files:
        pictures = store.pictures(number)
        movement = movement_of(pictures)
        if len(movement) >= _MIN_MOVEMENTS and _energy(movement).mean() >= _STILL_ENERGY:
            moving.append(number)
        else:
            still[number] = pictures.mean(axis=0)
    copies = list(_compare_still(still, files, store))
    for (first, second), offsets in _candidates(moving, store).items():
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


def are_copies(pairs: Sequence[tuple[Path, Path]], *, num_workers: int | None = None) -> list[bool]:
    """Return which pairs of files show the same; decodes each file. Damaged ones are no copies."""
    paths = list(dict.fromkeys(path for pair in pairs for path in pair))
    if not paths:
        return []
    with FingerprintStore(Path(tempfile.gettempdir())) as store:
        checks = list(check_files(paths, store, num_workers=num_workers))
        numbers = {check.fingerprint: file for file, check in enumerate(checks)}
        known = {number: file for number, file in numbers.items() if number is not None}
        found = {(paths[copy.first], paths[copy.second]) for copy in find_copies(known, store)}
    return [(one, other) in found or (other, one) in found for one, other in pairs]


def _candidates(
    numbers: Sequence[int], store: FingerprintStore
) -> dict[tuple[int, int], list[int]]:
    """Return pairs of clips that may be copies, with the offsets that most movements suggest.

    The strongest movements of each clip are looked up among all movements of all others.
    """
    strongest = [_strongest(movement_of(store.pictures(number))) for number in numbers]
    if not strongest:
        return {}
    known = np.concatenate([directions for _, directions in strongest])  # (Q, P)
    known_times = np.concatenate([times for times, _ in strongest])  # (Q,)
    owners = np.repeat(numbers, [len(times) for times, _ in strongest])  # (Q,)
    votes: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number in numbers:
        movement = movement_of(store.pictures(number))
        lengths = np.sqrt(np.maximum(_energy(movement), _STILL_ENERGY))
        directions = movement / lengths[:, None]
        for first_row in range(0, len(directions), _BLOCK_ROWS):
            some = directions[first_row : first_row + _BLOCK_ROWS]
            for first_column in range(0, len(known), _BLOCK_COLUMNS):
                alike = some @ known[first_column : first_column + _BLOCK_COLUMNS].T
                rows, columns = np.nonzero(alike > _ALIKE)
                columns += first_column
                offsets = first_row + rows - known_times[columns]
                for other, offset in zip(owners[columns].tolist(), offsets.tolist(), strict=True):
                    if number < other:
                        votes[number, other].append(offset)
                    elif number > other:
                        votes[other, number].append(-offset)
    ranked = {pair: Counter(sorted(offsets)) for pair, offsets in votes.items()}
    return {pair: [o for o, _ in r.most_common(_OFFSETS_TRIED)] for pair, r in ranked.items()}


def _strongest(movement: Movement) -> tuple[NDArray[np.int64], Movement]:
    """Return when each eighth of a clip, (N, P), moves most, and these movements at length 1."""
    energy = _energy(movement)
    parts = np.array_split(np.arange(len(movement)), _LOOKED_UP)
    best = np.array([part[energy[part].argmax()] for part in parts if len(part)], np.int64)
    times = best[energy[best] >= _STILL_ENERGY]
    return times, cast(Movement, movement[times] / np.sqrt(energy[times])[:, None])


def _compare(first: Grey, second: Grey, offset: int) -> tuple[float, int, int]:
    """Compare two clips, (K, P) each, when the second begins at an offset in the first.

    Returns their similarity, the number of common pictures and the offset. The similarity is 0
    where these pictures are too few or do not agree.
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
    """Compare clips in which nothing moves, or that are too short, by mean picture and length."""
    if not pictures:
        return
    numbers = np.array(list(pictures))
    lengths = np.array([store.num_pictures(number) for number in pictures])
    all_means = np.stack(list(pictures.values()))
    light = all_means.mean(axis=1)
    shapes = all_means - light[:, None]
    for index, number in enumerate(numbers):
        rest = slice(index + 1, None)
        same = np.sqrt(((shapes[rest] - shapes[index]) ** 2).mean(axis=1)) <= _SAME_STILL
        same &= np.abs(light[rest] - light[index]) <= _SAME_LIGHT
        same &= np.abs(lengths[rest] - lengths[index]) <= _SAME_LENGTH
        for other in np.flatnonzero(same) + index + 1:
            yield Copy(
                first=files[int(number)],
                second=files[int(numbers[other])],
                similarity=max(0.0, _correlate(shapes[index], shapes[other])),
                offset_seconds=0.0,
                overlap_seconds=float(min(lengths[index], lengths[other])) * STEP_SECONDS,
            )


def _energy(movement: Movement) -> NDArray[np.float32]:
    """Return (N,) the squared movement over all pixels."""
    return cast(NDArray[np.float32], np.einsum("np,np->n", movement, movement))


def _correlate(one: Grey, other: Grey) -> float:
    """Return the cosine of two arrays of one shape; 1 where both are 0."""
    scale = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / scale if scale else 1.0
