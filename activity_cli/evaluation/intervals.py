"""How far figures would move with other clips: intervals by the bootstrap (Efron, 1979).

Clips that belong to one group (a person, a camera, a video) are drawn together: two clips of one
scene say less than two of two scenes, and intervals that forget it are too narrow. Where nearly all
clips are right, all draws are as well; so no interval is narrower than that of Wilson (1927) for as
many clips.

N is clips, G groups, C labels, B draws.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.model.calibration import Scores
from activity_cli.model.metrics import wilson_interval

_DRAWS = 1000
_BLOCK = 100  # draws at a time: weights of 100 x 100,000 groups take 40 MB
_TOPS = (2, 3, 5)
_QUANTILES = (0.025, 0.975)

Groups = NDArray[np.int64]  # (N,) from 0 to G - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure with its 95% interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> list[float]:
        """Value, low and high."""
        return [round(number, 4) for number in (self.value, self.low, self.high)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFigures:
    """One label against all others; a figure is None where no clip is of it, or called it."""

    label: str
    num_clips: int
    precision: Figure | None
    recall: Figure | None
    f1: Figure | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the clips say, and how surely."""

    num_units: int
    """How many clips or groups were drawn from."""
    by_group: bool
    """Whether groups were drawn, not clips."""
    accuracy: Figure
    top_k: dict[int, Figure]
    """By k: share of clips whose label is among the k best. Empty for two labels."""
    macro_precision: Figure
    macro_recall: Figure
    macro_f1: Figure
    per_label: tuple[LabelFigures, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for metrics.json; a figure is [value, low, high]."""
        plain = {
            name: getattr(self, name).to_json()
            for name in ("accuracy", "macro_precision", "macro_recall", "macro_f1")
        }
        labels = [
            {
                k: getattr(row, k).to_json() if isinstance(getattr(row, k), Figure) else v
                for k, v in asdict(row).items()
            }
            for row in self.per_label
        ]
        return {
            "drawn": f"{self.num_units} {'groups' if self.by_group else 'clips'}",
            **plain,
            "top_k": {str(k): figure.to_json() for k, figure in self.top_k.items()},
            "per_label": labels,
        }


def figures_with_intervals(
    scores: Scores, targets: NDArray[np.int64], labels: Sequence[str], groups: Groups | None
) -> Figures:
    """Accuracy, top-k, precision, recall and F1, each with a bootstrap interval.

    Args:
        scores: (N, C).
        targets: (N,)
        labels: C names.
        groups: (N,) of clips that are drawn together, or None where each stands alone.
    """
    num_labels = len(labels)
    tops = [k for k in _TOPS if k < num_labels]
    sums = _sums(scores, targets, [1, *tops])
    found = _bootstrap(sums, groups, lambda totals: _shares(totals, num_labels))
    whole = [_at_least_wilson(_sure(row), len(targets)) for row in found[: len(tops) + 4]]
    _, counts, named = sums[:, : 3 * num_labels].sum(axis=0).reshape(3, num_labels)
    totals = np.concatenate([named, counts, (counts + named) / 2])
    each = [
        None if row is None else _at_least_wilson(row, total)
        for row, total in zip(found[len(whole) :], totals.tolist(), strict=True)
    ]
    return Figures(
        num_units=len(targets) if groups is None else int(groups.max()) + 1,
        by_group=groups is not None,
        accuracy=whole[0],
        top_k=dict(zip(tops, whole[1:-3], strict=True)),
        macro_precision=whole[-3],
        macro_recall=whole[-2],
        macro_f1=whole[-1],
        per_label=tuple(
            LabelFigures(
                label=label,
                num_clips=int(counts[i]),
                precision=each[i],
                recall=each[num_labels + i],
                f1=each[2 * num_labels + i],
            )
            for i, label in enumerate(labels)
        ),
    )


def mean_with_interval(values: NDArray[np.floating[Any]], groups: Groups | None) -> Figure:
    """The mean of (N,) values of clips, such as differences between two models."""
    ones = np.ones(len(values))
    sums = np.stack([values.astype(np.float64), ones], axis=1)
    [found] = _bootstrap(sums, groups, lambda totals: totals[:, :1] / totals[:, 1:])
    return _sure(found)


def wilson_figure(right: int, total: int) -> Figure:
    """The share of clips that are right, each standing alone, with its Wilson interval."""
    low, high = wilson_interval(right, total)
    return Figure(value=right / total, low=low, high=high)


def _sums(scores: Scores, targets: NDArray[np.int64], tops: Sequence[int]) -> NDArray[np.float64]:
    """(N, 3 * C + K) what each clip adds to: label named right, label, named; true one in top k."""
    num_labels = scores.shape[1]
    ranks = _ranks(scores, targets)
    is_label, is_named = np.eye(num_labels)[targets], np.eye(num_labels)[scores.argmax(axis=1)]
    hits = np.stack([ranks < k for k in tops], axis=1)
    return np.concatenate([is_label * is_named, is_label, is_named, hits], axis=1)


def _shares(totals: NDArray[np.float64], num_labels: int) -> NDArray[np.float64]:
    """Such sums (B, 3 * C + K) -> (B, K + 3 + 3 * C): top-k, macro means, then label by label."""
    true, label, named = (totals[:, i * num_labels : (i + 1) * num_labels] for i in range(3))
    with np.errstate(invalid="ignore"):  # 0 / 0: no clip in the draw says anything
        each = [true / named, true / label, 2 * true / (label + named)]
        present = label > 0
        # As scikit-learn: a label that is never named has a precision of 0, if it has clips.
        means = [
            np.where(present, np.nan_to_num(part), 0).sum(axis=1) / present.sum(axis=1)
            for part in each
        ]
    hits = totals[:, 3 * num_labels :] / label.sum(axis=1, keepdims=True)
    return np.concatenate([hits, np.stack(means, axis=1), *each], axis=1)


def _ranks(scores: Scores, targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) how many labels come before the true one; the first of equal scores is the best."""
    own = scores[np.arange(len(targets)), targets][:, None]
    before = np.arange(scores.shape[1]) < targets[:, None]
    ranks: NDArray[np.int64] = ((scores > own) | ((scores == own) & before)).sum(axis=1)
    return ranks


def _bootstrap(
    sums: NDArray[np.float64],
    groups: Groups | None,
    figure: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> list[Figure | None]:
    """Figures of sums over clips, (N, S), with the percentiles of draws of groups or clips.

    None where there is nothing to say, or in the draws mostly not.
    """
    if groups is not None:
        by_group = np.zeros((int(groups.max()) + 1, sums.shape[1]))
        np.add.at(by_group, groups, sums)
        sums = by_group
    random = np.random.default_rng(0)
    count = len(sums)
    drawn = []
    for _ in range(0, _DRAWS, _BLOCK):
        picks = random.multinomial(count, np.full(count, 1 / count), size=_BLOCK)  # (b, G)
        drawn.append(figure(picks.astype(np.float64) @ sums))
    draws = np.concatenate(drawn)  # (B, figures)
    values = figure(sums.sum(axis=0, keepdims=True))[0]
    found: list[Figure | None] = []
    for value, column in zip(values, draws.T, strict=True):
        known = column[~np.isnan(column)]
        if np.isnan(value) or 2 * len(known) < len(column):
            found.append(None)
        else:
            low, high = np.quantile(known, _QUANTILES)
            found.append(Figure(value=float(value), low=float(low), high=float(high)))
    return found


def _at_least_wilson(figure: Figure, total: float) -> Figure:
    """A share of so many clips, or nearly one as F1 is, with an interval that is wide enough."""
    low, high = wilson_interval(figure.value * total, total) if total else (0.0, 1.0)
    return Figure(value=figure.value, low=min(low, figure.low), high=max(high, figure.high))


def _sure(figure: Figure | None) -> Figure:
    """A figure that any clips have."""
    assert figure is not None
    return figure
