"""Everything that a report says about a measurement, whichever command made it.

N is clips, C labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from activity_cli.data.dataset import Sample, sample_groups
from activity_cli.data.leakage import Leakage
from activity_cli.evaluation.baselines import Rivalry, RivalScores, meet_rivals
from activity_cli.evaluation.intervals import Figures, figures_with_intervals
from activity_cli.evaluation.quality_checks import Check, Measured, find_pitfalls
from activity_cli.model.folder import installed_versions
from activity_cli.model.frame_order_ablation import OrderScores
from activity_cli.model.metrics import Evaluation
from activity_cli.report.metadata import Facts
from activity_cli.types import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A clip that has scores."""

    sample: Sample
    status: Status
    reason: str
    duration_seconds: float
    """Length of the clip's span."""
    named: str
    """What it was called, which is not always the best label."""

    @property
    def start_seconds(self) -> float:
        """Where in its video the clip begins."""
        return self.sample.start_seconds or 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A clip without a decoded frame."""

    name: str
    status: Status
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a model said of clips, and what they are."""

    cases: tuple[Case, ...]
    """(N,)"""
    scores: NDArray[np.float32]
    """(N, C)"""
    targets: NDArray[np.int64]
    """(N,)"""
    left_out: tuple[LeftOut, ...]
    evaluation: Evaluation
    orders: OrderScores | None = None
    """What the model says of the clips in other orders and in parts; None where that cannot be."""

    @property
    def labels(self) -> tuple[str, ...]:
        """C names."""
        return self.evaluation.labels

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """(N,) whether the best label is the true one."""
        right: NDArray[np.bool_] = self.scores.argmax(axis=1) == self.targets
        return right


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """How what was measured on was kept apart from what was learned from."""

    by: str
    """In words; empty where it is not known."""
    leakage: Leakage | None
    """None where nobody could look."""
    flatters: str = ""
    """Why the clips are not new to the model; empty where they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What follows from the answers."""

    figures: Figures
    rivalry: Rivalry
    checks: tuple[Check, ...]

    @classmethod
    def of(cls, answers: Answers, rivals: RivalScores, parting: Parting) -> Self:
        """Figures with intervals, the model beside its rivals, and the checks of both."""
        samples = [case.sample for case in answers.cases]
        scores, targets, groups = answers.scores, answers.targets, sample_groups(samples)
        figures = figures_with_intervals(scores, targets, answers.labels, groups)
        rivalry = meet_rivals(scores, targets, rivals, groups)
        measured = Measured(
            samples=samples,
            num_left_out=len(answers.left_out),
            evaluation=answers.evaluation,
            figures=figures,
            rivalry=rivalry,
            leakage=parting.leakage,
            about_parts=parting.by,
            flatters=parting.flatters,
        )
        return cls(figures=figures, rivalry=rivalry, checks=tuple(find_pitfalls(measured)))

    def to_json(self) -> dict[str, Any]:
        """What they add to metrics.json."""
        return {
            "intervals": self.figures.to_json(),
            "does_the_lstm_help": self.rivalry.to_json(),
            "checks": [check.to_json() for check in self.checks],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One held-out fold."""

    name: str
    num_clips: int
    accuracy: float
    best_epoch: int
    """0 where the LSTM was left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was measured, on what, how surely, how fast, and with which command."""

    title: str
    subtitle: str
    how: str
    """How it came about that the model did not know the clips, or what that depends on."""
    answers: Answers
    findings: Findings
    facts: Facts
    """About data and model."""
    speed: Facts
    """By stage."""
    settings: Mapping[str, Facts]
    """Tables of settings."""
    command: str
    folds: tuple[Fold, ...] = ()
    versions: Facts = field(default_factory=installed_versions)
    created: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
