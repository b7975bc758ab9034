"""Frame-order ablation: score the same frames in other orders, and parts of a clip alone.

A network that reads the order of frames loses accuracy when the order is taken away. Frames are
reordered as CNN features, so a motion image still shows the direction of its own movement.

N is clips, K shuffles, W parts; S, T, D, C as in `network`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.model.folder import Model

NUM_SHUFFLES = 4
_NUM_PARTS = 7
_PARTS_PER_CLIP = 4
"""A part is a quarter of a clip, and starts half a part after the one before."""
_BATCH = 32

Features = NDArray[np.float16]
Scores = NDArray[np.float32]
Classify = Callable[[Features], Scores]
"""(N, S, T, D) features -> (N, C) scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderScores:
    """Scores of N clips whose frames were reordered or left out."""

    reversed: Scores  # (N, C), last frame first
    shuffled: Scores  # (N, K, C), in K orders that the clip's number fixes
    parts: Scores  # (N, W, C) of overlapping parts of each clip, each scored alone
    pooled: Scores | None = None
    """(N, C) by a linear head of the mean over time; None where there is none."""
    frame: Scores | None = None
    """(N, C) by a classifier of middle frames; None where none was fitted."""

    def rows(self, index: NDArray[np.int64]) -> "OrderScores":
        """Return the clips at these positions."""
        arrays = ((field.name, getattr(self, field.name)) for field in fields(self))
        chosen: dict[str, Any] = {k: None if v is None else v[index] for k, v in arrays}
        return OrderScores(**chosen)


def join_orders(found: Sequence[OrderScores]) -> OrderScores:
    """Concatenate the clips of all."""
    joined: dict[str, Any] = {}
    for field in fields(OrderScores):
        arrays = [getattr(orders, field.name) for orders in found]
        is_missing = any(array is None for array in arrays)
        joined[field.name] = None if is_missing else np.concatenate(arrays)
    return OrderScores(**joined)


def join_folds(found: Sequence[OrderScores], fold_index: NDArray[np.int64]) -> OrderScores:
    """Join the clips of all folds in the order of the data; `fold_index` is (N,)."""
    positions = np.argsort(fold_index, kind="stable")  # of the clips, fold by fold
    return join_orders(found).rows(np.argsort(positions))


def score_orders(
    classify: Classify,
    features: Features,
    rows: NDArray[np.int64],
    *,
    first_number: int = 0,
    pooled_head: Classify | None = None,
) -> OrderScores:
    """Score clips in other orders and in parts; costs as much as scoring them 8 times.

    `features` (M, S, T, D) may be mapped from disk; `rows` (N,) are the clips to score. A clip's
    row and `first_number` fix how it is shuffled. `pooled_head` is the network without its LSTM.
    """
    found = []
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        clips = np.asarray(features[batch])
        numbers = (first_number + batch).tolist()
        orders = np.stack([_orders(clips.shape[2], number) for number in numbers], axis=1)
        reordered = (np.take_along_axis(clips, order[:, None, :, None], 2) for order in orders)
        scores = np.stack([classify(each) for each in reordered], axis=1)
        found.append(
            OrderScores(
                reversed=scores[:, 0],
                shuffled=scores[:, 1:],
                parts=np.stack([classify(clips[:, :, p]) for p in _part_slices(clips.shape[2])], 1),
                pooled=pooled_head(clips) if pooled_head else None,
            )
        )
    return join_orders(found)


class OrderProbe:
    """Collect the features of clips as they are scored, and score them in other orders too."""

    def __init__(self, classify: Classify, pooled_head: Classify | None = None) -> None:
        self._classify = classify
        self._pooled_head = pooled_head
        self._waiting: list[Features] = []
        self._found: list[OrderScores] = []
        self._count = 0

    def __call__(self, features: Features) -> None:
        """Take in the next clip, (S, T, D)."""
        self._waiting.append(features)
        if len(self._waiting) == _BATCH:
            self._score()

    def scores(self) -> OrderScores | None:
        """Return the scores of all clips so far, in their order; None without a clip."""
        if self._waiting:
            self._score()
        return join_orders(self._found) if self._found else None

    def _score(self) -> None:
        orders = score_orders(
            self._classify,
            np.stack(self._waiting),
            np.arange(len(self._waiting)),
            first_number=self._count,
            pooled_head=self._pooled_head,
        )
        self._found.append(orders)
        self._count += len(self._waiting)
        self._waiting.clear()


def pooled_head_of(model: Model) -> Classify | None:
    """Return a model without its LSTM, in numpy; None where that is not mean pooling alone."""
    weights, temperature = model.weights(), model.description.temperature
    names = ("mean", "scale", "pooled_head.weight", "pooled_head.bias")
    if model.description.network.temporal != "lstm" or any(name not in weights for name in names):
        return None
    num_streams, _, size = model.description.feature_shape
    mean, scale = (weights[name].reshape(num_streams, -1, size) for name in ("mean", "scale"))
    matrix = weights["pooled_head.weight"].reshape(-1, *mean.shape)  # (C, S, K, D)
    if matrix[:, :, 1:].any():
        return None

    def classify(features: Features) -> Scores:
        inputs = (features.astype(np.float32).mean(axis=2) - mean[:, 0]) / scale[:, 0]  # (N, S, D)
        logits = np.einsum("nsd,csd->nc", inputs, matrix[:, :, 0]) + weights["pooled_head.bias"]
        powers = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
        scores: Scores = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
        return scores

    return classify


def _part_slices(num_frames: int) -> list[slice]:
    """Return the frames of each part of a clip, in order."""
    length = -(-num_frames // _PARTS_PER_CLIP)
    starts = np.linspace(0, num_frames - length, _NUM_PARTS).round().astype(int)
    return [slice(start, start + length) for start in dict.fromkeys(starts.tolist())]


def _orders(num_frames: int, number: int) -> NDArray[np.int64]:
    """(1 + K, T): backwards, then K shuffles that are the same for a clip's number every time."""
    random = np.random.default_rng([number, num_frames])
    shuffles = [random.permutation(num_frames) for _ in range(NUM_SHUFFLES)]
    return np.stack([np.arange(num_frames)[::-1], *shuffles])
