"""Calibrated scores, and a rule that rejects clips of unknown actions. numpy alone.

Temperature scaling follows Guo et al., "On Calibration of Modern Neural Networks" (2017): one
number divides all logits, so no clip changes its label. N clips, C labels.

Targets are (N,) labels, or of a multi-label model (N, C), 1 for each label that a clip has. Its
scores are independent, and each label has a threshold: the one nearest to 0.5 whose F1 is within a
standard error of the highest (the rule of Breiman et al., 1984, for few clips).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating[Any]]
Targets = NDArray[Any]

NUM_BINS = 15
MAX_REJECTED = 0.05
"""Share of known clips that a rule chosen from data may reject."""
_PRIOR_SPREAD = 0.5
"""Standard deviation of the prior of log T around 0. Few clips move T little, many freely; without
clips it is 1."""
_MAX_TEMPERATURE = 10.0
_THRESHOLDS = np.arange(5, 96) / 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectRule:
    """Thresholds: a clip beyond one of them is reported as unknown."""

    min_score: float | None = None  # lowest best score that is accepted
    max_ood_score: float | None = None  # highest out-of-distribution score that is accepted

    def rejects(self, scores: Scores, ood_score: Scores | None) -> NDArray[np.bool_]:
        """Return (N,) which clips, or windows, are rejected, by (N, C) scores and (N,) OOD scores.

        Without OOD scores (None) the scores alone decide.
        """
        rejected = np.zeros(len(scores), np.bool_)
        if self.min_score is not None:
            rejected |= scores.max(axis=1) < self.min_score
        if self.max_ood_score is not None and ood_score is not None:
            rejected |= ood_score > self.max_ood_score
        return rejected

    def why_rejected(self, score: float, ood_score: float | None) -> str:
        """Explain why a clip with this best score is rejected; empty if it is accepted."""
        reasons = []
        if self.min_score is not None and score < self.min_score:
            reasons.append(f"low score ({score:.4f} < {self.min_score:.4f})")
        highest = self.max_ood_score
        if highest is not None and ood_score is not None and ood_score > highest:
            reasons.append(f"unlike the training clips ({ood_score:.3f} > {highest:.3f})")
        return ", ".join(reasons)

    def __str__(self) -> str:
        """Return the rule as commands and reports show it."""
        parts = []
        if self.min_score is not None:
            parts.append(f"score below {self.min_score:.3f}")
        if self.max_ood_score is not None:
            parts.append(f"OOD score above {self.max_ood_score:.3f}")
        return " or ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Temperature and rejection rule, fitted on clips that the model was not trained on."""

    temperature: float = 1.0
    """Divides the logits. Above 1 the scores were overconfident, below 1 underconfident."""
    fitted_on: str  # clips that temperature and rule were fitted on
    num_clips: int  # number of these clips
    measured_on: str  # clips that the figures below were measured on
    ece_before: float  # expected calibration error without the temperature
    ece_after: float
    rule: RejectRule | None = None
    """For `--reject auto`; None if there were too few clips to choose one."""
    known_lost: float | None = None
    """Share of the clips measured on, all of known actions, that the rule rejects."""
    thresholds: tuple[float, ...] | None = None
    """(C,) score from which a label is reported by a multi-label model; None for others."""

    def __post_init__(self) -> None:
        if not 1 / _MAX_TEMPERATURE <= self.temperature <= _MAX_TEMPERATURE:
            raise ValueError(f"the temperature {self.temperature} is out of range")

    def to_json(self) -> dict[str, Any]:
        """Return plain values for model.json and metrics.json; thresholds are not rounded."""
        values = {
            **asdict(self),
            "ece_before": round(self.ece_before, 4),
            "ece_after": round(self.ece_after, 4),
            "known_lost": None if self.known_lost is None else round(self.known_lost, 4),
        }
        return {k: v for k, v in values.items() if k != "thresholds" or v is not None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild what `to_json` wrote; a TypeError or ValueError for a wrong entry."""
        rule = values["rule"]
        if rule is not None:
            rule = RejectRule(**{_OLD_NAMES.get(name, name): rule[name] for name in rule})
        found = values.get("thresholds")
        return cls(**{**values, "rule": rule, "thresholds": found and tuple(map(float, found))})


_OLD_NAMES = {"max_novelty": "max_ood_score"}
"""Entries of model.json that earlier versions wrote under another name."""


def expected_calibration_error(scores: Scores, targets: Targets) -> float:
    """Return the mean gap between best score and accuracy, over bins of equal width.

    For scores (N, C) and targets (N,), after Naeini et al., 2015. Few clips make it too large: 100
    well calibrated ones still give about 0.1. Of multi-label scores all count, not the best ones.
    """
    if targets.ndim == 2:
        best, right = scores.ravel().astype(np.float64), targets.ravel()
    else:
        best = scores.max(axis=1).astype(np.float64)
        right = scores.argmax(axis=1) == targets
    bins = np.minimum((best * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    gaps = np.bincount(bins, weights=best - right)
    return float(np.abs(gaps).sum() / len(best))


def tempered(
    scores: Scores, temperature: float, *, multi_label: bool = False
) -> NDArray[np.float32]:
    """Return scores (N, C) with the logits divided by a temperature."""
    if multi_label:
        chances: NDArray[np.float64] = 1 / (1 + np.exp(-_binary_logits(scores) / temperature))
        return chances.astype(np.float32)
    logits = np.log(np.maximum(scores.astype(np.float64), 1e-30)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares.astype(np.float32)


def _binary_logits(scores: Scores) -> NDArray[np.float64]:
    chances = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    logits: NDArray[np.float64] = np.log(chances / (1 - chances))
    return logits


def fit_temperature(scores: Scores, targets: Targets) -> float:
    """Fit the temperature that makes the targets most likely, with a prior around 1.

    The scores (N, C) are those of a model that was not trained on these clips.
    """
    if targets.ndim == 2:  # for each score the logits of yes, and of no, which is 0
        yes = _binary_logits(scores).ravel()
        logits = np.stack([yes, np.zeros_like(yes)], axis=1)
        own = yes * targets.ravel()
    else:
        logits = np.log(np.maximum(scores.astype(np.float64), 1e-30))
        own = logits[np.arange(len(targets)), targets]

    def cost(log_temperature: float) -> float:
        scale = math.exp(-log_temperature)
        losses = np.logaddexp.reduce(logits * scale, axis=1) - own * scale
        return float(losses.sum()) + (log_temperature / _PRIOR_SPREAD) ** 2 / 2

    limit = math.log(_MAX_TEMPERATURE)
    return math.exp(_lowest(cost, -limit, limit))


def choose_thresholds(scores: Scores, targets: Targets) -> tuple[float, ...]:
    """Return (C,) thresholds of about the highest F1, of (N, C) scores and targets.

    A new person or camera shifts scores, so a threshold is moved from 0.5 only for a clear gain.
    """
    found = []
    for label, truth in zip(scores.T, targets.T > 0, strict=True):
        chosen = label[:, None] >= _THRESHOLDS  # (N, thresholds)
        f1 = 2 * (chosen & truth[:, None]).sum(0) / np.maximum(chosen.sum(0) + truth.sum(), 1)
        error = math.sqrt(f1.max() * (1 - f1.max()) / max(truth.sum(), 1))
        good = _THRESHOLDS[f1 >= f1.max() - error] if truth.any() else np.array([0.5])
        found.append(float(good[np.abs(good - 0.5).argmin()]))
    return tuple(found)


def choose_rule(
    scores: Scores, ood_score: Scores | None, *, multi_label: bool = False
) -> RejectRule | None:
    """Choose the strictest rule that rejects at most 5% of known clips.

    Both thresholds reject the same number of clips. With two labels a low best score only means
    that both fit alike, so it is not used if there is an OOD score; nor with multi-label scores,
    which may all be low. The calibrated scores (N, C)
    and ood_score (N,) are of clips that the model was not trained on; None if they are too few.
    """
    most = _max_rejected_clips(len(scores))
    if most is None or (multi_label and ood_score is None):
        return None
    use_score = not multi_label and (scores.shape[1] > 2 or ood_score is None)
    best = np.sort(scores.max(axis=1))
    for rank in range(most, -1, -1):
        rule = RejectRule(
            min_score=float(best[rank]) if use_score else None,
            max_ood_score=None if ood_score is None else float(np.sort(ood_score)[-1 - rank]),
        )
        if rule.rejects(scores, ood_score).sum() <= most:
            break
    return rule


def calibrate(
    scores: Scores, targets: Targets, ood_score: Scores | None, *, fitted_on: str
) -> Calibration:
    """Fit temperature and rule on held-out clips, and measure them on the same clips.

    For scores (N, C), targets (N,) and ood_score (N,), or None if the model has no detector.
    """
    temperature, multi_label = fit_temperature(scores, targets), targets.ndim == 2
    after = tempered(scores, temperature, multi_label=multi_label)
    rule = choose_rule(after, ood_score, multi_label=multi_label)
    return Calibration(
        temperature=temperature,
        fitted_on=fitted_on,
        num_clips=len(targets),
        measured_on=fitted_on,
        ece_before=expected_calibration_error(scores, targets),
        ece_after=expected_calibration_error(after, targets),
        rule=rule,
        known_lost=float(rule.rejects(after, ood_score).mean()) if rule else None,
        thresholds=choose_thresholds(after, targets) if multi_label else None,
    )


def measure(
    calibration: Calibration,
    scores: Scores,
    targets: Targets,
    ood_score: Scores | None,
    *,
    measured_on: str,
) -> Calibration:
    """Measure a calibration on other clips, given by (N, C) scores without the temperature."""
    multi_label, rule = targets.ndim == 2, calibration.rule
    after = tempered(scores, calibration.temperature, multi_label=multi_label)
    return replace(
        calibration,
        measured_on=measured_on,
        ece_before=expected_calibration_error(scores, targets),
        ece_after=expected_calibration_error(after, targets),
        known_lost=float(rule.rejects(after, ood_score).mean()) if rule else None,
    )


def calibrate_out_of_fold(
    scores: Scores,
    targets: Targets,
    ood_score: Scores | None,
    fold_index: NDArray[np.int64],
) -> tuple[Calibration, NDArray[np.float32], NDArray[np.float64] | None]:
    """Fit temperature and rule on all out-of-fold scores; measure each fold by the other folds.

    `scores` (N, C), without a temperature, and `ood_score` (N,) are by the network that was not
    trained on the clip. Also returns (N, C) scores, each fold calibrated on the other folds, and of
    a multi-label model (N, C) thresholds, chosen on the other folds.
    """
    after = np.zeros(scores.shape, np.float32)
    thresholds = np.full(scores.shape, 0.5) if targets.ndim == 2 else None
    rejected = np.zeros(len(scores), np.bool_)
    for fold in np.unique(fold_index):
        held_out = fold_index == fold
        parts = [None if ood_score is None else ood_score[rows] for rows in (~held_out, held_out)]
        others = calibrate(scores[~held_out], targets[~held_out], parts[0], fitted_on="")
        after[held_out] = tempered(
            scores[held_out], others.temperature, multi_label=targets.ndim == 2
        )
        if thresholds is not None:
            thresholds[held_out] = others.thresholds
        if others.rule:
            rejected[held_out] = others.rule.rejects(after[held_out], parts[1])
    whole = calibrate(scores, targets, ood_score, fitted_on="out-of-fold predictions")
    whole = replace(
        whole,
        measured_on="every fold, calibrated on the other folds",
        ece_after=expected_calibration_error(after, targets),
        known_lost=float(rejected.mean()) if whole.rule else None,
    )
    return whole, after, thresholds


def _max_rejected_clips(num_clips: int) -> int | None:
    """Return how many of the clips to reject, so that no larger share of new ones is rejected.

    That is one standard error below the share, and never more than order statistics promise: of new
    clips (k + 1) / (N + 1) lie beyond the threshold that k of N lie beyond.
    """
    counts = np.arange(int(MAX_REJECTED * num_clips) + 1)
    lost = counts / max(num_clips, 1)
    errors = np.sqrt(lost * (1 - lost) / max(num_clips, 1))
    is_safe = ((counts + 1) / (num_clips + 1) <= MAX_REJECTED) & (lost + errors <= MAX_REJECTED)
    return int(counts[is_safe].max()) if is_safe.any() else None


def _lowest(function: Callable[[float], float], low: float, high: float) -> float:
    """Find the minimum of a unimodal function by golden-section search."""
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(50):
        span = ratio * (high - low)
        left, right = high - span, low + span
        if function(left) < function(right):
            high = right
        else:
            low = left
    return (low + high) / 2
