"""Out-of-distribution (OOD) score: how unlike the training clips a clip is. numpy alone.

The score is the residual of a clip's standardised mean features to the main directions of the
training clips (Wang et al., "ViM: Out-of-Distribution with Virtual-logit Matching", 2022).

N clips, S streams, T frames, D CNN features; K = S * D, R directions.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAX_DIRECTIONS = 32
_CLIPS_PER_DIRECTION = 3
"""With fewer clips the directions would be the clips themselves."""
_MAX_CLIPS = 1000
"""Clips that are fitted to, evenly picked if there are more."""
_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class OodDetector:
    """Statistics of the training clips' features."""

    mean: NDArray[np.float32]  # (K,) mean of the clips' mean features
    scale: NDArray[np.float32]  # (K,) their spread, never 0
    directions: NDArray[np.float16]
    """(K, R) orthonormal principal directions of standardised features."""

    def __post_init__(self) -> None:
        size = len(self.mean)
        shapes = self.mean.shape, self.scale.shape, self.directions.shape[:1]
        if set(shapes) != {(size,)} or self.directions.ndim != 2:
            raise ValueError(f"mean, scale and directions do not fit together: {shapes}")

    def ood_score(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return (N,) scores of clips (N, S, T, D); clips like the training clips score about 1."""
        directions = self.directions.astype(np.float32)
        scores = [np.zeros(0, np.float32)]
        for means in _mean_features(features, np.arange(len(features))):
            standard = (means - self.mean) / self.scale  # (B, K)
            # Not `@`: the threads of BLAS wait actively, for longer than this takes.
            along = np.einsum("bk,kr->br", standard, directions)
            residual = standard - np.einsum("br,kr->bk", along, directions)
            scores.append(np.sqrt(np.square(residual).mean(axis=1)))
        return np.concatenate(scores)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the tensors by name, for the model folder."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def fit_ood_detector(features: NDArray[np.floating[Any]], rows: NDArray[np.int64]) -> OodDetector:
    """Fit a detector to rows of (N, S, T, D) features, or of what `mean_over_time` returns."""
    if len(rows) > _MAX_CLIPS:
        rows = rows[np.arange(_MAX_CLIPS) * len(rows) // _MAX_CLIPS]
    means = np.concatenate(list(_mean_features(features, rows)))  # (N, K)
    mean, spread = means.mean(axis=0), means.std(axis=0)
    scale = spread + max(0.05 * float(spread.mean()), 1e-6)
    standard = (means - mean) / scale
    count = min(_MAX_DIRECTIONS, len(rows) // _CLIPS_PER_DIRECTION)
    # Through inner products of clips, which are fewer than features. The largest come last.
    squares, vectors = np.linalg.eigh((standard @ standard.T).astype(np.float64))
    first = len(rows) - count
    kept = first + np.flatnonzero(squares[first:] > 1e-6 * squares[-1])  # equal clips add none
    directions = standard.T @ (vectors[:, kept] / np.sqrt(squares[kept])).astype(np.float32)
    return OodDetector(
        mean=mean,
        scale=scale.astype(np.float32),
        directions=directions.astype(np.float16),
    )


def mean_over_time(features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return the means of clips as features of one frame: (N, S, T, D) -> (N, S, 1, D)."""
    means = np.concatenate(list(_mean_features(features, np.arange(len(features)))))
    return means.reshape(len(features), features.shape[1], 1, -1)


def _mean_features(
    features: NDArray[np.floating[Any]], rows: NDArray[np.int64]
) -> Iterator[NDArray[np.float32]]:
    """Yield the means over time of the rows, (B, K) a batch."""
    for start in range(0, len(rows), _BATCH):
        clips = features[rows[start : start + _BATCH]].astype(np.float32)
        yield clips.mean(axis=2).reshape(len(clips), -1)
