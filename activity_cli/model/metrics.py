"""Scores and true labels -> accuracy, precision, recall, F1, log loss, calibration, confusion.

Targets are (N,) labels, or of multi-label clips (N, C), 1 for each label that a clip has. These are
compared with the labels whose scores reach their thresholds, (C,) or (N, C): a clip is correct if
exactly its labels do. N clips, C labels.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.model.calibration import Scores, Targets, expected_calibration_error

Thresholds = NDArray[np.floating[Any]]
_FIGURES = ("macro_precision", "macro_recall", "macro_f1", "log_loss", "calibration_error")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMetrics:
    """Metrics of one label."""

    label: str
    precision: float
    recall: float
    f1: float
    num_clips: int
    average_precision: float | None = None  # of a multi-label model


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineMetrics:
    """Metrics of a multi-label model over whole videos, where these were scored in windows."""

    num_videos: int
    seconds: float  # that were looked at
    frame_map: float
    """Mean over labels of the average precision, at 25 moments a second."""
    segment_f1: dict[str, float]
    """F1 of segments by the IoU that a match takes; the mean over labels."""


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
    """(C, C) clip counts: row is the true label, column the predicted one; (0, 0) of a multi-label
    model."""
    timelines: TimelineMetrics | None = None

    @property
    def multi_label(self) -> bool:
        """Whether a clip may have several labels, or none."""
        return not self.confusion.size

    @property
    def mean_average_precision(self) -> float | None:
        """Mean over the labels that have clips; None where a clip has one label."""
        found = [row.average_precision for row in self.per_label]
        known = [one for one in found if one is not None]
        return float(np.mean(known)) if known else None

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
            if not self.multi_label and i != j and self.confusion[i, j]
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
        several: dict[str, Any] = {}
        if self.multi_label:
            several = {
                "multi_label": True,
                "mean_average_precision": _rounded(self.mean_average_precision),
                "timelines": _rounded(asdict(self.timelines)) if self.timelines else None,
            }
        return {
            "num_clips": self.num_clips,
            "accuracy": round(self.accuracy, 4),
            **({"confidence_interval": bounds} if interval else {}),
            **{name: round(getattr(self, name), 4) for name in _FIGURES},
            "per_label": [
                _rounded({k: v for k, v in asdict(row).items() if v is not None})
                for row in self.per_label
            ],
            "labels": list(self.labels),
            **(several if self.multi_label else {"confusion": self.confusion.tolist()}),
        }


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def predicted_labels(scores: Scores, thresholds: Thresholds | float | None) -> NDArray[np.bool_]:
    """Return (N, C) the best label of each clip; with thresholds all labels that reach them."""
    found: NDArray[np.bool_]
    if thresholds is None:
        found = np.eye(scores.shape[1], dtype=np.bool_)[scores.argmax(axis=1)]
    else:
        found = scores >= thresholds
    return found


def label_matrix(
    scores: Scores, targets: Targets, thresholds: Thresholds | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return (N, C) which labels clips have, and which are predicted."""
    if targets.ndim == 2:
        return targets > 0, predicted_labels(scores, 0.5 if thresholds is None else thresholds)
    return np.eye(scores.shape[1], dtype=np.bool_)[targets], predicted_labels(scores, None)


def correct_clips(
    scores: Scores, targets: Targets, thresholds: Thresholds | None = None
) -> NDArray[np.bool_]:
    """Return (N,) which clips are correct: the best label is the true one, or all labels are."""
    if targets.ndim == 1:
        right: NDArray[np.bool_] = scores.argmax(axis=1) == targets
        return right
    truth, predicted = label_matrix(scores, targets, thresholds)
    same: NDArray[np.bool_] = (truth == predicted).all(axis=1)
    return same


def average_precision(truth: NDArray[np.bool_], scores: Scores) -> float | None:
    """Return the area under the steps of precision over recall; None without a positive.

    As in scikit-learn: equal scores (N,) are taken together.
    """
    if not truth.any():
        return None
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    hits = np.cumsum(truth[order])[ends]
    recall = hits / truth.sum()
    return float((np.diff(recall, prepend=0.0) * hits / (ends + 1)).sum())


def evaluate_scores(
    scores: NDArray[np.floating[Any]],
    targets: Targets,
    labels: Sequence[str],
    thresholds: Thresholds | None = None,
) -> Evaluation:
    """Compare (N, C) scores with the true labels.

    Precision of a label that is never predicted counts as 0, as in scikit-learn.

    Raises:
        ValueError: there are no clips, or the shapes do not fit.
    """
    if scores.shape != (len(targets), len(labels)) or not len(targets):
        raise ValueError(f"scores {scores.shape} do not fit {len(targets)} x {len(labels)}")
    multi_label = targets.ndim == 2
    truth, chosen = label_matrix(scores, targets, thresholds)
    hits, support, predicted = ((truth & chosen).sum(0), truth.sum(0), chosen.sum(0))
    confusion = np.zeros((0, 0) if multi_label else (len(labels), len(labels)), np.int64)
    if not multi_label:
        np.add.at(confusion, (targets, scores.argmax(axis=1)), 1)
    precision, recall = hits / np.maximum(predicted, 1), hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(predicted + support, 1)
    # A label without clips would count as 0 in the macro averages.
    present = support > 0
    correct = int(correct_clips(scores, targets, thresholds).sum())
    # Of each label of a multi-label clip the score of what is true.
    own = np.where(truth, scores, 1 - scores) if multi_label else scores[truth]
    losses = -np.log(np.clip(own.astype(np.float64), 1e-12, None))
    return Evaluation(
        num_clips=len(targets),
        accuracy=correct / len(targets),
        accuracy_interval=wilson_interval(correct, len(targets)),
        macro_precision=float(precision[present].mean()),
        macro_recall=float(recall[present].mean()),
        macro_f1=float(f1[present].mean()),
        log_loss=float(losses.mean()),
        calibration_error=expected_calibration_error(scores, targets),
        per_label=tuple(
            LabelMetrics(
                label=label,
                precision=float(precision[i]),
                recall=float(recall[i]),
                f1=float(f1[i]),
                num_clips=int(support[i]),
                average_precision=average_precision(truth[:, i], scores[:, i])
                if multi_label
                else None,
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


def majority_scores(train_targets: Targets, num_clips: int, num_labels: int) -> NDArray[np.float32]:
    """Return (num_clips, C) scores that are the label frequencies of the training clips.

    Of multi-label clips the label set that most of them have, as 1 and 0.
    """
    if train_targets.ndim == 2:
        sets, counts = np.unique(train_targets, axis=0, return_counts=True)
        return np.tile(sets[counts.argmax()].astype(np.float32), (num_clips, 1))
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
