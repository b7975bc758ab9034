"""Word detectors: which words are in a clip's captions, by ridge regression on its features.

N clips, S streams, K coefficients over time, D features, E words.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from activity_cli.data.splits import choosing_folds

Floats = NDArray[np.float64]

MOST_DETECTORS = 1000
# More take no part in the fit: its time grows with the cube of their number.
_MOST_CLIPS = 2000
_FOLDS = 5
_PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(-8, 5))
_RARE = 3  # clips: of fewer nothing can be learned
_COMMON = 0.95  # of the clips: a word of nearly all captions has nothing to detect


@dataclass(frozen=True, slots=True, kw_only=True)
class Detectors:
    """Linear detectors, and their evidence on the clips they were fitted to."""

    weights: NDArray[np.float32]  # (E, S * K * D)
    bias: NDArray[np.float32]  # (E,)
    evidence: NDArray[np.float32]
    """(N, E) of each training clip, by detectors fitted to others; mean 0, spread 1."""


def detectable(presence: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return which of the words (N, V), shares of captions, can be detected; one at least."""
    clips = (presence > 0).sum(axis=0)
    can = (clips >= min(_RARE, max(1, len(presence) // 4))) & (presence.mean(axis=0) < _COMMON)
    found = np.flatnonzero(can)[:MOST_DETECTORS]
    return found if len(found) else np.array([presence.var(axis=0).argmax()])


def fit_detectors(
    pooled: NDArray[np.float32],
    presence: NDArray[np.float32],
    groups: NDArray[np.int64] | None,
    *,
    seed: int,
) -> Detectors:
    """Fit a detector per word to (N, S, K * D) standardised features and (N, E) presence.

    Each word has the streams, one or all, and the penalty that give held-out clips, by groups, the
    lowest error. The evidence of a training clip is that of detectors that were fitted without its
    fold: the decoder must learn how far to trust them (Wolpert, "Stacked generalization", 1992).
    """
    rows = np.random.default_rng(seed).permutation(len(pooled))[:_MOST_CLIPS]
    fold = choosing_folds(np.zeros(len(rows), np.int64), _of(groups, rows), _FOLDS, seed=seed)
    scaled = pooled[rows].astype(np.float64) / np.sqrt(pooled.shape[1] * pooled.shape[2])
    each = [stream @ stream.T for stream in scaled.swapaxes(0, 1)]
    kernels = [*each, sum(each[1:], start=each[0])][: 1 if len(each) == 1 else None]
    targets = presence[rows].astype(np.float64)
    held_out = np.stack([_predict_held_out(kernel, targets, fold) for kernel in kernels])
    errors = ((held_out - targets) ** 2).mean(axis=2)  # (kernels, penalties, E)
    best = errors.reshape(-1, targets.shape[1]).argmin(axis=0)
    kernel_of, penalty_of = np.divmod(best, len(_PENALTIES))
    evidence = held_out[kernel_of, penalty_of, :, np.arange(targets.shape[1])].T  # (N, E)
    centre, spread = evidence.mean(axis=0), evidence.std(axis=0) + 1e-3
    weights = np.zeros((targets.shape[1], *scaled.shape[1:]))
    for number, kernel in enumerate(kernels):
        used = slice(None) if number == len(each) else slice(number, number + 1)
        for index in np.unique(penalty_of[kernel_of == number]):
            words = np.flatnonzero((kernel_of == number) & (penalty_of == index))
            duals = _duals(kernel, targets[:, words], _PENALTIES[index])
            weights[words, used] = np.tensordot(duals.T, scaled[:, used], axes=1)
    weights /= spread[:, None, None] * np.sqrt(pooled.shape[1] * pooled.shape[2])
    every_row = np.zeros((len(pooled), targets.shape[1]), np.float32)
    mean = (targets.mean(axis=0) - centre) / spread
    every_row[:] = np.tensordot(pooled, weights, axes=([1, 2], [1, 2])) + mean
    every_row[rows] = (evidence - centre) / spread
    return Detectors(
        weights=weights.reshape(len(weights), -1).astype(np.float32),
        bias=mean.astype(np.float32),
        evidence=every_row,
    )


def _of(groups: NDArray[np.int64] | None, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
    return None if groups is None else groups[rows]


def _predict_held_out(kernel: Floats, targets: Floats, fold: NDArray[np.int64]) -> Floats:
    """Return (penalties, N, E) predictions of each clip without its fold."""
    found = np.tile(targets.mean(axis=0), (len(_PENALTIES), len(targets), 1))
    for number in range(int(fold.max()) + 1):
        inside, outside = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        values, vectors = np.linalg.eigh(kernel[np.ix_(outside, outside)])
        mean = targets[outside].mean(axis=0)
        seen = kernel[np.ix_(inside, outside)] @ vectors
        rotated = vectors.T @ (targets[outside] - mean)
        for index, penalty in enumerate(_PENALTIES):
            shrunk = rotated / (np.maximum(values, 0) + penalty)[:, None]
            found[index, inside] = seen @ shrunk + mean
    return found


def _duals(kernel: Floats, targets: Floats, penalty: float) -> Floats:
    """Return (N, E) weights of the training clips: kernel ridge regression."""
    ridge = kernel + penalty * np.eye(len(kernel))
    return np.linalg.solve(ridge, targets - targets.mean(axis=0))
