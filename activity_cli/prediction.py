"""Videos + model -> one result per file. No torch once the CNN and the model are prepared."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from activity_cli.bundle import Model
from activity_cli.dataset import Dataset, Sample
from activity_cli.engines.choice import Engine, choose_engine
from activity_cli.engines.loading import load_classifier, load_extractor
from activity_cli.engines.protocol import Classifier, Extractor
from activity_cli.errors import DataError
from activity_cli.evaluation import Evaluation, evaluate_scores
from activity_cli.features import (
    AUTO_DECODERS,
    ClipRequest,
    Decoders,
    ExtractedClip,
    FeatureCache,
    clip_request,
    extract_features,
    feature_cache,
)
from activity_cli.types import FileResult, OnProgress, Prediction, Status, no_progress

if TYPE_CHECKING:
    from activity_cli.network import ClipScorer


class Predictor:
    """A model ready to score videos: the CNN and the sequence classifier, loaded once.

    Args:
        model: what to predict with.
        cache_dir: folder of prepared networks and cached features.
        engine: what computes; None takes the fastest that this machine has.
        remember: whether features are looked up in the cache and kept there.
        decoders: how many videos are decoded at a time.
        on_prepare: told in one line when something is prepared that later runs find ready.
    """

    def __init__(
        self,
        model: Model,
        *,
        cache_dir: Path,
        engine: Engine | None = None,
        remember: bool = True,
        decoders: Decoders = AUTO_DECODERS,
        on_prepare: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.model = model
        description = model.description
        self._cache: FeatureCache | None = feature_cache(cache_dir) if remember else None
        self._decoders = decoders
        engine = engine or choose_engine()
        self._extractor: Extractor = load_extractor(
            description.backbone,
            engine,
            cache_dir=cache_dir,
            frame_size=description.clip.frame_size,
            on_prepare=on_prepare,
        )
        self._classifier: Classifier = load_classifier(
            lambda: _load_scorer(model),
            engine,
            key=model.identity,
            cache_dir=cache_dir,
            example_shape=(1, *description.feature_shape),
            on_prepare=on_prepare,
        )

    def predict(self, requests: Iterable[ClipRequest]) -> Iterator[FileResult]:
        """One result per request, in order; a video that gives no frames says so in its status."""
        description = self.model.description
        for clip in extract_features(
            requests,
            description.clip,
            extractor=self._extractor,
            backbone=description.backbone,
            cache=self._cache,
            decoders=self._decoders,
        ):
            yield self._score(clip)

    def _score(self, clip: ExtractedClip) -> FileResult:
        name, path = self.model.description.name, str(clip.request.path)
        if clip.values is None or clip.decoded is None:
            return FileResult(path=path, status=clip.status, reason=clip.reason, model=name)
        started = time.perf_counter()
        scores = self._classifier.classify(clip.values[None])[0]
        return FileResult(
            path=path,
            status=clip.status,
            reason=clip.reason,
            prediction=Prediction(labels=self.model.description.labels, scores=scores),
            duration_seconds=clip.decoded.duration_seconds,
            num_frames=clip.decoded.num_frames,
            model=name,
            stage_seconds={**clip.stage_seconds, "lstm": time.perf_counter() - started},
        )


def _load_scorer(model: Model) -> "ClipScorer":
    from activity_cli.training import load_scorer

    return load_scorer(model)


@dataclass(slots=True)
class Tally:
    """Counts results as they come, so that none needs to be kept for the summary."""

    by_status: Counter[Status] = field(default_factory=Counter)
    stage_seconds: Counter[str] = field(default_factory=Counter)
    first_failures: list[FileResult] = field(default_factory=list)
    """The first few files without a score."""

    _MOST_FAILURES: ClassVar[int] = 5

    def add(self, result: FileResult) -> None:
        """Count one result."""
        self.by_status[result.status] += 1
        self.stage_seconds.update(result.stage_seconds)
        if not result.status.has_score and len(self.first_failures) < self._MOST_FAILURES:
            self.first_failures.append(result)

    @property
    def num_files(self) -> int:
        """All results so far."""
        return self.by_status.total()

    @property
    def num_without_score(self) -> int:
        """Results without a prediction."""
        return sum(n for status, n in self.by_status.items() if not status.has_score)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A model's scores on labelled clips, each clip accounted for."""

    model: Model
    samples: tuple[Sample, ...]
    """The N clips that have a score."""
    results: tuple[FileResult, ...]
    """(N,) what became of them."""
    scores: NDArray[np.float32]
    """(N, C)"""
    left_out: tuple[tuple[Sample, FileResult], ...]
    """Clips without a decoded frame, and why."""
    evaluation: Evaluation


def evaluate_model(
    predictor: Predictor, dataset: Dataset, *, on_progress: OnProgress = no_progress
) -> Measurement:
    """Score labelled clips and compare with their labels.

    Raises:
        DataError: a label that the model does not know, or not a single clip that decodes.
    """
    labels = predictor.model.description.labels
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
        model=predictor.model,
        samples=tuple(sample for sample, _, _ in scored),
        results=tuple(result for _, result, _ in scored),
        scores=scores,
        left_out=tuple((s, r) for s, r in pairs if r.prediction is None),
        evaluation=evaluate_scores(scores, targets, labels),
    )
