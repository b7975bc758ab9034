"""Does reading the order of the frames help? The model beside simpler ones, on the same clips.

N is clips, C labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from activity_cli.evaluation.intervals import Figure, Groups, mean_with_interval
from activity_cli.evaluation.significance import mcnemar
from activity_cli.model.calibration import Scores
from activity_cli.model.frame_order_ablation import OrderScores

Kind = Literal["majority", "frame", "mean", "shuffled", "reversed"]
Right = NDArray[np.float64]  # (N,) 1 where a clip is named right, 0 where not, between on average

TITLES: dict[Kind, tuple[str, str]] = {
    "majority": ("Majority", "always the most frequent label of the training clips"),
    "frame": ("Single frame", "trained on the middle frame alone"),
    "mean": ("Mean-pooling", "all frames, but not their order: no LSTM"),
    "shuffled": ("Shuffled frames", "the model itself, fed with the frames in random orders"),
    "reversed": ("Reversed frames", "the model itself, fed with the last frame first"),
}
"""What each rival is called, and what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """Something simpler than the model, on the same clips."""

    kind: Kind
    accuracy: Figure
    gain: Figure
    """Accuracy of the model less that of the rival, on the same clips."""
    only_model: float
    """Clips that only the model names right; a fraction where several orders are averaged."""
    only_rival: float
    p_value: float | None
    """Of McNemar's exact test; None where several orders are averaged."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for metrics.json."""
        return {
            "accuracy": self.accuracy.to_json(),
            "gain": self.gain.to_json(),
            "only_model_right": round(self.only_model, 2),
            "only_rival_right": round(self.only_rival, 2),
            "p_value": self.p_value,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Rivalry:
    """All rivals, and what follows."""

    rivals: tuple[Rival, ...]
    has_lstm: bool
    """Whether the model reads the order at all."""
    missing: dict[Kind, str] = field(default_factory=dict)
    """Which rivals are not there, and why."""

    def of(self, kind: Kind) -> Rival | None:
        """The rival of a kind, if it is there."""
        return next((rival for rival in self.rivals if rival.kind == kind), None)

    def to_json(self) -> dict[str, Any]:
        """Plain values for metrics.json."""
        return {
            "answer": self.answer(),
            "rivals": {rival.kind: rival.to_json() for rival in self.rivals},
            "missing": dict(self.missing),
        }

    def answer(self) -> str:
        """Whether the LSTM helps, in a sentence or two of plain words."""
        mean, shuffled = self.of("mean"), self.of("shuffled")
        if not self.has_lstm:
            return "The model has no LSTM: it does not read the order of the frames."
        if shuffled is None:
            return "This was not measured."
        if mean is None:
            return _about_order(shuffled)
        gain = mean.gain
        points = f"{_points(gain.value)} (95% interval {_signed(gain.low)} to {_signed(gain.high)})"
        if gain.low > 0:
            told = f"Yes: reading the frames in order adds {points} to mean-pooling"
        elif gain.high < 0:
            told = f"No, it harms: next to mean-pooling it costs accuracy, {points}"
        elif gain.low == gain.high == 0:
            told = (
                "No: mean-pooling, which ignores the order, names the same clips right (difference "
                "0.0 points, 95% interval 0.0 to 0.0)"
            )
        else:
            more = "more" if gain.value >= 0 else "less"
            told = f"Not shown: {points} {more} than mean-pooling is what chance explains"
        return f"{told}. {_about_order(shuffled)}"


def _about_order(shuffled: Rival) -> str:
    lost = shuffled.gain
    if lost.low == lost.high == 0:
        return "Shuffling the frames changes no answer: the model does not use their order."
    interval = f"{_signed(lost.low)} to {_signed(lost.high)}"
    if lost.low > 0:
        return (
            f"Shuffling the frames costs {_points(lost.value)} ({interval}), so the model does use "
            "their order."
        )
    return f"Shuffling the frames makes no difference that is sure ({interval})."


@dataclass(frozen=True, slots=True, kw_only=True)
class RivalScores:
    """What rivals say of N clips."""

    majority: NDArray[np.int64]
    """(N,) the most frequent label of the clips that each clip's model learned from."""
    frame: Scores | None = None
    """(N, C) by a model that saw one frame."""
    mean: Scores | None = None
    """(N, C) by a model without an LSTM."""
    orders: OrderScores | None = None
    """By the model, with the frames in other orders."""
    has_lstm: bool
    """Whether the model reads the order at all."""
    missing: dict[Kind, str] = field(default_factory=dict)
    """Why there are none of those that are None."""


def meet_rivals(
    scores: Scores, targets: NDArray[np.int64], rivals: RivalScores, groups: Groups | None
) -> Rivalry:
    """Compare a model with what is simpler.

    Args:
        scores: (N, C) by the model.
        targets: (N,)
        rivals: what the others say.
        groups: (N,) of clips that belong together, for the intervals.
    """
    right: dict[Kind, Right] = {"majority": (rivals.majority == targets).astype(np.float64)}
    if rivals.frame is not None:
        right["frame"] = _right(rivals.frame, targets)
    if rivals.mean is not None:
        right["mean"] = _right(rivals.mean, targets)
    if rivals.orders is not None:
        shuffled = np.moveaxis(rivals.orders.shuffled, 1, 0)  # (K, N, C)
        right["shuffled"] = np.mean([_right(order, targets) for order in shuffled], axis=0)
        right["reversed"] = _right(rivals.orders.reversed, targets)
    own = _right(scores, targets)
    return Rivalry(
        rivals=tuple(_meet(kind, own, other, groups) for kind, other in right.items()),
        has_lstm=rivals.has_lstm,
        missing={kind: why for kind, why in rivals.missing.items() if kind not in right},
    )


def _meet(kind: Kind, own: Right, other: Right, groups: Groups | None) -> Rival:
    only_model, only_rival = (own * (1 - other)).sum(), (other * (1 - own)).sum()
    is_averaged = kind == "shuffled"
    return Rival(
        kind=kind,
        accuracy=mean_with_interval(other, groups),
        gain=mean_with_interval(own - other, groups),
        only_model=float(only_model),
        only_rival=float(only_rival),
        p_value=None if is_averaged else mcnemar(int(only_model), int(only_rival)),
    )


def _right(scores: Scores, targets: NDArray[np.int64]) -> Right:
    right: Right = (scores.argmax(axis=1) == targets).astype(np.float64)
    return right


def most_frequent(counts: Sequence[int], num_clips: int) -> NDArray[np.int64]:
    """(num_clips,) the label that has most of the training clips; counts are (C,)."""
    return np.full(num_clips, int(np.argmax(counts)), np.int64)


def _points(share: float) -> str:
    return f"{abs(100 * share):.1f} points"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}" if round(100 * share, 1) else "0.0"
