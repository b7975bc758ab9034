"""Which settings made the difference between trials? A hint, not a measurement: trials are few."""

from typing import TYPE_CHECKING

import numpy as np

from activity_cli.training.tuning.space import Choice, Space, Value

if TYPE_CHECKING:
    from activity_cli.training.tuning.search import SearchResult

_FEWEST_TRIALS = 10
_TREES = 100
_SHUFFLES = 20


def importance_of(result: "SearchResult", space: Space) -> dict[str, float]:
    """The share of each setting in what a forest knows about a trial's rank, largest first.

    A forest (Breiman, 2001) learns the rank of the log-loss from the settings; what a setting is
    worth is how much worse the forest gets when its column is shuffled. Trials that were given up
    early say most about what is bad, so they count with what was to be expected of them. Settings
    that did not matter in a trial have the value that the search began with.

    Returns:
        By name; empty where trials are too few, or settings make no difference.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    trials = result.trials
    if len(trials) < _FEWEST_TRIALS or not space.dimensions:
        return {}
    base = space.base.point()
    table = np.array(
        [
            [_number(d, trial.point.get(d.name, base[d.name])) for d in space.dimensions]
            for trial in trials
        ]
    )
    ranks = np.argsort(np.argsort([result.expected_loss(t) for t in trials])).astype(np.float64)
    forest = RandomForestRegressor(_TREES, min_samples_leaf=2, random_state=0).fit(table, ranks)
    losses = permutation_importance(forest, table, ranks, n_repeats=_SHUFFLES, random_state=0)
    worth = np.maximum(losses.importances_mean, 0)
    if not worth.sum():
        return {}
    shares = dict(zip((d.name for d in space.dimensions), worth / worth.sum(), strict=True))
    return {name: float(share) for name, share in sorted(shares.items(), key=lambda s: -s[1])}


def _number(dimension: object, value: Value) -> float:
    """A value as a tree splits it: the place of a word among the words."""
    if isinstance(dimension, Choice) and isinstance(value, str):
        return float(dimension.values.index(value))
    return float(value)
