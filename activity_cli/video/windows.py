"""Sliding windows over a long video: their lengths, and cutting them out of a stream of timesteps.

T is frames per window, S streams; times are seconds. A window is sampled to T frames like a clip.
Windows begin whole steps apart, a step being the time between two of these frames, so that they
share frames and the CNN computes each frame once.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import SettingsError

# Videos up to so many window lengths are scored as one clip.
_LONGER_THAN_A_CLIP = 1.5

_DEFAULT_SECONDS = 2.0  # for models without the length of their training clips
_DEFAULT_STRIDES = 4  # strides per window


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """How windows slide over a video. Made by `choose_windows`."""

    num_frames: int
    """T."""
    step_seconds: float
    """Time between two of a window's frames."""
    stride_steps: int
    """Steps from the start of a window to that of the next."""
    max_clip_seconds: float
    """Videos up to this length are scored as one clip."""

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
    """Choose windows; by default they are as long as the clips that the model was trained on.

    Args:
        num_frames: T, of the model.
        clip_seconds: `median` and `max` length of the training clips, if known.
        window_seconds: length of a window.
        stride_seconds: from the start of a window to that of the next, a quarter of a window by
            default. Rounded to whole steps.

    Raises:
        SettingsError: a length is not above 0, or windows would leave gaps.
    """
    for name, seconds in (("--window", window_seconds), ("--stride", stride_seconds)):
        if seconds is not None and not 0 < seconds < float("inf"):
            raise SettingsError(f"{name} must be more than 0 s, got {seconds:g}.")
    typical = clip_seconds["median"] if clip_seconds else _DEFAULT_SECONDS
    window = window_seconds or typical
    stride = stride_seconds or window / _DEFAULT_STRIDES
    if stride > window * 1.001:
        raise SettingsError(
            f"A window of {window:g} s every {stride:g} s leaves gaps that are not scored.",
            hint="--stride may be as long as --window, or shorter.",
        )
    longest = _LONGER_THAN_A_CLIP * window
    if window_seconds is None and clip_seconds:
        longest = max(longest, clip_seconds["max"])
    step = window / num_frames
    return Windows(
        num_frames=num_frames,
        step_seconds=step,
        stride_steps=min(max(1, round(stride / step)), num_frames),
        max_clip_seconds=longest,
    )


def slide(parts: Iterable[NDArray[Any]], windows: Windows) -> Iterator[tuple[int, NDArray[Any]]]:
    """Cut windows out of parts, (S, n, ...) each, that come one by one, with n timesteps.

    Holds at most a window and a part.

    Returns:
        The number of each window's first timestep, and its (S, T, ...). The last window reaches
        the last timestep, so it may begin less than a stride after the one before. Nothing for
        fewer than T timesteps.
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
