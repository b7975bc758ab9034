"""A video and its timeline -> the video with label, score and timeline drawn in.

Frames pass through one at a time, so memory does not grow with the video. The picture is upright
and has the frame rate of the video; where that varies, its typical one (see `timing`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from activity_cli.errors import OutputError
from activity_cli.report.overlay.drawing import OverlayPainter
from activity_cli.report.overlay.encoder import SoundSource, new_video
from activity_cli.report.overlay.ffmpeg import Sound, sound_of
from activity_cli.report.overlay.timing import Pacer, read_frame_rate, shown_frames
from activity_cli.types import OnProgress, Segment, Timeline, no_progress
from activity_cli.video.capture import Frame
from activity_cli.video.reader import VideoReader

# Letters need some 11 pixels, and a frame some 240 to have room for them: smaller ones are
# enlarged by a whole number, as long as the longer side stays below Full HD.
_LEAST_SIDE = 240
_MOST_ENLARGED_SIDE = 1920


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedVideo:
    """A video that was written."""

    path: Path
    num_frames: int
    sound: Sound


def save_overlay(
    video: Path,
    timeline: Timeline,
    segments: Sequence[Segment],
    output: Path,
    *,
    overwrite: bool = False,
    on_progress: OnProgress = no_progress,
) -> RenderedVideo:
    """Write a video with label, score bar and timeline drawn into every frame.

    Between segments the label with the highest score stands there in grey: the model's guess.

    Args:
        video: the video.
        timeline: what the model says of its windows.
        segments: what was found in it, in order.
        output: the .mp4 to write.
        overwrite: replace a file that exists; the video itself never.
        on_progress: told of stage "overlay", in frames.

    Raises:
        VideoError: no frame can be decoded.
        OutputError: not an .mp4, the file exists, is the video itself, or cannot be written.
    """
    check_output(output, ".mp4", video, overwrite=overwrite)
    with VideoReader(video) as reader:
        info = reader.info
        rate, sound = read_frame_rate(info), sound_of(video)
        total = round(timeline.end_seconds * rate.fps)
        pacer, painter, num_frames = Pacer(rate), None, 0
        source = SoundSource(video=video) if sound.is_kept else None
        with new_video(output, fps=rate.fps, sound=source) as written:
            for start, until, frame in shown_frames(reader):
                if painter is None:
                    painter = OverlayPainter(timeline, segments, enlarged_size(frame))
                for seconds in pacer.ticks(start, until):
                    drawn = copy_enlarged(frame, painter.size)
                    painter.paint(drawn, seconds)
                    written.write(drawn)
                    num_frames += 1
                on_progress("overlay", num_frames, max(total, num_frames))
    return RenderedVideo(path=output, num_frames=num_frames, sound=sound)


def check_output(output: Path, suffix: str, video: Path, *, overwrite: bool) -> None:
    """Refuse a file of another kind, one that exists, and the video itself.

    Raises:
        OutputError: as described.
    """
    if output.suffix.lower() != suffix:
        raise OutputError(f"{output} does not end in {suffix}.", hint=f"Name it NAME{suffix}.")
    try:
        exists = output.exists()
        is_input = exists and output.samefile(video)
    except OSError:
        return  # the video is missing, or the name cannot be: opening them says so
    if is_input:
        raise OutputError(f"{output} is the video itself.", hint="Choose another file.")
    if exists and not overwrite:
        raise OutputError(
            f"{output} exists already.", hint="Choose another file, or add --overwrite."
        )


def enlarged_size(frame: Frame) -> tuple[int, int]:
    """Width and height, large enough for letters."""
    height, width = frame.shape[:2]
    factor = min(-(-_LEAST_SIDE // min(height, width)), _MOST_ENLARGED_SIDE // max(height, width))
    return max(factor, 1) * width, max(factor, 1) * height


def copy_enlarged(frame: Frame, size: tuple[int, int]) -> Frame:
    """A copy of a frame in a size (width, height)."""
    if size == (frame.shape[1], frame.shape[0]):
        return frame.copy()
    return cast(Frame, np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC), np.uint8))
