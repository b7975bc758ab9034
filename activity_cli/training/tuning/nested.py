"""Nested cross-validation: the accuracy that tuning reaches on clips that no search has seen.

The best of many trials is partly the luckiest, so its own cross-validated score is optimistic.
Here each outer fold is held out, a whole search runs on the other clips, its best settings are
fitted to all of these, and the outer fold is scored once (Varma and Simon, 2006). The base settings
are scored in the same way, for comparison.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from activity_cli.data.splits import Folds
from activity_cli.model.calibration import tempered
from activity_cli.training.tuning.data import Rows, TuningData
from activity_cli.training.tuning.folds import FoldScorer
from activity_cli.training.tuning.search import SearchResult
from activity_cli.training.tuning.space import Space

SearchAmong = Callable[[Rows, str], SearchResult]
"""Search among some rows; the name of the held-out fold tells searches apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterFold:
    """Held-out clips, and the search among all others."""

    name: str
    num_clips: int
    search: SearchResult
    accuracy: float
    """Of the best settings of that search."""
    default_accuracy: float
    """Of the base settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedResult:
    """Predictions for all N clips, each by models that were searched and fitted without it."""

    folds: tuple[OuterFold, ...]
    tuned: NDArray[np.float32]
    """(N, C) probabilities with the settings of each fold's search."""
    default: NDArray[np.float32]
    """(N, C) probabilities with the base settings."""
    folds_by: str


def run_nested(
    data: TuningData,
    outer: Folds,
    space: Space,
    scorer: FoldScorer,
    search_among: SearchAmong,
) -> NestedResult:
    """Search once per outer fold, among the clips of the others, and predict the fold's clips."""
    rows, targets = np.arange(len(data.targets)), data.targets
    tuned = np.zeros((len(rows), len(data.dataset.labels)), np.float32)
    default, folds = np.zeros_like(tuned), []
    for number, name in enumerate(outer.names):
        others, held_out = rows[outer.index != number], rows[outer.index == number]
        search = search_among(others, name)
        fold = data.fold(fitted=others, held_out=held_out, name=f"outer-{number}")
        for probabilities, trial, candidate in (
            (tuned, search.best, space.base.at(search.best.point)),
            (default, search.default, space.base),
        ):
            logits = next(scorer.scores(candidate, [fold]))
            # The temperature was fitted to the search's clips; the outer fold takes no part.
            probabilities[held_out] = tempered(logits, trial.temperature)
        data.store.discard([fold])
        accuracy, default_accuracy = (
            float((p[held_out].argmax(axis=1) == targets[held_out]).mean())
            for p in (tuned, default)
        )
        folds.append(
            OuterFold(
                name=name,
                num_clips=len(held_out),
                search=search,
                accuracy=accuracy,
                default_accuracy=default_accuracy,
            )
        )
    return NestedResult(folds=tuple(folds), tuned=tuned, default=default, folds_by=outer.by)
