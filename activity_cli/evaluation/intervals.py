"""Confidence intervals of metrics, and the paired test of two classifiers.

Intervals come from the bootstrap (Efron, 1979). Clips of one group (a person, a camera, a video)
are resampled together, because they are correlated and intervals by clip would be too narrow.
Where nearly all clips are right, all resamples are as well; so no interval of a metric is narrower
than that of Wilson (1927) for as many clips.

N is clips, G groups, C labels, B resamples.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.common import count_of
from activity_cli.model.calibration import Scores, Targets
from activity_cli.model.metrics import Thresholds, correct_clips, label_matrix, wilson_interval

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SIGNIFICANT = 0.05  # differences with a smaller p-value are called significant
MIN_GROUPS = 6  # with fewer, no difference can be significant: p is at least 2 / 2**groups
_NUM_RESAMPLES = 1000
_BLOCK = 100  # resamples at a time: weights of 100 x 100,000 groups take 40 MB
_TOP_K = (2, 3, 5)
_QUANTILES = (0.025, 0.975)

Groups = NDArray[np.int64]  # (N,) from 0 to G - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A metric with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelEstimates:
    """Metrics of one label; None where no clip has the label or is predicted as it."""

    label: str
    num_clips: int
    precision: Estimate | None
    recall: Estimate | None
    f1: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """All metrics of an evaluation with their intervals."""

    num_units: int  # clips, or groups, that were resampled
    by_group: bool  # whether groups were resampled, not clips
    accuracy: Estimate
    top_k: dict[int, Estimate]  # k -> share of clips whose label is among the k best
    macro_precision: Estimate
    macro_recall: Estimate
    macro_f1: Estimate
    per_label: tuple[LabelEstimates, ...]

    @property
    def units(self) -> str:
        """Return what was resampled, such as `36 clips` or `6 groups`."""
        return count_of(self.num_units, "group" if self.by_group else "clip")

    def to_json(self) -> dict[str, Any]:
        """Return plain values for metrics.json."""
        return {"drawn": self.units, **plain_values(self)}


def plain_values(found: "DataclassInstance") -> dict[str, Any]:
    """Return plain values of a dataclass; an estimate becomes [value, low, high]."""

    def convert(items: list[tuple[str, Any]]) -> Any:  # `asdict` calls it for each dataclass
        values = dict(items)
        return [round(v, 4) for v in values.values()] if "low" in values else values

    plain: dict[str, Any] = asdict(found, dict_factory=convert)
    return plain


def estimate_metrics(
    scores: Scores,
    targets: Targets,
    labels: Sequence[str],
    groups: Groups | None,
    thresholds: Thresholds | None = None,
) -> Estimates:
    """Compute accuracy, top-k, precision, recall and F1, each with a bootstrap interval.

    Scores are (N, C), targets and groups (N,); None for groups: clips are independent. Targets may
    be (N, C), of a multi-label model with these thresholds; then there is no top-k.
    """
    num_labels = len(labels)
    top_k = [k for k in _TOP_K if k < num_labels and targets.ndim == 1]
    sums = _sums(scores, targets, [1, *top_k], thresholds)
    found = bootstrap(sums, groups, lambda totals: _metrics(totals, num_labels))
    _, counts, predicted = sums[:, : 3 * num_labels].sum(axis=0).reshape(3, num_labels)
    # The number of clips that each metric is a share of; F1 is nearly a share.
    overall = np.full(len(top_k) + 4, len(targets))
    totals = np.concatenate([overall, predicted, counts, (counts + predicted) / 2])
    widened = list(map(_at_least_wilson, found, totals.tolist()))
    accuracy, *best, precision, recall, f1 = widened[: len(overall)]
    each = [
        None if math.isnan(estimate.value) else estimate for estimate in widened[len(overall) :]
    ]
    thirds = (each[i * num_labels :][:num_labels] for i in range(3))  # precision, recall, F1
    return Estimates(
        num_units=len(targets) if groups is None else int(groups.max()) + 1,
        by_group=groups is not None,
        accuracy=accuracy,
        top_k=dict(zip(top_k, best, strict=True)),
        macro_precision=precision,
        macro_recall=recall,
        macro_f1=f1,
        per_label=tuple(
            LabelEstimates(label=label, num_clips=int(count), precision=p, recall=r, f1=f)
            for label, count, p, r, f in zip(labels, counts, *thirds, strict=True)
        ),
    )


def mean_with_interval(values: NDArray[Any], groups: Groups | None) -> Estimate:
    """Return the mean of (N,) values of clips, such as differences between two models."""
    sums = np.stack([values.astype(np.float64), np.ones(len(values))], axis=1)
    [found] = bootstrap(sums, groups, lambda totals: totals[:, :1] / totals[:, 1:])
    return found


def accuracy_with_interval(correct: NDArray[np.bool_], groups: Groups | None) -> Estimate:
    """Return the accuracy of (N,) clips with the interval that `estimate_metrics` gives it."""
    return _at_least_wilson(mean_with_interval(correct, groups), len(correct))


def wilson_estimate(num_correct: int, total: int) -> Estimate:
    """Return the share of correct clips with its Wilson interval; clips are independent."""
    low, high = wilson_interval(num_correct, total)
    return Estimate(value=num_correct / total, low=low, high=high)


def paired_p_value(
    first: NDArray[np.bool_], second: NDArray[np.bool_], groups: Groups | None
) -> float:
    """Return the two-sided p-value of the exact sign-flip test of two classifiers.

    The null hypothesis is that in each group the two classifiers could change places. `first` and
    `second` are (N,): which clips each got right. Without groups this is McNemar's test (1947).
    """
    differences = _sum_by_group(second.astype(np.int64) - first, groups)
    sizes, counts = np.unique(np.abs(differences), return_counts=True)
    total = int((sizes * counts).sum())
    # The sum of +-size over all groups has the characteristic function prod cos(size * w).
    length = 2 * total + 1
    frequencies = 2 * np.pi * np.arange(length) / length
    transform = np.ones(length)
    for size, count in zip(sizes, counts, strict=True):
        transform *= np.cos(size * frequencies) ** count
    chances = np.fft.fft(transform).real / length  # of each sum, modulo the length
    sums = np.minimum(np.arange(length), length - np.arange(length))
    return float(np.clip(chances[sums >= abs(int(differences.sum()))].sum(), 0, 1))


def _sums(
    scores: Scores, targets: Targets, top_k: Sequence[int], thresholds: Thresholds | None
) -> NDArray[np.float64]:
    """(N, 3 * C + 1 + K) per clip: label predicted correctly, label, predicted; 1; in top k."""
    numbers, ones = np.arange(scores.shape[1]), np.ones((len(scores), 1))
    is_label, is_predicted = (
        part.astype(np.float64) for part in label_matrix(scores, targets, thresholds)
    )
    counts = [is_label * is_predicted, is_label, is_predicted, ones]
    if targets.ndim == 2:
        return np.concatenate(
            [*counts, correct_clips(scores, targets, thresholds)[:, None]], axis=1
        )
    # Labels ranked above the true one; among equal scores the first is best.
    own, before = scores[np.arange(len(targets)), targets][:, None], numbers < targets[:, None]
    ranks = ((scores > own) | ((scores == own) & before)).sum(axis=1)
    hits = np.stack([ranks < k for k in top_k], axis=1)
    return np.concatenate([*counts, hits], axis=1)


def _metrics(totals: NDArray[np.float64], num_labels: int) -> NDArray[np.float64]:
    """Such sums -> (B, K + 3 + 3 * C): top-k, macro means, then label by label."""
    correct, label, predicted = (totals[:, i * num_labels : (i + 1) * num_labels] for i in range(3))
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: the resample has no such clip
        each = [correct / predicted, correct / label, 2 * correct / (label + predicted)]
        present = label > 0
        # As scikit-learn: a label that is never predicted has precision 0, if it has clips.
        means = [
            np.where(present, np.nan_to_num(part), 0).sum(axis=1) / present.sum(axis=1)
            for part in each
        ]
    hits = totals[:, 3 * num_labels + 1 :] / totals[:, 3 * num_labels, None]
    return np.concatenate([hits, np.stack(means, axis=1), *each], axis=1)


def bootstrap(
    sums: NDArray[np.float64],
    groups: Groups | None,
    metric: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> list[Estimate]:
    """Estimate metrics of sums over clips, (N, S), by resampling groups or clips.

    A metric that is undefined, or undefined in most resamples, is NaN.
    """
    sums = _sum_by_group(sums, groups)
    random = np.random.default_rng(0)
    count = len(sums)
    blocks = []
    for _ in range(0, _NUM_RESAMPLES, _BLOCK):
        picks = random.multinomial(count, np.full(count, 1 / count), size=_BLOCK)  # (b, G)
        blocks.append(metric(picks.astype(np.float64) @ sums))
    resampled = np.concatenate(blocks)  # (B, metrics)
    undefined = np.isnan(resampled).mean(axis=0) > 0.5
    values = np.where(undefined, np.nan, metric(sums.sum(axis=0, keepdims=True))[0])
    bounds = np.nanquantile(np.where(undefined, 0, resampled), _QUANTILES, axis=0)
    triples = np.stack([values, *bounds], axis=1).tolist()
    return [Estimate(value=value, low=low, high=high) for value, low, high in triples]


def _sum_by_group(values: NDArray[Any], groups: Groups | None) -> NDArray[Any]:
    """Sum (N, ...) values of clips to (G, ...); without groups return them as they are."""
    if groups is None:
        return values
    sums = np.zeros((int(groups.max()) + 1, *values.shape[1:]), values.dtype)
    np.add.at(sums, groups, values)
    return sums


def _at_least_wilson(estimate: Estimate, total: float) -> Estimate:
    """Widen the interval of a share of `total` clips to that of Wilson."""
    low, high = wilson_interval(estimate.value * total, total) if total else (0.0, 1.0)
    return Estimate(value=estimate.value, low=min(low, estimate.low), high=max(high, estimate.high))
