"""What a network says of the same frames in another order, and of parts of a clip alone.

A network that reads what happens when must suffer when the order of the frames is taken away; one
that only sees what is there and how much moves will not notice. The frames are reordered as CNN
features, so a motion image still shows which way things moved between its own two frames.

N is clips, K shuffles, W parts; S, T, D, C as in `network`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.model.folder import Model, Weights

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
    """Scores of N clips, fed to the network that scored them in other ways."""

    reversed: Scores
    """(N, C), last frame first."""
    shuffled: Scores
    """(N, K, C), each clip's frames in K orders that its number fixes."""
    parts: Scores
    """(N, W, C) of overlapping parts of each clip, each read alone."""
    summary: Scores | None = None
    """(N, C) by the clips' means alone, the LSTM left aside; None where that is not known."""
    frame: Scores | None = None
    """(N, C) by a classifier of middle frames; None where none was fitted."""

    def rows(self, index: NDArray[np.int64]) -> "OrderScores":
        """The clips at these positions."""
        return OrderScores(
            reversed=self.reversed[index],
            shuffled=self.shuffled[index],
            parts=self.parts[index],
            summary=None if self.summary is None else self.summary[index],
            frame=None if self.frame is None else self.frame[index],
        )


def join_orders(found: Sequence[OrderScores]) -> OrderScores:
    """The clips of all, one after the other."""

    def join(parts: Iterable[Scores | None]) -> Scores | None:
        known = [part for part in parts if part is not None]
        return np.concatenate(known) if len(known) == len(found) else None

    return OrderScores(
        reversed=np.concatenate([part.reversed for part in found]),
        shuffled=np.concatenate([part.shuffled for part in found]),
        parts=np.concatenate([part.parts for part in found]),
        summary=join(part.summary for part in found),
        frame=join(part.frame for part in found),
    )


def join_folds(found: Sequence[OrderScores], fold_index: NDArray[np.int64]) -> OrderScores:
    """The clips of each fold, in the order of folds -> all clips in their own order.

    Args:
        found: of each fold's clips.
        fold_index: (N,) the fold of each clip.
    """
    places = np.argsort(fold_index, kind="stable")  # of the clips, fold by fold
    return join_orders(found).rows(np.argsort(places))


def score_orders(
    classify: Classify,
    features: Features,
    rows: NDArray[np.int64],
    *,
    first_number: int = 0,
    summarise: Classify | None = None,
) -> OrderScores:
    """Feed clips to a network in other orders and in parts; as dear as scoring them 8 times.

    Args:
        classify: the network.
        features: (M, S, T, D), maybe mapped from disk.
        rows: (N,) which of them.
        first_number: of the clip in row 0. Its number fixes how a clip is shuffled.
        summarise: the network without its LSTM.
    """
    found = []
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        clips = np.asarray(features[batch])
        numbers = (first_number + batch).tolist()
        orders = np.stack([_orders(clips.shape[2], number) for number in numbers], axis=1)
        scores = np.stack([classify(_reorder(clips, order)) for order in orders], axis=1)
        found.append(
            OrderScores(
                reversed=scores[:, 0],
                shuffled=scores[:, 1:],
                parts=np.stack([classify(clips[:, :, p]) for p in part_slices(clips.shape[2])], 1),
                summary=summarise(clips) if summarise else None,
            )
        )
    return join_orders(found)


def part_slices(num_frames: int) -> list[slice]:
    """The frames of each part of a clip, in order."""
    length = -(-num_frames // _PARTS_PER_CLIP)
    starts = np.linspace(0, num_frames - length, _NUM_PARTS).round().astype(int)
    return [slice(start, start + length) for start in dict.fromkeys(starts.tolist())]


class OrderProbe:
    """Hears of clips one by one, as they are scored, and feeds them again in other orders.

    Args:
        classify: the network that scores them.
        summarise: the same without its LSTM.
    """

    def __init__(self, classify: Classify, summarise: Classify | None = None) -> None:
        self._classify = classify
        self._summarise = summarise
        self._waiting: list[Features] = []
        self._found: list[OrderScores] = []
        self._count = 0

    def __call__(self, features: Features) -> None:
        """Take in the next clip, (S, T, D)."""
        self._waiting.append(features)
        if len(self._waiting) == _BATCH:
            self._score()

    def scores(self) -> OrderScores | None:
        """Of all clips so far, in their order; None without a clip."""
        if self._waiting:
            self._score()
        return join_orders(self._found) if self._found else None

    def _score(self) -> None:
        clips = np.stack(self._waiting)
        orders = score_orders(
            self._classify,
            clips,
            np.arange(len(clips)),
            first_number=self._count,
            summarise=self._summarise,
        )
        self._found.append(orders)
        self._count += len(clips)
        self._waiting.clear()


def summary_of(model: Model) -> Classify | None:
    """A model without its LSTM, in numpy; None where it is not made of these two."""
    description = model.description
    weights = model.weights()
    names = ("mean", "scale", "summary.weight", "summary.bias")
    if description.network.temporal != "lstm" or any(name not in weights for name in names):
        return None
    return lambda features: _summarise(features, weights, description.temperature)


def _summarise(features: Features, weights: Weights, temperature: float) -> Scores:
    means = features.astype(np.float32).mean(axis=2)  # (N, S, D)
    read = ((means - weights["mean"]) / weights["scale"]).reshape(len(means), -1)
    logits: NDArray[Any] = (read @ weights["summary.weight"].T + weights["summary.bias"]) / (
        temperature
    )
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores: Scores = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return scores


def _orders(num_frames: int, number: int) -> NDArray[np.int64]:
    """(1 + K, T): backwards, then K shuffles that are the same for a clip's number every time."""
    random = np.random.default_rng([number, num_frames])
    shuffles = [random.permutation(num_frames) for _ in range(NUM_SHUFFLES)]
    return np.stack([np.arange(num_frames)[::-1], *shuffles])


def _reorder(clips: Features, order: NDArray[np.int64]) -> Features:
    """(N, S, T, D) with each clip's frames in its order, (N, T)."""
    return np.take_along_axis(clips, order[:, None, :, None], axis=2)
