"""Baselines and the frame-order ablation."""

from pathlib import Path

import numpy as np
import torch

from activity_cli.evaluation.baselines import (
    BaselineComparison,
    BaselineScores,
    compare_with_baselines,
    most_frequent,
)
from activity_cli.model.folder import load_model, save_model
from activity_cli.model.frame_order_ablation import (
    OrderProbe,
    OrderScores,
    join_folds,
    pooled_head_of,
    score_orders,
)
from activity_cli.model.network import SequenceClassifier, load_scorer
from activity_cli.model.ood import fit_ood_detector
from activity_cli.settings import TrainSettings
from activity_cli.training.scoring import score_ablations, score_rows
from tests.training.test_head import as_dataset, fit_and_score, in_the_mean, in_the_order
from tests.workplace import Workplace

TEST = np.arange(80, 120)


def baselines_in(data: tuple[np.ndarray, np.ndarray]) -> BaselineComparison:
    targets = data[1]
    fitted, scores, _ = fit_and_score(data)
    orders = score_ablations(
        fitted.network,
        as_dataset(data),
        learned=np.arange(80),
        rows=TEST,
        settings=TrainSettings(),
    )
    return compare_with_baselines(
        scores,
        targets[TEST],
        BaselineScores(
            majority=most_frequent([30, 30], len(TEST)),
            orders=orders,
            has_lstm=True,
        ),
        None,
    )


def test_the_lstm_helps_where_only_the_order_differs() -> None:
    comparison = baselines_in(in_the_order())

    accuracies = {baseline.kind: baseline.accuracy.value for baseline in comparison.baselines}
    assert accuracies["mean"] < 0.7
    assert accuracies["shuffled"] < 0.7
    assert accuracies["reversed"] < 0.1  # what rises falls
    assert comparison.conclusion().startswith("Yes: +")
    assert "the model uses their order" in comparison.conclusion()


def test_heads_of_several_labels_are_compared_at_thresholds_of_their_own() -> None:
    targets = np.tile([[1, 0], [1, 1]], (10, 1)).astype(np.float32)
    scores = np.where(targets, 0.3, 0.1)
    found = BaselineScores(
        majority=np.ones_like(targets),
        has_lstm=True,
        heads={"mean": scores},
        thresholds={"mean": np.full((20, 2), 0.2)},
    )

    comparison = compare_with_baselines(scores, targets, found, None, np.array([0.2, 0.2]))

    mean = comparison.of("mean")
    assert mean is not None
    assert mean.accuracy.value == 1
    assert comparison.conclusion().startswith("No: mean pooling, which ignores the order")


def test_few_groups_give_no_interval() -> None:
    targets = np.tile([0, 1], 10)
    right, wrong = np.eye(2)[targets], np.eye(2)[1 - targets]
    orders = OrderScores(
        reversed=wrong, shuffled=np.stack([wrong] * 2, 1), parts=right[:, None], pooled=wrong
    )
    found = BaselineScores(majority=targets * 0, orders=orders, has_lstm=True)
    few, enough = (
        compare_with_baselines(right, targets, found, np.arange(20) % count).conclusion()
        for count in (5, 10)
    )
    assert "clips of 5 groups are too few to judge" in few
    assert "CI" not in few
    assert enough.startswith("Yes: +100.0 points vs mean pooling (95% CI")


def test_order_does_not_help_where_the_mean_says_it_all() -> None:
    comparison = baselines_in(in_the_mean())

    accuracies = {baseline.kind: baseline.accuracy.value for baseline in comparison.baselines}
    assert accuracies["mean"] > 0.9
    assert abs(accuracies["mean"] - accuracies["shuffled"]) < 0.06
    assert not comparison.conclusion().startswith("Yes")


def test_a_probe_scores_single_clips_like_a_whole_array() -> None:
    features, targets = in_the_order()
    network = fit_and_score((features, targets))[0].network

    def classify(clips: np.ndarray) -> np.ndarray:
        return score_rows(network, clips, np.arange(len(clips)))

    probe = OrderProbe(classify)
    for clip in features[:40]:
        probe(clip)

    probed, whole = probe.scores(), score_orders(classify, features, np.arange(40))
    assert probed is not None
    np.testing.assert_allclose(probed.shuffled, whole.shuffled, atol=1e-6)
    np.testing.assert_allclose(probed.reversed, classify(features[:40, :, ::-1]), atol=1e-6)
    # A part alone is what it would be as a clip: the first two of eight frames.
    np.testing.assert_allclose(probed.parts[:, 0], classify(features[:40, :, :2]), atol=1e-6)


def test_folds_are_put_back_into_the_order_of_the_clips() -> None:
    index = np.array([2, 0, 1, 0, 2, 1])

    def orders(clips: np.ndarray) -> OrderScores:
        scores = clips[:, None].astype(np.float32)
        each = scores[:, None]
        return OrderScores(reversed=scores, shuffled=each, parts=each, pooled=scores)

    joined = join_folds([orders(np.flatnonzero(index == fold)) for fold in range(3)], index)

    assert joined.reversed[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert joined.pooled is not None
    assert joined.pooled[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert joined.frame is None


def test_the_pooled_head_equals_that_of_torch(shared: Workplace, tmp_path: Path) -> None:
    trained = load_model(shared.folder / "runs" / "first")
    weights = trained.weights()
    num_streams, _, size = trained.description.feature_shape
    by_coefficient = weights["pooled_head.weight"].reshape(-1, num_streams, 3, size)
    by_coefficient[:, :, 1] = 1  # of the change over time: mean pooling has no such thing
    detector = fit_ood_detector(np.ones((3, *trained.description.feature_shape)), np.arange(3))
    model = save_model(tmp_path / "changes", trained.description, weights, detector)
    assert pooled_head_of(model) is None

    by_coefficient[:, :, 1:] = 0
    model = save_model(tmp_path / "mean", trained.description, weights, detector)
    network = load_scorer(model).classifier
    shape = (5, *model.description.feature_shape)
    features = np.random.default_rng(0).random(shape).astype(np.float16)
    pooled = pooled_head_of(model)

    assert pooled is not None
    assert isinstance(network, SequenceClassifier)
    with torch.no_grad():
        encoded = network.encode(torch.from_numpy(features.astype(np.float32)))
        logits = network.pooled_logits(encoded) / model.description.temperature
    np.testing.assert_allclose(pooled(features), logits.softmax(-1).numpy(), atol=1e-4)
