"""An exported model, in the runtime that it was exported for.

R is roles of frames, N points in time, T frames per clip, C labels.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import LongVideoError, VideoError
from activity_cli.features.extraction import ClipRequest, threads_for
from activity_cli.model.folder import ModelDescription
from activity_cli.predict.exported.loading import ExportedModel, open_exported
from activity_cli.predict.file_results import scored, unscored
from activity_cli.predict.long_video import Scan
from activity_cli.predict.sliding import Sliding, make_slider, wanted_segments
from activity_cli.types import ClipFrames, FileResult, FrameRole, Images, Timesteps, frame_roles
from activity_cli.video.augmentation import tta_views, views_provenance
from activity_cli.video.clips import read_views
from activity_cli.video.decoder_pool import AUTO_DECODERS, ClipReader, DecoderPool, Decoders
from activity_cli.video.pipeline import overlap


@dataclass(frozen=True, slots=True, kw_only=True)
class _DecodedRequest:
    request: ClipRequest
    views: tuple[ClipFrames, ...] | VideoError
    """Or why there are none."""
    seconds: float


class ExportPredictor:
    """Scores with an exported model, in the runtime that it was exported for."""

    gives_novelty = False  # its graph gives scores, no features

    def __init__(
        self,
        model: ExportedModel,
        *,
        decoders: Decoders = AUTO_DECODERS,
        sliding: Sliding | None = None,
        test_views: int = 1,
    ) -> None:
        self.description = model.description
        self._views = tta_views(test_views, self.description.labels)
        self._slider = make_slider(sliding, self.description, decoders)
        self.segments = wanted_segments(sliding, self.description)
        self._pool = DecoderPool(decoders)
        self._runner = open_exported(model)
        self._lock = threading.Lock()  # the runner is for one thread at a time
        self.provenance: Mapping[str, str] = {
            "model": f"{model.description.name} {model.identity[:16]}",
            "engine": f"{model.format}-{model.precision}",
            **(self._slider.provenance if self._slider else {}),
            **views_provenance(self._views),
        }

    def predict(
        self, requests: Iterable[ClipRequest], *, stop: threading.Event | None = None
    ) -> Iterator[FileResult]:
        """One result per request, in order."""
        requests, num_threads = threads_for(requests, self._pool.decoders)
        reader = self._pool.reader()
        max_seconds = self._slider.max_clip_seconds if self._slider else None
        results = overlap(
            requests,
            prepare=lambda request: self._decode(
                request, reader, num_threads, max_seconds=max_seconds
            ),
            compute=lambda batch: [self._score(clip) for clip in batch],
            size_of=lambda _: 1,
            batch_size=1,
            num_workers=self._pool.decoders.num_workers,
            stop=stop,
            interrupt=reader.interrupt,
        )
        with closing(results):
            for result in results:
                if isinstance(result, FileResult):
                    yield result
                else:
                    yield self._slide(result)

    def close(self) -> None:
        """End the processes that decode."""
        self._pool.close()

    def _decode(
        self,
        request: ClipRequest,
        reader: ClipReader,
        num_threads: int,
        *,
        max_seconds: float | None,
    ) -> _DecodedRequest:
        started = time.perf_counter()
        views: tuple[ClipFrames, ...] | VideoError
        try:
            views = reader.call(
                read_views,
                request.path,
                self.description.clip,
                self._views,
                start_seconds=request.start_seconds,
                end_seconds=request.end_seconds,
                max_seconds=max_seconds,
                num_threads=num_threads,
            )
        except VideoError as error:
            views = error
        return _DecodedRequest(request=request, views=views, seconds=time.perf_counter() - started)

    def _score(self, clip: _DecodedRequest) -> FileResult | ClipRequest:
        """What became of a clip, or the request itself where windows have to slide over it."""
        if isinstance(clip.views, LongVideoError):
            return clip.request
        if isinstance(clip.views, VideoError):
            return unscored(clip.request, clip.views, self.description)
        started = time.perf_counter()
        each = [
            self._run({role: stack[None] for role, stack in view.images.items()})  # (1, C)
            for view in clip.views
        ]
        scores = np.concatenate(each).mean(axis=0)
        seconds = {"decode": clip.seconds, "network": time.perf_counter() - started}
        return scored(
            clip.request,
            clip.views[0].decoded,
            scores,
            self.description,
            segments=self.segments,
            stage_seconds=seconds,
        )

    def _slide(self, request: ClipRequest) -> FileResult:
        """Windows over a long video. The export's CNN sees shared frames once per window."""
        assert self._slider is not None
        scan = export_scan(self._run, self.description)
        return self._slider.score(request, scan) or self._whole(request)

    def _whole(self, request: ClipRequest) -> FileResult:
        """As one clip, however long its header says it is."""
        result = self._score(self._decode(request, self._pool.reader(), 0, max_seconds=None))
        assert isinstance(result, FileResult)
        return result

    def _run(self, images: Mapping[FrameRole, Images]) -> NDArray[np.float32]:
        with self._lock:
            return self._runner.score(images)


def export_scan(
    run: Callable[[Mapping[FrameRole, Images]], NDArray[np.float32]],
    description: ModelDescription,
) -> Scan:
    """How an export looks at windows. Its CNN sees frames that windows share once per window.

    Args:
        run: from frames by role, (1, T, H, W, channels) each, to scores (1, C).
        description: of the model that was exported.
    """
    roles = frame_roles(description.clip)

    def see(points: Timesteps) -> NDArray[np.uint8]:
        return np.stack([points.frames[role] for role in roles])  # (R, N, H, W, channels)

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
