"""A trained model + labelled clips -> its evaluation; and its time per clip."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from timeit import timeit

import numpy as np
from numpy.typing import NDArray

from activity_cli.data.dataset import Dataset, Sample
from activity_cli.data.windows import prepare_pieces
from activity_cli.errors import DataError
from activity_cli.evaluation import ClipPrediction, Predictions
from activity_cli.features.extraction import clip_request
from activity_cli.features.streams import pad_features
from activity_cli.model.folder import Model, ModelDescription, load_model
from activity_cli.model.frame_order_ablation import OrderProbe, pooled_head_of
from activity_cli.model.metrics import evaluate_scores
from activity_cli.predict.local_predictor import LocalPredictor, load_networks
from activity_cli.predict.predictor import PredictConfig, Predictor
from activity_cli.settings import show_labels
from activity_cli.types import UNKNOWN, FileResult, OnProgress, no_progress
from activity_cli.video.decoder_pool import AUTO_DECODERS, DecoderPool, Decoders

_TIMING_ROUNDS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The evaluation of a model on labelled clips."""

    description: ModelDescription
    dataset: Dataset  # what was scored: of multi-label data its windows
    predictions: Predictions  # of all clips with a score, rejected ones included
    stage_seconds: tuple[Mapping[str, float], ...]  # (N,) time per stage of each clip
    rejected: NDArray[np.bool_] | None = None  # (N,) as unknown; None without rejection

    @property
    def accuracy_of_accepted(self) -> float | None:
        """Return the accuracy on the clips that were not rejected; None where there are none."""
        if self.rejected is None or self.rejected.all():
            return None
        return float(self.predictions.is_correct[~self.rejected].mean())


def score_samples(
    predictor: Predictor, samples: Sequence[Sample], on_progress: OnProgress = no_progress
) -> list[tuple[Sample, FileResult]]:
    """Return the result of each clip; a DataError if none of them can be decoded."""
    pairs: list[tuple[Sample, FileResult]] = []
    for sample, result in zip(samples, predictor.predict(map(clip_request, samples)), strict=True):
        pairs.append((sample, result))
        on_progress("predict", len(pairs), len(samples))
    if all(result.prediction is None for _, result in pairs):
        sample, result = pairs[0]
        raise DataError(
            f"None of the {len(pairs)} clips can be decoded; {sample.name}: {result.reason}",
            hint="Check that the files are videos that a player can show.",
        )
    return pairs


def evaluate_model(
    predictor: Predictor,
    dataset: Dataset,
    *,
    rejects: bool = False,
    decoders: Decoders = AUTO_DECODERS,
    on_progress: OnProgress = no_progress,
) -> Measurement:
    """Score labelled clips and compare the scores with the labels; `rejects`: measure rejection.

    Videos of multi-label data are cut into windows as long as the model's training clips.

    Raises:
        DataError: the model has no such label, no clip can be decoded, or the data is multi-label
            and the model is not, or the other way round.
    """
    labels, multi_label = predictor.description.labels, predictor.description.multi_label
    if multi_label != dataset.multi_label:
        kind = "multi-label" if multi_label else "of one label per clip"
        raise DataError(f"The model is {kind}, the data is not.")
    if unknown := [label for label in dataset.labels if label not in labels]:
        raise DataError(
            f"The model has no label {unknown[0]!r}. Its labels: {show_labels(labels, unknown)}.",
            hint="Rename the labels to those of the model, or leave these clips out.",
        )
    if multi_label:  # targets are in the order of the model's labels
        seconds = predictor.description.data.get("clip_seconds", {}).get("median")
        with DecoderPool(decoders, start=False) as pool:
            dataset = prepare_pieces(replace(dataset, labels=labels), pool, window_seconds=seconds)
    pairs = score_samples(predictor, dataset.samples, on_progress)
    scored = [(s, r, r.prediction) for s, r in pairs if r.prediction is not None]
    scores = np.stack([prediction.scores for _, _, prediction in scored])
    samples, thresholds = tuple(sample for sample, _, _ in scored), predictor.description.thresholds
    targets = replace(dataset, samples=samples, labels=labels).label_indices()
    return Measurement(
        description=predictor.description,
        dataset=dataset,
        predictions=Predictions(
            clips=tuple(
                ClipPrediction(
                    sample=sample,
                    status=result.status,
                    reason=result.reason,
                    duration_seconds=result.duration_seconds or 0.0,
                    label=UNKNOWN if result.rejected else one.answer,
                )
                for sample, result, one in scored
            ),
            scores=scores,
            targets=targets,
            left_out=tuple((s, r.status, r.reason) for s, r in pairs if r.prediction is None),
            evaluation=evaluate_scores(scores, targets, labels, thresholds),
            thresholds=thresholds,
        ),
        stage_seconds=tuple(result.stage_seconds for _, result, _ in scored),
        rejected=np.array([bool(r.rejected) for _, r, _ in scored]) if rejects else None,
    )


def probe_order(predictor: Predictor, model: str | Path) -> OrderProbe | None:
    """Attach a frame-order ablation to a predictor; afterwards the probe has the scores.

    None for an exported model (its features are not accessible), with test-time augmentation (its
    scores are means), without an LSTM (the order has no effect), and for a multi-label model.
    """
    if not isinstance(predictor, LocalPredictor) or predictor.has_test_views:
        return None
    description = predictor.description
    if predictor.classifier is None or description.network.temporal != "lstm":
        return None
    if description.multi_label:
        return None
    probe = OrderProbe(predictor.classifier.classify, pooled_head_of(load_model(model)))
    predictor.on_features = probe
    return probe


def ms_per_clip(folders: Sequence[Path], config: PredictConfig) -> Mapping[Path, float]:
    """Return the milliseconds of CNN and LSTM for one clip: the best of several rounds.

    The models take turns, so that other load slows all alike. Raises a ModelError or BackboneError.
    """
    runs = {folder: _score_noise(load_model(folder), config) for folder in folders}
    best = dict.fromkeys(folders, float("inf"))
    for _ in range(_TIMING_ROUNDS):
        for folder, run in runs.items():
            best[folder] = min(best[folder], 1000 * timeit(run, number=1))
    return best


def _score_noise(model: Model, config: PredictConfig) -> Callable[[], object]:
    """Return a function that scores a clip of noise: the content does not change the time."""
    extractor, classifier = load_networks(model, config)
    clip = model.description.clip
    size = (clip.num_frames, *clip.picture_shape)
    images = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)

    def run() -> object:
        [streams] = extractor.extract([dict.fromkeys(clip.streams, images)])
        padded = [pad_features(streams[s], extractor.feature_size) for s in clip.streams]
        return classifier.classify(np.stack(padded)[None])

    return run
