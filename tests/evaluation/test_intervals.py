"""Confidence intervals and the paired test, against results that are known."""

import numpy as np
import pytest
from scipy.stats import binomtest  # type: ignore[import-untyped]

from activity_cli.evaluation.intervals import estimate_metrics, mean_with_interval, paired_p_value
from activity_cli.model.metrics import evaluate_scores, wilson_interval


def scores_of(predicted: list[int], num_labels: int) -> np.ndarray:
    return 0.1 + 0.7 * np.eye(num_labels)[predicted]


def test_metrics_equal_those_without_intervals_and_intervals_are_near_wilsons() -> None:
    random = np.random.default_rng(0)
    targets = random.integers(0, 3, 400)
    predicted = np.where(random.random(400) < 0.8, targets, (targets + 1) % 3)
    scores = scores_of(predicted.tolist(), 3)

    metrics = estimate_metrics(scores, targets, ("a", "b", "c"), None)

    expected = evaluate_scores(scores, targets, ("a", "b", "c"))
    assert metrics.accuracy.value == pytest.approx(expected.accuracy)
    assert metrics.macro_f1.value == pytest.approx(expected.macro_f1)
    for row, label in zip(metrics.per_label, expected.per_label, strict=True):
        assert row.precision is not None
        assert row.precision.value == pytest.approx(label.precision)
        assert row.recall is not None
        assert row.recall.value == pytest.approx(label.recall)
        assert row.f1 is not None
        assert row.f1.value == pytest.approx(label.f1)
    low, high = wilson_interval(round(400 * expected.accuracy), 400)
    assert (metrics.accuracy.low, metrics.accuracy.high) == pytest.approx((low, high), abs=0.01)
    # Equal scores of both wrong labels: the first of them counts as the better one.
    assert metrics.top_k[2].value > metrics.accuracy.value


def test_copies_within_a_group_do_not_narrow_the_interval() -> None:
    right = np.random.default_rng(1).random(100) < 0.7
    once = mean_with_interval(right.astype(float), None)
    groups = np.repeat(np.arange(100), 9)

    by_group = mean_with_interval(np.repeat(right, 9).astype(float), groups)
    by_clip = mean_with_interval(np.repeat(right, 9).astype(float), None)

    assert (by_group.low, by_group.high) == pytest.approx((once.low, once.high))
    assert by_clip.high - by_clip.low < 0.5 * (by_group.high - by_group.low)


def test_intervals_of_few_correct_clips_are_wide() -> None:
    metrics = estimate_metrics(
        scores_of([0, 0, 1], 3), np.array([0, 0, 1]), ("a", "b", "never"), None
    )

    assert metrics.accuracy.value == metrics.accuracy.high == 1
    assert metrics.accuracy.low == pytest.approx(wilson_interval(3, 3)[0])
    assert metrics.per_label[2].recall is None


def test_the_interval_covers_the_true_difference_as_often_as_it_claims() -> None:
    generator, covered = np.random.default_rng(1), 0
    true_difference = 0.3 * 0.4 - 0.7 * 0.05
    for _ in range(200):
        first = generator.random(200) < 0.7
        second = np.where(first, generator.random(200) >= 0.05, generator.random(200) < 0.4)
        difference = mean_with_interval(second.astype(float) - first, None)
        covered += difference.low <= true_difference <= difference.high

    assert 0.91 <= covered / 200 <= 0.99


def test_without_groups_the_paired_test_is_mcnemars() -> None:
    for only_first, only_second in ((0, 0), (5, 12), (12, 5), (1, 0), (7, 7), (900, 1100)):
        first = np.arange(2000) < only_first
        second = (np.arange(2000) >= only_first) & (np.arange(2000) < only_first + only_second)
        n = only_first + only_second
        expected = binomtest(only_first, n).pvalue if n else 1.0
        assert paired_p_value(first, second, None) == pytest.approx(expected, rel=1e-6)


def test_the_paired_test_counts_groups_not_clips() -> None:
    groups = np.repeat(np.arange(4), 25)
    first, second = np.zeros(100, np.bool_), groups < 3  # better in 3 of 4 groups, on 75 clips

    # Two of the 2^3 ways to flip the signs of three equal differences are as extreme.
    assert paired_p_value(first, second, groups) == pytest.approx(2 / 8)
    assert paired_p_value(first, second, None) < 1e-9
