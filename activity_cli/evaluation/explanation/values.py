"""An explanation as data. Light to import: no torch.

T is frames per clip, S streams, H LSTM units per direction, C labels; h and w the cells of the
CNN's last feature maps. The *evidence* for a label is its logit minus the mean of the other
labels' logits, divided by the model's temperature; with two labels, the log-odds of the score.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from activity_cli.settings import Stream
from activity_cli.types import Decoded, Images, Prediction

Floats = NDArray[np.float32]
Direction = Literal["forward", "backward"]

AGREES = 0.5
"""Rank correlation from which two rankings count as similar. With 16 frames, chance reaches it one
time in 40."""
_MIN_LSTM_SHARE = 0.05  # of the evidence; below, attention is not shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """Contribution of each frame to the evidence for a label."""

    pooled: Floats
    """(S, T) through the mean over time. Exact, as this part is linear. The baseline is the mean
    frame of the training clips."""
    temporal: Floats
    """(S, T) through the LSTM: integrated gradients. The baseline is a clip in which nothing
    changes."""
    constant: float  # what the baselines give
    evidence: float  # sum of the constant and all contributions
    occlusion: Floats
    """(T,) decrease of the evidence when a frame is replaced by the mean of the others."""
    attention: Floats | None = None
    """(T,) attention weights, which sum to 1; None where they have no effect."""

    @property
    def contributions(self) -> Floats:
        """(S, T) of both parts."""
        return self.pooled + self.temporal

    @property
    def per_frame(self) -> Floats:
        """(T,) sum over both parts and all streams."""
        return cast(Floats, self.contributions.sum(axis=0))

    @property
    def lstm_share(self) -> float:
        """Share of the LSTM in all evidence, for and against the label: 0 to 1."""
        lstm, pooled = float(np.abs(self.temporal).sum()), float(np.abs(self.pooled).sum())
        return lstm / (lstm + pooled) if lstm else 0.0

    @property
    def attention_matters(self) -> bool:
        """Whether the LSTM contributes enough for its attention to be shown."""
        return self.attention is not None and self.lstm_share >= _MIN_LSTM_SHARE

    @property
    def agreement(self) -> float | None:
        """Rank correlation of contributions and occlusion; None where frames do not differ."""
        return rank_correlation(self.per_frame, self.occlusion)

    @property
    def attention_agreement(self) -> float | None:
        """Rank correlation of attention and the size of the LSTM's contributions."""
        if self.attention is None:
            return None
        return rank_correlation(self.attention, np.abs(self.temporal.sum(axis=0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class GateTrace:
    """One layer of an LSTM reading a clip in one direction; each (T, H), in the clip's order."""

    layer: int
    direction: Direction
    input: Floats  # 0 blocks the frame, 1 passes it
    forget: Floats  # 0 clears the cell, 1 keeps it
    output: Floats  # 0 hides the cell, 1 passes it on
    cell: Floats  # state after the frame
    hidden: Floats  # output after the frame, -1 to 1


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of the LSTM's last layer."""

    direction: Direction
    index: int
    effect: float
    """Its contribution to the evidence, to first order: the sum over time of output * gradient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LstmTrace:
    """What an LSTM did while it read a clip."""

    traces: tuple[GateTrace, ...]  # of every layer and direction, the first layer first
    top_units: tuple[Unit, ...]  # units of the last layer with the largest effect, largest first

    def last(self, direction: Direction) -> GateTrace | None:
        """Return the last layer's trace in a direction; None where the LSTM is one-way."""
        return next((t for t in reversed(self.traces) if t.direction == direction), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a model gives a label of a video its score."""

    video: Path
    model: str
    prediction: Prediction
    label: str  # the label that is explained
    decoded: Decoded
    start_seconds: float  # where the clip starts in the video
    importance: Importance
    images: Mapping[Stream, Images]  # (T, H, W, channels) input of the CNN
    heat: Mapping[Stream, Floats]
    """(T, h, w) evidence by image region; negative where it is against the label."""
    stage: str  # the part of the CNN whose feature maps these are
    lstm: LstmTrace | None  # None where the LSTM has no effect
    lstm_unused: str = ""  # why the LSTM has no effect, in words
    has_lstm: bool = True
    num_members: int = 1  # networks in the ensemble, whose mean is explained

    @property
    def score(self) -> float:
        """Score of the label that is explained."""
        return float(self.prediction.scores[self.prediction.labels.index(self.label)])

    @property
    def seconds(self) -> NDArray[np.float64]:
        """(T,) time of each frame, from the start of the file."""
        return self.decoded.seconds

    @property
    def end_seconds(self) -> float:
        """Where the clip ends in the video."""
        return self.start_seconds + self.decoded.duration_seconds

    @property
    def heat_scale(self) -> float:
        """The largest heat: one scale for all frames and streams, so that they compare."""
        return max(*(float(heat.max()) for heat in self.heat.values()), 1e-9)

    def most_important(self, count: int) -> list[int]:
        """Return the frames with the most evidence for the label, in the order of time.

        Neighbours are taken together only where there are no others; repeated frames once.
        """
        ranked = np.argsort(-self.importance.per_frame, kind="stable").tolist()
        chosen: list[int] = []
        for min_distance, frame in product((2, 1), ranked):
            is_apart = all(abs(frame - other) >= min_distance for other in chosen)
            if is_apart and self.seconds[frame] not in self.seconds[chosen]:
                chosen.append(frame)
            if len(chosen) == count:
                break
        return sorted(chosen)


def rank_correlation(first: Floats, second: Floats) -> float | None:
    """Return Spearman's rank correlation; None where all values of one side are equal."""
    ranks = [_ranks(values) for values in (first, second)]
    if not all(np.ptp(values) for values in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: Floats) -> NDArray[np.float64]:
    """Return the rank of each value; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]
