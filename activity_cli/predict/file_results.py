"""From scores to the result of a file: what the predictors of all kinds of models share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

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
from activity_cli.video.augmentation import View, tta_views, views_provenance
from activity_cli.video.sampling import Windows, choose_windows


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultMaker:
    """Turns a model's scores into results, and slides windows over long videos."""

    description: ModelDescription
    config: PredictConfig
    views: Sequence[View]
    """Views of each clip whose scores are averaged."""
    windows: Windows | None
    """None scores every video as one clip."""
    segments: SegmentSettings

    @classmethod
    def of(cls, description: ModelDescription, config: PredictConfig) -> Self:
        """Check a config against a model.

        Raises:
            SettingsError: windows cannot be that long or that far apart, there are not so many
                views, or a label is requested that the model does not have.
        """
        windows = None
        if config.windows is not None:
            windows = choose_windows(
                description.clip.num_frames,
                description.data.get("clip_seconds"),
                window_seconds=config.windows.window_seconds,
                stride_seconds=config.windows.stride_seconds,
            )
        return cls(
            description=description,
            config=config,
            views=tta_views(config.tta, description.labels),
            windows=windows,
            segments=segment_settings(config.windows, description),
        )

    def provenance(self, *, model: str, engine: str) -> Mapping[str, str]:
        """Return what results depend on: rows with another provenance are never mixed."""
        values = {"model": f"{self.description.name} {model[:16]}", "engine": engine}
        if self.windows is not None:
            values |= {"windows": self.windows.describe(), "segments": self.segments.describe()}
        return {**values, **views_provenance(self.views)}

    @property
    def max_clip_seconds(self) -> float | None:
        """Longer videos are scored in windows; None if no video is."""
        return self.windows.max_clip_seconds if self.windows else None

    def clip_result(
        self,
        request: ClipRequest,
        decoded: Decoded,
        scores: NDArray[np.float32],
        *,
        novelty: NDArray[np.float32] | None = None,
        stage_seconds: Mapping[str, float],
    ) -> FileResult:
        """Return the result of a clip, a timeline of one window: scores (C,) and novelty (1,)."""
        window = Timeline(
            labels=self.description.labels,
            starts_seconds=np.zeros(1),
            window_seconds=decoded.duration_seconds,
            end_seconds=decoded.duration_seconds,
            scores=scores[None],
            novelty=novelty,
        )
        return FileResult(
            path=str(request.path),
            status=decoded.status,
            reason=decoded.reason,
            prediction=Prediction(labels=self.description.labels, scores=scores),
            timeline=window,
            segments=find_segments(window, self.segments),
            duration_seconds=decoded.duration_seconds,
            num_frames=decoded.num_frames,
            model=self.description.name,
            novelty=None if novelty is None else float(novelty[0]),
            stage_seconds=stage_seconds,
        )

    def failure(self, request: ClipRequest, error: VideoError) -> FileResult:
        """Return the result of a file without frames, with the reason."""
        return FileResult(
            path=str(request.path),
            status=Status(error.status),
            reason=str(error),
            model=self.description.name,
        )

    def long_result(self, request: ClipRequest, scan: Scan) -> FileResult | None:
        """Score a long video in windows; None if it turns out to have less than one window.

        Its scores are the mean over the windows, so the longest action comes first.
        """
        assert self.windows is not None
        try:
            result = score_long_video(
                request.path,
                self.description.clip,
                self.windows,
                scan,
                decoders=self.config.decoders,
                on_seconds=self.config.windows.on_seconds if self.config.windows else no_seconds,
            )
        except VideoError as error:
            return self.failure(request, error)
        if result is None:
            return None
        timeline, last = result.timeline, result.last
        return FileResult(
            path=str(request.path),
            status=last.status,
            reason=last.reason,
            prediction=Prediction(
                labels=self.description.labels, scores=timeline.scores.mean(axis=0)
            ),
            duration_seconds=last.end_seconds - last.first_seconds,
            num_frames=last.num_frames,
            model=self.description.name,
            timeline=timeline,
            segments=find_segments(timeline, self.segments),
            stage_seconds=result.stage_seconds,
        )
