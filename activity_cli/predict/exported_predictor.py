"""An exported model as a predictor, in the runtime that it was exported for.

R is frame roles, N timesteps, B windows, T frames per clip, C labels.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import LongVideoError, VideoError
from activity_cli.features.extraction import ClipRequest, threads_for
from activity_cli.model.folder import ModelDescription
from activity_cli.predict.exported.loading import ExportedModel, open_exported
from activity_cli.predict.file_results import ResultMaker
from activity_cli.predict.long_video import Scan
from activity_cli.predict.predictor import PredictConfig
from activity_cli.types import ClipFrames, FileResult, FrameRole, Images, Timesteps, frame_roles
from activity_cli.video.clips import read_views
from activity_cli.video.decoder_pool import ClipReader, DecoderPool
from activity_cli.video.pipeline import pipelined_map

_Decoded = tuple[ClipRequest, tuple[ClipFrames, ...] | VideoError, float]
"""A request, its views or why there are none, and the seconds that decoding took."""


class ExportPredictor:
    """Scores videos with an exported model."""

    gives_ood_score = False  # its graph gives scores, no features

    def __init__(self, model: ExportedModel, config: PredictConfig) -> None:
        self.description = model.description
        self._maker = ResultMaker(model.description, config)
        self.segments = self._maker.segments
        self._pool = DecoderPool(config.decoders)
        self._runner = open_exported(model)
        self._lock = threading.Lock()  # the runner is for one thread at a time
        self.provenance = self._maker.provenance(
            model=model.identity, engine=f"{model.format}-{model.precision}"
        )

    def predict(
        self, requests: Iterable[ClipRequest], *, stop: threading.Event | None = None
    ) -> Iterator[FileResult]:
        """Yield one result per request, in order."""
        requests, num_threads = threads_for(requests, self._pool.decoders)
        reader = self._pool.reader()
        max_seconds = self._maker.max_clip_seconds
        results = pipelined_map(
            requests,
            prepare=lambda request: self._decode(request, reader, num_threads, max_seconds),
            compute=lambda batch: [self._score(*decoded) for decoded in batch],
            size_of=lambda _: 1,
            batch_size=1,
            num_workers=self._pool.decoders.num_workers,
            stop=stop,
            interrupt=reader.interrupt,
        )
        with closing(results):
            for result in results:
                yield result if isinstance(result, FileResult) else self._slide(result)

    def close(self) -> None:
        """End the worker processes that decode."""
        self._pool.close()

    def _decode(
        self,
        request: ClipRequest,
        reader: ClipReader,
        num_threads: int = 0,
        max_seconds: float | None = None,
    ) -> _Decoded:
        started = time.perf_counter()
        views: tuple[ClipFrames, ...] | VideoError
        try:
            views = reader.call(
                read_views,
                request.path,
                self.description.clip,
                self._maker.views,
                start_seconds=request.start_seconds,
                end_seconds=request.end_seconds,
                max_seconds=max_seconds,
                num_threads=num_threads,
            )
        except VideoError as error:
            views = error
        return request, views, time.perf_counter() - started

    def _score(
        self,
        request: ClipRequest,
        views: tuple[ClipFrames, ...] | VideoError,
        decode_seconds: float,
    ) -> FileResult | ClipRequest:
        """Score a clip; give the request back if the video has to be scored in windows."""
        if isinstance(views, LongVideoError):
            return request
        if isinstance(views, VideoError):
            return self._maker.failure(request, views)
        started = time.perf_counter()
        each = [
            self._run({role: stack[None] for role, stack in view.images.items()})  # (1, C)
            for view in views
        ]
        seconds = {"decode": decode_seconds, "network": time.perf_counter() - started}
        scores = np.concatenate(each).mean(axis=0)
        return self._maker.clip_result(request, views[0].decoded, scores, stage_seconds=seconds)

    def _slide(self, request: ClipRequest) -> FileResult:
        scan = export_scan(self._run, self.description)
        if result := self._maker.long_result(request, scan):
            return result
        # Its header promised more than one window, but there is less.
        whole = self._score(*self._decode(request, self._pool.reader()))
        assert isinstance(whole, FileResult)
        return whole

    def _run(self, images: Mapping[FrameRole, Images]) -> NDArray[np.float32]:
        with self._lock:
            return self._runner.score(images)


def export_scan(
    run: Callable[[Mapping[FrameRole, Images]], NDArray[np.float32]],
    description: ModelDescription,
) -> Scan:
    """Return how an export reads windows. Its CNN sees shared frames once per window.

    Args:
        run: from frames by role, (1, T, H, W, channels) each, to scores (1, C).
        description: of the model that was exported.
    """
    roles = frame_roles(description.clip)

    def see(timesteps: Timesteps) -> NDArray[np.uint8]:
        return np.stack([timesteps.frames[role] for role in roles])  # (R, N, H, W, channels)

    def score(windows: NDArray[np.uint8]) -> NDArray[np.float32]:  # (B, R, T, H, W, channels)
        each = [dict(zip(roles, window[:, None], strict=True)) for window in windows]
        return np.concatenate([run(images) for images in each])

    return Scan(
        see=see,
        score=score,
        as_streams=False,
        see_stage="decode",
        score_stage="network",
        labels=description.labels,
    )
