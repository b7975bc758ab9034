"""Window scores become segments: by hand where it can be, and on noise where it matters."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from activity_cli.errors import SettingsError
from activity_cli.evaluation.segment_metrics import Bout, segment_f1
from activity_cli.predict.segments import cell_scores, find_segments
from activity_cli.settings import SegmentSettings
from activity_cli.types import Segment, Timeline
from tests.frame_accuracy import frame_accuracy

LABELS = ("fall", "run", "wave")
NOTHING = SegmentSettings(smoothing_seconds=0, min_seconds=0, gap_seconds=0)


def timeline(
    scores: object, *, stride: float = 1, window: float = 2, end: float | None = None
) -> Timeline:
    array = np.asarray(scores, np.float32)
    starts = np.arange(len(array), dtype=np.float64) * stride
    return Timeline(
        labels=LABELS[: array.shape[1]],
        starts_seconds=starts,
        window_seconds=window,
        end_seconds=float(starts[-1] + window) if end is None else end,
        scores=array,
    )


def of(label: int, certainty: float = 0.9, count: int = 1) -> list[list[float]]:
    row = [(1 - certainty) / 2] * 3
    row[label] = certainty
    return [row] * count


def spans(segments: tuple[Segment, ...]) -> list[tuple[float, float, str]]:
    return [(round(s.start_seconds, 3), round(s.end_seconds, 3), s.label) for s in segments]


def test_a_window_is_about_its_middle() -> None:
    # Windows of 2 s that start at 0, 1, 2 ... have their middles at 1, 2, 3 ...; the fifth is the
    # first of the other label, so the change is between the middles at 4 and at 5.
    scores = timeline(of(0, count=4) + of(1, count=4))

    assert spans(find_segments(scores)) == [(0, 4.5, "fall"), (4.5, 9, "run")]


def test_cells_are_weighted_means_of_the_windows_around() -> None:
    cells = cell_scores(timeline([[1, 0], [0, 1], [0, 1]], stride=1, window=2, end=4))

    np.testing.assert_allclose(cells.edges_seconds, np.arange(9) / 2)
    # Middles at 1, 2 and 3 s. At 1.25 s the first window weighs 0.75 and the second 0.25.
    np.testing.assert_allclose(cells.scores[:, 0], [1, 1, 0.75, 0.25, 0, 0, 0, 0])
    np.testing.assert_allclose(cells.edges_seconds[2:4].mean(), 1.25)


def test_windows_that_do_not_overlap_or_end_early_are_used_all_the_same() -> None:
    # Every 4 s a window of 1 s; the last would reach to 9 s and ends with the video at 8.5.
    apart = timeline(of(0) + of(1) + of(2), stride=4, window=1, end=8.5)
    alone = timeline(of(1), window=2, end=0.7)

    assert [s[2] for s in spans(find_segments(apart, NOTHING))] == ["fall", "run", "wave"]
    assert find_segments(apart, NOTHING)[-1].end_seconds == 8.5
    assert spans(find_segments(alone)) == [(0, 0.7, "run")]
    # From 0 and 4 s, the second to 4.4 instead of 8 s: the middles are at 2 and 4.2 s, and at 3 s
    # the windows weigh 0.75 and 0.7.
    cut = cell_scores(timeline(of(0) + of(1), stride=4, window=4, end=4.4))
    assert cut.scores[0, 0] > cut.scores[0, 1]
    assert cut.scores[1, 1] == pytest.approx((0.9 * 0.7 + 0.05 * 0.75) / 1.45)


def test_mean_and_peak_are_of_the_labels_own_cell_scores() -> None:
    scores = timeline(of(0, 0.6, 3) + of(0, 0.9, 3))

    (segment,) = find_segments(scores)

    own = cell_scores(scores).scores[:, 0]
    assert segment.peak_score == pytest.approx(0.9)
    assert segment.mean_score == pytest.approx(own.mean())


def test_a_slip_is_smoothed_away_and_a_clear_action_is_not() -> None:
    slip = timeline(of(0, count=6) + of(1, 0.8) + of(0, count=6))
    clear = timeline(of(0, count=6) + of(1, 0.95, count=3) + of(0, count=6))

    assert [s.label for s in find_segments(slip, NOTHING)] == ["fall", "run", "fall"]
    assert [s.label for s in find_segments(slip)] == ["fall"]
    assert [s.label for s in find_segments(clear)] == ["fall", "run", "fall"]


def test_what_is_uncertain_is_in_no_segment() -> None:
    scores = timeline(of(0, count=6) + of(1, 0.5, count=6) + of(2, count=6))

    assert len(find_segments(scores)) == 3
    known = find_segments(scores, SegmentSettings(reject_below=0.6))
    assert [s.label for s in known] == ["fall", "wave"]
    assert known[1].start_seconds - known[0].end_seconds == pytest.approx(6, abs=0.5)
    assert find_segments(scores, SegmentSettings(reject_below=0.95)) == ()


def test_short_gaps_are_closed_and_long_ones_are_not() -> None:
    scores = timeline(of(0, count=6) + of(1, 0.4, count=2) + of(0, count=6))

    def count(gap_seconds: float) -> int:
        settings = SegmentSettings(
            smoothing_seconds=0, min_seconds=0, gap_seconds=gap_seconds, reject_below=0.7
        )
        return len(find_segments(scores, settings))

    assert (count(0), count(2), count(5)) == (2, 2, 1)
    between_others = timeline(of(0, count=6) + of(1, 0.4, count=2) + of(2, count=6))
    settings = SegmentSettings(smoothing_seconds=0, gap_seconds=5, reject_below=0.7)
    before, after = find_segments(between_others, settings)
    assert after.start_seconds - before.end_seconds >= 2


def test_short_segments_become_part_of_the_better_neighbour() -> None:
    # Between "fall" and "wave" comes a little "run", during which "wave" is the second best.
    between = [[0.1, 0.5, 0.4]]
    scores = timeline(of(0, count=6) + between + of(2, count=6))

    as_is = find_segments(scores, NOTHING)
    tidied = find_segments(scores, SegmentSettings(smoothing_seconds=0, min_seconds=2))

    assert [s.label for s in as_is] == ["fall", "run", "wave"]
    assert [s.label for s in tidied] == ["fall", "wave"]
    assert tidied[1].start_seconds == as_is[1].start_seconds
    # Surrounded by what is unknown it is removed instead.
    alone = timeline(of(0, 0.4, 6) + of(1) + of(0, 0.4, 6))
    settings = SegmentSettings(smoothing_seconds=0, min_seconds=2, reject_below=0.6)
    assert find_segments(alone, settings) == ()


def test_only_the_wanted_labels_are_told_and_the_others_still_compete() -> None:
    scores = timeline(of(0, count=6) + of(1, count=6) + of(2, count=6))

    only = find_segments(scores, SegmentSettings(labels=("run",)))

    assert only == find_segments(scores)[1:2]
    with pytest.raises(SettingsError, match="has no label jump") as error:
        find_segments(scores, SegmentSettings(labels=("jump",)))
    assert "fall, run, wave" in error.value.hint


@pytest.mark.parametrize(
    "wrong", [{"min_seconds": -1}, {"smoothing_seconds": float("nan")}, {"reject_below": 1.5}]
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        SegmentSettings.from_json(wrong)


@pytest.mark.parametrize("seed", range(20))
def test_segments_are_in_order_apart_inside_and_long_enough_whatever_comes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 60))
    end = count * 0.5 + float(rng.uniform(0.01, 3))
    chaos = timeline(rng.dirichlet([0.3] * 3, count), stride=0.5, window=2, end=end)
    settings = SegmentSettings(
        smoothing_seconds=float(rng.choice([0, 1])), min_seconds=1.5, reject_below=0.5
    )

    segments = find_segments(chaos, settings)

    for before, after in pairwise(segments):
        assert before.end_seconds <= after.start_seconds
        assert before.label != after.label or before.end_seconds < after.start_seconds
    for segment in segments:
        assert 0 <= segment.start_seconds < segment.end_seconds <= end
        is_whole = (segment.start_seconds, segment.end_seconds) == (0, end)
        assert is_whole or segment.end_seconds - segment.start_seconds >= 1.5 - 1e-6
        assert segment.mean_score <= segment.peak_score <= 1
    untouched = SegmentSettings(smoothing_seconds=1, min_seconds=0, gap_seconds=0, reject_below=0.5)
    # Else calling it unknown would have been the better path.
    assert all(s.mean_score >= 0.5 for s in find_segments(chaos, untouched))


def test_the_stride_does_not_decide_how_much_is_smoothed() -> None:
    # 2 s of an action that is 4 times as likely as what surrounds it: kept while smoothing is
    # below 2 ln 4 = 2.8 s, at any stride.
    def labels(stride: float, smoothing: float) -> list[str]:
        starts = np.arange(0, 20, stride)
        inside = (starts + 0.1 >= 9) & (starts + 0.1 < 11)
        scores = np.where(inside[:, None], [0.2, 0.8], [0.9, 0.1])
        found = find_segments(
            timeline(scores, stride=stride, window=0.2),
            SegmentSettings(smoothing_seconds=smoothing, min_seconds=0),
        )
        return [s.label for s in found]

    for stride in (0.1, 0.2):
        assert labels(stride, 2.2) == ["fall", "run", "fall"]
        assert labels(stride, 3.4) == ["fall"]


def noisy_video(seed: int, *, stride: float = 0.5) -> tuple[Timeline, list[Bout]]:
    """Twelve actions of 3 to 12 s, seen through windows of 2 s that straddle the cuts.

    Evidence is a logit of 3 for what happens, plus noise that stays for a whole action (some are
    hard), that stays for 0.4 s (movement), and of each window by itself.
    """
    rng = np.random.default_rng(seed)
    step, window, actions = 0.05, 2.0, 12
    labels = [0]
    while len(labels) < actions:
        labels.append(int((labels[-1] + rng.integers(1, 3)) % 3))
    cuts = np.concatenate([[0], np.cumsum(rng.uniform(3, 12, actions))])
    seconds = np.arange(step / 2, cuts[-1], step)
    which = np.searchsorted(cuts, seconds) - 1
    evidence = 3.0 * np.eye(3)[np.array(labels)[which]] + rng.normal(0, 1, (actions, 3))[which]
    evidence += 3.0 * _slow_noise(rng, len(seconds), keep=np.exp(-step / 0.4))
    starts = np.arange(0, cuts[-1] - window / 2, stride)
    logits = np.array(
        [evidence[(seconds >= s) & (seconds < s + window)].mean(axis=0) for s in starts]
    ) + rng.normal(0, 0.8, (len(starts), 3))
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = weights / weights.sum(axis=1, keepdims=True)
    true = [Bout(a, b, LABELS[c]) for (a, b), c in zip(pairwise(cuts), labels, strict=True)]
    return timeline(scores, stride=stride, window=window, end=float(cuts[-1])), true


def _slow_noise(rng: np.random.Generator, count: int, keep: float) -> NDArray[np.float64]:
    noise = rng.normal(0, 1, (count, 3))
    for i in range(1, count):
        noise[i] = keep * noise[i - 1] + np.sqrt(1 - keep**2) * noise[i]
    return noise


def _moving_average(scores: Timeline, seconds: float) -> Timeline:
    """The simple way to smooth: each window's scores become the mean of those around it."""
    reach = seconds / 2
    starts = scores.starts_seconds
    rows = [scores.scores[np.abs(starts - s) <= reach].mean(axis=0) for s in starts]
    return timeline(rows, stride=0.5, window=scores.window_seconds, end=scores.end_seconds)


def test_smoothed_segments_are_closer_to_the_truth() -> None:
    videos = [noisy_video(seed) for seed in range(30)]
    true = [segments for _, segments in videos]
    lengths = [scores.end_seconds for scores, _ in videos]

    def measure(found: list[tuple[Segment, ...]]) -> tuple[float, dict[float, float]]:
        return frame_accuracy(found, true, lengths), segment_f1(found, true)

    right, raw = measure([find_segments(scores, NOTHING) for scores, _ in videos])
    averages = [find_segments(_moving_average(scores, 3), NOTHING) for scores, _ in videos]
    averaged = segment_f1(averages, true)
    smoothed_right, smoothed = measure([find_segments(scores) for scores, _ in videos])

    # As measured: accuracy 0.737, 0.760, 0.757; F1 at IoU 0.5 0.412, 0.626, 0.657.
    assert smoothed_right > right + 0.01
    assert smoothed[0.5] > 1.4 * raw[0.5]
    assert smoothed[0.5] > averaged[0.5] + 0.02
    assert smoothed[0.75] > averaged[0.75]
