"""Splits and folds: every label where it is needed, no group on both sides, the same for a seed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from activity_cli.data.dataset import Dataset, Sample, SplitName
from activity_cli.data.splits import inner_split, make_folds, split_train_val_test
from activity_cli.errors import DataError, SettingsError

TRAIN: SplitName = "train"
TEST: SplitName = "test"


def dataset_of(
    labels: Sequence[str],
    *,
    groups: Sequence[str | None] | None = None,
    splits: Sequence[SplitName | None] | None = None,
    folds: Sequence[str] | None = None,
) -> Dataset:
    """Samples with these labels, the first in line 2 of a CSV."""
    samples = tuple(
        Sample(
            path=Path(f"/{i}.mp4"),
            name=f"{i}.mp4",
            label=label,
            group=groups[i] if groups else None,
            split=splits[i] if splits else None,
            folds={"fold": folds[i]} if folds else {},
            line=i + 2,
        )
        for i, label in enumerate(labels)
    )
    return Dataset(root=Path("/"), samples=samples, labels=tuple(sorted(set(labels))))


def labels_in(dataset: Dataset, part: Sequence[int]) -> list[str]:
    return sorted(dataset.samples[i].label for i in part)


@pytest.mark.parametrize("seed", range(3))
def test_every_part_has_its_share_of_every_label(seed: int) -> None:
    dataset = dataset_of(["run"] * 100 + ["wave"] * 20 + ["sit"] * 3)

    split = split_train_val_test(dataset, seed=seed)

    assert labels_in(dataset, split.test.tolist()) == ["run"] * 15 + ["sit"] + ["wave"] * 3
    assert labels_in(dataset, split.val.tolist()) == ["run"] * 15 + ["sit"] + ["wave"] * 3
    together = np.sort(np.concatenate([split.train, split.val, split.test]))
    assert together.tolist() == list(range(123))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("num_groups", [3, 4, 7, 30])
def test_groups_stay_whole_and_every_part_has_every_label(seed: int, num_groups: int) -> None:
    rng = np.random.default_rng(seed)
    groups = [f"person{i}" for i in range(num_groups) for _ in range(rng.integers(2, 12))]
    # The first two samples of a person show both actions, further ones any.
    labels = [
        ("run", "wave")[i % 2 if groups[max(0, i - 2)] != group else rng.integers(2)]
        for i, group in enumerate(groups)
    ]
    dataset = dataset_of(labels, groups=groups)

    split = split_train_val_test(dataset, seed=seed)

    parts = [{groups[i] for i in part} for part in (split.train, split.val, split.test)]
    assert sum(map(len, parts)) == num_groups  # so no group is in two of them
    assert all(parts)
    assert set(labels_in(dataset, split.train.tolist())) == {"run", "wave"}
    assert split.by == "groups"


def test_a_label_of_one_group_is_learned_not_measured() -> None:
    labels = ["run"] * 12 + ["fall"] * 3
    groups = [f"person{i % 4}" for i in range(12)] + ["actor"] * 3

    for seed in range(5):
        split = split_train_val_test(dataset_of(labels, groups=groups), seed=seed)
        assert set(range(12, 15)) <= set(split.train.tolist())


def test_a_seed_gives_its_own_split_again() -> None:
    dataset = dataset_of(["run", "wave"] * 20, groups=[f"g{i // 4}" for i in range(40)])

    tests = [split_train_val_test(dataset, seed=seed).test.tolist() for seed in (0, 0, 1)]

    assert tests[0] == tests[1] != tests[2]


def test_the_split_column_decides_and_val_comes_from_train() -> None:
    dataset = dataset_of(["run", "wave"] * 5, splits=[TRAIN] * 8 + [TEST] * 2)

    split = split_train_val_test(dataset)

    assert split.test.tolist() == [8, 9]
    assert labels_in(dataset, split.val.tolist()) == ["run", "wave"]
    assert len(split.train) == 6


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (dataset_of(["run"] * 5 + ["wave"]), "Label 'wave' has only 1 clip; .* at least 3"),
        (dataset_of(["run"] * 5 + ["wave"] * 2), "Label 'wave' has only 2 clips"),
        (dataset_of(["run", "wave"] * 4, groups=["a", "a", "b", "b"] * 2), "are in 2 groups"),
        (
            dataset_of(["run"] * 3 + ["wave"] * 3, splits=[*[TRAIN] * 5, None]),
            "line 7: 5.mp4 has",
        ),
        (dataset_of(["run", "wave"], splits=[TRAIN, TEST]), "no train rows of 'wave'"),
        (
            dataset_of(["x", "y", "x", "y"], groups=["a"] * 4, splits=[TRAIN, TRAIN, TRAIN, TEST]),
            "line 5: group 'a' is in both train and test",
        ),
        (dataset_of(list("aaabbbccc"), groups=list("xxxyyyzzz")), "Nothing is left for val"),
        (
            dataset_of(list("aabb"), groups=list("xxyy"), splits=[TRAIN] * 4),
            "Nothing is left for val",
        ),
    ],
)
def test_data_that_cannot_be_split_says_why(dataset: Dataset, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        split_train_val_test(dataset)

    assert error.value.hint


def test_inner_split_keeps_groups_whole_where_it_can() -> None:
    labels = np.array([0, 1] * 20)
    groups = np.arange(40) // 4

    train, val = inner_split(labels, groups, fraction=0.2, seed=0)

    assert not set(groups[train]) & set(groups[val])
    assert np.bincount(labels[val]).tolist() == [4, 4]
    train, val = inner_split(labels, np.zeros(40, np.int64), fraction=0.2, seed=0)
    assert np.bincount(labels[val]).tolist() == [4, 4]
    assert len(train) == 32


def test_random_folds_are_stratified_and_equally_large() -> None:
    dataset = dataset_of(["run"] * 13 + ["wave"] * 7)

    folds = make_folds(dataset, num_folds=4)

    labels = dataset.label_indices()
    table = np.array([np.bincount(labels[folds.index == i]) for i in range(4)])
    assert table.sum(axis=1).tolist() == [5, 5, 5, 5]
    assert np.ptp(table, axis=0).max() <= 1
    assert (folds.names, folds.by) == (("1", "2", "3", "4"), "clips")


def test_as_many_folds_as_groups_leave_none_empty() -> None:
    # Groups with one label each, of very different sizes: balance alone would merge some.
    dataset = dataset_of("aaaaaaaabbbaacbbccc", groups="11111111222334445566"[:19])

    folds = make_folds(dataset, num_folds=6)

    assert sorted(set(folds.index.tolist())) == list(range(6))


def test_folds_follow_groups_a_group_column_or_a_fold_column() -> None:
    groups = [f"p{i // 5}" for i in range(40)]
    folds = [("10", "9", "b", "a")[i % 4] for i in range(40)]
    dataset = dataset_of(["run", "wave", "sit", "jump", "fall"] * 8, groups=groups, folds=folds)

    by_groups = make_folds(dataset, num_folds=4)
    by_column = make_folds(dataset, num_folds=2, group_column="fold")
    given = make_folds(dataset, fold_column="fold")
    each = make_folds(dataset, fold_column="group")

    assert each.names == tuple(sorted(set(groups)))
    assert len({*zip(groups, by_groups.index.tolist(), strict=True)}) == 8
    assert np.bincount(by_groups.index).tolist() == [10, 10, 10, 10]
    assert len({*zip(folds, by_column.index.tolist(), strict=True)}) == 4
    assert given.names == ("a", "b", "9", "10")
    assert [given.names[i] for i in given.index] == folds


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        (dataset_of(["run"] * 9 + ["wave"] * 3), {}, "'wave' has 3 clips: too few for 5"),
        (dataset_of(["run"] * 9 + ["wave"]), {}, "'wave' has 1 clip: too few"),
        (dataset_of(["x", "y"] * 6, groups=list("aabbccddaabb")), {}, "4 groups: too few for 5"),
        (dataset_of(["x", "y"] * 3), {"group_column": "camera"}, "no column camera"),
        (dataset_of(["x", "y"] * 3), {"fold_column": "camera"}, "path and label only"),
        (
            dataset_of(["x", "y"] * 2, folds=["1", "2", "", ""]),
            {"fold_column": "fold"},
            "line 4, column fold: the fold is empty",
        ),
        (dataset_of(["x", "y"], folds=["1", "1"]), {"fold_column": "fold"}, "same value '1'"),
        (
            dataset_of(["x", "x", "y"], folds=["1", "2", "2"]),
            {"fold_column": "fold"},
            r"'y' is in one fold only \(2\), by column fold",
        ),
    ],
)
def test_folds_that_cannot_be_made_say_why(
    dataset: Dataset, options: dict[str, str], message: str
) -> None:
    with pytest.raises(DataError, match=message) as error:
        make_folds(
            dataset,
            fold_column=options.get("fold_column"),
            group_column=options.get("group_column"),
        )

    assert error.value.hint


def test_the_hint_names_the_largest_number_of_folds() -> None:
    with pytest.raises(DataError) as error:
        make_folds(dataset_of(["run"] * 9 + ["wave"] * 3))

    assert "Use 3 folds" in error.value.hint


def test_settings_that_cannot_work_are_refused() -> None:
    dataset = dataset_of(["run", "wave"] * 9, folds=["1", "2", "3"] * 6)

    with pytest.raises(SettingsError, match="together below 1"):
        split_train_val_test(dataset, val_fraction=0.5, test_fraction=0.5)
    with pytest.raises(SettingsError, match="at least 2"):
        make_folds(dataset, num_folds=1)
    with pytest.raises(SettingsError, match="exclude"):
        make_folds(dataset, fold_column="fold", group_column="group")
