"""Video -> clip: the sampled frames, resized, and the pictures that the networks see.

T is frames per clip, N frames of the video, H = W the frame size in pixels; times are seconds.
Pictures have 3 channels, RGB, or 1, grey. A clip depends on decoded timestamps alone. The header
only predicts which frames will be needed, which saves a second pass when it is right.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from typing import TypedDict, Unpack, cast

import cv2
import numpy as np

from activity_cli.common import count_of
from activity_cli.errors import LongVideoError, VideoError
from activity_cli.settings import ClipSettings, Stream
from activity_cli.types import Clip, ClipFrames, Decoded, FrameRole, Images, Status, frame_roles
from activity_cli.video.augmentation import PLAIN, Transformer, View
from activity_cli.video.capture import Frame
from activity_cli.video.decoding import Pass, Shrink, decode_all, decode_by_seeking, plan_seeks
from activity_cli.video.motion import flow_images, motion_image, stabilize
from activity_cli.video.pictures import CODEC
from activity_cli.video.reader import VideoInfo, VideoReader, frame_interval_seconds
from activity_cli.video.sampling import Choice, Indices, Seconds, choose_frames

# Beyond this many frames (19 hours at 30 fps) planning from the header takes too much memory.
_MAX_PLANNED_FRAMES = 2**21


class Part(TypedDict, total=False):
    """Which part of a video to read, and how; everything may be left out."""

    start_seconds: float | None  # of the piece; None is the first frame
    end_seconds: float | None  # of the piece; None, or a time beyond it, is the end of the video
    max_seconds: float | None  # a longer clip is refused, before decoding if its header is right
    num_threads: int  # of the decoder, as for `VideoReader`


def read_views(
    path: str | PathLike[str], settings: ClipSettings, views: Sequence[View], **part: Unpack[Part]
) -> tuple[ClipFrames, ...]:
    """Sample views of a video, or of a piece of it, to T frames each; decoded once for all.

    The clip spans [start, end): by default the whole video, to one typical frame interval after
    its last frame. The frames on screen at the middles of T equal parts are taken. A view may take
    other times, and transform the frames; its length and number of frames are the whole clip's.
    Errors are those of `VideoReader`; LongVideoError for clips longer than `max_seconds`.
    """
    start_seconds, end_seconds = part.get("start_seconds"), part.get("end_seconds")
    max_seconds, num_threads = part.get("max_seconds"), part.get("num_threads", 0)
    if end_seconds is not None and not end_seconds > (start_seconds or 0):
        raise VideoError(
            f"The piece from {start_seconds or 0:g} s to {end_seconds:g} s is empty.",
            hint="Its end must come after its start.",
        )

    def choose(seconds: Seconds, info: VideoInfo) -> list[Choice]:
        """Return one choice per view; none where the piece starts after the video."""
        piece, interval = (start_seconds, end_seconds), frame_interval_seconds(info)
        choices = (choose_frames(seconds, settings, piece, interval, v.timing) for v in views)
        return [choice for choice in choices if choice is not None]

    shrink = partial(to_square, settings=settings)
    info, decoded = _decode(path, choose, shrink, part)
    choices = choose(decoded.seconds, info)
    if not choices:
        raise VideoError(
            f"The piece starts at {start_seconds:g} s, but the video's last frame is at "
            f"{decoded.seconds[-1]:.2f} s."
        )
    if max_seconds is not None and choices[0].duration_seconds > max_seconds:
        raise LongVideoError(choices[0].duration_seconds)
    frames, needed = decoded.frames, _needed(choices)
    if missing := needed - frames.keys():  # they were not predicted: the header is wrong
        with VideoReader(path, num_threads=num_threads) as reader:
            again = decode_all(reader, missing, shrink, last_index=max(missing))
        frames = frames | again.frames
    if needed - frames.keys():
        raise VideoError("It gave fewer frames when read again: the file is being changed.")
    return tuple(
        ClipFrames(
            images=_stack_frames(view, choice, frames, settings),
            decoded=_judge(info, decoded, choice, settings.num_frames),
        )
        for view, choice in zip(views, choices, strict=True)
    )


def read_frames(
    path: str | PathLike[str], settings: ClipSettings, **part: Unpack[Part]
) -> ClipFrames:
    """Read the plain view of a video, as frames. See `read_views`."""
    return read_views(path, settings, (PLAIN,), **part)[0]


def read_clips(
    path: str | PathLike[str], settings: ClipSettings, views: Sequence[View], **part: Unpack[Part]
) -> tuple[Clip, ...]:
    """Read views of a video, as the T pictures per stream that the CNN sees. See `read_views`."""
    sampled = read_views(path, settings, views, **part)
    return tuple(make_streams(frames, settings) for frames in sampled)


def read_clip(path: str | PathLike[str], settings: ClipSettings, **part: Unpack[Part]) -> Clip:
    """Read the plain view of a video, as pictures. See `read_views`."""
    return read_clips(path, settings, (PLAIN,), **part)[0]


def make_streams(sampled: ClipFrames, settings: ClipSettings) -> Clip:
    """Make the pictures of each stream from a clip's frames: (T, H, W, channels) uint8 each."""
    return Clip(images=images_by_stream(sampled.images, settings), decoded=sampled.decoded)


def images_by_stream(
    frames: Mapping[FrameRole, Images], settings: ClipSettings, indices: Indices | None = None
) -> dict[Stream, Images]:
    """Make the pictures of each stream from frames by role: (..., N, H, W, channels) uint8 each.

    `indices`, (N,) increasing, are their places in the video; by default from 0 on.
    """
    images: dict[Stream, Images] = {}
    if "rgb" in settings.streams:
        places = np.arange(frames["frames"].shape[-4]) if indices is None else indices
        shown = held_frames(places, settings)
        images["rgb"] = np.take(frames["frames"], shown, axis=-4)
    if "motion" in settings.streams:
        images["motion"] = motion_image(frames["later"], frames["earlier"], settings.motion_gain)
    if "flow" in settings.streams:
        images["flow"] = frames["flow"]
    if "action" in settings.streams:
        images["action"] = frames["frames"]
    return images


def held_frames(indices: Indices, settings: ClipSettings) -> Indices:
    """Return (N,) which of N frames the stream rgb shows in place of each, by their indices.

    Frames in a row share the middle one of them, or the last before it that is there: what a scene
    looks like changes more slowly than what moves in it.
    """
    runs = indices // settings.rgb_every
    middles = runs * settings.rgb_every + settings.rgb_every // 2
    firsts = np.searchsorted(runs, runs)  # of each run, those that are there
    return np.maximum(np.searchsorted(indices, middles, side="right") - 1, firsts)


def stack_roles(
    frames: Mapping[FrameRole, Sequence[Frame]], settings: ClipSettings
) -> dict[FrameRole, Images]:
    """Stack N frames (H, W, channels) per role to (N, H, W, channels), for the roles in use.

    The role `flow` is computed here from the frames of the others.
    """
    wanted: list[FrameRole] = ["frames"] if settings.keeps_frames else []
    wanted += ["earlier", "later"] if settings.compares_frames else []
    images = {role: np.stack(frames[role]) for role in wanted if frames[role]}
    if settings.stabilize and "earlier" in images:
        images["earlier"] = stabilize(images["earlier"], images["later"])
    if "flow" in settings.streams and "earlier" in images:
        images["flow"] = flow_images(images["earlier"], images["later"])
    return {role: images[role] for role in frame_roles(settings) if role in images}


def _needed(choices: Sequence[Choice]) -> frozenset[int]:
    return frozenset[int]().union(*(choice.needed for choice in choices))


def _decode(
    path: str | PathLike[str],
    choose: Callable[[Seconds, VideoInfo], list[Choice]],
    shrink: Shrink,
    part: Part,
) -> tuple[VideoInfo, Pass]:
    """Decode the frames that the views need, as far as they can be predicted."""
    num_threads, until_seconds = part.get("num_threads", 0), part.get("end_seconds")
    with VideoReader(path, num_threads=num_threads) as reader:
        info = reader.info
        promised, max_seconds = info.duration_seconds_from_header, part.get("max_seconds")
        if max_seconds is not None and promised is not None and promised > max_seconds:
            raise LongVideoError(promised)
        planned: frozenset[int] = frozenset()
        if 0 < (count := info.num_frames_from_header or 0) <= _MAX_PLANNED_FRAMES:
            exact = np.arange(count, dtype=np.float64) * frame_interval_seconds(info)
            # Matroska and others round timestamps to 1 ms.
            planned = _needed([*choose(exact, info), *choose(np.round(exact, 3), info)])
        plan = plan_seeks(
            info, lambda seconds: _needed(choose(seconds, info)), until_seconds=until_seconds
        )
        if plan is None:
            return info, decode_all(reader, planned, shrink, until_seconds=until_seconds)
        if decoded := decode_by_seeking(reader, plan, shrink):
            return info, decoded
    with VideoReader(path, num_threads=num_threads) as reader:
        return info, decode_all(reader, planned, shrink, until_seconds=until_seconds)


def to_square(bgr: Frame, settings: ClipSettings) -> Frame:
    """Squash a decoder's frame to the square that the CNN sees, in RGB or grey: (H, W, channels).

    Each side shrinks by area, which keeps detail, or grows linearly. OpenCV averages 2 x 2 pixels
    several times faster than other areas, so large frames are halved first: 1.4 instead of 3.3 ms
    from 1280 x 720 to 224 x 224.
    """
    side = settings.frame_size
    image: cv2.typing.MatLike = bgr
    height, width = bgr.shape[:2]
    while min(height, width) >= 2 * side and height % 2 == width % 2 == 0:
        height, width = height // 2, width // 2
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    if max(height, width) > side:
        shrunk = (min(width, side), min(height, side))
        image = cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
    if image.shape[:2] != (side, side):
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)
    if settings.channels == 1:
        return cast(Frame, cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None])
    return cast(Frame, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def to_picture_rgb(bgr: Frame, max_width: int) -> Frame:
    """Convert a decoder's frame for display: RGB, at most `max_width` pixels wide."""
    height, width = bgr.shape[:2]
    if width > max_width:
        size = (max_width, max(1, round(height * max_width / width)))
        bgr = cast(Frame, cv2.resize(bgr, size, interpolation=cv2.INTER_AREA))
    return cast(Frame, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def judge_end(info: VideoInfo, num_frames: int, duration_seconds: float) -> tuple[Status, str]:
    """Detect a truncated file: compare its header with what was decoded up to the end."""
    promised = info.num_frames_from_header or 0
    is_short = duration_seconds < 0.95 * (info.duration_seconds_from_header or 0)
    if is_short and promised - num_frames > max(2, 0.05 * promised):
        reason = f"header promises {promised} frames, {num_frames} could be decoded"
        return Status.TRUNCATED, reason
    return Status.OK, ""


def _judge(info: VideoInfo, decoded: Pass, choice: Choice, num_frames: int) -> Decoded:
    """Describe the decoding, with the status of a truncated file or one with too few frames."""
    status, reason = Status.OK, ""
    if decoded.reached_end:
        duration = decoded.seconds[-1] - decoded.seconds[0] + frame_interval_seconds(info)
        status, reason = judge_end(info, len(decoded.seconds), duration)
    is_picture = info.codec == CODEC and info.num_frames_from_header == 1  # repeated, as it must be
    if status is Status.OK and choice.num_frames < num_frames and not is_picture:
        status = Status.SHORT
        reason = (
            f"{count_of(choice.num_frames, 'frame')}, the model samples {num_frames}: "
            "frames were repeated"
        )
    return Decoded(
        seconds=decoded.seconds[choice.samples],
        num_frames=choice.num_frames,
        duration_seconds=choice.duration_seconds,
        status=status,
        reason=reason,
    )


def _stack_frames(
    view: View, choice: Choice, frames: Mapping[int, Frame], settings: ClipSettings
) -> dict[FrameRole, Images]:
    """Stack a view's frames by role, from the video's frames by index."""
    if view.transform != PLAIN.transform:
        transformer = Transformer(view.transform, settings.frame_size)
        frames = {index: transformer.apply(frames[index], index) for index in choice.needed}

    roles: tuple[FrameRole, ...] = ("frames", "earlier", "later")
    indices = (choice.samples, choice.earlier, choice.later)
    rows = ([frames[index] for index in some.tolist()] for some in indices)
    return stack_roles(dict(zip(roles, rows, strict=True)), settings)
