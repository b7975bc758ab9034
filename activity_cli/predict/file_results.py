"""From scores to the result of a file: what the predictors of all kinds of models share."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import VideoError
from activity_cli.features.extraction import ClipRequest
from activity_cli.model.folder import ModelDescription
from activity_cli.predict.long_video import Scan, score_long_video
from activity_cli.predict.predictor import PredictConfig, WindowConfig, no_seconds
from activity_cli.predict.segments import find_segments
from activity_cli.settings import SegmentSettings
from activity_cli.types import Decoded, FileResult, Prediction, Status, Timeline
from activity_cli.video.augmentation import tta_views, views_provenance
from activity_cli.video.resampling import FrameChunk
from activity_cli.video.sampling import choose_windows


def segment_settings(
    windows: WindowConfig | None, description: ModelDescription
) -> SegmentSettings:
    """Return how scores become segments: by default of all labels but the background label.

    Raises:
        SettingsError: a label is requested that the model does not have.
    """
    settings = windows.segments if windows else SegmentSettings()
    settings.check_labels(description.labels)
    if settings.labels or description.background is None:
        return settings
    events = tuple(label for label in description.labels if label != description.background)
    return replace(settings, labels=events)


class ResultMaker:
    """Turns a model's scores into results, and slides windows over long videos.

    Raises:
        SettingsError: windows cannot be that long or that far apart, there are not so many views,
            or a label is requested that the model does not have.
    """

    def __init__(self, description: ModelDescription, config: PredictConfig) -> None:
        self.description = description
        self._decoders = config.decoders
        self._on_seconds = config.windows.on_seconds if config.windows else no_seconds
        self.views = tta_views(config.tta, description.labels)
        self.segments = segment_settings(config.windows, description)
        self._windows = None
        if config.windows is not None:
            self._windows = choose_windows(
                description.clip.num_frames,
                description.data.get("clip_seconds"),
                window_seconds=config.windows.window_seconds,
                stride_seconds=config.windows.stride_seconds,
            )
        self.max_clip_seconds = self._windows.max_clip_seconds if self._windows else None
        """Longer videos are scored in windows; None if no video is."""

    def provenance(self, *, model: str, engine: str) -> Mapping[str, str]:
        """Return what results depend on: rows with another provenance are never mixed."""
        values = {"model": f"{self.description.name} {model[:16]}", "engine": engine}
        if self._windows is not None:
            values |= {"windows": self._windows.describe(), "segments": self.segments.describe()}
        return {**values, **views_provenance(self.views)}

    def failure(self, request: ClipRequest, error: VideoError) -> FileResult:
        """Return the result of a file without frames, with the reason."""
        return FileResult(
            path=str(request.path),
            status=Status(error.status),
            reason=str(error),
            model=self.description.name,
        )

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
            ood_score=ood_score,
        )
        result = self._scored(request, window, decoded, decoded.duration_seconds, stage_seconds)
        return replace(result, ood_score=None if ood_score is None else float(ood_score[0]))

    def long_result(self, request: ClipRequest, scan: Scan) -> FileResult | None:
        """Score a long video in windows; None if it turns out to have less than one window."""
        assert self._windows is not None
        try:
            found = score_long_video(
                request.path,
                self.description.clip,
                self._windows,
                scan,
                decoders=self._decoders,
                on_seconds=self._on_seconds,
            )
        except VideoError as error:
            return self.failure(request, error)
        if found is None:
            return None
        seconds = found.last.end_seconds - found.last.first_seconds
        return self._scored(request, found.timeline, found.last, seconds, found.stage_seconds)

    def _scored(
        self,
        request: ClipRequest,
        timeline: Timeline,
        decoded: Decoded | FrameChunk,
        duration_seconds: float,
        stage_seconds: Mapping[str, float],
    ) -> FileResult:
        """Return a result with the mean scores of the windows: the longest action comes first."""
        scores = timeline.scores.mean(axis=0)
        return FileResult(
            path=str(request.path),
            status=decoded.status,
            reason=decoded.reason,
            prediction=Prediction(labels=self.description.labels, scores=scores),
            duration_seconds=duration_seconds,
            num_frames=decoded.num_frames,
            model=self.description.name,
            timeline=timeline,
            segments=find_segments(timeline, self.segments),
            stage_seconds=stage_seconds,
        )
