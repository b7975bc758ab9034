"""Fitting on features whose secret is known: what lies in the mean, what only in the order."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from activity_cli.errors import DataError
from activity_cli.features.engines.choice import Engine, load_classifier
from activity_cli.features.labelled import FeatureDataset
from activity_cli.model.encoding import Features
from activity_cli.model.network import ClipScorer
from activity_cli.settings import STREAMS, NetworkSettings, Pooling, Temporal, TrainSettings
from activity_cli.training.head import FittedNetwork, HeadConfig, fit_head, fit_with_validation
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
        HeadConfig(network=network, training=TrainSettings(epochs=20, seed=seed)),
        train_rows=np.arange(60),
        val_rows=np.arange(60, 80),
    )
    scores = score_rows(fitted.network, features, np.arange(80, 120))
    return fitted, scores, float((scores.argmax(axis=1) == targets[80:]).mean())


def test_only_the_lstm_reads_the_order() -> None:
    fitted, _, accuracy = fit_and_score(in_the_order())
    assert accuracy > 0.95
    assert fitted.best_epoch > 0
    assert fitted.history[fitted.best_epoch].val_loss < fitted.history[0].val_loss

    _, _, of_means = fit_and_score(in_the_order(), "mean")
    assert of_means < 0.75  # chance is 0.5; 40 clips leave it up to 0.65


def test_the_lstm_is_left_out_where_it_gains_nothing() -> None:
    fitted, scores, accuracy = fit_and_score(in_the_mean())
    _, of_means, _ = fit_and_score(in_the_mean(), "mean")

    assert accuracy > 0.9
    assert fitted.best_epoch == 0
    np.testing.assert_allclose(scores, of_means, atol=1e-6)


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    first, again, other = (fit_and_score(in_the_order(), seed=seed)[0] for seed in (1, 1, 2))

    for name, tensor in first.weights().items():
        np.testing.assert_array_equal(tensor, again.weights()[name])
    assert any((t != other.weights()[name]).any() for name, t in first.weights().items())


def test_rare_labels_count_as_much_as_frequent_ones() -> None:
    features, targets = in_the_mean()
    keep = np.flatnonzero((targets == 0) | (np.arange(NUM_CLIPS) % 12 == 1))
    settings = NetworkSettings(temporal="mean")
    recalls = {}
    for balance in ("balanced", "none"):
        # Strongly penalised weights leave the decision to the bias, which frequency sets.
        training = TrainSettings(class_weights=balance, rgb_penalty=2.5, motion_penalty=2.5)
        fitted = fit_head(
            as_dataset((features, targets)),
            HeadConfig(network=settings, training=training),
            train_rows=keep[keep < 80],
            val_rows=keep[keep >= 80],
        )
        rare = np.flatnonzero((targets == 1) & (np.arange(NUM_CLIPS) % 12 != 1))
        scores = score_rows(fitted.network, features, rare)
        recalls[balance] = float((scores.argmax(axis=1) == 1).mean())

    assert recalls["balanced"] > recalls["none"] + 0.2


def test_without_validation_clips_the_error_says_what_to_do() -> None:
    with pytest.raises(DataError, match="choose the best epoch"):
        fit_with_validation(
            as_dataset(in_the_mean()),
            HeadConfig(),
            train_rows=np.arange(80),
            val_rows=np.arange(0),
        )


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
