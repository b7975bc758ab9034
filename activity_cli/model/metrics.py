"""Scores and true labels -> accuracy, precision, recall, F1, log loss, calibration, confusion.

N clips, C labels.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.model.calibration import expected_calibration_error

_FIGURES = ("macro_precision", "macro_recall", "macro_f1", "log_loss", "calibration_error")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMetrics:
    """Metrics of one label."""

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
    """95% interval of the accuracy: Wilson's, clips taken as independent, until one by group
    replaces it."""
    macro_precision: float
    macro_recall: float
    macro_f1: float
    log_loss: float
    calibration_error: float
    """Mean difference of scores and accuracy, see `expected_calibration_error`."""
    per_label: tuple[LabelMetrics, ...]
    confusion: NDArray[np.int64]
    """(C, C) clip counts: row is the true label, column the predicted one."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the labels in the order of the confusion matrix."""
        return tuple(row.label for row in self.per_label)

    def worst_confusions(self, k: int = 3) -> list[tuple[str, str, int]]:
        """Return the k most frequent errors as (true label, predicted label, clips)."""
        errors = [
            (true, predicted, int(self.confusion[i, j]))
            for i, true in enumerate(self.labels)
            for j, predicted in enumerate(self.labels)
            if i != j and self.confusion[i, j]
        ]
        return sorted(errors, key=lambda error: -error[2])[:k]

    def event_errors(self, background: str) -> tuple[float, float]:
        """Return the share of missed events, and of background clips predicted as an event."""
        row = self.labels.index(background)
        counts = self.confusion
        num_background = counts[row].sum()
        num_events = counts.sum() - num_background
        missed = counts[:, row].sum() - counts[row, row]
        false_alarms = num_background - counts[row, row]
        return float(missed / max(num_events, 1)), float(false_alarms / max(num_background, 1))

    def to_json(self, *, interval: bool = True) -> dict[str, Any]:
        """Return plain values for metrics.json."""
        bounds = [round(bound, 4) for bound in self.accuracy_interval]
        return {
            "num_clips": self.num_clips,
            "accuracy": round(self.accuracy, 4),
            **({"confidence_interval": bounds} if interval else {}),
            **{name: round(getattr(self, name), 4) for name in _FIGURES},
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
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (targets, scores.argmax(axis=1)), 1)
    hits, support, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = hits / np.maximum(predicted, 1), hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(predicted + support, 1)
    # A label without clips would count as 0 in the macro averages.
    present = support > 0
    correct = int(hits.sum())
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
    """Return the 95% interval of a share (Wilson, 1927), which is valid near 0 and 1 as well."""
    z = 1.96
    share = correct / total
    centre = share + z * z / (2 * total)
    spread = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def majority_scores(
    train_targets: NDArray[np.int64], num_clips: int, num_labels: int
) -> NDArray[np.float32]:
    """Return (num_clips, C) scores that are the label frequencies of the training clips."""
    counts = np.bincount(train_targets, minlength=num_labels)
    return np.tile((counts / counts.sum()).astype(np.float32), (num_clips, 1))


def pair_accuracy(
    scores: NDArray[np.floating[Any]], targets: NDArray[np.int64], first: int, second: int
) -> float:
    """Return the two-way accuracy on the clips of two labels, by their columns of (N, C) scores.

    A tie counts half, so that constant scores give 0.5 for labels with equal counts.
    """
    margin = scores[:, first].astype(np.float64) - scores[:, second]
    right = np.concatenate([margin[targets == first], -margin[targets == second]])
    return float(((right > 0) + 0.5 * (right == 0)).mean())
