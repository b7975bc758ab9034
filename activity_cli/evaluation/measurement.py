"""A model's scores on labelled clips, compared with their labels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from activity_cli.data.dataset import Dataset, Sample
from activity_cli.errors import DataError
from activity_cli.features.extraction import clip_request
from activity_cli.model.folder import ModelDescription, load_model
from activity_cli.model.frame_order_ablation import OrderProbe, summary_of
from activity_cli.model.metrics import Evaluation, evaluate_scores
from activity_cli.predict.model_predictor import ModelPredictor
from activity_cli.predict.predictor import Predictor
from activity_cli.types import FileResult, OnProgress, no_progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A model's scores on labelled clips, each clip accounted for."""

    description: ModelDescription
    """Of the model."""
    samples: tuple[Sample, ...]
    """The N clips that have a score."""
    results: tuple[FileResult, ...]
    """(N,) what became of them."""
    scores: NDArray[np.float32]
    """(N, C)"""
    left_out: tuple[tuple[Sample, FileResult], ...]
    """Clips without a decoded frame, and why."""
    evaluation: Evaluation
    """Of all N clips, as if none had been called unknown."""
    rejected: NDArray[np.bool_] | None = None
    """(N,) which were called unknown; None where nobody asked for that."""

    @property
    def accuracy_of_accepted(self) -> float | None:
        """Share of the clips not called unknown that are right; None where there are none."""
        if self.rejected is None or self.rejected.all():
            return None
        best = self.scores.argmax(axis=1)
        labels = self.description.labels
        right = [labels[i] == s.label for i, s in zip(best, self.samples, strict=True)]
        return float(np.array(right)[~self.rejected].mean())


def evaluate_model(
    predictor: Predictor,
    dataset: Dataset,
    *,
    rejects: bool = False,
    on_progress: OnProgress = no_progress,
) -> Measurement:
    """Score labelled clips and compare with their labels.

    Args:
        predictor: what scores.
        dataset: the clips.
        rejects: whether the predictor calls clips unknown, so that it is measured.
        on_progress: told after each clip.

    Raises:
        DataError: a label that the model does not know, or not a single clip that decodes.
    """
    labels = predictor.description.labels
    if unknown := [label for label in dataset.labels if label not in labels]:
        raise DataError(
            f"The model does not know the label {unknown[0]!r}; it knows {', '.join(labels)}.",
            hint="Use the model's names for the labels, or leave these clips out.",
        )
    total = len(dataset.samples)
    results = []
    for result in predictor.predict(clip_request(sample) for sample in dataset.samples):
        results.append(result)
        on_progress("predict", len(results), total)
    pairs = list(zip(dataset.samples, results, strict=True))
    scored = [(s, r, r.prediction) for s, r in pairs if r.prediction is not None]
    if not scored:
        raise DataError(
            f"None of the {total} clips can be decoded; {pairs[0][0].name}: {pairs[0][1].reason}",
            hint="Check that the files are videos that a player can show.",
        )
    scores = np.stack([prediction.scores for _, _, prediction in scored])
    targets = np.array([labels.index(sample.label) for sample, _, _ in scored], np.int64)
    return Measurement(
        description=predictor.description,
        samples=tuple(sample for sample, _, _ in scored),
        results=tuple(result for _, result, _ in scored),
        scores=scores,
        left_out=tuple((s, r) for s, r in pairs if r.prediction is None),
        evaluation=evaluate_scores(scores, targets, labels),
        rejected=np.array([bool(r.rejected) for _, r, _ in scored]) if rejects else None,
    )


def probe_order(predictor: Predictor, model: str | Path) -> OrderProbe | None:
    """Let a predictor's clips be fed to its network in other orders as well.

    Args:
        predictor: a model's; before it is asked for anything.
        model: its name or folder.

    Returns:
        What knows the scores afterwards; None for an export, which takes frames and gives scores
        and nothing between, with test views, whose mean would stand beside single ones, and for a
        model without an LSTM, to which the order makes no difference.
    """
    if not isinstance(predictor, ModelPredictor) or predictor.has_test_views:
        return None
    if predictor.description.network.temporal != "lstm":
        return None
    probe = OrderProbe(predictor.classifier.classify, summary_of(load_model(model)))
    predictor.on_features = probe
    return probe
