"""What became of a file, from what its decoding and its scores say."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import VideoError
from activity_cli.features.extraction import ClipRequest
from activity_cli.model.folder import ModelDescription
from activity_cli.predict.long_video import LongResult
from activity_cli.predict.segments import find_segments
from activity_cli.settings import SegmentSettings
from activity_cli.types import Decoded, FileResult, Prediction, Segment, Status, Timeline


def scored(
    request: ClipRequest,
    decoded: Decoded,
    scores: NDArray[np.float32],
    description: ModelDescription,
    *,
    novelty: NDArray[np.float32] | None = None,
    segments: SegmentSettings,
    stage_seconds: Mapping[str, float],
) -> FileResult:
    """A clip with its scores (C,) and novelty (1,): it is one segment, if it is any."""
    window = Timeline(
        labels=description.labels,
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
        prediction=Prediction(labels=description.labels, scores=scores),
        timeline=window,
        segments=find_segments(window, segments),
        duration_seconds=decoded.duration_seconds,
        num_frames=decoded.num_frames,
        model=description.name,
        novelty=None if novelty is None else float(novelty[0]),
        stage_seconds=stage_seconds,
    )


def scored_in_windows(
    request: ClipRequest,
    result: LongResult,
    segments: tuple[Segment, ...],
    description: ModelDescription,
) -> FileResult:
    """A long video: its scores are the mean of its windows', so what shows longest comes first."""
    return FileResult(
        path=str(request.path),
        status=result.status,
        reason=result.reason,
        prediction=Prediction(
            labels=description.labels, scores=result.timeline.scores.mean(axis=0)
        ),
        duration_seconds=result.duration_seconds,
        num_frames=result.num_frames,
        model=description.name,
        timeline=result.timeline,
        segments=segments,
        stage_seconds=result.stage_seconds,
    )


def unscored(request: ClipRequest, error: VideoError, description: ModelDescription) -> FileResult:
    """A file without frames, and why."""
    return FileResult(
        path=str(request.path),
        status=Status(error.status),
        reason=str(error),
        model=description.name,
    )
