"""Fitting on features whose secret is known: what lies in the mean, what only in the order."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from activity_cli.data.splits import FEW_CLIPS, choosing_folds, spare_val
from activity_cli.errors import DataError
from activity_cli.features.engines.choice import Engine, load_classifier
from activity_cli.features.labelled import FeatureDataset
from activity_cli.model.encoding import Features, encode_rows
from activity_cli.model.network import ClipScorer
from activity_cli.settings import STREAMS, NetworkSettings, Pooling, Temporal, TrainSettings
from activity_cli.training.head import FittedNetwork, HeadConfig, fit_head
from activity_cli.training.linear import LinearClips, LinearStrengths
from activity_cli.training.loop.loop import NO_SESSION, Session
from activity_cli.training.scoring import score_rows

NUM_CLIPS, NUM_FRAMES, SIZE = 120, 8, 48


def noise(seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(NUM_CLIPS, 2, NUM_FRAMES, SIZE))


def in_the_order() -> tuple[Features, NDArray[np.int64]]:
    """Ten features rise over time in one class and fall in the other; their means are the same."""
    targets = np.arange(NUM_CLIPS) % 2
    features = 0.5 * noise()
    ramp = np.linspace(-1, 1, NUM_FRAMES)
    features[..., :10] += np.where(targets, 1, -1)[:, None, None, None] * ramp[:, None]
    return features.astype(np.float16), targets


def in_the_mean() -> tuple[Features, NDArray[np.int64]]:
    """Ten features are a little larger in one class, in every frame alike."""
    targets = np.arange(NUM_CLIPS) % 2
    features = noise(1)
    features[..., :10] += 0.6 * targets[:, None, None, None]
    return features.astype(np.float16), targets


def as_dataset(data: tuple[Features, NDArray[np.int64]], **more: Any) -> FeatureDataset:
    """Return features and targets of two labels as training reads them."""
    values, targets = data
    return FeatureDataset(
        values=values, targets=targets, labels=("a", "b"), streams=STREAMS, **more
    )


def fit_and_score(
    data: tuple[Features, NDArray[np.int64]], temporal: Temporal = "lstm", seed: int = 0
) -> tuple[FittedNetwork, NDArray[np.float32], float]:
    """Fit on 60 clips and 20 for validation; scores and accuracy on the other 40."""
    features, targets = data
    network = NetworkSettings(temporal=temporal, hidden_size=16, projection_size=16)
    fitted = fit_head(
        as_dataset(data),
        HeadConfig(network=network, training=TrainSettings(seed=seed)),
        train_rows=np.arange(60),
        val_rows=np.arange(60, 80),
    )
    scores = score_rows(fitted.network, features, np.arange(80, 120))
    return fitted, scores, float((scores.argmax(axis=1) == targets[80:]).mean())


def test_the_order_is_read_and_the_mean_alone_does_not_see_it() -> None:
    fitted, _, accuracy = fit_and_score(in_the_order())
    assert accuracy > 0.95
    assert fitted.history[fitted.best_epoch].val_loss <= fitted.history[0].val_loss

    _, _, of_means = fit_and_score(in_the_order(), "mean")
    assert of_means < 0.75  # chance is 0.5; 40 clips leave it up to 0.65


def in_the_middle() -> tuple[Features, NDArray[np.int64]]:
    """Ten features swing fast, and start upwards in one class, downwards in the other.

    The slow changes that the pooled linear head reads are the same in both.
    """
    targets = np.arange(NUM_CLIPS) % 2
    features = 0.5 * noise()
    wave = np.cos(5 * np.pi * (np.arange(NUM_FRAMES) + 0.5) / NUM_FRAMES)
    features[..., :10] += np.where(targets, 1.5, -1.5)[:, None, None, None] * wave[:, None]
    return features.astype(np.float16), targets


def test_the_lstm_has_a_weight_where_only_it_sees_the_difference() -> None:
    fitted, _, accuracy = fit_and_score(in_the_middle())

    assert accuracy > 0.9
    assert fitted.lstm_weight > 0.5
    assert fitted.history[fitted.best_epoch].val_loss < fitted.history[0].val_loss - 0.1


def test_the_lstm_weighs_nothing_where_it_gains_nothing() -> None:
    fitted, scores, accuracy = fit_and_score(in_the_mean())

    assert accuracy > 0.9
    assert fitted.lstm_weight <= 0.2
    assert (fitted.best_epoch == 0) is (fitted.lstm_weight == 0)
    of_linear = fitted.network.pooled_logits(
        encode_rows(fitted.network, in_the_mean()[0], np.arange(80, 120))
    )
    assert (of_linear.argmax(dim=1).numpy() == scores.argmax(axis=1)).mean() > 0.95


def test_strengths_follow_the_data() -> None:
    """One stream tells the class, the other is noise: which one it is decides the weights."""
    targets = np.arange(NUM_CLIPS) % 2
    for informative in (0, 1):
        values = noise(2).astype(np.float16)
        values[:, informative, :, :10] += 0.2 * targets[:, None, None]
        fold = np.arange(NUM_CLIPS) % 5
        pooled = torch.from_numpy(values.astype(np.float32)).mean(dim=2, keepdim=True)
        strengths = LinearStrengths.choose(
            LinearClips(
                pooled=pooled / pooled.std(dim=0),
                targets=torch.from_numpy(targets),
                weights=torch.ones(NUM_CLIPS, 1),
                deals=[fold],
                num_labels=2,
            )
        )
        assert strengths.weights[informative] > 0.7


def test_the_linear_head_is_scikit_learns_logistic_regression() -> None:
    features, targets = in_the_mean()
    pooled = torch.from_numpy(features.astype(np.float32)).mean(dim=2, keepdim=True)[:, :1]
    clips = LinearClips(
        pooled=(pooled - pooled.mean(dim=0)) / pooled.std(dim=0),
        targets=torch.from_numpy(targets),
        weights=torch.ones(NUM_CLIPS, 1),
        deals=[np.arange(NUM_CLIPS) % 5],
        num_labels=2,
    )
    strengths = LinearStrengths.choose(clips)
    [(weight, bias)] = strengths.fit([np.arange(NUM_CLIPS) < 80])
    inputs = clips.pooled.flatten(1).numpy()
    penalty = float(strengths.feature_penalties()[0])
    theirs = LogisticRegression(C=1 / (80 * penalty / 2), max_iter=9999, tol=1e-8)
    theirs.fit(inputs[:80], targets[:80])

    ours = torch.softmax(clips.pooled.flatten(1) @ weight.T + bias, dim=1)[80:, 1]
    np.testing.assert_allclose(ours, theirs.predict_proba(inputs[80:])[:, 1], atol=5e-3)


def test_each_label_of_several_is_a_logistic_regression_of_its_own() -> None:
    features, targets = in_the_mean()
    pooled = torch.from_numpy(features.astype(np.float32)).mean(dim=2, keepdim=True)[:, :1]
    rare = (targets == 1) & (np.arange(NUM_CLIPS) % 3 == 0)
    both = torch.from_numpy(np.stack([targets, rare], axis=1).astype(np.float32))
    clips = LinearClips(
        pooled=(pooled - pooled.mean(dim=0)) / pooled.std(dim=0),
        targets=both,
        weights=torch.ones(NUM_CLIPS, 1),
        deals=[np.arange(NUM_CLIPS) % 5],
        num_labels=2,
    )
    strengths = replace(LinearStrengths.choose(clips), penalty=0.01)
    [(weight, bias)] = strengths.fit([np.arange(NUM_CLIPS) < 80])
    inputs = clips.pooled.flatten(1)
    ours = torch.sigmoid(inputs @ weight.T + bias)[80:].numpy()

    for label in (0, 1):
        penalty = float(strengths.feature_penalties()[0])
        theirs = LogisticRegression(C=1 / (80 * penalty), max_iter=9999, tol=1e-8)
        theirs.fit(inputs[:80].numpy(), both[:80, label].numpy())
        expected = theirs.predict_proba(inputs[80:].numpy())[:, 1]
        np.testing.assert_allclose(ours[:, label], expected, atol=5e-3)


def test_what_judges_a_fold_learned_no_label_of_it() -> None:
    features, targets = in_the_mean()
    fold = np.arange(NUM_CLIPS) % 3
    pooled = torch.from_numpy(features.astype(np.float32)).mean(dim=2, keepdim=True)
    found = []
    for labels in (targets, np.where(fold == 0, 1 - targets, targets)):
        clips = LinearClips(
            pooled=pooled,
            targets=torch.from_numpy(labels),
            weights=torch.ones(NUM_CLIPS, 1),
            deals=[fold],
            num_labels=2,
        )
        strengths = replace(LinearStrengths.choose(clips), penalty=0.01, weights=torch.ones(2) / 2)
        found.append(strengths.fit([fold != 0, fold != 1]))

    (first, second), (again, other) = found
    torch.testing.assert_close(first[0], again[0], rtol=1e-3, atol=1e-6)
    assert not torch.allclose(second[0], other[0], rtol=0.1, atol=1e-6)


def test_rare_labels_count_as_much_as_frequent_ones() -> None:
    features, targets = in_the_mean()
    features = (0.3 * features + noise(3)).astype(np.float16)  # hard enough for the bias to matter
    keep = np.flatnonzero((targets == 0) | (np.arange(NUM_CLIPS) % 12 == 1))
    recalls = {}
    for balance in ("balanced", "none"):
        network, training = NetworkSettings(temporal="mean"), TrainSettings(class_weights=balance)
        config = HeadConfig(network=network, training=training)
        fitted = fit_head(as_dataset((features, targets)), config, keep, keep[:0])
        rare = np.flatnonzero((targets == 1) & (np.arange(NUM_CLIPS) % 12 != 1))
        scores = score_rows(fitted.network, features, rare)
        recalls[balance] = float((scores.argmax(axis=1) == 1).mean())

    assert recalls["balanced"] > 1.5 * recalls["none"]


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    first, again, other = (fit_and_score(in_the_order(), seed=seed)[0] for seed in (1, 1, 2))

    for name, tensor in first.weights().items():
        np.testing.assert_array_equal(tensor, again.weights()[name])
    assert any((t != other.weights()[name]).any() for name, t in first.weights().items())


@pytest.mark.parametrize(
    ("temporal", "pooling", "bidirectional"),
    [
        ("lstm", "attention", True),
        ("lstm", "attention", False),
        ("lstm", "last", True),
        ("lstm", "mean", True),
        ("mean", "attention", True),
        ("frame", "attention", True),
    ],
)
def test_the_engine_scores_as_torch_does(
    tmp_path: Path, temporal: Temporal, pooling: Pooling, bidirectional: bool
) -> None:
    features, targets = in_the_order()
    settings = NetworkSettings(
        temporal=temporal, pooling=pooling, bidirectional=bidirectional, num_layers=2
    )
    network = fit_head(
        as_dataset((features, targets)),
        HeadConfig(network=settings, training=TrainSettings(epochs=2)),
        train_rows=np.arange(60),
        val_rows=np.arange(60, 80),
    ).network
    torch.manual_seed(0)
    for parameter in network.parameters():  # two epochs may leave the LSTM out: make it speak
        torch.nn.init.normal_(parameter, std=0.1)
    scorer = ClipScorer(network).eval()
    classifier = load_classifier(
        lambda: scorer,
        Engine(name="openvino", device="cpu"),
        key="test",
        cache_dir=tmp_path,
        example_shape=(1, *features.shape[1:]),
    )
    for num_clips, num_frames in ((1, 8), (5, 8), (3, 5)):
        clips = features[:num_clips, :, :num_frames].astype(np.float32)
        with torch.no_grad():
            expected = scorer(torch.from_numpy(clips)).numpy()
        np.testing.assert_allclose(classifier.classify(clips), expected, atol=1e-5)


def test_training_leaves_the_random_state_and_the_threads_of_the_host_program_alone() -> None:
    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(threads + 1)

    for rows in (np.arange(60), np.arange(0)):  # validation clips, and inner folds
        fit_head(
            as_dataset(in_the_order()),
            HeadConfig(training=TrainSettings(epochs=1)),
            train_rows=np.arange(60, 120),
            val_rows=rows,
        )

    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads + 1
    torch.set_num_threads(threads)


ROWS = np.arange(40)
GROUPS = np.arange(120) // 8  # five among the 40 clips
NONE = np.arange(0)
QUICK = TrainSettings(epochs=30, patience=30)


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
    for network, learned, held_out in inner.parts(ROWS):
        assert not set(GROUPS[learned]) & set(GROUPS[held_out])
        own = np.isin(inner.rows, held_out)
        scores = score_rows(network, features, inner.rows[own])
        np.testing.assert_allclose(scores, fitted.val_scores[own], atol=1e-5)
    scores = score_rows(fitted.network, features, np.arange(40, 120))
    assert (scores.argmax(axis=1) == targets[40:]).mean() > 0.9


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
