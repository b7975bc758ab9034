"""Does the frame order help? Compare the model with simpler baselines on the same clips.

N is clips, C labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from activity_cli.common import count_of
from activity_cli.evaluation.intervals import (
    MIN_GROUPS,
    SIGNIFICANT,
    Estimate,
    Groups,
    mean_with_interval,
    paired_p_value,
    plain_values,
)
from activity_cli.model.calibration import Scores, Targets
from activity_cli.model.frame_order_ablation import OrderScores
from activity_cli.model.metrics import Thresholds, correct_clips

Kind = Literal["majority", "frame", "mean", "shuffled", "reversed"]
Correct = NDArray[np.float64]  # (N,) 1 for a correct clip, 0 for a wrong one, between on average

TITLES: dict[Kind, tuple[str, str]] = {
    "majority": ("Majority", "always the most frequent label of the training clips"),
    "frame": ("Single frame", "a classifier of the middle frame alone"),
    "mean": ("Mean pooling", "all frames without their order: no LSTM"),
    "shuffled": ("Shuffled frames", "the same model on frames in random order"),
    "reversed": ("Reversed frames", "the same model on frames in reversed order"),
}
_FOLDER_ONLY = "needs a model folder and no test-time augmentation"
_WHY_MISSING: dict[Kind, str] = {
    "frame": "needs training, use `activity crossval`",
    **dict.fromkeys(("mean", "shuffled", "reversed"), _FOLDER_ONLY),
}
_WHY_MISSING_WITHOUT_LSTM: dict[Kind, str] = {
    "frame": "measured only for a model with an LSTM",
    "mean": "the model is mean pooling itself",
    **dict.fromkeys(("shuffled", "reversed"), "no effect without an LSTM"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A baseline beside the model, on the same clips."""

    kind: Kind
    accuracy: Estimate
    gain: Estimate  # accuracy of the model minus that of the baseline
    only_model_right: float  # clips; a fraction where several orders are averaged
    only_baseline_right: float
    p_value: float | None  # of the paired test by group; None where orders are averaged


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineComparison:
    """All baselines, and the conclusion."""

    baselines: tuple[Baseline, ...]
    has_lstm: bool
    missing: Mapping[Kind, str]  # baselines that were not measured, and why
    num_groups: int | None = None  # None: clips are independent

    def of(self, kind: Kind) -> Baseline | None:
        """Return the baseline of a kind, if it was measured."""
        return next((found for found in self.baselines if found.kind == kind), None)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for metrics.json."""
        return {
            "answer": self.conclusion(),
            "baselines": {found.kind: plain_values(found) for found in self.baselines},
            "missing": dict(self.missing),
        }

    def conclusion(self) -> str:
        """Return whether the LSTM helps, in one or two sentences."""
        mean, shuffled = self.of("mean"), self.of("shuffled")
        if not self.has_lstm:
            return "The model has no LSTM: it does not read the order of the frames."
        if mean is shuffled is None:
            return "Not measured."
        if self.num_groups is not None and self.num_groups < MIN_GROUPS:
            return _without_intervals(mean, shuffled, self.num_groups)
        if mean is None:
            return _effect_of_shuffling(shuffled)
        gain = mean.gain
        points = f"{signed_points(gain.value)} points vs mean pooling"
        interval = f"95% CI {signed_points(gain.low)} to {signed_points(gain.high)}"
        if gain.low == gain.high == 0:
            answer = "No: mean pooling, which ignores the order, gives the same result"
        elif mean.p_value is None or mean.p_value >= SIGNIFICANT:
            p = "" if mean.p_value is None else f"p = {mean.p_value:.2g}, "
            answer = f"{points}, not significant ({p}{interval})"
        elif gain.value > 0:
            answer = f"Yes: {points} ({interval})"
        else:
            answer = f"No, it lowers accuracy: {points} ({interval})"
        return f"{answer}. {_effect_of_shuffling(shuffled)}".rstrip()


def _without_intervals(mean: Baseline | None, shuffled: Baseline | None, num_groups: int) -> str:
    points = "" if mean is None else f"{signed_points(mean.gain.value)} points vs mean pooling. "
    if shuffled is not None:
        points += f"Shuffling the frames costs {100 * shuffled.gain.value:.1f} points. "
    units = f"Test clips of {count_of(num_groups, 'group')}"
    return f"{points}{units} are too few to judge: {MIN_GROUPS} needed."


def _effect_of_shuffling(shuffled: Baseline | None) -> str:
    if shuffled is None:
        return ""
    lost = shuffled.gain
    if lost.low == lost.high == 0:
        return "Shuffling the frames has no effect: the model does not use their order."
    if lost.low <= 0:
        interval = f"95% CI {signed_points(-lost.high)} to {signed_points(-lost.low)}"
        return f"Shuffling the frames has no significant effect ({interval})."
    points, low, high = (f"{100 * share:.1f}" for share in (lost.value, lost.low, lost.high))
    return (
        f"Shuffling the frames costs {points} points (95% CI {low} to {high}): "
        "the model uses their order."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineScores:
    """Scores of the baselines for N clips."""

    majority: Targets
    """(N,) most frequent label in training of each clip's model, or (N, C) set of labels."""
    has_lstm: bool
    orders: OrderScores | None = None  # None where it was not measured
    heads: Mapping[Kind, Scores] = field(default_factory=dict)
    """(N, C) by heads that were trained in full; they replace those of `orders`."""
    thresholds: Mapping[Kind, Thresholds | None] = field(default_factory=dict)  # of these heads


def compare_with_baselines(
    scores: Scores,
    targets: Targets,
    found: BaselineScores,
    groups: Groups | None,
    thresholds: Thresholds | None = None,
) -> BaselineComparison:
    """Compare scores (N, C) with those of baselines, by targets (N,) and groups (N,).

    Targets and thresholds may be those of a multi-label model, as for `correct_clips`.
    """
    orders, heads = found.orders, dict[Kind, Scores | None](found.heads)
    same = (found.majority == targets).reshape(len(targets), -1).all(axis=1)
    correct: dict[Kind, Correct] = {"majority": same.astype(np.float64)}
    if orders is not None:
        heads.setdefault("frame", orders.frame)
        heads.setdefault("mean", orders.pooled)
        heads["reversed"] = orders.reversed
        shuffled = np.moveaxis(orders.shuffled, 1, 0)  # (K, N, C)
        correct["shuffled"] = np.mean([_correct(order, targets) for order in shuffled], axis=0)
    correct |= {
        kind: _correct(head, targets, found.thresholds.get(kind))
        for kind, head in heads.items()
        if head is not None
    }
    own = _correct(scores, targets, thresholds)
    reasons = _WHY_MISSING if found.has_lstm else _WHY_MISSING_WITHOUT_LSTM
    if targets.ndim == 2:
        reasons = dict.fromkeys(reasons, "measured only for models of one label per clip")
    elif found.has_lstm and orders is not None:
        reasons = reasons | {"mean": "the model has no pooled linear head"}
    return BaselineComparison(
        baselines=tuple(
            Baseline(
                kind=kind,
                accuracy=mean_with_interval(other, groups),
                gain=mean_with_interval(own - other, groups),
                only_model_right=float((own * (1 - other)).sum()),
                only_baseline_right=float((other * (1 - own)).sum()),
                p_value=None
                if kind == "shuffled"
                else paired_p_value(other == 1, own == 1, groups),
            )
            for kind, other in ((kind, correct[kind]) for kind in TITLES if kind in correct)
        ),
        has_lstm=found.has_lstm,
        num_groups=None if groups is None else int(groups.max()) + 1,
        missing={kind: why for kind, why in reasons.items() if kind not in correct},
    )


def _correct(scores: Scores, targets: Targets, thresholds: Thresholds | None = None) -> Correct:
    return correct_clips(scores, targets, thresholds).astype(np.float64)


def most_frequent(counts: Sequence[int], num_clips: int) -> NDArray[np.int64]:
    """Return (num_clips,) the label with most of the training clips; counts are (C,)."""
    return np.full(num_clips, int(np.argmax(counts)), np.int64)


def signed_points(share: float) -> str:
    """Return a difference in percentage points with its sign: +4.5."""
    return f"{100 * share:+.1f}" if round(100 * share, 1) else "0.0"
