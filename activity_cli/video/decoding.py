"""Video -> the wanted frames of it, by decoding everything or by seeking.

N is frames of the video; times are seconds. Seeking gives what decoding everything gives, or gives
up. The times of all frames are read from the packets; then only the stretches from a key frame to
each wanted frame are decoded, and every frame on the way must come exactly at its time. What this
cannot see is damage between those stretches: frames there count as if they had been decoded.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
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

Shrink = Callable[[Frame], Frame]
"""From a frame as decoded, BGR, to what is kept of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What going through a video gave."""

    seconds: Seconds  # (N,)
    frames: dict[int, Frame]  # (H, W, 3), of the wanted indices that exist
    reached_end: bool


# Codecs whose frames, sought, were compared with those of decoding everything, bit by bit: with
# B-frames, open groups of pictures, variable frame rates and times that do not start at 0.
_PROVEN_CODECS = "H264 AVC1 X264 HEVC HEV1 HVC1 FMP4 MP4V XVID DIVX DX50 VP80 VP90 VP08 VP09 MJPG"

# Below so many frames (40 s at 25 fps) packets are not looked at: groups of pictures of a second
# leave nothing to gain there, and all frames of a 160 x 120 video are decoded in 0.1 s.
_MIN_FRAMES = 1000

# `VideoReader.seek` goes up to so many frames beyond the key frame that it was sent to.
_OVERSHOOT_FRAMES = 17

# What a seek takes besides decoding, in frames' decoding time: 0 to 6 measured, from MPEG-4 at
# 160 x 120 (0.1 ms a frame) to H.264 at 1280 x 720 (2.5 ms a frame).
_SEEK_COST_FRAMES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leg:
    """Decode up to a frame, from where the reader is or from a seek."""

    stop: int
    key: int = 0
    """After a seek, the key frame from which on pictures are whole; not after `stop`."""
    lead: int | None = None
    """The key frame to seek to, an earlier one; None is no seek."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeekPlan:
    """How to get at the wanted frames without decoding all."""

    seconds: Seconds  # (N,), to the end or the first frame at or after the time asked for
    is_key: NDArray[np.bool_]  # (N,)
    wanted: frozenset[int]
    legs: tuple[_Leg, ...]
    reaches_end: bool
    """Whether N is all frames of the video."""


class _UnprovenError(Exception):
    """A frame did not come as its packet promised."""


def decode_all(
    reader: VideoReader,
    wanted: Collection[int],
    shrink: Shrink,
    *,
    until_seconds: float | None = None,
    last_index: int | None = None,
) -> Pass:
    """Go through a video and keep the wanted frames, resized at once so that memory stays flat.

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
    """Whether a file is of a kind whose packets tell the times that its frames will have."""
    return info.has_stored_times and info.codec.upper() in _PROVEN_CODECS.split()


def plan_seeks(
    info: VideoInfo,
    choose: Callable[[Seconds], Collection[int]],
    *,
    until_seconds: float | None = None,
) -> SeekPlan | None:
    """Plan to decode less than everything up to a time.

    Args:
        info: the video.
        choose: from the times of frames, (N,), to the wanted ones.
        until_seconds: frames after the first at or after this time do not matter; None is the end.

    Returns:
        None where decoding everything is as quick, or the file is not of a kind to be sought in.
    """
    num_frames = info.num_frames_from_header or 0
    if until_seconds is not None:
        num_frames = min(num_frames, int(until_seconds / frame_interval_seconds(info)))
    if num_frames < _MIN_FRAMES or not is_proven(info):
        return None
    try:
        packets = read_packet_times(info.path, until_seconds=until_seconds)
    except VideoError:
        return None
    seconds, is_key = packets.seconds, packets.is_key
    if not is_key[:1].any() or not (np.diff(seconds, prepend=-1e-9) > 0).all():
        return None
    reaches_end = until_seconds is None or not (seconds >= until_seconds).any()
    if until_seconds is not None:
        stop = int(np.searchsorted(seconds, until_seconds)) + 1
        seconds, is_key = seconds[:stop], is_key[:stop]
    wanted = frozenset(choose(seconds))
    # The first frame is where time starts; the last tells that there is nothing else to come.
    legs = _plan_legs(sorted({0, *wanted, len(seconds) - 1}), np.flatnonzero(is_key))
    if not wanted or _cost_frames(legs) >= len(seconds):
        return None
    return SeekPlan(
        seconds=seconds, is_key=is_key, wanted=wanted, legs=legs, reaches_end=reaches_end
    )


def decode_by_seeking(reader: VideoReader, plan: SeekPlan, shrink: Shrink) -> Pass | None:
    """Keep the wanted frames, resized at once; None as soon as one does not come as planned.

    Args:
        reader: a fresh one; of no use afterwards.
        plan: from `plan_seeks`.
        shrink: what is kept of a frame.
    """
    frames: dict[int, Frame] = {}
    try:
        for index in _proven_indices(reader, plan):
            if index in plan.wanted:
                frames[index] = shrink(reader.retrieve_bgr())
    except (_UnprovenError, VideoError):
        return None
    return Pass(seconds=plan.seconds, frames=frames, reached_end=plan.reaches_end)


def _plan_legs(stops: list[int], keys: Indices) -> tuple[_Leg, ...]:
    """The way through the stops, in order, by seeking wherever that decodes less."""
    legs = []
    position = -1
    for stop in stops:
        key = keys[np.searchsorted(keys, stop, side="right") - 1]
        # Started one key frame early, the reader is seen to pass the key frame, and pictures that
        # refer to others before it (open groups, damage) are whole all the same.
        leads = keys[keys <= key - _OVERSHOOT_FRAMES]
        if leads.size and leads[-1] > position + _SEEK_COST_FRAMES:
            legs.append(_Leg(stop=stop, key=int(key), lead=int(leads[-1])))
        else:
            legs.append(_Leg(stop=stop))
        position = stop
    return tuple(legs)


def _cost_frames(legs: Iterable[_Leg]) -> int:
    """What a plan costs, in the time that it takes to decode a frame."""
    cost, position = 0, -1
    for leg in legs:
        start = position if leg.lead is None else leg.lead - 1 - _SEEK_COST_FRAMES
        cost += leg.stop - start
        position = leg.stop
    return cost


def _proven_indices(reader: VideoReader, plan: SeekPlan) -> Iterator[int]:
    """Go through a plan, and say of each frame whose picture is to be trusted which one it is.

    Raises:
        _UnprovenError: a frame did not come at its time, or is no key frame though it should be.
    """
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
