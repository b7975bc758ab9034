"""A video and its timeline -> the video with label, score and timeline drawn in.

The picture is upright and has the frame rate of the video. Where that varies, the frame on screen
at each tick of the typical rate is written, so that the duration is kept.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from activity_cli.common.files import check_new
from activity_cli.errors import OutputError, VideoError
from activity_cli.report.figures import timeline_colours
from activity_cli.report.overlay.encoder import Sound, SoundSource, new_video, sound_of
from activity_cli.report.overlay.painter import FramePainter, leading_scores, scores_at, segment_at
from activity_cli.types import JOIN, NONE, OnProgress, Segment, Timeline, no_progress
from activity_cli.video.capture import Frame
from activity_cli.video.reader import (
    VideoInfo,
    VideoReader,
    frame_interval_seconds,
    read_packet_times,
)

# Letters need about 11 pixels, and a frame about 240 to have room for them. Smaller frames are
# enlarged by a whole number, as long as the longer side stays below Full HD.
_MIN_SIDE = 240
_MAX_ENLARGED_SIDE = 1920

TIE_SECONDS = 0.001
"""Times that differ by less are equal, as in sampling: a segment may end at 2.4000000001."""
_MAX_FPS = 240.0  # above, gaps between times are noise, not a frame rate


Paint = Callable[[Frame, float], Frame]
"""Draws into a frame what belongs to a time in seconds. The frame may be changed."""


def render_video(
    video: Path,
    output: Path,
    make_painter: Callable[[tuple[int, int]], Paint],
    *,
    start_seconds: float = 0.0,
    end_seconds: float,
    is_piece: bool = False,
    overwrite: bool = False,
    on_progress: OnProgress = no_progress,
) -> Sound:
    """Write a video with drawings in every frame; return whether its sound is kept.

    Raises:
        VideoError: no frame can be decoded.
        OutputError: not an .mp4, the file exists, is the video itself, or cannot be written.
    """
    check_output(output, ".mp4", video, overwrite=overwrite)
    piece = (start_seconds - TIE_SECONDS, end_seconds - TIE_SECONDS if is_piece else np.inf)
    length = end_seconds - start_seconds
    with VideoReader(video) as reader:
        rate, sound = read_frame_rate(reader.info), sound_of(video)
        total, num_frames = round(length * rate.fps), 0
        source = SoundSource(video, start_seconds, length if is_piece else None)
        pacer, paint, size = Pacer(rate), None, (0, 0)
        with new_video(output, fps=rate.fps, sound=source if sound.is_kept else None) as write:
            for shown, until, frame in shown_frames(reader, lambda t: piece[0] <= t < piece[1]):
                if paint is None:
                    size = enlarged_size(frame)
                    paint = make_painter(size)
                for seconds in pacer.ticks(shown, until):
                    copy = cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC)
                    write(paint(cast(Frame, copy), seconds))
                    num_frames += 1
                on_progress("overlay", num_frames, max(total, num_frames))
                if until >= piece[1]:
                    break
            if paint is None and is_piece:
                raise VideoError(f"{video} has no frame in the clip any more.")
    return sound


def save_overlay(
    video: Path,
    timeline: Timeline,
    segments: Sequence[Segment],
    output: Path,
    *,
    overwrite: bool = False,
    on_progress: OnProgress = no_progress,
) -> Sound:
    """Write a video with label, score bar and timeline drawn into every frame.

    Between segments the label with the highest score is shown in grey, with a question mark.
    Arguments and errors are those of `render_video`.
    """
    return render_video(
        video,
        output,
        partial(overlay_painter, timeline, segments),
        end_seconds=timeline.end_seconds,
        overwrite=overwrite,
        on_progress=on_progress,
    )


def overlay_painter(
    timeline: Timeline, segments: Sequence[Segment], size: tuple[int, int]
) -> Paint:
    """Return what draws the scores of a timeline into frames of (width, height) pixels."""
    painter = FramePainter(
        size=size,
        start_seconds=0.0,
        end_seconds=timeline.end_seconds,
        curves=partial(leading_scores, timeline, segments),
        colours=timeline_colours(timeline.labels, [s.label for s in segments]),
        segments=segments,
    )

    def paint(frame: Frame, seconds: float) -> Frame:
        scores = scores_at(timeline, np.array([seconds]))[0]
        segment = segment_at(segments, seconds)
        label = segment.label if segment else timeline.labels[int(scores.argmax())]
        score = segment.mean_score if segment else 0.0
        if label in timeline.labels:
            score = float(scores[timeline.labels.index(label)])
        if timeline.thresholds is not None:
            within = [s for s in segments if s.start_seconds <= seconds < s.end_seconds]
            label, score = JOIN.join(s.label for s in within) or NONE, float(scores.max())
        painter.paint(frame, seconds, label=label, score=score, is_guess=segment is None)
        return frame

    return paint


def check_output(output: Path, suffix: str, video: Path, *, overwrite: bool) -> None:
    """Raise OutputError for a file of another kind, one that exists, or the video itself."""
    if output.suffix.lower() != suffix:
        raise OutputError(f"{output} does not end in {suffix}.", hint=f"Name it NAME{suffix}.")
    try:
        is_input = output.exists() and output.samefile(video)
    except OSError:
        return  # the video is missing, or the name is impossible: opening them reports it
    if is_input:
        raise OutputError(f"{output} is the video itself.", hint="Choose another file.")
    check_new(output, overwrite=overwrite)


def enlarged_size(frame: Frame) -> tuple[int, int]:
    """Return width and height, large enough for letters."""
    height, width = frame.shape[:2]
    factor = min(-(-_MIN_SIDE // min(height, width)), _MAX_ENLARGED_SIDE // max(height, width))
    return max(factor, 1) * width, max(factor, 1) * height


@dataclass(frozen=True, slots=True)
class FrameRate:
    """How often a video shows a new frame."""

    fps: float
    is_constant: bool
    """Whether frame i comes i / fps after the first, to less than half an interval."""


def read_frame_rate(info: VideoInfo) -> FrameRate:
    """Return a video's frame rate from the times of its packets, without decoding."""
    in_header, seconds = 1 / frame_interval_seconds(info), np.zeros(0)
    if info.has_stored_times:
        with suppress(VideoError):
            seconds = read_packet_times(info.path).seconds
    gaps = np.diff(seconds)
    gaps = gaps[gaps > 0]
    if not gaps.size:
        return FrameRate(in_header, is_constant=True)
    mean = float(len(seconds) - 1) / float(seconds[-1] - seconds[0])
    for fps in (in_header, mean):  # the header's is rounder, where it is right
        late = seconds - seconds[0] - np.arange(len(seconds)) / fps
        if np.abs(late).max() < 0.5 / fps and fps <= _MAX_FPS:
            return FrameRate(fps, is_constant=True)
    return FrameRate(min(1 / float(np.median(gaps)), _MAX_FPS), is_constant=False)


def shown_frames(
    reader: VideoReader, is_wanted: Callable[[float], bool] = lambda _: True
) -> Iterator[tuple[float, float, Frame]]:
    """Yield for each frame: shown from, shown until, picture as (H, W, 3) RGB.

    `is_wanted` tells by the time from which a frame is shown whether to yield it.
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
        first = self._start = start if self._start is None else self._start
        stop = round((until - first) * self._rate.fps)
        ticks = range(self._num_ticks, stop)
        self._num_ticks = max(stop, self._num_ticks)
        return [first + index / self._rate.fps for index in ticks]
