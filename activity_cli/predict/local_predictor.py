"""A model on this machine as a predictor: a model folder in an engine, or an exported model.

R is frame roles, N timesteps, V test-time views, B windows, S streams, T frames per clip, D CNN
features, C labels.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import LongVideoError, VideoError
from activity_cli.features.action_weights import find_action_weights
from activity_cli.features.cache import feature_cache
from activity_cli.features.engines.choice import Engine, load_classifier
from activity_cli.features.engines.protocol import Classifier
from activity_cli.features.extraction import (
    ClipRequest,
    ExtractedClip,
    extract_features,
    is_cached,
    threads_for,
)
from activity_cli.features.streams import StreamExtractor, load_streams, pad_features
from activity_cli.features.video_cache import VideoCache
from activity_cli.model.folder import Model, ModelDescription
from activity_cli.model.ood import OodDetector
from activity_cli.predict.exported import ExportedModel, ExportedRunner, open_exported
from activity_cli.predict.file_results import ResultMaker, Scan, cnn_features, failed_result
from activity_cli.predict.label_selection import select_labels
from activity_cli.predict.predictor import PredictConfig
from activity_cli.settings import Stream
from activity_cli.types import FileResult, Images, Timesteps, frame_roles
from activity_cli.video.decoder_pool import DecoderPool
from activity_cli.video.pipeline import pipelined_map

if TYPE_CHECKING:
    from activity_cli.model.network import ClipScorer


_ReadClips = Callable[
    [Iterable[ClipRequest], float | None, threading.Event | None], Iterator[ExtractedClip]
]
"""From requests, the longest clip in seconds and the event that stops, to clips in order, with
features (S, T, D), or for an export frames (R, T, H, W, channels) in their place."""


class LocalPredictor:
    """Scores videos with a model on this machine. Made by `load_predictor`."""

    def __init__(
        self,
        maker: ResultMaker,
        pool: DecoderPool,
        scan: Scan,
        read: _ReadClips,
        *,
        provenance: Mapping[str, str],
        classifier: Classifier | None = None,
    ) -> None:
        self.description = maker.description
        self.segments = maker.segments
        self.gives_ood_score = scan.ood_score is not None
        self.provenance = provenance
        self.classifier = classifier
        """None for exports, which give no features."""
        self.has_test_views = len(maker.views) > 1
        self.on_features: Callable[[NDArray[np.float16]], None] | None = None
        """Called with the features (S, T, D) of every clip, or window of a long video, that gets a
        score, in order."""
        self._maker, self._scan, self._read = maker, scan, read
        self.close = pool.close

    def predict(
        self, requests: Iterable[ClipRequest], *, stop: threading.Event | None = None
    ) -> Iterator[FileResult]:
        """Yield one result per request, in order."""
        for clip in self._read(requests, self._maker.max_clip_seconds, stop):
            is_long = isinstance(clip.error, LongVideoError)
            yield self._slide(clip.request) if is_long else self._score(clip)

    def _slide(self, request: ClipRequest) -> FileResult:
        if result := self._maker.long_result(request, self._scan, on_features=self.on_features):
            return result
        # Its header promised more than one window, but there is less.
        [clip] = self._read([request], None, None)
        return self._score(clip)

    def _score(self, clip: ExtractedClip) -> FileResult:
        if clip.values is None or clip.decoded is None:
            assert clip.error is not None
            return failed_result(clip.request, clip.error, self.description)
        started = time.perf_counter()
        views = np.stack([clip.values, *clip.more_values])  # (V, S, T, ...)
        scores = self._scan.score(views).mean(axis=0)  # (C,)
        if self.on_features is not None:
            self.on_features(clip.values)
        ood_score = self._scan.ood_score(views[:1]) if self._scan.ood_score else None
        seconds = {**clip.stage_seconds, self._scan.score_stage: time.perf_counter() - started}
        return self._maker.clip_result(
            clip.request, clip.decoded, scores, ood_score=ood_score, stage_seconds=seconds
        )


def model_predictor(model: Model, config: PredictConfig) -> LocalPredictor:
    """Load a model folder: an engine runs the CNN, then the sequence classifier."""
    description = model.description
    selected, select = select_labels(description, config.labels)
    maker = ResultMaker(selected, config)
    cache, videos = feature_cache(config.cache_folder) if config.use_cache else None, None
    engine = config.choose_engine()
    extractor = _load_extractor(model, config, engine)
    parts = description.clip, description.backbone, extractor
    will_decode = cache is None or bool(config.first and not is_cached(config.first, *parts, cache))
    pool = DecoderPool(config.decoders, start=will_decode)
    classifier = _load_classifier(model, config, engine)  # while the decoder starts
    if will_decode:
        extractor.prefetch()
    # With the weights, what a cached window lacks can be computed.
    if cache and ("action" not in description.clip.streams or find_action_weights()):
        videos = VideoCache(cache, description.clip, description.backbone, extractor)

    def read(
        requests: Iterable[ClipRequest], max_seconds: float | None, stop: threading.Event | None
    ) -> Iterator[ExtractedClip]:
        return extract_features(
            requests,
            description.clip,
            extractor=extractor,
            backbone=description.backbone,
            pool=pool,
            cache=cache,
            views_of=lambda _: maker.views,
            max_seconds=max_seconds,
            stop=stop,
        )

    return LocalPredictor(
        maker,
        pool,
        replace(
            model_scan(extractor, classifier, model.ood_detector()).selecting(select),
            cache=videos,
        ),
        read,
        provenance=maker.provenance(model=model.fingerprint, engine=extractor.identity),
        classifier=classifier,
    )


def export_predictor(model: ExportedModel, config: PredictConfig) -> LocalPredictor:
    """Load an exported model into the runtime that it was exported for."""
    from activity_cli.video.clips import read_views

    description = model.description
    selected, select = select_labels(description, config.labels)
    maker = ResultMaker(selected, config)
    pool = DecoderPool(config.decoders)
    roles = frame_roles(description.clip)

    def read(
        requests: Iterable[ClipRequest], max_seconds: float | None, stop: threading.Event | None
    ) -> Iterator[ExtractedClip]:
        requests, num_threads = threads_for(requests, pool.decoders)
        reader = pool.reader()

        def decode(request: ClipRequest) -> ExtractedClip:
            started = time.perf_counter()
            try:
                views = reader.call(
                    read_views,
                    request.path,
                    description.clip,
                    maker.views,
                    start_seconds=request.start_seconds,
                    end_seconds=request.end_seconds,
                    max_seconds=max_seconds,
                    num_threads=num_threads,
                )
            except VideoError as error:
                return ExtractedClip(request=request, error=error)
            values, *more = (np.stack([view.images[role] for role in roles]) for view in views)
            return ExtractedClip(
                request=request,
                values=values,
                more_values=more,
                decoded=views[0].decoded,
                stage_seconds={"decode": time.perf_counter() - started},
            )

        with closing(
            pipelined_map(
                requests,
                prepare=decode,
                compute=list,
                size_of=lambda _: 1,
                batch_size=1,
                num_workers=pool.decoders.num_workers,
                stop=stop,
                interrupt=reader.interrupt,
            )
        ) as clips:
            yield from clips

    engine = f"{model.format}-{model.precision}"
    return LocalPredictor(
        maker,
        pool,
        export_scan(open_exported(model), description).selecting(select),
        read,
        provenance=maker.provenance(model=model.identity, engine=engine),
    )


def load_networks(model: Model, config: PredictConfig) -> tuple[StreamExtractor, Classifier]:
    """Load a model's networks and sequence classifier. Errors are those of `load_predictor`."""
    engine = config.choose_engine()
    return _load_extractor(model, config, engine), _load_classifier(model, config, engine)


def _load_extractor(model: Model, config: PredictConfig, engine: Engine) -> StreamExtractor:
    return load_streams(
        model.description.backbone,
        model.description.clip,
        engine,
        cache_dir=config.cache_folder,
        on_prepare=config.on_prepare,
    )


def _load_classifier(model: Model, config: PredictConfig, engine: Engine) -> Classifier:
    return load_classifier(
        lambda: load_scorer(model),
        engine,
        key=model.identity,
        cache_dir=config.cache_folder,
        example_shape=(1, *model.description.feature_shape),
        on_prepare=config.on_prepare,
    )


def model_scan(
    extractor: StreamExtractor, classifier: Classifier, ood_detector: OodDetector | None = None
) -> Scan:
    """Return how a model reads timesteps, each once, and the windows over them.

    The action network reads every window from its first frame on, as it read the training clips:
    a timestep is kept as a record of its CNN features and its frame. Its state after the window
    before, which would save that, makes other features: the accuracy on Weizmann (16 frames that
    follow themselves) was 0.70 in place of 0.93, and on fights scores differed by 0.06.
    """

    def see(timesteps: Timesteps) -> NDArray[Any]:
        images = dict(timesteps.images)
        frames = images.pop("action", None)
        features = list(extractor.extract([images])[0].values())  # (N, D) each
        if frames is None:
            return np.stack(features)  # (S, N, D)
        row = (len(features), features[0].shape[1] if features else 0)
        fields = [("features", np.float16, row), ("frame", np.uint8, frames.shape[1:])]
        records = np.empty((1, len(frames)), fields)
        for number, of_stream in enumerate(features):
            records["features"][0, :, number] = of_stream
        records["frame"][0] = frames
        return records

    def act(windows: NDArray[Any]) -> NDArray[np.float16]:
        clips: list[dict[Stream, Images]] = [{"action": f} for f in windows["frame"][:, 0]]
        return np.stack([features["action"] for features in extractor.extract(clips)])

    def complete(
        windows: NDArray[Any], action: NDArray[np.float16] | None = None
    ) -> NDArray[np.float16]:
        if action is None:
            if windows.dtype.names is None:
                return windows
            action = act(windows)
        both = (cnn_features(windows), action[:, None])  # (B, S, T, D) each
        return np.concatenate([pad_features(f, extractor.feature_size) for f in both], axis=1)

    return Scan(
        see=see,
        act=act,
        complete=complete,
        score=classifier.classify,
        as_streams=True,
        see_stage="cnn",
        score_stage="lstm",
        ood_score=ood_detector.ood_score if ood_detector else None,
    )


def export_scan(runner: ExportedRunner, description: ModelDescription) -> Scan:
    """Return how an export reads windows. Its CNN sees shared frames once per window."""
    roles = frame_roles(description.clip)

    def see(timesteps: Timesteps) -> NDArray[np.uint8]:
        return np.stack([timesteps.images[role] for role in roles])  # (R, N, H, W, channels)

    def score(windows: NDArray[np.uint8]) -> NDArray[np.float32]:  # (B, R, T, H, W, channels)
        each = [dict(zip(roles, window[:, None], strict=True)) for window in windows]
        return np.concatenate([runner.score(images) for images in each])

    return Scan(see=see, score=score, as_streams=False, see_stage="decode", score_stage="network")


def load_scorer(model: Model) -> "ClipScorer":
    """Load the torch module of a model's classifier. Imports torch."""
    from activity_cli.model import network

    return network.load_scorer(model)
