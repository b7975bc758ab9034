"""Suggest groups where the data has none: by names of clips, or by likeness of their scenes.

Clips of one camera have nearly the same CNN features, averaged over time, whatever happens in
them. They are joined by average linkage; the cut is the one with the best mean silhouette
(Rousseeuw, 1987). Nothing else is chosen, so nothing depends on the data it was tried on.

N is clips, F features.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.common import count_of
from activity_cli.data.dataset import Dataset
from activity_cli.data.name_groups import find_groups, guess_groups
from activity_cli.errors import DataError

WEAK = 0.25
"""Mean silhouette up to which clusters are no structure (Kaufman and Rousseeuw, 1990)."""
MOST_CLIPS = 5_000  # of more, no scenes are searched: the time grows with the square
_MOST_CUTS = 64  # numbers of clusters that are tried among many clips
_EPSILON = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class SuggestedGroups:
    """Groups that names or scenes suggest; applied with `--groups auto` alone."""

    numbers: NDArray[np.int64]  # (N,) group of each clip, from 0
    names: tuple[str, ...]  # of the groups
    pattern: str = ""  # regular expression that finds them in the names; empty: they are scenes

    def describe(self) -> str:
        """Describe the groups in a few words."""
        largest = count_of(int(np.bincount(self.numbers).max()), "clip")
        number = len(self.names)
        if self.pattern:
            return f"{number} groups in the names, such as {self.names[0]} and {self.names[-1]}"
        return f"{number} groups of similar scenes, the largest of {largest}"

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the data set with these groups."""
        pairs = zip(dataset.samples, self.numbers.tolist(), strict=True)
        samples = [replace(sample, group=self.names[number]) for sample, number in pairs]
        return replace(dataset, samples=tuple(samples))


def suggest_groups(
    dataset: Dataset, scenes: NDArray[np.floating[Any]] | None
) -> SuggestedGroups | None:
    """Suggest groups by names, else by scenes, (N, F); None where none are alike.

    None as well where the data has groups. Clips whose name does not match are a group each.
    """
    if dataset.groups() is not None:
        return None
    if guess := guess_groups(dataset):
        found = find_groups(dataset, guess.pattern)
        own = [group or sample.name for group, sample in zip(found, dataset.samples, strict=True)]
        names, numbers = np.unique(own, return_inverse=True)
        return SuggestedGroups(numbers=numbers, names=tuple(map(str, names)), pattern=guess.pattern)
    if scenes is None or not 3 <= len(scenes) <= MOST_CLIPS:
        return None
    numbers, silhouette = cluster(scenes)
    if silhouette <= WEAK:
        return None
    width = len(str(numbers.max() + 1))
    scene_names = (f"scene{number + 1:0{width}}" for number in range(int(numbers.max()) + 1))
    return SuggestedGroups(numbers=numbers, names=tuple(scene_names))


def require_groups(dataset: Dataset, suggested: SuggestedGroups | None) -> SuggestedGroups:
    """Return the suggested groups for `--groups auto`, or raise a DataError."""
    if suggested is not None:
        return suggested
    if dataset.groups() is not None:
        problem, hint = "the data has groups", "Leave out --groups."
    else:
        problem = "neither names nor scenes suggest groups"
        hint = "Add a `group` column, or leave out --groups."
    raise DataError(f"--groups auto: {problem}.", hint=hint)


def cluster(vectors: NDArray[np.floating[Any]]) -> tuple[NDArray[np.int64], float]:
    """Cluster (N, F) vectors by cosine; return (N,) clusters and their mean silhouette."""
    units = np.asarray(vectors, np.float32) - np.mean(vectors, axis=0, dtype=np.float32)
    units /= np.linalg.norm(units, axis=1, keepdims=True) + _EPSILON
    distances = np.maximum(1 - units @ units.T, 0)
    np.fill_diagonal(distances, 0)
    merges = sorted(_average_linkage(distances), key=lambda merge: merge[0])
    count = len(units)
    wanted = set(np.geomspace(2, count - 1, min(_MOST_CUTS, count)).astype(int).tolist())
    if count <= _MOST_CUTS**2 // 8:
        wanted = set(range(2, count))
    owner, sums, sizes = np.arange(count), distances.copy(), np.ones(count, np.int64)
    best, found = -1.0, owner.copy()
    # `sums` are the distances of each clip to all clips of each cluster; merged columns are added.
    for _, *clips in merges:
        first, second = owner[clips]
        owner[owner == second] = first
        sums[:, first] += sums[:, second]
        sizes[first], sizes[second] = sizes[first] + sizes[second], 0
        if np.count_nonzero(sizes) in wanted and (score := _silhouette(owner, sums, sizes)) > best:
            best, found = score, owner.copy()
    _, starts = np.unique(found, return_index=True)
    order = {int(found[start]): rank for rank, start in enumerate(np.sort(starts))}
    return np.array([order[number] for number in found.tolist()], np.int64), best


def _silhouette(
    owner: NDArray[np.int64], sums: NDArray[np.float32], sizes: NDArray[np.int64]
) -> float:
    """Return the mean silhouette; a clip that is alone in its cluster has 0."""
    rows, alive = np.arange(len(owner)), np.flatnonzero(sizes)
    own = sizes[owner]
    inside = sums[rows, owner] / np.maximum(own - 1, 1)
    means = sums[:, alive] / sizes[alive]
    means[rows, np.searchsorted(alive, owner)] = np.inf
    outside = means.min(axis=1)
    values = (outside - inside) / np.maximum(np.maximum(inside, outside), _EPSILON)
    return float(np.where(own > 1, values, 0).mean())


def _average_linkage(distances: NDArray[np.float32]) -> Iterator[tuple[float, int, int]]:
    """Yield the N - 1 merges as (height, a clip of each side), by chains of nearest neighbours.

    Müllner, "Modern hierarchical, agglomerative clustering algorithms" (2011). Heights are not in
    order.
    """
    table = distances.astype(np.float64)
    np.fill_diagonal(table, np.inf)
    sizes = np.ones(len(table))
    chain: list[int] = []
    for _ in range(len(table) - 1):
        if not chain:
            chain = [int(np.flatnonzero(sizes)[0])]
        while True:
            last = chain[-1]
            nearest = int(table[last].argmin())
            if len(chain) > 1 and table[last, chain[-2]] <= table[last, nearest]:
                break
            chain.append(nearest)
        second, first = chain.pop(), chain.pop()
        yield float(table[first, second]), first, second
        share = sizes[first] / (sizes[first] + sizes[second])
        merged = share * table[first] + (1 - share) * table[second]
        merged[first] = np.inf
        table[first] = table[:, first] = merged
        table[second] = table[:, second] = np.inf
        sizes[first], sizes[second] = sizes[first] + sizes[second], 0
