"""Frame times -> the frames that make up a clip, and the windows that slide over a long video.

T is frames per clip or window, N frames of the video, S streams; times are seconds. The choice
depends on decoded timestamps and the settings alone. Windows begin whole steps apart, a step being
the time between two of their frames, so that they share frames and the CNN computes each once.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import SettingsError
from activity_cli.settings import ClipSettings

Indices = NDArray[np.intp]
Seconds = NDArray[np.float64]

# Times that differ by less count as equal, lest rounding decide which of two frames is taken. For
# pairs of frames the tolerance is double, because two differences are compared.
TIE_SECONDS = 0.001

_CLIP_WINDOWS = 1.5  # videos up to so many window lengths are scored as one clip
_DEFAULT_SECONDS = 2.0  # window length for models without the length of their training clips
_DEFAULT_STRIDES = 4  # strides per window


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Which times of a clip a view takes. By default those of the plain clip."""

    first: float = 0.0  # where the view starts, as a share of the clip
    last: float = 1.0  # where it ends
    jitter: float = 0.0
    """How far a sample may be from the middle of its part, in parts; up to 0.5 keeps the order."""
    speed: float = 1.0
    """Apparent speed: the two frames of a motion image are so many times farther apart."""
    is_reversed: bool = False  # whether time runs backwards
    seed: int = 0  # of the jitter


PLAIN_TIMING = Timing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The frames that make up a view of a clip, as indices into the video."""

    samples: Indices  # (T,)
    earlier: Indices  # (T,) or (0,) without motion
    later: Indices  # as earlier
    needed: frozenset[int]
    num_frames: int  # of the whole clip, whatever part of it the view takes
    duration_seconds: float  # of the whole clip


def choose_frames(
    seconds: Seconds,
    settings: ClipSettings,
    piece: tuple[float | None, float | None],
    interval_from_header: float,
    timing: Timing = PLAIN_TIMING,
) -> Choice | None:
    """Choose the clip's frames by their times; None if the piece starts after the video.

    The piece is from one time to another; None is the start or the end of the video.
    """
    video_end = end_of_video(seconds, interval_from_header)
    start = float(seconds[0]) if piece[0] is None else piece[0]
    end = video_end if piece[1] is None else min(video_end, piece[1])
    length = end - start
    if length < 1e-6:  # not 0: the end was computed
        return None
    if timing.is_reversed:
        return _choose_backwards(seconds, settings, start, end, timing)
    count = settings.num_frames
    shifts = np.zeros(count)
    if timing.jitter:
        shifts = timing.jitter * np.random.default_rng(timing.seed).uniform(-1, 1, count)
    view_start, view_end = start + timing.first * length, end - (1 - timing.last) * length
    samples = sample_indices(seconds, view_end, count, start_seconds=view_start, shifts=shifts)
    earlier = later = samples[:0]
    if settings.compares_frames:
        step_seconds = settings.motion_step_seconds * timing.speed
        earlier, later = partner_indices(seconds, samples, step_seconds)
    taken = np.concatenate([samples if settings.keeps_frames else later, earlier, later])
    first, stop = _span_indices(seconds, start, end)
    return Choice(
        samples=samples,
        earlier=earlier,
        later=later,
        needed=frozenset(taken.tolist()),
        num_frames=stop - first,
        duration_seconds=length,
    )


def _choose_backwards(
    seconds: Seconds, settings: ClipSettings, start: float, end: float, timing: Timing
) -> Choice | None:
    """Choose in the mirrored video, in which every frame stays on screen equally long."""
    until = np.append(seconds[1:], max(end, seconds[-1]))
    forwards = replace(timing, is_reversed=False)
    choice = choose_frames(-until[::-1], settings, (-end, -start), end - start, forwards)
    if choice is None:
        return None
    last = len(seconds) - 1
    return replace(
        choice,
        samples=last - choice.samples,
        earlier=last - choice.earlier,
        later=last - choice.later,
        needed=frozenset(last - index for index in choice.needed),
    )


def end_of_video(seconds: Seconds, interval_from_header: float) -> float:
    """Return the end: one median frame interval after the last frame; the header's for one frame.

    Times are (N,), not decreasing.
    """
    gaps = np.diff(seconds)
    gaps = gaps[gaps > 0]
    return float(seconds[-1] + (np.median(gaps) if gaps.size else interval_from_header))


def sample_indices(
    seconds: Seconds,
    end_seconds: float,
    num_frames: int,
    *,
    start_seconds: float | None = None,
    shifts: Seconds | float = 0.0,
) -> Indices:
    """Return (T,) the frames on screen at the middles of T equal parts of [start, end).

    All are in the span, unless it lies between two frames: then the earlier of the two is taken.
    Times are (N,), not decreasing; without `start_seconds` the span begins with the first frame.
    `shifts` are (T,) how far from the middles, in parts.
    """
    start = float(seconds[0]) if start_seconds is None else start_seconds
    first, stop = _span_indices(seconds, start, end_seconds)
    part_seconds = (end_seconds - start) / num_frames
    middles = start + (np.arange(num_frames) + 0.5 + shifts) * part_seconds
    tie = min(TIE_SECONDS, (end_seconds - start) / (stop - first) / 40)
    on_screen = np.searchsorted(seconds, middles + tie, side="right") - 1
    return cast(Indices, np.clip(on_screen, first, stop - 1))


def partner_indices(
    seconds: Seconds, indices: Indices, step_seconds: float
) -> tuple[Indices, Indices]:
    """Return the earlier and the later frames, (T,) each, of the motion images of (T,) frames.

    A frame is paired with the one nearest to a step earlier, at least one frame earlier (the
    later of two that are equally near). The video's first frame is paired with the one after it.
    The two are equal where N is 1.
    """
    wanted = seconds[indices] - step_seconds
    after = np.clip(np.searchsorted(seconds, wanted), 1, max(1, indices.max(initial=0)))
    after = np.minimum(after, len(seconds) - 1)
    before = np.maximum(after - 1, 0)
    tie = np.minimum(2 * TIE_SECONDS, (seconds[after] - seconds[before]) / 8)
    after_is_nearer = seconds[after] - wanted <= wanted - seconds[before] + tie
    earlier = np.minimum(np.where(after_is_nearer, after, before), np.maximum(indices - 1, 0))
    later = np.where(indices == 0, min(1, len(seconds) - 1), indices)
    return earlier, later


def _span_indices(seconds: Seconds, start: float, end: float) -> tuple[int, int]:
    """Return the half-open range of frames in [start, end); never empty."""
    first, stop = np.searchsorted(seconds, (start, end))
    if first == stop:  # between two frames: the one on screen is the earlier
        first = max(0, stop - 1)
        stop = first + 1
    return int(first), int(stop)


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """How windows slide over a video. Made by `choose_windows`."""

    num_frames: int  # T
    step_seconds: float  # time between two of a window's frames
    stride_steps: int  # steps from the start of a window to that of the next
    max_clip_seconds: float  # videos up to this length are scored as one clip

    @property
    def window_seconds(self) -> float:
        """Length of a window."""
        return self.num_frames * self.step_seconds

    @property
    def stride_seconds(self) -> float:
        """Time from the start of a window to that of the next."""
        return self.stride_steps * self.step_seconds

    def describe(self) -> str:
        """Describe the lengths."""
        return f"{self.window_seconds:.3g} s every {self.stride_seconds:.3g} s"


def choose_windows(
    num_frames: int,
    clip_seconds: Mapping[str, float] | None,
    *,
    window_seconds: float | None = None,
    stride_seconds: float | None = None,
) -> Windows:
    """Choose windows of T frames, by default about as long as the model's training clips.

    `clip_seconds` has the `median` and `max` length of these, if known. The median is rounded:
    after a training on a few clips more, the windows are the same, and so is what is cached of
    them. The stride is rounded to whole steps, and a quarter of a window by default; gaps between
    windows are a SettingsError.
    """
    for name, seconds in (("--window", window_seconds), ("--stride", stride_seconds)):
        if seconds is not None and not 0 < seconds < float("inf"):
            raise SettingsError(f"{name} must be more than 0 s, got {seconds:g}.")
    usual = _round_seconds(clip_seconds["median"]) if clip_seconds else _DEFAULT_SECONDS
    window = window_seconds or usual
    stride = stride_seconds or window / _DEFAULT_STRIDES
    if stride > window * 1.001:
        raise SettingsError(
            f"A window of {window:g} s every {stride:g} s leaves gaps that are not scored.",
            hint="--stride may be as long as --window, or shorter.",
        )
    longest = _CLIP_WINDOWS * window
    if window_seconds is None and clip_seconds:
        longest = max(longest, clip_seconds["max"])
    step = window / num_frames
    return Windows(
        num_frames=num_frames,
        step_seconds=step,
        stride_steps=min(max(1, round(stride / step)), num_frames),
        max_clip_seconds=longest,
    )


def _round_seconds(seconds: float) -> float:
    """Round to one of 20 lengths in a decade: 1, 1.1, 1.3, 1.4, 1.6, 1.8, 2 and so on."""
    return float(f"{10 ** (round(20 * math.log10(seconds)) / 20):.2g}")


def grid_step(step_seconds: float, usual_seconds: float) -> float:
    """Return the time between the timesteps that windows with this step are made of.

    It is the usual step, or that so often halved that it is not longer than this step. So windows
    of other lengths are made of the same timesteps, whose features are computed once.
    """
    grid = usual_seconds
    while grid > step_seconds * 1.001:
        grid /= 2
    return grid


def pick_timesteps(parts: Iterable[NDArray[Any]], ratio: float) -> Iterator[NDArray[Any]]:
    """Turn timesteps of a grid, (S, n, ...) at a time, into timesteps `ratio` times as far apart.

    Each takes the grid's timestep in whose span its middle lies.
    """
    begin = number = 0  # of the part in the grid, and of the next timestep
    for part in parts:
        end = begin + part.shape[1]
        stop = max(number, int(np.ceil(end / ratio)) + 1)
        places = np.floor((np.arange(number, stop) + 0.5) * ratio + 1e-6).astype(np.int64)
        places = places[places < end]
        if len(places):
            yield part[:, places - begin]
        number, begin = number + len(places), end


def slide(parts: Iterable[NDArray[Any]], windows: Windows) -> Iterator[tuple[int, NDArray[Any]]]:
    """Cut windows out of parts, (S, n, ...) each, that come one by one, with n timesteps.

    Holds at most a window and a part. Gives the number of each window's first timestep, and its
    (S, T, ...). The last window reaches the last timestep, so it may begin less than a stride
    after the one before. Fewer than T timesteps give nothing.
    """
    length = windows.num_frames
    held: NDArray[Any] | None = None
    begin = start = 0  # of what is held, and of the next window
    for part in parts:
        held = part if held is None else np.concatenate([held, part], axis=1)
        end = begin + held.shape[1]
        while start + length <= end:
            yield start, held[:, start - begin : start - begin + length]
            start += windows.stride_steps
        keep_from = max(begin, min(start, end - length))
        held, begin = held[:, keep_from - begin :], keep_from
    if held is None:
        return
    last = begin + held.shape[1] - length
    if last >= 0 and last > start - windows.stride_steps:
        yield last, held[:, last - begin :]
