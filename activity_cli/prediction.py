"""Videos + model -> one result per file. No torch once the CNN and the model are prepared."""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from activity_cli.bundle import Model, ModelDescription, load_model
from activity_cli.clips import read_frames
from activity_cli.engines.choice import Engine, choose_engine
from activity_cli.engines.loading import load_classifier, load_extractor
from activity_cli.engines.protocol import Classifier, Extractor, OnPrepare
from activity_cli.errors import SettingsError, VideoError
from activity_cli.export.exported import ExportedModel, is_exported, open_exported, read_exported
from activity_cli.features import (
    AUTO_DECODERS,
    ClipRequest,
    Decoders,
    ExtractedClip,
    FeatureCache,
    extract_features,
    feature_cache,
)
from activity_cli.overlap import overlap
from activity_cli.types import (
    ClipFrames,
    Decoded,
    FileResult,
    Prediction,
    Status,
)

if TYPE_CHECKING:
    from activity_cli.network import ClipScorer


class Predictor(Protocol):
    """A model ready to score videos. Made by `load_predictor`."""

    description: ModelDescription
    made_with: Mapping[str, str]
    """What its scores depend on: the model, and what computes it."""
    gives_novelty: bool
    """Whether results say how unlike the training clips a video is."""

    def predict(
        self, requests: Iterable[ClipRequest], *, stop: threading.Event | None = None
    ) -> Iterator[FileResult]:
        """One result per request, in order; a video that gives no frames says so in its status.

        Args:
            requests: read as they are needed.
            stop: once it is set, requests that are not begun are left out.
        """
        ...


def load_predictor(
    name: str | Path,
    *,
    cache_dir: Path,
    engine: Engine | None = None,
    remember: bool = True,
    decoders: Decoders = AUTO_DECODERS,
    on_prepare: OnPrepare = lambda _: None,
) -> Predictor:
    """Load a model with what computes it.

    Args:
        name: a shipped model's name, a run folder, a model folder, an exported file or its folder.
        cache_dir: folder of prepared networks and cached features.
        engine: what computes; None takes the fastest that this machine has.
        remember: whether features are looked up in the cache and kept there.
        decoders: how many videos are decoded at a time.
        on_prepare: told in one line when something is prepared that later runs find ready.

    Raises:
        ModelError: there is no such model, or it is damaged.
        BackboneError: the CNN's weights are not to be had, and it was not prepared before.
        SettingsError: the engine does not compute that here, or not this model.
        MissingExtraError: what computes is not installed.
    """
    path = Path(name)
    if is_exported(path):
        if engine is not None:
            raise SettingsError(
                f"{path} is an export: it computes in its own runtime and precision.",
                hint="Leave --engine, --device and --precision away.",
            )
        return ExportPredictor(read_exported(path), decoders=decoders)
    return ModelPredictor(
        load_model(name),
        engine or choose_engine(),
        cache_dir=cache_dir,
        remember=remember,
        decoders=decoders,
        on_prepare=on_prepare,
    )


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
        on_prepare: OnPrepare = lambda _: None,
    ) -> None:
        self.description = model.description
        self._familiarity = model.familiarity()
        self.gives_novelty = self._familiarity is not None
        self._cache: FeatureCache | None = feature_cache(cache_dir) if remember else None
        self._decoders = decoders
        self._extractor: Extractor = load_extractor(
            self.description.backbone,
            engine,
            cache_dir=cache_dir,
            frame_size=self.description.clip.frame_size,
            on_prepare=on_prepare,
        )
        self._classifier: Classifier = load_classifier(
            lambda: _load_scorer(model),
            engine,
            key=model.identity,
            cache_dir=cache_dir,
            example_shape=(1, *self.description.feature_shape),
            on_prepare=on_prepare,
        )
        self.made_with: Mapping[str, str] = {
            "model": f"{self.description.name} {model.fingerprint[:16]}",
            "engine": self._extractor.identity,
        }

    def predict(
        self, requests: Iterable[ClipRequest], *, stop: threading.Event | None = None
    ) -> Iterator[FileResult]:
        """One result per request, in order."""
        for clip in extract_features(
            requests,
            self.description.clip,
            extractor=self._extractor,
            backbone=self.description.backbone,
            cache=self._cache,
            decoders=self._decoders,
            stop=stop,
        ):
            yield self._score(clip)

    def _score(self, clip: ExtractedClip) -> FileResult:
        if clip.values is None or clip.decoded is None:
            return _unscored(clip.request, clip.status, clip.reason, self.description)
        started = time.perf_counter()
        scores = self._classifier.classify(clip.values[None])[0]
        known = self._familiarity
        novelty = None if known is None else float(known.novelty(clip.values[None])[0])
        seconds = {**clip.stage_seconds, "lstm": time.perf_counter() - started}
        result = _scored(clip.request, clip.decoded, scores, self.description, seconds)
        return replace(result, novelty=novelty)


@dataclass(frozen=True, slots=True, kw_only=True)
class _DecodedRequest:
    request: ClipRequest
    frames: ClipFrames | VideoError
    """Or why there are none."""
    seconds: float


class ExportPredictor:
    """Scores with an exported model, in the runtime that it was exported for."""

    gives_novelty = False  # its graph gives scores, no features

    def __init__(self, model: ExportedModel, *, decoders: Decoders = AUTO_DECODERS) -> None:
        self.description = model.description
        self._decoders = decoders
        self._runner = open_exported(model)
        self.made_with: Mapping[str, str] = {
            "model": f"{model.description.name} {model.identity[:16]}",
            "engine": f"{model.format}-{model.precision}",
        }

    def predict(
        self, requests: Iterable[ClipRequest], *, stop: threading.Event | None = None
    ) -> Iterator[FileResult]:
        """One result per request, in order."""
        requests, num_threads = self._decoders.threads_for(requests)
        return overlap(
            requests,
            prepare=lambda request: self._decode(request, num_threads),
            compute=lambda batch: [self._score(clip) for clip in batch],
            size_of=lambda _: 1,
            batch_size=1,
            num_workers=self._decoders.num_workers,
            stop=stop,
        )

    def _decode(self, request: ClipRequest, num_threads: int) -> _DecodedRequest:
        started = time.perf_counter()
        frames: ClipFrames | VideoError
        try:
            frames = read_frames(
                request.path,
                self.description.clip,
                start_seconds=request.start_seconds,
                end_seconds=request.end_seconds,
                num_threads=num_threads,
            )
        except VideoError as error:
            frames = error
        return _DecodedRequest(
            request=request, frames=frames, seconds=time.perf_counter() - started
        )

    def _score(self, clip: _DecodedRequest) -> FileResult:
        if isinstance(clip.frames, VideoError):
            status, reason = Status(clip.frames.status), str(clip.frames)
            return _unscored(clip.request, status, reason, self.description)
        started = time.perf_counter()
        images = {role: stack[None] for role, stack in clip.frames.images.items()}
        scores = self._runner.score(images)[0]
        seconds = {"decode": clip.seconds, "network": time.perf_counter() - started}
        return _scored(clip.request, clip.frames.decoded, scores, self.description, seconds)


def _scored(
    request: ClipRequest,
    decoded: Decoded,
    scores: NDArray[np.float32],
    description: ModelDescription,
    stage_seconds: Mapping[str, float],
) -> FileResult:
    return FileResult(
        path=str(request.path),
        status=decoded.status,
        reason=decoded.reason,
        prediction=Prediction(labels=description.labels, scores=scores),
        duration_seconds=decoded.duration_seconds,
        num_frames=decoded.num_frames,
        model=description.name,
        stage_seconds=stage_seconds,
    )


def _unscored(
    request: ClipRequest, status: Status, reason: str, description: ModelDescription
) -> FileResult:
    return FileResult(path=str(request.path), status=status, reason=reason, model=description.name)


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
    num_unknown: int = 0
    """Files with a score that were called unknown."""

    _MOST_FAILURES: ClassVar[int] = 5

    def add(self, result: FileResult) -> None:
        """Count one result."""
        self.by_status[result.status] += 1
        self.stage_seconds.update(result.stage_seconds)
        self.num_unknown += bool(result.rejected)
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
