"""A video -> a few small pictures of it, by seeking where that is faster than decoding all."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from activity_cli.types import Segment
from activity_cli.video.capture import Frame
from activity_cli.video.decoding import decode_by_seeking, plan_seeks
from activity_cli.video.reader import VideoReader, frame_interval_seconds
from activity_cli.video.sampling import Seconds

MOST_THUMBNAILS = 16
_MIN_THUMBNAILS = 6
_JPEG_QUALITY = 72


def choose_moments(segments: Sequence[Segment], end_seconds: float) -> list[float]:
    """Return the times that represent a video best, in order; at most 16, at least 6.

    One or more of each segment, spread evenly over it. Of many segments, the longest with the
    highest scores, from all parts of the video. Without segments, times spread over the video.
    """
    if not segments:
        return _spread(0.0, end_seconds, _MIN_THUMBNAILS)
    parts = np.array_split(np.arange(len(segments)), min(len(segments), MOST_THUMBNAILS))
    weights = [(s.end_seconds - s.start_seconds) * s.mean_score for s in segments]
    chosen = [segments[max(part.tolist(), key=weights.__getitem__)] for part in parts]
    per_segment = -(-_MIN_THUMBNAILS // len(chosen))
    return sorted(
        moment
        for segment in chosen
        for moment in _spread(segment.start_seconds, segment.end_seconds, per_segment)
    )


def read_thumbnails(video: Path, moments: Sequence[float], *, height: int) -> list[Frame]:
    """Return the frame on screen at each time, as (height, W, 3) RGB, or raise VideoError.

    Times beyond the end give the last frame.
    """

    def shrink(bgr: Frame) -> Frame:
        return _shrink(cast(Frame, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)), height)

    def indices(seconds: Seconds) -> list[int]:
        found = np.searchsorted(seconds, np.asarray(moments) + 1e-6, side="right") - 1
        return cast(list[int], np.maximum(found, 0).tolist())

    with VideoReader(video) as reader:
        plan = plan_seeks(reader.info, lambda seconds: frozenset(indices(seconds)))
        if plan is not None and (decoded := decode_by_seeking(reader, plan, shrink)):
            return [decoded.frames[index] for index in indices(plan.seconds)]
    return _frames_at(video, moments, height)


def read_jpegs(
    video: Path, moments: Sequence[float], *, height: int
) -> tuple[list[NDArray[np.uint8]], tuple[int, int]]:
    """Return thumbnails as JPEG files, and their (width, height), or raise VideoError."""
    frames = read_thumbnails(video, moments, height=height)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    pictures = (cv2.cvtColor(frame, cv2.COLOR_RGB2BGR) for frame in frames)
    files = [cast(NDArray[np.uint8], cv2.imencode(".jpg", bgr, quality)[1]) for bgr in pictures]
    return files, (frames[0].shape[1], frames[0].shape[0])


def _frames_at(video: Path, moments: Sequence[float], height: int) -> list[Frame]:
    """Decode up to the last time; a frame counts from half an interval before its own."""
    frames: list[Frame] = []
    last = 0.0
    with VideoReader(video) as reader:
        half = frame_interval_seconds(reader.info) / 2
        while len(frames) < len(moments) and (seconds := reader.grab()) is not None:
            last = seconds
            num_shown = sum(moment <= last + half for moment in moments)
            if num_shown > len(frames):
                picture = _shrink(reader.retrieve(), height)
                frames += [picture] * (num_shown - len(frames))
    if len(frames) == len(moments):
        return frames
    return _frames_at(video, [min(moment, last) for moment in moments], height)


def _spread(start: float, end: float, count: int) -> list[float]:
    """Return times in the middles of equal parts."""
    return [start + (index + 0.5) * (end - start) / count for index in range(count)]


def _shrink(frame: Frame, height: int) -> Frame:
    width = max(1, round(frame.shape[1] * height / frame.shape[0]))
    method = cv2.INTER_AREA if frame.shape[0] > height else cv2.INTER_CUBIC
    return cast(Frame, np.asarray(cv2.resize(frame, (width, height), interpolation=method)))
