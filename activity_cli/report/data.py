"""The content of a report: predictions, metrics, checks and metadata, whichever command measured.

N is clips, C labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from activity_cli.data.dataset import Sample, sample_groups
from activity_cli.data.leakage import Leakage
from activity_cli.evaluation.baselines import (
    BaselineComparison,
    BaselineScores,
    compare_with_baselines,
)
from activity_cli.evaluation.intervals import Estimates, estimate_metrics
from activity_cli.evaluation.quality_checks import Check, CheckInput, run_checks
from activity_cli.model.folder import installed_versions
from activity_cli.model.frame_order_ablation import OrderScores
from activity_cli.model.metrics import Evaluation
from activity_cli.report.metadata import Metadata
from activity_cli.types import Status

if TYPE_CHECKING:
    from activity_cli.training.crossval import FoldResult


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPrediction:
    """A clip that has scores."""

    sample: Sample
    status: Status
    reason: str
    duration_seconds: float
    """Length of the clip, or of the labelled piece of the video."""
    label: str
    """The predicted label, or `unknown` for a rejected clip."""

    @property
    def start_seconds(self) -> float:
        """Return where in its video the clip begins."""
        return self.sample.start_seconds or 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Scores of a model beside the true labels."""

    clips: tuple[ClipPrediction, ...]
    """(N,)"""
    scores: NDArray[np.float32]
    """(N, C)"""
    targets: NDArray[np.int64]
    """(N,)"""
    left_out: tuple[tuple[Sample, Status, str], ...]
    """The clips that could not be decoded, with status and reason."""
    evaluation: Evaluation
    orders: OrderScores | None = None
    """The frame-order ablation; None where it was not measured."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the C labels."""
        return self.evaluation.labels

    @property
    def is_correct(self) -> NDArray[np.bool_]:
        """(N,) whether the best label is the true one."""
        correct: NDArray[np.bool_] = self.scores.argmax(axis=1) == self.targets
        return correct


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitInfo:
    """How test clips were separated from training clips."""

    by: str = ""
    """In words; empty where it is not known."""
    leakage: Leakage | None = None
    """None where it was not checked."""
    optimistic_because: str = ""
    """Why the test clips influenced the model; empty where they did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Metrics with intervals, baselines and checks."""

    estimates: Estimates
    baselines: BaselineComparison
    checks: tuple[Check, ...]

    @classmethod
    def of(cls, predictions: Predictions, baselines: BaselineScores, split: SplitInfo) -> Self:
        """Compute them from predictions."""
        samples = [clip.sample for clip in predictions.clips]
        scores, targets, groups = predictions.scores, predictions.targets, sample_groups(samples)
        estimates = estimate_metrics(scores, targets, predictions.labels, groups)
        comparison = compare_with_baselines(scores, targets, baselines, groups)
        measured = CheckInput(
            samples=samples,
            num_left_out=len(predictions.left_out),
            evaluation=predictions.evaluation,
            estimates=estimates,
            baselines=comparison,
            leakage=split.leakage,
            split_by=split.by,
            optimistic_because=split.optimistic_because,
        )
        return cls(estimates=estimates, baselines=comparison, checks=tuple(run_checks(measured)))

    def to_json(self) -> dict[str, Any]:
        """Return what they add to metrics.json."""
        return {
            "intervals": self.estimates.to_json(),
            "does_the_lstm_help": self.baselines.to_json(),
            "checks": [check.to_json() for check in self.checks],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """The content of report.html."""

    title: str
    subtitle: str
    method: str
    """How training and test clips were separated."""
    predictions: Predictions
    findings: Findings
    metadata: Metadata
    """About data and model."""
    speed: Metadata
    """By stage."""
    settings: Mapping[str, Metadata]
    """By table."""
    command: str
    folds: tuple["FoldResult", ...] = ()
    versions: Metadata = field(default_factory=installed_versions)
    created: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
