"""Figures that can be checked by hand."""

import pytest

from activity_cli.evaluation.segment_metrics import (
    Bout,
    intersection_over_union,
    segment_scores,
)


def test_figures_of_two_videos() -> None:
    true = [
        [Bout(0, 4, "run"), Bout(4, 10, "wave")],
        [Bout(2, 6, "run")],
    ]
    found = [
        # "run": 3 of 4 s shared, IoU 0.75. "wave" is torn apart: 3 of 6 s and 2 of 6 s.
        [
            Bout(0, 3, "run"),
            Bout(3, 7, "wave"),
            Bout(7, 8, "run"),
            Bout(8, 10, "wave"),
        ],
        # IoU 2/6, and a label that is right nowhere.
        [Bout(4, 8, "run"), Bout(8, 9, "fall")],
    ]

    scores = segment_scores(found, true, [10, 10])

    # Wrong are 3 to 4 and 7 to 8 s; 2 to 4 and 6 to 9 s. Saying nothing rightly counts.
    assert scores.frame_accuracy == pytest.approx((8 + 5) / 20)
    assert (scores.num_found, scores.num_true) == (6, 3)
    assert scores.num_matched == {0.25: 3, 0.5: 1, 0.75: 1}
    assert scores.f1(0.25) == pytest.approx(2 * 3 / 9)
    assert scores.f1(0.5) == pytest.approx(2 * 1 / 9)
    assert scores.to_json()["f1_at_0.75"] == pytest.approx(0.2222)


def test_each_segment_is_matched_once_and_the_best_pair_first() -> None:
    true = [[Bout(0, 10, "run")]]
    twice = [[Bout(0, 5, "run"), Bout(4, 10, "run")]]

    assert segment_scores(twice, true, [10]).num_matched == {0.25: 1, 0.5: 1, 0.75: 0}
    # (0, 10) overlaps both; it must take the one that it fits, so that the other is left over.
    true = [[Bout(0, 10, "run"), Bout(10, 22, "run")]]
    found = [[Bout(7, 22, "run"), Bout(0, 7, "run")]]
    assert segment_scores(found, true, [22]).num_matched[0.5] == 2


def test_nothing_to_find_and_nothing_found_is_right() -> None:
    scores = segment_scores([[]], [[]], [5])

    assert (scores.frame_accuracy, scores.f1(0.5)) == (1, 1)
    assert segment_scores([], [], []).frame_accuracy == 1
    assert segment_scores([[]], [[Bout(0, 5, "run")]], [5]).f1(0.5) == 0


def test_spans_apart_share_nothing() -> None:
    a, b = Bout(0, 1, "run"), Bout(1, 2, "run")

    assert intersection_over_union(a, b) == 0
    assert intersection_over_union(a, a) == 1
