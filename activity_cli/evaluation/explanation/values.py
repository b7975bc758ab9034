"""What an explanation consists of. Light to import: no torch.

T is frames per clip, S streams, H LSTM units per direction, C labels; h and w the cells of the
CNN's last maps.

*Evidence* for a label is its logit minus the mean of the other labels' logits, divided by the
model's temperature. With two labels it is the log-odds of the score. A network's logits mean
nothing by themselves, as a number added to all of them changes no score; evidence is free of that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from activity_cli.settings import Stream
from activity_cli.types import Decoded, Images, Prediction

Floats = NDArray[np.float32]
Direction = Literal["forward", "backward"]

AGREES = 0.5
"""Rank correlations from here on count as rough agreement; with 16 frames chance gives as much one
time in 40."""


_NEXT_TO_NOTHING = 0.05  # of all that is said


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """How much each frame speaks for a label, in evidence."""

    summary: Floats
    """(S, T) through the mean over time: exact, as that part is linear. The measure of nothing is
    the mean frame of the training clips."""
    order: Floats
    """(S, T) through the LSTM: integrated gradients, from a clip in which nothing changes."""
    constant: float
    """What the network says before it has seen anything."""
    evidence: float
    """For the label; the constant and all contributions add up to it."""
    occlusion: Floats
    """(T,) by how much the evidence falls where a frame is replaced by the mean of the others."""
    attention: Floats | None
    """(T,) weights of the LSTM's attention, which sum to 1; None where they decide nothing."""

    @property
    def contributions(self) -> Floats:
        """(S, T) of both parts."""
        return self.summary + self.order

    @property
    def per_frame(self) -> Floats:
        """(T,) of both parts and all streams."""
        total: Floats = self.contributions.sum(axis=0)
        return total

    @property
    def order_share(self) -> float:
        """How much of all that is said, for and against, the LSTM says: 0 to 1."""
        order, summary = float(np.abs(self.order).sum()), float(np.abs(self.summary).sum())
        return order / (order + summary) if order else 0.0

    @property
    def attention_matters(self) -> bool:
        """Whether the LSTM says enough for its attention to be worth a look."""
        return self.attention is not None and self.order_share >= _NEXT_TO_NOTHING

    @property
    def agreement(self) -> float | None:
        """Rank correlation of contributions and occlusion; None where a rank means nothing."""
        return rank_correlation(self.per_frame, self.occlusion)

    @property
    def attention_agreement(self) -> float | None:
        """Rank correlation of attention and the size of the LSTM's contributions."""
        if self.attention is None:
            return None
        return rank_correlation(self.attention, np.abs(self.order.sum(axis=0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class GateTrace:
    """One layer of an LSTM reading a clip in one direction; each (T, H), in the clip's order."""

    layer: int
    direction: Direction
    input: Floats
    """0 keeps the frame out, 1 lets it in."""
    forget: Floats
    """0 forgets what was known, 1 keeps it."""
    output: Floats
    """0 says nothing, 1 all that is known."""
    candidate: Floats
    """What would be let in, -1 to 1."""
    cell: Floats
    """What is known after the frame."""
    hidden: Floats
    """What is said after the frame, -1 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A unit of the LSTM's last layer, and how much it says."""

    direction: Direction
    index: int
    effect: float
    """Its share of the evidence, to first order: the sum over time of output times gradient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerLife:
    """What an LSTM did while it read a clip."""

    traces: tuple[GateTrace, ...]
    """Of every layer and direction, the first layer first."""
    telling: tuple[Unit, ...]
    """The units of the last layer that say most, first the one that says most."""

    def last(self, direction: Direction) -> GateTrace | None:
        """The last layer's trace in a direction; None where it does not read in that one."""
        found = [trace for trace in self.traces if trace.direction == direction]
        return found[-1] if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a model gives a video a label's score."""

    video: Path
    model: str
    prediction: Prediction
    label: str
    """The label that is explained."""
    decoded: Decoded
    start_seconds: float
    """Where the clip starts in the video."""
    importance: Importance
    images: Mapping[Stream, Images]
    """(T, H, W, channels) what the CNN saw."""
    heat: Mapping[Stream, Floats]
    """(T, h, w) where in the pictures evidence for the label, or against it, comes from."""
    stage: str
    """The part of the CNN whose maps these are."""
    life: InnerLife | None
    """None where the LSTM says nothing."""
    silence: str = ""
    """Why the LSTM says nothing, in words."""
    has_lstm: bool = True
    num_members: int = 1
    """Networks whose mean is explained."""

    @property
    def score(self) -> float:
        """Of the label that is explained."""
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
        """The heat that counts as hottest, one for all frames and streams, so that they compare."""
        return max(*(float(heat.max()) for heat in self.heat.values()), 1e-9)

    def most_important(self, count: int) -> list[int]:
        """Frames that speak most for the label, in the order of time.

        Neighbours look alike, so none are taken together as long as there are others; where the
        video has too few frames and some were repeated, each is taken once.
        """
        ranked = np.argsort(-self.importance.per_frame, kind="stable").tolist()
        chosen: list[int] = []
        for gap in (2, 1):
            for frame in ranked:
                is_apart = all(abs(frame - other) >= gap for other in chosen)
                is_new = self.seconds[frame] not in self.seconds[chosen]
                if len(chosen) < count and is_apart and is_new:
                    chosen.append(frame)
        return sorted(chosen)


def rank_correlation(first: Floats, second: Floats) -> float | None:
    """Spearman's: 1 where both put the frames in the same order; None where one says nothing."""
    ranks = [_ranks(values) for values in (first, second)]
    deviations = [values - values.mean() for values in ranks]
    size = float(np.sqrt(np.prod([np.square(values).sum() for values in deviations])))
    return float((deviations[0] * deviations[1]).sum() / size) if size else None


def _ranks(values: Floats) -> NDArray[np.float64]:
    """The place of each value among all; equal values share the mean of their places."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    shared: NDArray[np.float64] = (last - (counts - 1) / 2)[inverse]
    return shared
