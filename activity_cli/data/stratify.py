"""Deal samples to parts so that each has about its share of every label.

Samples are given by the numbers of their labels and groups; a group goes to one part as a whole.
The labels of multi-label samples are (N, C), 1 for each label that a sample has.
N is samples, G groups, C labels, P parts.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Labels = NDArray[Any]
"""(N,) the number of each sample's label, or (N, C)."""

MAX_TRIES = 32  # orders in which groups are dealt out; the best result is kept
MAX_STEPS = 16_000  # bound on tries times groups, about 0.2 s


def samples_by_label(labels: Labels) -> list[NDArray[np.bool_]]:
    """Return for each label that occurs which samples have it, (N,)."""
    if labels.ndim == 2:
        return [column > 0 for column in labels.T if column.any()]
    return [labels == label for label in np.unique(labels)]


def deal_shares(
    labels: Labels, groups: Indices | None, fractions: Sequence[float], seed: int
) -> Indices:
    """Return (N,) the part of each sample; part 0 is for training and has every label."""
    rng = np.random.default_rng(seed)
    if groups is None and labels.ndim == 2:
        groups = np.arange(len(labels))
    if groups is not None:
        return _deal_groups(labels, groups, np.array(fractions), rng, train_is_first=True)
    part = np.zeros(len(labels), dtype=np.int64)
    held_out = [number for number in range(1, len(fractions)) if fractions[number] > 0]
    for label in np.unique(labels):
        clips = rng.permutation(np.flatnonzero(labels == label))
        free = len(clips) - 1  # one stays in part 0
        to_come = len(held_out)
        for number in reversed(held_out):
            to_come -= 1  # parts still to come, each wants a clip as well
            wanted = max(1, int(fractions[number] * len(clips) + 0.5))
            num_taken = min(wanted, max(free - to_come, min(free, 1)))
            part[clips[free + 1 - num_taken : free + 1]] = number
            free -= num_taken
    return part


def deal_folds(labels: Labels, groups: Indices | None, num_folds: int, seed: int) -> Indices:
    """Return (N,) the fold of each sample; folds are as equal as the groups allow."""
    rng = np.random.default_rng(seed)
    if groups is None and labels.ndim == 2:
        groups = np.arange(len(labels))
    if groups is not None:
        fractions = np.full(num_folds, 1 / num_folds)
        return _deal_groups(labels, groups, fractions, rng, train_is_first=False)
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(len(labels), dtype=np.int64)
    fold[order] = np.arange(len(labels)) % num_folds  # one label after the other, in turn
    return fold


def _deal_groups(
    labels: Labels,
    groups: Indices,
    fractions: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    train_is_first: bool,
) -> Indices:
    """Return (N,) the part of each sample, by whole groups: the best of several orders.

    Fractions are (P,) the share of each part. If `train_is_first`, part 0 must have every label;
    otherwise all parts but one must.
    """
    members = np.stack(samples_by_label(labels), axis=1)  # (N, C)
    if labels.ndim == 2:  # samples without a label are shared out as well
        none = ~members.any(axis=1, keepdims=True)
        members = np.hstack([members, none]) if none.any() else members
    _, groups = np.unique(groups, return_inverse=True)
    shares = np.zeros((groups.max() + 1, members.shape[1]))  # (G, C) share of label c in group g
    np.add.at(shares, groups, members / members.sum(axis=0))
    targets = np.where(fractions > 0, np.maximum(fractions, 1 / len(shares)), 0)
    if train_is_first:  # with few groups the other parts take more than their fraction
        targets[0] = max(1 - targets[1:].sum(), 1 / len(shares))
    attempts: list[tuple[tuple[float, ...], Indices]] = []
    for attempt in range(max(1, min(MAX_TRIES, MAX_STEPS // len(shares)))):
        order = rng.permutation(len(shares))
        if attempt == 0:  # large groups first leaves small ones to even out; mostly the best
            order = order[np.argsort(-shares[order].max(axis=1), kind="stable")]
        part_of_group, filled = _fill(shares, targets, order, train_is_first)
        attempts.append((_cost(filled, fractions, train_is_first), part_of_group))
    return min(attempts, key=lambda attempt: attempt[0])[1][groups]


def _fill(
    shares: NDArray[np.float64],
    targets: NDArray[np.float64],
    order: NDArray[np.int64],
    train_is_first: bool,
) -> tuple[Indices, NDArray[np.float64]]:
    """Give each group in turn to the part that is shortest of its labels.

    Returns (G,) the part of each group and (P, C) the share of each label in each part.
    """
    filled = np.zeros((len(targets), shares.shape[1]))
    part_of_group = np.zeros(len(shares), dtype=np.int64)
    usable = np.flatnonzero(targets > 0)
    only_source = np.flatnonzero(shares.max(axis=1) > 1 - 1e-9)  # all there is of some label
    if train_is_first:
        filled[0] = shares[only_source].sum(axis=0)
        order = order[~np.isin(order, only_source)]
    for num_dealt, group in enumerate(order):
        empty = usable[filled[usable].sum(axis=1) == 0]
        parts = empty if len(empty) >= len(order) - num_dealt else usable
        lack = (targets[parts, None] - filled[parts]) @ shares[group]
        part = parts[lack.argmax()]
        part_of_group[group] = part
        filled[part] += shares[group]
    return part_of_group, filled


def _cost(
    filled: NDArray[np.float64], fractions: NDArray[np.float64], train_is_first: bool
) -> tuple[float, ...]:
    """Return the cost of a (P, C) filling; compared from the first number on."""
    used = filled[np.flatnonzero(fractions)]
    absent: NDArray[np.bool_] = used < 1e-9
    unlearnable = absent[0] if train_is_first else absent.sum(axis=0) == len(used) - 1
    uneven = np.square(filled - fractions[:, None]).sum()
    num_empty = absent.all(axis=1).sum()
    return float(unlearnable.sum()), float(num_empty), float(absent.sum()), float(uneven)
