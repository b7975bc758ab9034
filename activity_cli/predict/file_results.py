"""From scores to the result of a file; a long video is streamed in windows.

N is timesteps, S streams, T frames per window, B windows, C labels; times are seconds.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import VideoError
from activity_cli.features.action_weights import POOLED_SIZE
from activity_cli.features.extraction import ClipRequest
from activity_cli.features.streams import with_hidden_units
from activity_cli.features.video_cache import (
    CachedVideo,
    DamagedEntryError,
    VideoCache,
    VideoWriter,
)
from activity_cli.model.folder import ModelDescription
from activity_cli.predict.predictor import PredictConfig, WindowConfig, ignore
from activity_cli.predict.segments import find_segments
from activity_cli.settings import SegmentSettings, check_labels
from activity_cli.types import (
    Decoded,
    FileResult,
    FrameChunk,
    Prediction,
    Status,
    Timeline,
    Timesteps,
)
from activity_cli.video.augmentation import tta_views, views_provenance
from activity_cli.video.decoder_pool import ResamplingSession
from activity_cli.video.pipeline import pipelined_map
from activity_cli.video.sampling import grid_step, pick_timesteps, slide

_TIMESTEPS_AT_A_TIME = 32
_WINDOWS_AT_A_TIME = 8


def segment_settings(
    windows: WindowConfig | None, description: ModelDescription
) -> SegmentSettings:
    """Return how scores become segments: by default of all labels but the background label."""
    settings = windows.segments if windows else SegmentSettings()
    check_labels(settings.labels, description.labels)
    if settings.labels or description.background is None:
        return settings
    events = tuple(label for label in description.labels if label != description.background)
    return replace(settings, labels=events)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """How a model reads timesteps, each once, and the windows over them."""

    see: Callable[[Timesteps], NDArray[Any]]
    """From N timesteps to (S, N, ...), what windows need of each one."""
    score: Callable[[NDArray[Any]], NDArray[np.float32]]
    """From windows (B, S, T, ...) to scores (B, C)."""
    as_streams: bool  # whether `see` takes the CNN's input, or the frames that it is made of
    see_stage: str  # name of the time that `see` takes, in `stage_seconds`
    score_stage: str  # the same for `score`
    act: Callable[[NDArray[Any]], NDArray[np.float16]] | None = None
    """From windows of what `see` gave to the action network's features (B, T, D)."""
    complete: Callable[..., NDArray[Any]] = lambda windows: windows
    """From windows of what `see` gave, and what `act` makes of them, to those that are scored. It
    runs `act` where that is needed and not given."""
    ood_score: Callable[[NDArray[Any]], NDArray[np.float32]] | None = None
    """From windows to out-of-distribution scores (B,); None: the model has none."""
    cache: VideoCache | None = None
    """Of what `see` and `act` give; None where that is not cached."""

    def selecting(self, select: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> "Scan":
        """Return a copy whose scores are mapped, as by `select_labels`."""
        return replace(self, score=lambda windows: select(self.score(windows)))


def cnn_features(seen: NDArray[Any]) -> NDArray[Any]:
    """Return (..., S, N, D) of what `see` gave: itself, or the features in records (..., 1, N)."""
    if seen.dtype.names is None:
        return seen
    return np.moveaxis(seen["features"], -2, -3)[..., 0, :, :, :]


def _see_all(
    video: ResamplingSession, scan: Scan, spent: defaultdict[str, float], last: list[FrameChunk]
) -> Generator[NDArray[Any]]:
    """Yield what `scan.see` makes of the video, part by part, while a decoder works ahead.

    `spent` gets the seconds of each stage, and `last` the last chunk of the video.
    """

    def read(_: bool) -> tuple[FrameChunk, float]:
        started = time.perf_counter()
        chunk = video.read(_TIMESTEPS_AT_A_TIME)
        return chunk, time.perf_counter() - started

    def see(
        batch: Sequence[tuple[FrameChunk, float]],
    ) -> list[tuple[FrameChunk, float, NDArray[Any] | None, float]]:
        seen = []
        for chunk, seconds in batch:
            started = time.perf_counter()
            values = scan.see(chunk) if chunk.num_timesteps else None
            seen.append((chunk, seconds, values, time.perf_counter() - started))
        return seen

    with closing(
        pipelined_map(
            iter(lambda: bool(last), True),  # endless until the last chunk is here
            prepare=read,
            compute=see,
            size_of=lambda one: one[0].num_timesteps,
            batch_size=_TIMESTEPS_AT_A_TIME,
            num_workers=1,
            interrupt=video.close,
        )
    ) as results:
        for chunk, decode_seconds, values, seconds in results:
            if last:
                break
            spent["decode"] += decode_seconds
            spent[scan.see_stage] += seconds
            if chunk.is_last:
                last.append(chunk)
            if values is not None:
                yield values


def failed_result(
    request: ClipRequest, error: VideoError, description: ModelDescription
) -> FileResult:
    """Return the result of a file without frames, with the reason."""
    return FileResult(
        path=str(request.path),
        status=Status(error.status),
        reason=str(error),
        model=description.name,
    )


class ResultMaker:
    """Turns a model's scores into results, and slides windows over long videos.

    Raises:
        SettingsError: windows cannot be that long or that far apart, there are not so many views,
            or a label is requested that the model does not have.
    """

    def __init__(self, description: ModelDescription, config: PredictConfig) -> None:
        self.description = description
        self._decoders, self._selection = config.decoders, config.labels
        self._on_seconds = config.windows.on_seconds if config.windows else ignore
        self.views = tta_views(config.tta, description.labels)
        self.segments = segment_settings(config.windows, description)
        self._windows, self._grid_seconds = None, 0.0
        if config.windows is not None:
            self._windows = description.windows(
                window_seconds=config.windows.window_seconds,
                stride_seconds=config.windows.stride_seconds,
            )
            # The action network reads frames at even steps, as it was trained.
            if "action" not in description.clip.streams:
                usual = description.windows().step_seconds
                self._grid_seconds = grid_step(self._windows.step_seconds, usual)
            else:
                self._grid_seconds = self._windows.step_seconds
        self.max_clip_seconds = self._windows.max_clip_seconds if self._windows else None
        """Longer videos are scored in windows; None if no video is."""

    def provenance(self, *, model: str, engine: str) -> Mapping[str, str]:
        """Return what results depend on: rows with another provenance are never mixed."""
        values = {"model": f"{self.description.name} {model[:16]}", "engine": engine}
        if self._windows is not None:
            values |= {"windows": self._windows.describe(), "segments": self.segments.describe()}
        if self._selection is not None:
            values["label selection"] = str(self._selection)
        return {**values, **views_provenance(self.views)}

    def clip_result(
        self,
        request: ClipRequest,
        decoded: Decoded,
        scores: NDArray[np.float32],
        *,
        ood_score: NDArray[np.float32] | None = None,
        stage_seconds: Mapping[str, float],
    ) -> FileResult:
        """Return the result of a clip, a timeline of one window: scores (C,) and ood_score (1,)."""
        window = Timeline(
            labels=self.description.labels,
            starts_seconds=np.zeros(1),
            window_seconds=decoded.duration_seconds,
            end_seconds=decoded.duration_seconds,
            scores=scores[None],
            thresholds=self.description.thresholds,
            ood_score=ood_score,
        )
        result = self._scored(request, window, decoded, decoded.duration_seconds, stage_seconds)
        return replace(result, ood_score=None if ood_score is None else float(ood_score[0]))

    def long_result(
        self,
        request: ClipRequest,
        scan: Scan,
        *,
        on_features: Callable[[NDArray[np.float16]], None] | None = None,
    ) -> FileResult | None:
        """Score a long video in windows; None if it turns out to have less than one window."""
        spent: defaultdict[str, float] = defaultdict(float)
        try:
            try:
                found = self._slide(request.path, scan, spent, on_features)
            except DamagedEntryError:
                found = self._slide(request.path, replace(scan, cache=None), spent, on_features)
        except VideoError as error:
            return failed_result(request, error, self.description)
        if found is None:
            return None
        timeline, last = found
        return self._scored(request, timeline, last, last.end_seconds - last.first_seconds, spent)

    def windows(
        self, path: Path, scan: Scan, spent: defaultdict[str, float], last: list[FrameChunk]
    ) -> Iterator[tuple[list[float], NDArray[Any]]]:
        """Yield batches of windows of a video, (B, S, T, ...), with their starts in the video.

        Windows are made of the timesteps of a grid, see `grid_step`, whether these come from the
        cache or the video. `spent` gets the seconds of each stage, `last` the video's last chunk.
        Memory does not grow with the length of the video.
        """
        assert self._windows is not None
        step, grid = self._windows.step_seconds, self._grid_seconds
        entry = scan.cache.open(path, grid, self._windows) if scan.cache else None
        kept = entry.action if entry else None
        rows = kept.parts() if isinstance(kept, CachedVideo) else iter(())
        known = (window for part in rows for window in part[0])
        with closing(self._timesteps(path, scan, entry, spent, last)) as parts:
            found = slide(pick_timesteps(parts, step / grid), self._windows)
            while batch := list(islice(found, _WINDOWS_AT_A_TIME)):
                started = time.perf_counter()
                stack = np.stack([window for _, window in batch])
                if kept is None or scan.act is None:
                    stack = scan.complete(stack)
                else:
                    if isinstance(kept, VideoWriter):
                        roots = scan.act(stack)[..., :POOLED_SIZE]
                        kept.add(roots[None])
                    else:
                        roots = np.stack(list(islice(known, len(batch))))
                    # As for cached windows, so that these get the same scores.
                    stack = scan.complete(stack, with_hidden_units(roots))
                spent[scan.see_stage] += time.perf_counter() - started
                yield [start * step for start, _ in batch], stack
        if isinstance(kept, VideoWriter):
            kept.finish(last[0])

    def _timesteps(
        self,
        path: Path,
        scan: Scan,
        entry: CachedVideo | VideoWriter | None,
        spent: defaultdict[str, float],
        last: list[FrameChunk],
    ) -> Generator[NDArray[Any]]:
        """Yield what `scan.see` makes of a video, from the cache or the video; report progress."""
        done, grid = 0, self._grid_seconds
        if isinstance(entry, CachedVideo):
            for part in entry.parts():
                yield part
                done += part.shape[1]
                self._on_seconds(path, done * grid, entry.last.end_seconds)
            last.append(entry.last)
            return
        with (
            ResamplingSession(
                path,
                self._decoders,
                self.description.clip,
                step_seconds=grid,
                as_streams=scan.as_streams,
            ) as video,
            closing(_see_all(video, scan, spent, last)) as parts,
        ):
            for part in parts:
                if entry is not None:
                    entry.add(cnn_features(part))
                yield part
                done += part.shape[1]
                total = video.info.duration_seconds_from_header or 0.0
                self._on_seconds(path, done * grid, total)
        if entry is not None:
            entry.finish(last[0])

    def _slide(
        self,
        path: Path,
        scan: Scan,
        spent: defaultdict[str, float],
        on_features: Callable[[NDArray[np.float16]], None] | None,
    ) -> tuple[Timeline, FrameChunk] | None:
        """Score windows over a video, and return its last chunk too; None without a window.

        Only the scores take memory that grows with the length of the video.
        """
        last: list[FrameChunk] = []
        starts: list[float] = []
        scores: list[NDArray[np.float32]] = []
        ood_score: list[NDArray[np.float32]] = []
        assert self._windows is not None
        for batch, stack in self.windows(path, scan, spent, last):
            started = time.perf_counter()
            starts += batch
            if on_features is not None:
                for window in stack:
                    on_features(window)
            scores.append(scan.score(stack))
            if scan.ood_score is not None:
                ood_score.append(scan.ood_score(stack))
            spent[scan.score_stage] += time.perf_counter() - started
        if not starts:
            return None
        timeline = Timeline(
            labels=self.description.labels,
            starts_seconds=last[0].first_seconds + np.array(starts),
            window_seconds=self._windows.window_seconds,
            end_seconds=last[0].end_seconds,
            scores=np.concatenate(scores),
            thresholds=self.description.thresholds,
            ood_score=np.concatenate(ood_score) if ood_score else None,
        )
        return timeline, last[0]

    def _scored(
        self,
        request: ClipRequest,
        timeline: Timeline,
        decoded: Decoded | FrameChunk,
        duration_seconds: float,
        stage_seconds: Mapping[str, float],
    ) -> FileResult:
        """Return a result with the mean scores of the windows: the longest action comes first.

        A multi-label model reports what happens at any time: the highest scores.
        """
        thresholds = timeline.thresholds
        scores = timeline.scores.mean(axis=0) if thresholds is None else timeline.scores.max(axis=0)
        return FileResult(
            path=str(request.path),
            status=decoded.status,
            reason=decoded.reason,
            prediction=Prediction(
                labels=self.description.labels, scores=scores, thresholds=thresholds
            ),
            duration_seconds=duration_seconds,
            num_frames=decoded.num_frames,
            model=self.description.name,
            timeline=timeline,
            segments=find_segments(timeline, self.segments),
            stage_seconds=stage_seconds,
        )
