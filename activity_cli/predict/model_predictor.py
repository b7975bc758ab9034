"""A model folder: an engine runs the CNN, then the sequence classifier.

N is points in time, V test-time views, S streams, T frames per clip, D the CNN's feature size,
C labels.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import LongVideoError
from activity_cli.features.engines.choice import Engine
from activity_cli.features.engines.loading import load_classifier, load_extractor
from activity_cli.features.engines.protocol import Classifier, Extractor, OnPrepare
from activity_cli.features.extraction import (
    ClipRequest,
    ExtractedClip,
    FeatureCache,
    extract_features,
    feature_cache,
)
from activity_cli.model.folder import Model
from activity_cli.model.ood import Familiarity
from activity_cli.predict.file_results import scored, unscored
from activity_cli.predict.long_video import Scan
from activity_cli.predict.sliding import Slider, Sliding, make_slider, wanted_segments
from activity_cli.types import FileResult, Images, Timesteps
from activity_cli.video.augmentation import tta_views, views_provenance
from activity_cli.video.decoder_pool import AUTO_DECODERS, DecoderPool, Decoders

if TYPE_CHECKING:
    from activity_cli.model.network import ClipScorer


class ModelPredictor:
    """Scores with a model folder: an engine runs the CNN, then the sequence classifier."""

    def __init__(
        self,
        model: Model,
        engine: Engine,
        *,
        cache_dir: Path,
        remember: bool = True,
        decoders: Decoders = AUTO_DECODERS,
        sliding: Sliding | None = None,
        test_views: int = 1,
        on_prepare: OnPrepare = lambda _: None,
    ) -> None:
        self.description = model.description
        self._views = tta_views(test_views, self.description.labels)
        self._slider = make_slider(sliding, self.description, decoders)
        self.segments = wanted_segments(sliding, self.description)
        self._familiarity = model.familiarity()
        self.gives_novelty = self._familiarity is not None
        self._cache: FeatureCache | None = feature_cache(cache_dir) if remember else None
        self._pool = DecoderPool(decoders)  # its first worker starts while the CNN is loaded
        extractor, self._classifier = load_networks(
            model, engine, cache_dir=cache_dir, on_prepare=on_prepare
        )
        self._extractor: Extractor = OneAtATime(extractor)
        self.provenance: Mapping[str, str] = {
            "model": f"{self.description.name} {model.fingerprint[:16]}",
            "engine": self._extractor.identity,
            **(self._slider.provenance if self._slider else {}),
            **views_provenance(self._views),
        }
        self.on_features: Callable[[NDArray[np.float16]], None] | None = None
        """Told of the (S, T, D) features of every clip that gets a score, in order."""

    @property
    def has_test_views(self) -> bool:
        """Whether scores are means over several views of a clip."""
        return len(self._views) > 1

    @property
    def classifier(self) -> Classifier:
        """What reads the features."""
        return self._classifier

    def predict(
        self, requests: Iterable[ClipRequest], *, stop: threading.Event | None = None
    ) -> Iterator[FileResult]:
        """One result per request, in order."""
        for clip in extract_features(
            requests,
            self.description.clip,
            extractor=self._extractor,
            backbone=self.description.backbone,
            pool=self._pool,
            cache=self._cache,
            views_of=lambda _: self._views,
            max_seconds=self._slider.max_clip_seconds if self._slider else None,
            stop=stop,
        ):
            if self._slider and isinstance(clip.error, LongVideoError):
                yield self._slide(self._slider, clip.request)
            else:
                yield self._score(clip)

    def _slide(self, slider: Slider, request: ClipRequest) -> FileResult:
        scan = model_scan(
            self._extractor, self._classifier, self.description.labels, self._familiarity
        )
        return slider.score(request, scan) or next(self._whole(request))

    def _whole(self, request: ClipRequest) -> Iterator[FileResult]:
        """As one clip, however long its header says it is."""
        for clip in extract_features(
            [request],
            self.description.clip,
            extractor=self._extractor,
            backbone=self.description.backbone,
            pool=self._pool,
            views_of=lambda _: self._views,
        ):
            yield self._score(clip)

    def close(self) -> None:
        """End the processes that decode."""
        self._pool.close()

    def _score(self, clip: ExtractedClip) -> FileResult:
        if clip.values is None or clip.decoded is None:
            assert clip.error is not None
            return unscored(clip.request, clip.error, self.description)
        started = time.perf_counter()
        views = np.stack([clip.values, *clip.more_values])  # (V, S, T, D)
        scores = self._classifier.classify(views).mean(axis=0)  # (C,)
        if self.on_features is not None:
            self.on_features(clip.values)
        known = self._familiarity
        novelty = None if known is None else known.novelty(clip.values[None])
        seconds = {**clip.stage_seconds, "lstm": time.perf_counter() - started}
        return scored(
            clip.request,
            clip.decoded,
            scores,
            self.description,
            novelty=novelty,
            segments=self.segments,
            stage_seconds=seconds,
        )


def load_networks(
    model: Model, engine: Engine, *, cache_dir: Path, on_prepare: OnPrepare
) -> tuple[Extractor, Classifier]:
    """A model's CNN and sequence classifier; arguments and errors are those of `load_predictor`."""
    description = model.description
    extractor = load_extractor(
        description.backbone,
        engine,
        cache_dir=cache_dir,
        frame_size=description.clip.frame_size,
        on_prepare=on_prepare,
    )
    classifier = load_classifier(
        lambda: load_scorer(model),
        engine,
        key=model.identity,
        cache_dir=cache_dir,
        example_shape=(1, *description.feature_shape),
        on_prepare=on_prepare,
    )
    return extractor, classifier


def model_scan(
    extractor: Extractor,
    classifier: Classifier,
    labels: tuple[str, ...],
    familiarity: Familiarity | None = None,
) -> Scan:
    """How a model looks at points in time, each once, and at windows over them."""

    def see(points: Timesteps) -> NDArray[np.float16]:
        rows = extractor.extract(np.concatenate(list(points.streams.values())))
        return rows.astype(np.float16).reshape(
            len(points.streams), points.num_points, -1
        )  # (S, N, D)

    return Scan(
        see=see,
        score=classifier.classify,
        as_streams=True,
        see_stage="cnn",
        score_stage="lstm",
        labels=labels,
        novelty=familiarity.novelty if familiarity else None,
    )


def load_scorer(model: Model) -> "ClipScorer":
    """The torch module of a model's classifier. Imports torch."""
    from activity_cli.model import rebuilding

    return rebuilding.load_scorer(model)


class OneAtATime:
    """An extractor for calls from several threads: a long video's and those of clips."""

    def __init__(self, extractor: Extractor) -> None:
        self.identity = extractor.identity
        self.feature_size = extractor.feature_size
        self.batch_size = extractor.batch_size
        self._extractor = extractor
        self._lock = threading.Lock()

    def extract(self, frames: Images) -> NDArray[np.float32]:
        """As the extractor's, one call after the other."""
        with self._lock:
            return self._extractor.extract(frames)
