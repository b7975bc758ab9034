"""Samples -> train, val and test parts, or the folds of a cross-validation.

Parts have about their share of every label. Samples of one group are never in two parts, or
accuracy would be overestimated.
"""

from dataclasses import dataclass

import numpy as np

from activity_cli.common import count_of
from activity_cli.data.dataset import Dataset
from activity_cli.data.stratify import (
    Indices,
    Labels,
    deal_folds,
    deal_shares,
    samples_by_label,
)
from activity_cli.errors import DataError, SettingsError

PARTS = ("train", "val", "test")
FEW_CLIPS = 500  # with fewer clips in train and val together, inner folds choose the epoch
INNER_FOLDS = 3  # each costs a training; more add little


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Positions of the samples of each part, ascending."""

    train: Indices
    val: Indices
    test: Indices
    by: str  # the basis of the split: "split column", "groups" or "clips"

    @property
    def part(self) -> Indices:
        """(N,) position of each sample's part in `PARTS`."""
        part = np.zeros(len(self.train) + len(self.val) + len(self.test), np.int64)
        part[self.val], part[self.test] = 1, 2
        return part


@dataclass(frozen=True, slots=True, kw_only=True)
class Folds:
    """The fold in which each sample is tested."""

    index: Indices  # (N,) from 0
    names: tuple[str, ...]  # of the folds, in the order of their index
    by: str  # the basis of the folds: "column <name>", "groups" or "clips"


def split_train_val_test(
    dataset: Dataset, *, val_fraction: float = 0.15, test_fraction: float = 0.15, seed: int = 0
) -> Split:
    """Split the samples for training, early stopping and the final test.

    A `split` column decides if there is one; without `val` rows in it, val is drawn from the
    training rows, and without `test` rows test is empty. Otherwise the split is drawn, by groups if
    samples share one. Every label is in train, and if there are enough clips or groups, in val and
    test as well. It is a DataError if there are too few, or the column cannot be used.
    """
    if min(val_fraction, test_fraction) < 0 or val_fraction + test_fraction >= 1:
        raise SettingsError(
            f"val_fraction {val_fraction:g} and test_fraction {test_fraction:g} must be at least "
            "0 and together below 1."
        )
    if any(sample.split for sample in dataset.samples):
        return _split_by_column(dataset, val_fraction, seed)
    labels, groups = dataset.label_indices(), dataset.groups()
    fractions = [1 - val_fraction - test_fraction, val_fraction, test_fraction]
    num_parts = sum(fraction > 0 for fraction in fractions)
    label, count = _rarest(dataset)
    if count < num_parts:
        raise DataError(
            f"Label {label!r} has only {count_of(count, 'clip')}; training and testing need "
            f"at least {num_parts}.",
            hint="Add clips, or leave the label out.",
        )
    if groups is not None and groups.max() + 1 < num_parts:
        raise DataError(
            f"All clips are in {count_of(int(groups.max()) + 1, 'group')}: train, val and test "
            f"need at least {num_parts}, as a group stays in one part.",
            hint="Add clips of other sources, or a finer `group` column, or a `split` column.",
        )
    part = deal_shares(labels, groups, fractions, seed)
    for number, name in enumerate(PARTS):
        if fractions[number] > 0 and not (part == number).any():
            raise _no_part_by_groups(name)
    return _split(part, by="clips" if groups is None else "groups")


def inner_split(
    labels: Labels, groups: Indices | None, *, fraction: float, seed: int
) -> tuple[Indices, Indices]:
    """Draw a validation part from training samples, (N,) labels and groups, stratified.

    A label with one clip, or one group, stays in training. The validation part serves early
    stopping only, so if whole groups leave nothing for it, it is drawn by clips. Returns ascending
    positions of both parts; the validation part is empty if every label has a single clip.
    """
    part = deal_shares(labels, groups, [1 - fraction, fraction], seed)
    if not part.any():
        part = deal_shares(labels, None, [1 - fraction, fraction], seed)
    return np.flatnonzero(part == 0), np.flatnonzero(part == 1)


def spare_val(train: Indices, val: Indices) -> tuple[Indices, Indices]:
    """Move a validation part that is too small to choose an epoch into training."""
    if len(train) + len(val) >= FEW_CLIPS:
        return train, val
    return np.sort(np.concatenate([train, val])), val[:0]


def choosing_folds(
    labels: Labels, groups: Indices | None, num_folds: int = INNER_FOLDS, *, seed: int
) -> Indices:
    """Return (N,) the inner fold, which chooses the epoch, of each training sample, from 0.

    Each label must stay in training whichever fold is held out: samples of a label that is in one
    fold only, and their groups, are in no fold, -1. If whole groups leave no fold, samples are
    dealt one by one. Labels and groups are (N,).
    """
    units = np.arange(len(labels)) if groups is None else groups
    folds = deal_folds(labels, groups, min(num_folds, len(np.unique(units))), seed)
    for own in [own for own in samples_by_label(labels) if _is_one(folds[own])]:
        folds[np.isin(units, units[own])] = -1
    dealt = folds >= 0
    if groups is not None and (not dealt.any() or _is_one(folds[dealt])):
        return choosing_folds(labels, None, num_folds, seed=seed)
    folds[dealt] = np.unique(folds[dealt], return_inverse=True)[1]
    return folds


def _is_one(values: Indices) -> bool:
    return len(np.unique(values)) == 1


def make_folds(
    dataset: Dataset,
    *,
    num_folds: int = 5,
    fold_column: str | None = None,
    group_column: str | None = None,
    seed: int = 0,
) -> Folds:
    """Deal the samples to the folds of a cross-validation.

    Each value of a fold column is a fold. Otherwise folds are drawn, stratified by label and by
    groups: those of the group column, or without one, those of the data. It is a DataError if there
    are too few clips or groups, or a column cannot be used.
    """
    if fold_column is not None and group_column is not None:
        hint = "Name one of them."
        raise SettingsError("A fold column and a group column exclude each other.", hint=hint)
    if num_folds < 2:
        raise SettingsError(f"num_folds must be at least 2, got {num_folds}.")
    if fold_column is not None:
        folds = _folds_of_column(dataset, fold_column)
    else:
        groups = dataset.groups() if group_column is None else dataset.groups_by(group_column)
        if groups is not None:
            largest, what, unit = int(groups.max()) + 1, "The data", "group"
        else:
            label, largest = _rarest(dataset)
            what, unit = f"Label {label!r}", "clip"
        if largest < num_folds:  # every fold needs a group, or a clip of every label
            advice = f"Cross-validation needs at least 2 {unit}s: add clips."
            raise DataError(
                f"{what} has {count_of(largest, unit)}: too few for {num_folds} folds.",
                hint=f"Use {largest} folds, or add clips." if largest >= 2 else advice,
            )
        index = deal_folds(dataset.label_indices(), groups, num_folds, seed)
        by = "clips" if groups is None else "groups"
        names = tuple(str(number + 1) for number in range(num_folds))
        folds = Folds(index=index, names=names, by=by)
    _check_learnable(dataset, folds)
    return folds


def _rarest(dataset: Dataset) -> tuple[str, int]:
    return min(dataset.counts().items(), key=lambda item: item[1])


def _split(part: Indices, *, by: str) -> Split:
    train, val, test = (np.flatnonzero(part == number) for number in range(3))
    return Split(train=train, val=val, test=test, by=by)


def _split_by_column(dataset: Dataset, val_fraction: float, seed: int) -> Split:
    for sample in dataset.samples:
        if sample.split is None:
            raise DataError(
                f"{_place(dataset, sample.line)}: {sample.name} has no split, but other rows do.",
                hint="Write train, val or test in every row, or remove the column.",
            )
    part = np.array([PARTS.index(s.split) for s in dataset.samples if s.split], dtype=np.int64)
    train = np.flatnonzero(part == 0)
    in_train = {label for i in train for label in dataset.samples[i].all_labels}
    if missing := [label for label in dataset.labels if label not in in_train]:
        hint = "Every label needs training clips: set the split of some to train."
        raise DataError(f"The split column has no train rows of {missing[0]!r}.", hint=hint)
    _check_part_of_groups(dataset, part)
    if val_fraction > 0 and not (part == 1).any():
        groups = dataset.groups()
        inner = None if groups is None else groups[train]
        fractions = [1 - val_fraction, val_fraction]
        part[train] = deal_shares(dataset.label_indices()[train], inner, fractions, seed)
        if not (part == 1).any():
            raise _no_part_by_groups("val")
    return _split(part, by="split column")


def _folds_of_column(dataset: Dataset, column: str) -> Folds:
    values = dataset.column(column)
    if "" in values:
        sample = dataset.samples[values.index("")]
        raise DataError(
            f"{_place(dataset, sample.line)}, column {column}: the fold is empty.",
            hint="Write the fold of every row.",
        )
    in_order = sorted(set(values))
    names = sorted(in_order, key=lambda name: int(name) if name.isdecimal() else -1)
    if len(names) < 2:
        hint = "Folds need at least two values: train on the others, test on one."
        raise DataError(f"Column {column} has the same value {names[0]!r} in every row.", hint=hint)
    index = np.array([names.index(value) for value in values], dtype=np.int64)
    return Folds(index=index, names=tuple(names), by=f"column {column}")


def _check_learnable(dataset: Dataset, folds: Folds) -> None:
    """Check that whichever fold is tested, the others hold every label."""
    for label, own in zip(dataset.labels, dataset.has_label().T, strict=True):
        found = np.unique(folds.index[own])
        if len(found) == 1:
            raise DataError(
                f"Label {label!r} is in one fold only ({folds.names[found[0]]}), by {folds.by}: "
                "when that fold is tested, no training clips of the label are left.",
                hint="Add clips of it from other sources, or leave the label out.",
            )


def _check_part_of_groups(dataset: Dataset, part: Indices) -> None:
    """Check that no group is in two parts: the test would measure memory."""
    first: dict[str, int] = {}
    for sample, number in zip(dataset.samples, part.tolist(), strict=True):
        if sample.group and first.setdefault(sample.group, number) != number:
            raise DataError(
                f"{_place(dataset, sample.line)}: group {sample.group!r} is in both "
                f"{PARTS[first[sample.group]]} and {PARTS[number]}.",
                hint="A group stays in one part: correct the split column or the group column.",
            )


def _no_part_by_groups(name: str) -> DataError:
    return DataError(
        f"Nothing is left for {name}: train needs every label, and no group can be spared.",
        hint="Add clips of other sources, or assign the parts in a `split` column.",
    )


def _place(dataset: Dataset, line: int | None) -> str:
    return str(dataset.root) if line is None else f"{dataset.root}, line {line}"
