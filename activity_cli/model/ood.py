"""How unlike the training clips is a clip? From its CNN features, in numpy, for every engine alike.

A clip's mean features, standardised, are split into what the main directions of the training clips
can express and a rest. The size of that rest is the clip's *novelty*: scores cannot say it, since
they only compare the labels with each other. The idea is that of the residual to the principal
subspace, Wang et al., "ViM: Out-of-Distribution with Virtual-logit Matching" (2022).

N clips, S streams, T frames, D CNN features; K = S * D, R directions.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

_MOST_DIRECTIONS = 32
_CLIPS_PER_DIRECTION = 3
"""With fewer the directions would be the clips themselves."""
_MOST_CLIPS = 1000
"""Clips that directions are learned from; evenly picked where there are more."""
_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Familiarity:
    """What the training clips look like to the CNN."""

    mean: NDArray[np.float32]
    """(K,) of the clips' mean features."""
    scale: NDArray[np.float32]
    """(K,) their spread, never 0."""
    directions: NDArray[np.float16]
    """(K, R) orthonormal, of standardised features."""

    def __post_init__(self) -> None:
        size = len(self.mean)
        shapes = self.mean.shape, self.scale.shape, self.directions.shape[:1]
        if set(shapes) != {(size,)} or self.directions.ndim != 2:
            raise ValueError(f"mean, scale and directions do not fit together: {shapes}")

    def novelty(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """(N,) novelty of clips (N, S, T, D): about 1 for clips like those it knows."""
        rows = [self._novelty(batch) for batch in _means(features, np.arange(len(features)))]
        return np.concatenate([np.zeros(0, np.float32), *rows])

    def _novelty(self, means: NDArray[np.float32]) -> NDArray[np.float32]:
        standard = (means - self.mean) / self.scale  # (B, K)
        directions = self.directions.astype(np.float32)
        rest = standard - standard @ directions @ directions.T
        size: NDArray[np.float32] = np.sqrt(np.square(rest).mean(axis=1))
        return size

    def tensors(self) -> dict[str, NDArray[Any]]:
        """By name, for the model folder."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: dict[str, NDArray[Any]]) -> Self:
        """What `tensors` gave.

        Raises:
            TypeError, ValueError: these are other tensors.
        """
        return cls(**tensors)


def learn_familiarity(features: NDArray[np.floating[Any]], rows: NDArray[np.int64]) -> Familiarity:
    """What these rows of (N, S, T, D) features, often a memory map, look like."""
    if len(rows) > _MOST_CLIPS:
        rows = rows[np.arange(_MOST_CLIPS) * len(rows) // _MOST_CLIPS]
    means = np.concatenate(list(_means(features, rows)))  # (N, K)
    mean, spread = means.mean(axis=0), means.std(axis=0)
    scale = spread + max(0.05 * float(spread.mean()), 1e-6)
    _, _, directions = np.linalg.svd((means - mean) / scale, full_matrices=False)  # rows
    count = min(_MOST_DIRECTIONS, len(rows) // _CLIPS_PER_DIRECTION)
    return Familiarity(
        mean=mean,
        scale=scale.astype(np.float32),
        directions=directions[:count].T.astype(np.float16),
    )


def _means(
    features: NDArray[np.floating[Any]], rows: NDArray[np.int64]
) -> Iterator[NDArray[np.float32]]:
    """(B, K) mean over time of the rows, a batch at a time."""
    for start in range(0, len(rows), _BATCH):
        clips = features[rows[start : start + _BATCH]].astype(np.float32)
        yield clips.mean(axis=2).reshape(len(clips), -1)
