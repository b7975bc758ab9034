"""Few clips: inner folds choose the epoch, and no clip is scored by a network fitted to it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from activity_cli.data.splits import FEW_CLIPS, choosing_folds, spare_val
from activity_cli.errors import DataError
from activity_cli.model.network import FeatureStatistics, SequenceClassifier
from activity_cli.settings import STREAMS, NetworkSettings, TrainSettings
from activity_cli.training.head import FittedNetwork, HeadConfig, fit_head, pooled_penalties
from activity_cli.training.loop.loop import NO_SESSION, Session
from activity_cli.training.scoring import score_rows
from tests.training.test_head import as_dataset, in_the_mean, in_the_order

ROWS = np.arange(40)
GROUPS = np.arange(120) // 8  # five among the 40 clips
NONE = np.arange(0)
QUICK = TrainSettings(epochs=12)


def fit_few(
    data: tuple[NDArray[np.float16], NDArray[np.int64]],
    settings: TrainSettings = QUICK,
    *,
    groups: NDArray[np.int64] | None = GROUPS,
    views: NDArray[np.float16] | None = None,
    session: Session = NO_SESSION,
) -> FittedNetwork:
    network = NetworkSettings(hidden_size=16, projection_size=16)
    return fit_head(
        as_dataset(data, groups=groups, views=views),
        HeadConfig(network=network, training=settings),
        train_rows=ROWS,
        val_rows=NONE,
        session=session,
    )


def test_all_clips_are_learned_from_and_each_is_judged_once_by_who_did_not() -> None:
    features, targets = in_the_order()
    fitted = fit_few((features, targets))

    inner = fitted.inner
    assert inner is not None
    assert sorted(inner.rows) == ROWS.tolist()
    assert fitted.best_epoch > 0
    for network, learned, held_out in inner.parts(ROWS):
        assert not set(GROUPS[learned]) & set(GROUPS[held_out])
        own = np.isin(inner.rows, held_out)
        scores = score_rows(network, features, inner.rows[own])
        np.testing.assert_allclose(scores, fitted.val_scores[own], atol=1e-5)
    scores = score_rows(fitted.network, features, np.arange(40, 120))
    assert (scores.argmax(axis=1) == targets[40:]).mean() > 0.9


def test_what_judges_a_fold_learned_nothing_of_it() -> None:
    features, targets = in_the_order()
    settings = replace(QUICK, patience=12)
    first = fit_few((features, targets), settings)
    assert first.inner is not None
    held_out = first.inner.rows[first.inner.index == 0]

    # Other clips with other labels in that fold: the network that judges it stays as it is.
    others, turned = features.copy(), targets.copy()
    others[held_out] = features[held_out][:, :, ::-1] + 1
    turned[held_out] = 1 - targets[held_out]
    again = fit_few((others, turned), replace(settings, class_weights="none"))
    first = fit_few((features, targets), replace(settings, class_weights="none"))

    assert again.inner is not None
    assert first.inner is not None
    assert np.array_equal(again.inner.rows, first.inner.rows)
    assert again.best_epoch == first.best_epoch > 0
    before, after = (found.networks[0].state_dict() for found in (first.inner, again.inner))
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name
    before, after = (found.networks[1].state_dict() for found in (first.inner, again.inner))
    assert any(not torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_the_lstm_is_left_out_where_it_gains_nothing_on_the_folds() -> None:
    fitted = fit_few(in_the_mean())

    assert fitted.best_epoch == 0
    assert fitted.inner is not None
    assert not fitted.network.temporal_head.classifier.weight.any()
    for network in fitted.inner.networks:
        assert not network.temporal_head.classifier.weight.any()


def test_without_groups_clips_are_dealt_and_views_are_learned_from() -> None:
    features, targets = in_the_order()
    views = np.stack([features[:, :, :, ::-1], features], axis=1)
    fitted = fit_few((features, targets), groups=None, views=views)

    assert fitted.inner is not None
    assert len(fitted.inner.networks) == 3
    assert sorted(fitted.inner.rows) == ROWS.tolist()


def test_folds_leave_every_label_something_to_learn_from() -> None:
    # Label 2 is in group 0 alone: held out with it, nobody would know it.
    labels = np.array([0, 1, 2] + [0, 1] * 6)
    groups = np.array([0] * 3 + [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6])
    fold = choosing_folds(labels, groups, seed=0)
    assert set(fold[groups == 0]) == {-1}
    assert max(fold) >= 1
    for group in range(7):
        assert len(set(fold[groups == group])) == 1

    # One group is all there is: clips are dealt, as for early stopping elsewhere.
    assert (choosing_folds(labels, np.zeros(15, np.int64), seed=0)[labels < 2] >= 0).all()
    assert (choosing_folds(np.arange(4), None, seed=0) == -1).all()


def test_where_no_label_has_two_clips_the_error_says_what_to_do() -> None:
    features, _ = in_the_mean()
    data = replace(as_dataset((features, np.arange(120))), labels=("a", "b", "c", "d"))
    with pytest.raises(DataError, match="choose the best epoch"):
        fit_head(data, HeadConfig(training=QUICK), train_rows=np.arange(4), val_rows=NONE)


def test_many_clips_keep_their_validation_part() -> None:
    parts = np.arange(FEW_CLIPS - 15), np.arange(FEW_CLIPS - 15, FEW_CLIPS)
    assert [len(part) for part in spare_val(*parts)] == [FEW_CLIPS - 15, 15]
    train, val = spare_val(parts[0][:-1], parts[1])
    assert sorted(train) == [*range(FEW_CLIPS - 16), *range(FEW_CLIPS - 15, FEW_CLIPS)]
    assert not len(val)


def test_a_penalty_weighs_as_much_for_any_number_of_clips() -> None:
    statistics = FeatureStatistics(
        mean=torch.zeros(2, 3), scale=torch.ones(2, 3), components=torch.zeros(2, 3, 1)
    )
    network = SequenceClassifier(
        NetworkSettings(temporal="mean"), num_labels=2, statistics=statistics
    )
    settings = TrainSettings(rgb_penalty=10, motion_penalty=0.5)

    of_200, of_50 = (
        pooled_penalties(network, STREAMS, settings, num_clips=number) for number in (200, 50)
    )

    assert of_200.tolist() == [10] * 3 + [0.5] * 3
    assert of_50.tolist() == [40] * 3 + [2] * 3


@pytest.mark.parametrize(
    ("num_clips", "asked", "epochs", "patience"),
    [
        (2000, {}, 40, 15),
        (200, {}, 40, 15),  # 13 batches an epoch: 520 steps
        (50, {}, 130, 48),  # 4 batches
        (42, {}, 174, 65),  # 3
        (42, {"batch_size": 7}, 194, 72),  # 6, and 29 of 200 clips
        (42, {"epochs": 12}, 12, 15),
        (42, {"epochs": 80}, 80, 30),
        (42, {"patience": 5}, 174, 5),
        (42, {"epochs": 12, "patience": 12}, 12, 12),
    ],
)
def test_few_clips_get_more_epochs_unless_a_number_was_asked_for(
    num_clips: int, asked: dict[str, Any], epochs: int, patience: int
) -> None:
    settled = TrainSettings(**asked).for_clips(num_clips)

    assert (settled.epochs, settled.patience) == (epochs, patience)
