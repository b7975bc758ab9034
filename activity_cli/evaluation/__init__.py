"""Intervals, baselines, checks, comparisons and explanations of models. Here: their predictions.

N is clips, C labels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.data.dataset import Sample
from activity_cli.data.leakage import Leakage
from activity_cli.model.frame_order_ablation import OrderScores
from activity_cli.model.metrics import Evaluation, Thresholds, correct_clips
from activity_cli.types import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPrediction:
    """A clip that has scores."""

    sample: Sample
    status: Status
    reason: str
    duration_seconds: float  # of the clip, or of the labelled piece of the video
    label: str
    """The predicted one, or `unknown` for a rejected clip; of a multi-label model all predicted
    ones: `eat + walk`, or `none`."""

    @property
    def start_seconds(self) -> float:
        """Return where in its video the clip begins."""
        return self.sample.start_seconds or 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Scores of a model beside the true labels."""

    clips: tuple[ClipPrediction, ...]  # (N,)
    scores: NDArray[np.float32]  # (N, C)
    targets: NDArray[Any]  # (N,), or (N, C) of a multi-label model
    left_out: tuple[tuple[Sample, Status, str], ...]  # cannot be decoded: status and reason
    evaluation: Evaluation
    orders: OrderScores | None = None  # the frame-order ablation; None: not measured
    thresholds: Thresholds | None = None  # (C,) or (N, C) of a multi-label model

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the C labels."""
        return self.evaluation.labels

    @property
    def is_correct(self) -> NDArray[np.bool_]:
        """(N,) whether the best label is the true one; of a multi-label model, all labels are."""
        return correct_clips(self.scores, self.targets, self.thresholds)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitInfo:
    """How test clips were separated from training clips."""

    by: str = ""  # in words; empty where it is not known
    leakage: Leakage | None = None  # None where it was not checked
    optimistic_because: str = ""  # why the test clips influenced the model
