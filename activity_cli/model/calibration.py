"""Scores that mean what they say, and a rule for when none of the labels fits. numpy alone.

Temperature scaling follows Guo et al., "On Calibration of Modern Neural Networks" (2017): one
number divides all logits, so no clip changes its label.

N clips, C labels. The *novelty* of a clip (see `familiarity`) is how little its features are like
those of the training clips.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating[Any]]

NUM_BINS = 15
MOST_LOST = 0.05
"""Share of known clips that a rule chosen from data may call unknown."""
_PRIOR_SPREAD = 0.5
"""Of log T around 0. To halve or double T costs what one clip can say, so few clips move it little
and many move it freely; without clips it is 1."""
_LARGEST_TEMPERATURE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectRule:
    """When a clip is called unknown: its best score is too low, or it is too unlike the known."""

    min_score: float | None = None
    """Lowest best score of a known clip."""
    max_novelty: float | None = None
    """Highest novelty of a known clip."""

    def rejects(self, scores: Scores, novelty: Scores | None) -> NDArray[np.bool_]:
        """Which of N clips, or windows, are called unknown.

        Args:
            scores: (N, C).
            novelty: (N,), or None where it is not known: then the scores alone decide.

        Returns:
            (N,)
        """
        rejected = np.zeros(len(scores), np.bool_)
        if self.min_score is not None:
            rejected |= scores.max(axis=1) < self.min_score
        if self.max_novelty is not None and novelty is not None:
            rejected |= novelty > self.max_novelty
        return rejected

    def why_rejected(self, score: float, novelty: float | None) -> str:
        """What speaks against a clip with this best score, in words; empty if nothing does."""
        reasons = []
        if self.min_score is not None and score < self.min_score:
            reasons.append(f"score {score:.4f} is below {self.min_score:.4f}")
        if self.max_novelty is not None and novelty is not None and novelty > self.max_novelty:
            reasons.append(f"novelty {novelty:.3f} is above {self.max_novelty:.3f}")
        return ", ".join(reasons)

    def __str__(self) -> str:
        """As a command and a report say it."""
        parts = []
        if self.min_score is not None:
            parts.append(f"score below {self.min_score:.3f}")
        if self.max_novelty is not None:
            parts.append(f"novelty above {self.max_novelty:.3f}")
        return " or ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was learned about a model's scores from clips that it had not seen."""

    temperature: float = 1.0
    """Divides the logits. Above 1 the scores were too sure, below 1 too unsure."""
    fitted_on: str
    """Which clips it and the rule were chosen on."""
    num_clips: int
    """How many these are."""
    measured_on: str
    """Which clips the figures below are from."""
    ece_before: float
    """Expected calibration error without the temperature."""
    ece_after: float
    rule: RejectRule | None = None
    """For `--reject auto`; None where there were too few clips to choose one."""
    known_lost: float | None = None
    """Share of the clips measured on that the rule calls unknown although they are known."""

    def __post_init__(self) -> None:
        if not 1 / _LARGEST_TEMPERATURE <= self.temperature <= _LARGEST_TEMPERATURE:
            raise ValueError(f"a temperature of {self.temperature} is out of range")

    def to_json(self) -> dict[str, Any]:
        """Plain values for model.json and metrics.json; thresholds in full."""
        return {
            **asdict(self),
            "ece_before": round(self.ece_before, 4),
            "ece_after": round(self.ece_after, 4),
            "known_lost": None if self.known_lost is None else round(self.known_lost, 4),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild what `to_json` wrote.

        Raises:
            TypeError, ValueError: an entry is not known, absent or out of range.
        """
        rule = values["rule"]
        return cls(**{**values, "rule": None if rule is None else RejectRule(**rule)})


def expected_calibration_error(
    scores: Scores, targets: NDArray[np.int64], *, num_bins: int = NUM_BINS
) -> float:
    """How far best scores are from the share of clips that are right, on average over clips.

    Clips are put into bins of equal width by their best score (Naeini et al., 2015). Few clips make
    this too large: 100 well calibrated ones still give about 0.1.

    Args:
        scores: (N, C).
        targets: (N,)
        num_bins: from 0 to 1.
    """
    best = scores.max(axis=1).astype(np.float64)
    right = scores.argmax(axis=1) == targets
    bins = np.minimum((best * num_bins).astype(np.int64), num_bins - 1)
    gaps = np.bincount(bins, weights=best - right, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(targets))


def tempered(scores: Scores, temperature: float) -> NDArray[np.float32]:
    """Scores (N, C) as they would be with logits divided by a temperature."""
    logits = np.log(np.maximum(scores.astype(np.float64), 1e-30)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares.astype(np.float32)


def fit_temperature(scores: Scores, targets: NDArray[np.int64]) -> float:
    """The temperature that makes held-out labels most likely, held near 1 where clips are few.

    Args:
        scores: (N, C) by a model that did not learn from these clips.
        targets: (N,)
    """
    logits = np.log(np.maximum(scores.astype(np.float64), 1e-30))
    own = logits[np.arange(len(targets)), targets]

    def cost(log_temperature: float) -> float:
        scale = math.exp(-log_temperature)
        losses = np.logaddexp.reduce(logits * scale, axis=1) - own * scale
        return float(losses.sum()) + (log_temperature / _PRIOR_SPREAD) ** 2 / 2

    limit = math.log(_LARGEST_TEMPERATURE)
    return math.exp(_lowest(cost, -limit, limit))


def choose_rule(
    scores: Scores, novelty: Scores | None, *, most_lost: float = MOST_LOST
) -> RejectRule | None:
    """The strictest rule that loses at most a given share of known clips.

    Low scores and novelty take the same number of clips each. With two labels the best score only
    says which of the two it is, and is left out where there is a novelty.

    Args:
        scores: (N, C), calibrated, of known clips that the model did not learn from.
        novelty: (N,) of the same clips.
        most_lost: share of known clips that may be called unknown.

    Returns:
        None where the clips are too few to promise that.
    """
    most = _most_clips(len(scores), most_lost)
    if most is None:
        return None
    use_score = scores.shape[1] > 2 or novelty is None
    best = np.sort(scores.max(axis=1))
    for rank in range(most, -1, -1):
        rule = RejectRule(
            min_score=float(best[rank]) if use_score else None,
            max_novelty=None if novelty is None else float(np.sort(novelty)[-1 - rank]),
        )
        if rule.rejects(scores, novelty).sum() <= most:
            break
    return rule


def calibrate(
    scores: Scores, targets: NDArray[np.int64], novelty: Scores | None, *, fitted_on: str
) -> Calibration:
    """Temperature and rule from held-out clips, with figures of the same clips.

    Args:
        scores: (N, C) by a model that did not learn from these clips.
        targets: (N,)
        novelty: (N,), or None where the model knows none.
        fitted_on: what the clips are.
    """
    temperature = fit_temperature(scores, targets)
    rule = choose_rule(tempered(scores, temperature), novelty)
    blank = Calibration(
        temperature=temperature,
        fitted_on=fitted_on,
        num_clips=len(targets),
        measured_on=fitted_on,
        ece_before=0,
        ece_after=0,
        rule=rule,
    )
    return measure(blank, scores, targets, novelty, measured_on=fitted_on)


def measure(
    calibration: Calibration,
    scores: Scores,
    targets: NDArray[np.int64],
    novelty: Scores | None,
    *,
    measured_on: str,
) -> Calibration:
    """The same calibration with the figures of other clips.

    Args:
        calibration: temperature and rule.
        scores: (N, C) without the temperature.
        targets: (N,)
        novelty: (N,)
        measured_on: what the clips are.
    """
    after, rule = tempered(scores, calibration.temperature), calibration.rule
    return replace(
        calibration,
        measured_on=measured_on,
        ece_before=expected_calibration_error(scores, targets),
        ece_after=expected_calibration_error(after, targets),
        known_lost=float(rule.rejects(after, novelty).mean()) if rule else None,
    )


def calibrate_out_of_fold(
    scores: Scores,
    targets: NDArray[np.int64],
    novelty: Scores | None,
    fold_index: NDArray[np.int64],
) -> tuple[Calibration, NDArray[np.float32]]:
    """Temperature and rule from all out-of-fold scores, with figures that are not of themselves.

    The figures, and the scores given back, are those of every fold with what the other folds say.

    Args:
        scores: (N, C) without a temperature, each by the network that did not see the clip.
        targets: (N,)
        novelty: (N,), each to the clips that this network learned from.
        fold_index: (N,) the fold that each clip was held out in.

    Returns:
        The calibration, and (N, C) scores.
    """
    after = np.zeros(scores.shape, np.float32)
    lost = np.zeros(len(scores), np.bool_)
    for fold in np.unique(fold_index):
        held_out = fold_index == fold
        parts = [None if novelty is None else novelty[rows] for rows in (~held_out, held_out)]
        others = calibrate(scores[~held_out], targets[~held_out], parts[0], fitted_on="")
        after[held_out] = tempered(scores[held_out], others.temperature)
        if others.rule:
            lost[held_out] = others.rule.rejects(after[held_out], parts[1])
    whole = calibrate(scores, targets, novelty, fitted_on="out-of-fold predictions")
    return replace(
        whole,
        measured_on="every fold with what the others say",
        ece_after=expected_calibration_error(after, targets),
        known_lost=float(lost.mean()) if whole.rule else None,
    ), after


def _most_clips(num_clips: int, share: float) -> int | None:
    """How many clips to lose so that of new ones about no larger share is lost.

    One standard error below the share, and never more than what order statistics promise: of new
    clips (k + 1) / (N + 1) lie beyond the one that k of N lie beyond. At 5% that takes 19 clips.
    """
    best = None
    for count in range(int(share * num_clips) + 1):
        lost = count / max(num_clips, 1)
        error = math.sqrt(lost * (1 - lost) / max(num_clips, 1))
        if (count + 1) / (num_clips + 1) <= share and lost + error <= share:
            best = count
    return best


def _lowest(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one valley is lowest, by golden-section search."""
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(50):
        span = ratio * (high - low)
        left, right = high - span, low + span
        if function(left) < function(right):
            high = right
        else:
            low = left
    return (low + high) / 2
