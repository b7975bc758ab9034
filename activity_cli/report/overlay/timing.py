"""The times of a video's frames -> the constant frame rate of a video made from it.

A written video has one frame rate. Where the source's rate is constant, each frame is written once.
Where it varies, the frame on screen at each tick of the typical rate, so that the duration is kept.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from activity_cli.errors import VideoError
from activity_cli.video.capture import Frame
from activity_cli.video.reader import (
    VideoInfo,
    VideoReader,
    frame_interval_seconds,
    read_packet_times,
)

TIE_SECONDS = 0.001
"""Times that differ by less are equal, as in sampling: a segment may end at 2.4000000001."""
_MAX_FPS = 240.0  # above, gaps between times are noise, not a frame rate


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRate:
    """How often a video shows a new frame."""

    fps: float
    is_constant: bool
    """Whether frame i comes i / fps after the first, to less than half an interval."""


def read_frame_rate(info: VideoInfo) -> FrameRate:
    """Return a video's frame rate from the times of its packets, without decoding."""
    header = FrameRate(fps=1 / frame_interval_seconds(info), is_constant=True)
    if not info.has_stored_times:
        return header
    try:
        seconds = read_packet_times(info.path).seconds
    except VideoError:
        return header
    gaps = np.diff(seconds)
    gaps = gaps[gaps > 0]
    if not gaps.size:
        return header
    mean = float(len(seconds) - 1) / float(seconds[-1] - seconds[0])
    for fps in (header.fps, mean):  # the header's is rounder, where it is right
        late = seconds - seconds[0] - np.arange(len(seconds)) / fps
        if np.abs(late).max() < 0.5 / fps and fps <= _MAX_FPS:
            return FrameRate(fps=fps, is_constant=True)
    return FrameRate(fps=min(1 / float(np.median(gaps)), _MAX_FPS), is_constant=False)


def shown_frames(
    reader: VideoReader, is_wanted: Callable[[float], bool] = lambda _: True
) -> Iterator[tuple[float, float, Frame]]:
    """Yield for each frame: shown from, shown until, picture as (H, W, 3) RGB.

    Args:
        reader: the video, from where it is.
        is_wanted: tells by the time from which a frame is shown whether to yield it.

    Raises:
        VideoError: a frame cannot be converted.
    """
    start = reader.grab()
    while start is not None:
        frame = reader.retrieve() if is_wanted(start) else None
        following = reader.grab()
        if frame is not None:
            last_until = start + frame_interval_seconds(reader.info)
            yield start, last_until if following is None else following, frame
        start = following


class Pacer:
    """Tells at which ticks of the frame rate a frame is shown."""

    def __init__(self, rate: FrameRate) -> None:
        self._rate = rate
        self._start: float | None = None
        self._num_ticks = 0

    def ticks(self, start: float, until: float) -> list[float]:
        """Return the times at which to show a frame, in seconds; none if it is too short."""
        if self._rate.is_constant:
            return [start]
        if self._start is None:
            self._start = start
        fps = self._rate.fps
        stop = round((until - self._start) * fps)
        ticks = [self._start + index / fps for index in range(self._num_ticks, stop)]
        self._num_ticks = max(stop, self._num_ticks)
        return ticks
