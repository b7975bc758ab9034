"""Figures that can be checked by hand."""

import numpy as np
import pytest

from activity_cli.model.metrics import (
    evaluate_scores,
    majority_scores,
    pair_accuracy,
    wilson_interval,
)


def test_figures_of_six_clips() -> None:
    # True a a a b b c, predicted a a b b c c: 4 of 6 are right.
    targets = np.array([0, 0, 0, 1, 1, 2])
    scores = np.full((6, 3), 0.1)
    scores[np.arange(6), [0, 0, 1, 1, 2, 2]] = 0.8

    result = evaluate_scores(scores, targets, ("a", "b", "c"))

    assert result.accuracy == pytest.approx(4 / 6)
    assert result.confusion.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert [row.precision for row in result.per_label] == pytest.approx([1, 0.5, 0.5])
    assert [row.recall for row in result.per_label] == pytest.approx([2 / 3, 0.5, 1])
    assert result.macro_recall == pytest.approx((2 / 3 + 0.5 + 1) / 3)
    assert result.log_loss == pytest.approx(-(4 * np.log(0.8) + 2 * np.log(0.1)) / 6)
    assert result.worst_confusions() == [("a", "b", 1), ("b", "c", 1)]


def test_figures_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    random = np.random.default_rng(0)
    targets = random.integers(0, 6, 80)  # of 8 labels: two have no clip
    scores = random.random((80, 8))
    scores[:, 3] = 0  # and one is never named
    labels = [str(label) for label in range(8)]

    result = evaluate_scores(scores, targets, labels)

    named = scores.argmax(axis=1)
    indices = range(8)
    expected = precision_recall_fscore_support(targets, named, labels=indices, zero_division=0.0)
    found = [(row.precision, row.recall, row.f1, row.num_clips) for row in result.per_label]
    np.testing.assert_allclose(np.array(found).T, expected, rtol=1e-12)
    assert result.macro_f1 == pytest.approx(expected[2][:6].mean())
    np.testing.assert_array_equal(
        result.confusion, confusion_matrix(targets, named, labels=indices)
    )


def test_labels_without_clips_do_not_drag_the_means_down() -> None:
    result = evaluate_scores(np.eye(3)[[0, 1]], np.array([0, 1]), ("a", "b", "never"))

    assert result.macro_f1 == 1
    assert result.per_label[2].num_clips == 0


def test_wilson_interval_as_published() -> None:
    # Newcombe (1998), table I: 81 of 263, and 0 of 20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=2e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=2e-4)


def test_majority_knows_frequencies_only() -> None:
    np.testing.assert_allclose(majority_scores(np.array([0, 1, 1, 1]), 2, 3), [[0.25, 0.75, 0]] * 2)


def test_pairs_are_judged_by_their_own_two_scores() -> None:
    targets = np.array([0, 0, 1, 1, 2])
    scores = np.array(
        [[0.3, 0.2, 0.5], [0.1, 0.4, 0.5], [0.1, 0.4, 0.5], [0.2, 0.2, 0.6], [1, 0, 0]]
    )

    assert pair_accuracy(scores, targets, 0, 1) == pytest.approx((1 + 0 + 1 + 0.5) / 4)
