"""Figures that can be checked by hand."""

import pytest

from activity_cli.evaluation.segment_metrics import Bout, intersection_over_union, segment_f1
from tests.frame_accuracy import frame_accuracy


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

    # Wrong are 3 to 4 and 7 to 8 s; 2 to 4 and 6 to 9 s. Saying nothing rightly counts.
    assert frame_accuracy(found, true, [10, 10]) == pytest.approx((8 + 5) / 20)
    # Of 6 found and 3 true, so many are right.
    assert segment_f1(found, true) == pytest.approx({0.25: 6 / 9, 0.5: 2 / 9, 0.75: 2 / 9})


def test_each_segment_is_matched_once_and_the_best_pair_first() -> None:
    true = [[Bout(0, 10, "run")]]
    twice = [[Bout(0, 5, "run"), Bout(4, 10, "run")]]

    assert segment_f1(twice, true) == pytest.approx({0.25: 2 / 3, 0.5: 2 / 3, 0.75: 0})
    # (0, 10) overlaps both; it must take the one that it fits, so that the other is left over.
    true = [[Bout(0, 10, "run"), Bout(10, 22, "run")]]
    found = [[Bout(7, 22, "run"), Bout(0, 7, "run")]]
    assert segment_f1(found, true)[0.5] == 1


def test_nothing_to_find_and_nothing_found_is_right() -> None:
    assert segment_f1([[]], [[]]) == {0.25: 1, 0.5: 1, 0.75: 1}
    assert segment_f1([[]], [[Bout(0, 5, "run")]])[0.5] == 0


def test_spans_apart_share_nothing() -> None:
    a, b = Bout(0, 1, "run"), Bout(1, 2, "run")

    assert intersection_over_union(a, b) == 0
    assert intersection_over_union(a, a) == 1
