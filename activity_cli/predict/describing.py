"""Videos + a captioner -> sentences: one for a clip, one per window or segment of a long video."""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import LongVideoError, SettingsError, VideoError
from activity_cli.features.cache import feature_cache
from activity_cli.features.extraction import ClipRequest, ExtractedClip, extract_features
from activity_cli.features.streams import load_streams
from activity_cli.model.folder import Model
from activity_cli.predict.file_results import failed_result
from activity_cli.predict.predictor import PredictConfig, Predictor, load_predictor
from activity_cli.settings import SegmentSettings
from activity_cli.types import Caption, FileResult, Prediction, Segment, Status
from activity_cli.video.decoder_pool import DecoderPool
from activity_cli.video.reader import read_seconds

Span = tuple[float, float]  # seconds
Floats = NDArray[np.float64]


class CaptionPredictor:
    """Describes videos. A `Predictor` whose predictions are sentences. Made by `load_predictor`."""

    gives_ood_score = False

    def __init__(self, model: Model, config: PredictConfig) -> None:
        """Load a captioner.

        Raises:
            SettingsError: an option is for labels only.
            BackboneError: the CNN's weights are not available.
        """
        from activity_cli.model.describer import Describer  # imports torch

        _check(config)
        self.description = description = model.description
        self._config = config
        self._extractor = load_streams(
            description.backbone,
            description.clip,
            config.choose_engine(),
            cache_dir=config.cache_folder,
            on_prepare=config.on_prepare,
        )
        self._describer = Describer.of(model, beam=config.beam)
        self._pool = DecoderPool(config.decoders, start=not config.use_cache)
        self._cache = feature_cache(config.cache_folder) if config.use_cache else None
        self._segmenting: Predictor | None = None
        values = {"model": f"{description.name} {model.fingerprint[:16]}"}
        values |= {"engine": self._extractor.identity, "beam": str(self._describer.settings.beam)}
        if windows := config.windows:
            self._windows = description.windows(
                window_seconds=windows.window_seconds, stride_seconds=windows.stride_seconds
            )
            values["windows"] = f"{self._windows.window_seconds:.3g} s"
            if config.segments_from is not None:
                other = replace(config, segments_from=None, beam=None)
                self._segmenting = load_predictor(config.segments_from, other)
                values["segments from"] = self._segmenting.provenance["model"]
        self.provenance: Mapping[str, str] = values
        self.segments = windows.segments if windows else SegmentSettings()

    def close(self) -> None:
        """End the worker processes that decode."""
        self._pool.close()
        if self._segmenting is not None:
            self._segmenting.close()

    def predict(
        self, requests: Iterable[ClipRequest], *, stop: threading.Event | None = None
    ) -> Iterator[FileResult]:
        """Yield one result per request, in order."""
        limit = self._windows.max_clip_seconds if self._config.windows else None
        for clip in self._read(requests, limit, stop):
            is_long = isinstance(clip.error, LongVideoError)
            yield self._describe_long(clip.request) if is_long else self._describe(clip)

    def attend(self, request: ClipRequest) -> tuple[Caption, Floats]:
        """Return the sentence of a clip, and the times (T,) of the frames that it attends to."""
        [clip] = self._read([request])
        if clip.values is None or clip.decoded is None:
            raise clip.error or VideoError("It has no frames.")
        return self._describer.describe(clip.values)[0], clip.decoded.seconds

    def _read(
        self,
        requests: Iterable[ClipRequest],
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
            max_seconds=max_seconds,
            stop=stop,
        )

    def _describe(self, clip: ExtractedClip) -> FileResult:
        if clip.values is None or clip.decoded is None:
            assert clip.error is not None
            return failed_result(clip.request, clip.error, self.description)
        captions = self._describer.describe(clip.values)
        decoded = clip.decoded
        return FileResult(
            path=str(clip.request.path),
            status=decoded.status,
            reason=decoded.reason,
            prediction=_as_prediction(captions),
            captions=captions,
            duration_seconds=decoded.duration_seconds,
            num_frames=decoded.num_frames,
            model=self.description.name,
            segments=(_segment((0.0, decoded.duration_seconds), captions[0]),),
            stage_seconds=clip.stage_seconds,
        )

    def _describe_long(self, request: ClipRequest) -> FileResult:
        """Describe each window, or each segment of another model; the longest part comes first."""
        try:
            spans = self._spans(request)
        except VideoError as error:
            return failed_result(request, error, self.description)
        parts = [ClipRequest(path=request.path, start_seconds=a, end_seconds=b) for a, b in spans]
        found: list[tuple[Segment, tuple[Caption, ...], ExtractedClip]] = []
        problem: VideoError | None = None
        for clip, span in zip(self._read(parts), spans, strict=True):
            problem = problem or clip.error
            if clip.values is not None and clip.decoded is not None:
                captions = self._describer.describe(clip.values)
                end = min(span[1], span[0] + clip.decoded.duration_seconds)
                found.append((_segment((span[0], end), captions[0]), captions, clip))
            if self._config.windows:
                self._config.windows.on_seconds(request.path, span[1], spans[-1][1])
        if not found:
            problem = problem or VideoError("It has no segments.")
            return failed_result(request, problem, self.description)
        decoded = [clip.decoded for _, _, clip in found if clip.decoded]
        worst = next((d for d in decoded if d.status is Status.TRUNCATED), decoded[-1])
        _, captions, _ = max(found, key=lambda one: one[0].end_seconds - one[0].start_seconds)
        segments = [segment for segment, _, _ in found]
        return FileResult(
            path=str(request.path),
            status=Status.OK if worst.status is Status.SHORT else worst.status,
            reason="" if worst.status is Status.SHORT else worst.reason,
            prediction=_as_prediction(captions),
            captions=captions,
            duration_seconds=spans[-1][1],
            num_frames=sum(one.num_frames for one in decoded),
            model=self.description.name,
            segments=tuple(segments if self._segmenting else _joined(segments)),
        )

    def _spans(self, request: ClipRequest) -> Sequence[Span]:
        """Return the parts of a long video that get a sentence each."""
        if self._segmenting is not None:
            [result] = self._segmenting.predict([request])
            if not result.status.has_score:
                raise VideoError(result.reason)
            return [(one.start_seconds, one.end_seconds) for one in result.segments]
        total = self._pool.reader().call(read_seconds, request.path)
        if total is None:
            raise VideoError("Its length is not known: neither header nor packets state it.")
        window = self._windows.window_seconds
        count = max(1, round(total / window))  # of equal length, without a short rest
        return list(pairwise(np.linspace(0, total, count + 1).round(3).tolist()))


def _check(config: PredictConfig) -> None:
    """Refuse options that are for labels, or that have no effect."""
    for is_set, option in (
        (config.labels is not None, "--labels"),
        (config.tta > 1, "--tta"),
        (bool(config.windows and config.windows.stride_seconds), "--stride"),
        (bool(config.windows and config.windows.segments.labels), "--only"),
    ):
        if is_set:
            raise SettingsError(
                f"{option} is for models with labels; this one writes sentences.",
                hint=f"Remove {option}.",
            )
    if config.segments_from is not None and config.windows is None:
        raise SettingsError("--whole has no segments.", hint="Remove --whole or --segments-from.")


def _as_prediction(captions: Sequence[Caption]) -> Prediction:
    """Return the sentences in place of labels, with their shares in place of scores."""
    texts: dict[str, float] = {}
    for caption in captions:  # case may make two sentences one
        texts[caption.text] = texts.get(caption.text, 0.0) + caption.share
    return Prediction(labels=tuple(texts), scores=np.array(list(texts.values()), np.float32))


def _segment(span: Span, caption: Caption) -> Segment:
    return Segment(
        start_seconds=span[0],
        end_seconds=span[1],
        label=caption.text,
        mean_score=caption.probability,
        peak_score=max(caption.probabilities),
        is_sentence=True,
    )


def _joined(segments: Sequence[Segment]) -> list[Segment]:
    """Join windows in a row that have the same sentence."""
    joined: list[Segment] = []
    for segment in segments:
        if joined and joined[-1].label == segment.label:
            before = joined.pop()
            segment = replace(  # noqa: PLW2901
                segment,
                start_seconds=before.start_seconds,
                mean_score=(before.mean_score + segment.mean_score) / 2,
                peak_score=max(before.peak_score, segment.peak_score),
            )
        joined.append(segment)
    return joined
