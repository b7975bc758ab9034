"""A model folder as a predictor: an engine runs the CNN, then the sequence classifier.

N is timesteps, V test-time views, S streams, T frames per clip, D the CNN's feature size, C labels.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import LongVideoError
from activity_cli.features.cache import feature_cache
from activity_cli.features.engines.loading import load_classifier, load_extractor
from activity_cli.features.engines.protocol import Classifier, Extractor
from activity_cli.features.extraction import ClipRequest, ExtractedClip, extract_features
from activity_cli.model.folder import Model
from activity_cli.model.ood import OodDetector
from activity_cli.predict.file_results import ResultMaker
from activity_cli.predict.long_video import Scan
from activity_cli.predict.predictor import PredictConfig
from activity_cli.types import FileResult, Images, Timesteps
from activity_cli.video.decoder_pool import DecoderPool

if TYPE_CHECKING:
    from activity_cli.model.network import ClipScorer


class ModelPredictor:
    """Scores videos with a model folder."""

    def __init__(self, model: Model, config: PredictConfig) -> None:
        self.description = model.description
        self._maker = ResultMaker(model.description, config)
        self.segments = self._maker.segments
        self._ood_detector = model.ood_detector()
        self.gives_ood_score = self._ood_detector is not None
        self._cache = feature_cache(config.cache_folder) if config.use_cache else None
        self._pool = DecoderPool(config.decoders)  # its first worker starts while the CNN is loaded
        extractor, self.classifier = load_networks(model, config)
        self._extractor: Extractor = _LockedExtractor(extractor)
        self.provenance = self._maker.provenance(model=model.fingerprint, engine=extractor.identity)
        self.has_test_views = config.tta > 1
        self.on_features: Callable[[NDArray[np.float16]], None] | None = None
        """Called with the features (S, T, D) of every clip that gets a score, in order."""

    def predict(
        self, requests: Iterable[ClipRequest], *, stop: threading.Event | None = None
    ) -> Iterator[FileResult]:
        """Yield one result per request, in order."""
        max_seconds = self._maker.max_clip_seconds
        for clip in self._extract(requests, max_seconds=max_seconds, stop=stop):
            is_long = isinstance(clip.error, LongVideoError)
            yield self._slide(clip.request) if is_long else self._score(clip)

    def close(self) -> None:
        """End the worker processes that decode."""
        self._pool.close()

    def _extract(
        self,
        requests: Iterable[ClipRequest],
        *,
        max_seconds: float | None = None,
        stop: threading.Event | None = None,
    ) -> Iterator[ExtractedClip]:
        return extract_features(
            requests,
            self.description.clip,
            extractor=self._extractor,
            backbone=self.description.backbone,
            pool=self._pool,
            cache=self._cache,
            views_of=lambda _: self._maker.views,
            max_seconds=max_seconds,
            stop=stop,
        )

    def _slide(self, request: ClipRequest) -> FileResult:
        labels = self.description.labels
        scan = model_scan(self._extractor, self.classifier, labels, self._ood_detector)
        if result := self._maker.long_result(request, scan):
            return result
        # Its header promised more than one window, but there is less.
        [clip] = self._extract([request])
        return self._score(clip)

    def _score(self, clip: ExtractedClip) -> FileResult:
        if clip.values is None or clip.decoded is None:
            assert clip.error is not None
            return self._maker.failure(clip.request, clip.error)
        started = time.perf_counter()
        views = np.stack([clip.values, *clip.more_values])  # (V, S, T, D)
        scores = self.classifier.classify(views).mean(axis=0)  # (C,)
        if self.on_features is not None:
            self.on_features(clip.values)
        known = self._ood_detector
        return self._maker.clip_result(
            clip.request,
            clip.decoded,
            scores,
            ood_score=None if known is None else known.ood_score(clip.values[None]),
            stage_seconds={**clip.stage_seconds, "lstm": time.perf_counter() - started},
        )


def load_networks(model: Model, config: PredictConfig) -> tuple[Extractor, Classifier]:
    """Load a model's CNN and sequence classifier. Errors are those of `load_predictor`."""
    engine, cache_dir, description = config.choose_engine(), config.cache_folder, model.description
    extractor = load_extractor(
        description.backbone,
        engine,
        cache_dir=cache_dir,
        frame_size=description.clip.frame_size,
        on_prepare=config.on_prepare,
    )
    classifier = load_classifier(
        lambda: load_scorer(model),
        engine,
        key=model.identity,
        cache_dir=cache_dir,
        example_shape=(1, *description.feature_shape),
        on_prepare=config.on_prepare,
    )
    return extractor, classifier


def model_scan(
    extractor: Extractor,
    classifier: Classifier,
    labels: tuple[str, ...],
    ood_detector: OodDetector | None = None,
) -> Scan:
    """Return how a model reads timesteps, each once, and the windows over them."""

    def see(timesteps: Timesteps) -> NDArray[np.float16]:
        rows = extractor.extract(np.concatenate(list(timesteps.streams.values())))
        shape = len(timesteps.streams), timesteps.num_timesteps, -1
        return rows.astype(np.float16).reshape(shape)  # (S, N, D)

    return Scan(
        see=see,
        score=classifier.classify,
        as_streams=True,
        see_stage="cnn",
        score_stage="lstm",
        labels=labels,
        ood_score=ood_detector.ood_score if ood_detector else None,
    )


def load_scorer(model: Model) -> "ClipScorer":
    """Load the torch module of a model's classifier. Imports torch."""
    from activity_cli.model import rebuilding

    return rebuilding.load_scorer(model)


class _LockedExtractor:
    """An extractor that several threads may call: clips and a long video share it."""

    def __init__(self, extractor: Extractor) -> None:
        self.identity = extractor.identity
        self.feature_size = extractor.feature_size
        self.batch_size = extractor.batch_size
        self._extractor = extractor
        self._lock = threading.Lock()

    def extract(self, frames: Images) -> NDArray[np.float32]:
        with self._lock:
            return self._extractor.extract(frames)
