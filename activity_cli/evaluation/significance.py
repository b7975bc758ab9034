"""Are two classifiers really different? Tests on the clips that both have named.

A clip that both get right, or both get wrong, says nothing about which is better; what counts
is the clips on which they part.
"""

from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

_DRAWS = 10_000
_LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedResult:
    """Two classifiers on the same clips."""

    num_clips: int
    only_first: int
    """Clips that the first names right and the second wrong."""
    only_second: int
    p_value: float
    """Of McNemar's exact test: how often chance alone would part them at least this unevenly."""
    interval: tuple[float, float]
    """95% interval of the difference in accuracy, second less first, by a paired bootstrap."""

    @property
    def difference(self) -> float:
        """Accuracy of the second less that of the first."""
        return (self.only_second - self.only_first) / self.num_clips


def compare_paired(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedResult:
    """Compare two classifiers by the clips, (N,) each, that they name right.

    Clips count as independent. Where several show one person or scene, there is less evidence
    than their number says, and the p-value is too small.

    Raises:
        ValueError: there are no clips, or not as many on both sides.
    """
    if first.shape != second.shape or not first.size:
        raise ValueError(f"{first.shape} and {second.shape} clips cannot be paired")
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    return PairedResult(
        num_clips=first.size,
        only_first=only_first,
        only_second=only_second,
        p_value=mcnemar(only_first, only_second),
        interval=_bootstrap(only_first, only_second, first.size),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value of McNemar's exact test (1947): is it a fair coin that parts them?"""
    num_parted = only_first + only_second
    tail = sum(comb(num_parted, k) for k in range(min(only_first, only_second) + 1))
    # Whole numbers, however large, until the last step: floats would overflow at 1030 clips.
    share: float = tail / 2**num_parted
    return min(1.0, 2 * share)


def _bootstrap(only_first: int, only_second: int, num_clips: int) -> tuple[float, float]:
    """Percentiles over clips drawn anew with replacement, which come as three kinds only."""
    counts = np.array([only_first, only_second, num_clips - only_first - only_second])
    drawn = np.random.default_rng(0).multinomial(num_clips, counts / num_clips, size=_DRAWS)
    differences = (drawn[:, 1] - drawn[:, 0]) / num_clips  # (draws,)
    low, high = np.quantile(differences, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)
