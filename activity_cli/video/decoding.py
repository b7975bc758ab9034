"""Video -> the wanted frames of it, by decoding everything or by seeking.

N is frames of the video; times are seconds. Seeking gives the same frames as decoding everything,
or gives up: only the stretches from a key frame to each wanted frame are decoded, and every frame
on the way must come exactly at its packet's time. Damage between them is not detected.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import VideoError
from activity_cli.video.capture import Frame
from activity_cli.video.reader import (
    VideoInfo,
    VideoReader,
    frame_interval_seconds,
    read_packet_times,
)
from activity_cli.video.sampling import Indices, Seconds

Shrink = Callable[[Frame], Frame]  # from a decoded frame, BGR, to the one that is kept

# Codecs for which seeking was compared with decoding everything, bit by bit: with B-frames, open
# groups of pictures, variable frame rates and times that do not start at 0.
_PROVEN_CODECS = "H264 AVC1 X264 HEVC HEV1 HVC1 FMP4 MP4V XVID DIVX DX50 VP80 VP90 VP08 VP09 MJPG"

# Below so many frames (40 s at 25 fps) everything is decoded: with groups of pictures of a second
# seeking gains nothing, and all frames of a 160 x 120 video are decoded in 0.1 s.
_MIN_FRAMES = 1000

# `VideoReader.seek` may end up so many frames after the key frame.
_OVERSHOOT_FRAMES = 17

# The cost of a seek, in the time that it takes to decode a frame: 0 to 6 measured, from MPEG-4 at
# 160 x 120 (0.1 ms a frame) to H.264 at 1280 x 720 (2.5 ms a frame).
_SEEK_COST_FRAMES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """The result of one pass through a video."""

    seconds: Seconds  # (N,)
    frames: dict[int, Frame]  # (H, W, 3), of the wanted indices that exist
    reached_end: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leg:
    """Decode up to frame `stop`, from where the reader is or from a seek."""

    stop: int
    key: int = 0  # after a seek, the key frame from which on frames are valid; at most `stop`
    lead: int | None = None  # the earlier key frame to seek to; None is no seek


@dataclass(frozen=True, slots=True, kw_only=True)
class SeekPlan:
    """How to reach the wanted frames without decoding all."""

    seconds: Seconds  # (N,), to the end or the first frame at or after the time asked for
    is_key: NDArray[np.bool_]  # (N,)
    wanted: frozenset[int]
    legs: tuple[_Leg, ...]
    reaches_end: bool  # whether N covers all frames of the video


class _UnprovenError(Exception):
    """A frame differs from its packet."""


def decode_all(
    reader: VideoReader,
    wanted: Collection[int],
    shrink: Shrink,
    *,
    until_seconds: float | None = None,
    last_index: int | None = None,
) -> Pass:
    """Decode a video and keep the wanted frames, shrunk at once so that memory stays flat.

    Stops after the first frame at or after `until_seconds`, or after `last_index`.
    """
    all_seconds: list[float] = []
    frames: dict[int, Frame] = {}
    reached_end = True
    while (seconds := reader.grab()) is not None:
        index = len(all_seconds)
        all_seconds.append(seconds)
        if index in wanted:
            frames[index] = shrink(reader.retrieve_bgr())
        if index == last_index or (until_seconds is not None and seconds >= until_seconds):
            reached_end = False
            break
    return Pass(seconds=np.array(all_seconds), frames=frames, reached_end=reached_end)


def is_proven(info: VideoInfo) -> bool:
    """Return whether a file is of a kind whose packets have the times of its frames."""
    return info.has_stored_times and info.codec.upper() in _PROVEN_CODECS.split()


def plan_seeks(
    info: VideoInfo,
    choose: Callable[[Seconds], Collection[int]],
    *,
    until_seconds: float | None = None,
) -> SeekPlan | None:
    """Plan how to decode only the frames that `choose` wants, given the times of all, (N,).

    Frames after the first one at or after `until_seconds` do not matter. None where decoding
    everything is as fast, or seeking is not proven for the kind of file.
    """
    num_frames = info.num_frames_from_header or 0
    if until_seconds is not None:
        num_frames = min(num_frames, int(until_seconds / frame_interval_seconds(info)))
    if num_frames < _MIN_FRAMES or not is_proven(info):
        return None
    try:
        seconds, is_key = read_packet_times(info.path, until_seconds=until_seconds)
    except VideoError:
        return None
    if not is_key[:1].any() or not (np.diff(seconds, prepend=-1e-9) > 0).all():
        return None
    reaches_end = until_seconds is None or not (seconds >= until_seconds).any()
    if until_seconds is not None:
        stop = int(np.searchsorted(seconds, until_seconds)) + 1
        seconds, is_key = seconds[:stop], is_key[:stop]
    wanted = frozenset(choose(seconds))
    # The first frame is where time starts; the last proves that nothing else comes.
    legs, cost = _plan_legs(sorted({0, *wanted, len(seconds) - 1}), np.flatnonzero(is_key))
    if not wanted or cost >= len(seconds):
        return None
    return SeekPlan(
        seconds=seconds, is_key=is_key, wanted=wanted, legs=legs, reaches_end=reaches_end
    )


def decode_by_seeking(reader: VideoReader, plan: SeekPlan, shrink: Shrink) -> Pass | None:
    """Keep the wanted frames, shrunk at once; None if one does not come as planned.

    The reader must be new, and is of no use afterwards.
    """
    frames: dict[int, Frame] = {}
    try:
        for index in _proven_indices(reader, plan):
            if index in plan.wanted:
                frames[index] = shrink(reader.retrieve_bgr())
    except (_UnprovenError, VideoError):
        return None
    return Pass(seconds=plan.seconds, frames=frames, reached_end=plan.reaches_end)


def _plan_legs(stops: list[int], keys: Indices) -> tuple[tuple[_Leg, ...], int]:
    """Plan the way through the stops, in order, with a seek wherever that decodes less.

    Also returns the cost, in the time that it takes to decode a frame.
    """
    legs = []
    position, cost = -1, 0
    for stop in stops:
        key = keys[np.searchsorted(keys, stop, side="right") - 1]
        # Starting one key frame early proves that the reader passes the key frame, and makes frames
        # valid that refer to others before it (open groups of pictures).
        leads = keys[keys <= key - _OVERSHOOT_FRAMES]
        if leads.size and leads[-1] > position + _SEEK_COST_FRAMES:
            lead = int(leads[-1])
            legs.append(_Leg(stop=stop, key=int(key), lead=lead))
            cost += stop - lead + 1 + _SEEK_COST_FRAMES
        else:
            legs.append(_Leg(stop=stop))
            cost += stop - position
        position = stop
    return tuple(legs), cost


def _proven_indices(reader: VideoReader, plan: SeekPlan) -> Iterator[int]:
    """Give the index of each valid frame; an _UnprovenError if one does not come as planned."""
    index = -1
    for leg in plan.legs:
        seconds = None
        if leg.lead is not None:
            reader.seek(float(plan.seconds[leg.lead]))
            seconds = reader.grab()
            index = leg.key if seconds is None else int(np.searchsorted(plan.seconds, seconds)) - 1
            if index >= leg.key:
                raise _UnprovenError
        while index < leg.stop:
            index += 1
            seconds = reader.grab() if seconds is None else seconds
            if seconds != plan.seconds[index] or (plan.is_key[index] and not reader.is_intra()):
                raise _UnprovenError
            seconds = None
            if leg.lead is None or index >= leg.key:
                yield index
    if plan.reaches_end and reader.grab() is not None:
        raise _UnprovenError
