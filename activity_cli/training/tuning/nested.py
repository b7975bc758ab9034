"""What a search is worth: whole searches, each scored on clips that it never saw.

The best of many trials is partly the luckiest, so its cross-validated score flatters. Here the
clips of each outer fold are put aside, a whole search is done among the others, its best settings
learn from all of these, and the outer fold is scored once (Varma and Simon, 2006). The settings
that the search began with learn and are scored in the same way, so that the two can be compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from activity_cli.data.splits import Folds
from activity_cli.model.calibration import tempered
from activity_cli.model.metrics import Evaluation, evaluate_scores
from activity_cli.training.tuning.fitter import Fitter
from activity_cli.training.tuning.material import Material
from activity_cli.training.tuning.search import SearchResult
from activity_cli.training.tuning.space import Space

_DRAWS = 10_000

SearchAmong = Callable[[NDArray[np.int64], str], SearchResult]
"""Search among some rows, under a name that tells it from other searches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterFold:
    """Clips that a whole search did not see."""

    name: str
    num_clips: int
    search: SearchResult
    accuracy: float
    """Of the best settings of that search."""
    default_accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedResult:
    """What tuning reaches on clips that took no part in it, beside the default settings."""

    folds: tuple[OuterFold, ...]
    tuned: Evaluation
    default: Evaluation
    difference: float
    """In accuracy, tuned less default."""
    interval: tuple[float, float]
    """95%, by a paired bootstrap."""
    drawn: str
    """What the bootstrap draws anew: groups, or clips where there are none."""
    folds_by: str


def nested_score(
    material: Material,
    outer: Folds,
    space: Space,
    fitter: Fitter,
    search_among: SearchAmong,
) -> NestedResult:
    """A search per outer fold, among the clips of the others, and the scores of both settings."""
    rows, targets = np.arange(len(material.targets)), material.targets
    tuned = np.zeros((len(rows), len(material.dataset.labels)), np.float32)
    default, folds = np.zeros_like(tuned), []
    for number, name in enumerate(outer.names):
        others, held_out = rows[outer.index != number], rows[outer.index == number]
        search = search_among(others, name)
        fold = material.fold(learned=others, held_out=held_out, name=f"outer-{number}")
        for scores, trial, candidate in (
            (tuned, search.best, space.base.at(search.best.point)),
            (default, search.default, space.base),
        ):
            raw = next(fitter.scores(candidate, [fold]))
            # The temperature is that of the search's clips: this fold has said nothing yet.
            scores[held_out] = tempered(raw, trial.temperature)
        material.readings.forget([fold])
        right, default_right = (
            s[held_out].argmax(axis=1) == targets[held_out] for s in (tuned, default)
        )
        folds.append(
            OuterFold(
                name=name,
                num_clips=len(held_out),
                search=search,
                accuracy=float(right.mean()),
                default_accuracy=float(default_right.mean()),
            )
        )
    return _compare(material, outer, folds, tuned, default)


def _compare(
    material: Material,
    outer: Folds,
    folds: Sequence[OuterFold],
    tuned: NDArray[np.float32],
    default: NDArray[np.float32],
) -> NestedResult:
    targets, labels = material.targets, material.dataset.labels
    right, default_right = (scores.argmax(axis=1) == targets for scores in (tuned, default))
    groups = material.dataset.groups()
    return NestedResult(
        folds=tuple(folds),
        tuned=evaluate_scores(tuned, targets, labels),
        default=evaluate_scores(default, targets, labels),
        difference=float(right.mean() - default_right.mean()),
        interval=difference_interval(default_right, right, groups),
        drawn="clips" if groups is None else "groups",
        folds_by=outer.by,
    )


def difference_interval(
    first: NDArray[np.bool_], second: NDArray[np.bool_], groups: NDArray[np.int64] | None
) -> tuple[float, float]:
    """95% interval of how much more often the second is right, by a paired bootstrap.

    Args:
        first: (N,) whether each clip is named right.
        second: the same clips, by somebody else.
        groups: (N,) group of each clip; clips of a group are drawn together, because they are
            right or wrong together. None draws clips.
    """
    units = np.arange(len(first)) if groups is None else np.unique(groups, return_inverse=True)[1]
    gains = np.bincount(units, weights=second.astype(float) - first)  # (U,)
    sizes = np.bincount(units)
    drawn = np.random.default_rng(0).integers(len(sizes), size=(_DRAWS, len(sizes)))
    differences = gains[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(differences, [0.025, 0.975])
    return float(low), float(high)
