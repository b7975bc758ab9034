"""Scores and true labels -> how good the model is, with the uncertainty that the clip count leaves.

N clips, C labels.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.model.calibration import expected_calibration_error


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMetrics:
    """How one label fares against all others."""

    label: str
    precision: float
    recall: float
    f1: float
    num_clips: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Metrics of a model on labelled clips that it was not trained on."""

    num_clips: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    """95% Wilson interval of the accuracy, clips taken as independent."""
    macro_precision: float
    macro_recall: float
    macro_f1: float
    log_loss: float
    calibration_error: float
    """How far scores are from the share that is right: see `expected_calibration_error`."""
    per_label: tuple[LabelMetrics, ...]
    confusion: NDArray[np.int64]
    """(C, C) clip counts: row is the true label, column the predicted one."""

    def __post_init__(self) -> None:
        count = len(self.per_label)
        if self.confusion.shape != (count, count):
            raise ValueError(f"confusion must be ({count}, {count}), got {self.confusion.shape}")

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the confusion matrix."""
        return tuple(row.label for row in self.per_label)

    def worst_confusions(self, k: int = 3) -> list[tuple[str, str, int]]:
        """The k most frequent mistakes as (true label, predicted label, clips)."""
        mistakes = [
            (true, predicted, int(self.confusion[i, j]))
            for i, true in enumerate(self.labels)
            for j, predicted in enumerate(self.labels)
            if i != j and self.confusion[i, j]
        ]
        return sorted(mistakes, key=lambda mistake: -mistake[2])[:k]

    def event_errors(self, background: str) -> tuple[float, float]:
        """Share of events taken for the background, and of background clips taken for an event."""
        row = self.labels.index(background)
        counts = self.confusion
        num_background = counts[row].sum()
        num_events = counts.sum() - num_background
        missed = counts[:, row].sum() - counts[row, row]
        false_alarms = num_background - counts[row, row]
        return float(missed / max(num_events, 1)), float(false_alarms / max(num_background, 1))

    def to_json(self) -> dict[str, Any]:
        """Plain values for metrics.json, rounded to what the clip count can support."""
        return {
            "num_clips": self.num_clips,
            "accuracy": round(self.accuracy, 4),
            "confidence_interval": [round(bound, 4) for bound in self.accuracy_interval],
            "macro_precision": round(self.macro_precision, 4),
            "macro_recall": round(self.macro_recall, 4),
            "macro_f1": round(self.macro_f1, 4),
            "log_loss": round(self.log_loss, 4),
            "calibration_error": round(self.calibration_error, 4),
            "per_label": [
                {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(row).items()}
                for row in self.per_label
            ],
            "labels": list(self.labels),
            "confusion": self.confusion.tolist(),
        }


def evaluate_scores(
    scores: NDArray[np.floating[Any]], targets: NDArray[np.int64], labels: Sequence[str]
) -> Evaluation:
    """Compare (N, C) scores with the (N,) indices of the true labels.

    Precision of a label that is never predicted counts as 0, as in scikit-learn.

    Raises:
        ValueError: there are no clips, or the shapes do not fit.
    """
    if scores.shape != (len(targets), len(labels)) or not len(targets):
        raise ValueError(f"scores {scores.shape} do not fit {len(targets)} x {len(labels)}")
    predicted = scores.argmax(axis=1)
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (targets, predicted), 1)
    right, support, named = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = right / np.maximum(named, 1), right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(named + support, 1)
    # Labels without a single clip here say nothing; they would drag the macro means to 0.
    present = support > 0
    correct = int(right.sum())
    chosen = scores[np.arange(len(targets)), targets].astype(np.float64)
    return Evaluation(
        num_clips=len(targets),
        accuracy=correct / len(targets),
        accuracy_interval=wilson_interval(correct, len(targets)),
        macro_precision=float(precision[present].mean()),
        macro_recall=float(recall[present].mean()),
        macro_f1=float(f1[present].mean()),
        log_loss=float(-np.log(np.clip(chosen, 1e-12, None)).mean()),
        calibration_error=expected_calibration_error(scores, targets),
        per_label=tuple(
            LabelMetrics(
                label=label,
                precision=float(precision[i]),
                recall=float(recall[i]),
                f1=float(f1[i]),
                num_clips=int(support[i]),
            )
            for i, label in enumerate(labels)
        ),
        confusion=confusion,
    )


def wilson_interval(correct: float, total: float) -> tuple[float, float]:
    """95% interval for a share (Wilson, 1927): honest near 0 and 1, unlike the normal one."""
    z = 1.96
    share = correct / total
    centre = share + z * z / (2 * total)
    spread = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def majority_scores(
    train_targets: NDArray[np.int64], num_clips: int, num_labels: int
) -> NDArray[np.float32]:
    """The baseline that has learned only how frequent each label is: (num_clips, C) scores."""
    counts = np.bincount(train_targets, minlength=num_labels)
    return np.tile((counts / counts.sum()).astype(np.float32), (num_clips, 1))


def pair_accuracy(
    scores: NDArray[np.floating[Any]], targets: NDArray[np.int64], first: int, second: int
) -> float:
    """Share of the clips of two labels that are told apart by these two columns of (N, C) scores.

    A tie counts half, so that scores which say nothing come out at 0.5 when counts are equal.
    """
    margin = scores[:, first].astype(np.float64) - scores[:, second]
    right = np.concatenate([margin[targets == first], -margin[targets == second]])
    return float(((right > 0) + 0.5 * (right == 0)).mean())
