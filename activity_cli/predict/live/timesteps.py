"""Frames as they arrive -> timesteps at a fixed rate -> sliding windows; load shedding.

Timestep j is at (j + 1/2) steps after the first frame; it takes the frame that is on screen then.
Which one that is, is certain once a later frame has arrived. S is streams, T timesteps per window;
`...` is what is kept of a timestep, such as D features.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from activity_cli.predict.live.source import LiveFrame
from activity_cli.settings import ClipSettings
from activity_cli.types import FrameRole, Images
from activity_cli.video.capture import Frame
from activity_cli.video.clips import stack_roles
from activity_cli.video.sampling import TIE_SECONDS, Windows, end_of_video, partner_indices


@dataclass(frozen=True, slots=True)
class LiveTimestep:
    """A timestep with its frame, and the two frames that show its motion."""

    index: int
    seconds: float
    frame: LiveFrame
    earlier: LiveFrame
    later: LiveFrame


class TimestepSampler:
    """Samples timesteps every `step_seconds` from frames. Holds only the last few frames.

    Times that differ by less than `tie_seconds` count as equal. A frame completes at most
    `max_per_frame` timesteps; a long pause drops older ones.
    """

    def __init__(
        self,
        clip: ClipSettings,
        step_seconds: float,
        *,
        tie_seconds: float = TIE_SECONDS,
        max_per_frame: int,
    ) -> None:
        self._clip, self._step, self._tie = clip, step_seconds, tie_seconds
        self._max_per_frame = max_per_frame
        self._first_seconds: float | None = None
        self._next_index = 0
        self._frames: list[LiveFrame] = []

    def add(self, frame: LiveFrame) -> list[LiveTimestep]:
        """Return the timesteps that are certain once this frame has arrived."""
        if self._first_seconds is None:
            self._first_seconds = frame.seconds
        self._frames.append(frame)
        if len(self._frames) < 2:  # motion images of the first frame need the second
            return []
        timesteps = list(self._before(frame.seconds - self._tie))
        # Keep the frame that is on screen next, its partner for motion, and two more.
        at = self._on_screen(self._seconds_of(self._next_index))
        partner = self._on_screen(self._frames[at].seconds - self._clip.motion_step_seconds)
        del self._frames[: max(partner - 2, 0)]
        return timesteps

    def end(self, interval_seconds: float) -> list[LiveTimestep]:
        """Return the last timesteps; the last frame stays on screen for `interval_seconds`."""
        if not self._frames:
            return []
        times = np.array([frame.seconds for frame in self._frames])
        return list(self._before(end_of_video(times, interval_seconds)))

    def _before(self, limit: float) -> Iterator[LiveTimestep]:
        due = int(np.ceil((limit - self._seconds_of(0)) / self._step))
        self._next_index = max(self._next_index, due - self._max_per_frame)
        while (seconds := self._seconds_of(self._next_index)) < limit:
            frames = self._frames
            at = earlier = later = self._on_screen(seconds)
            if self._clip.compares_frames:
                times = np.array([frame.seconds for frame in frames[: at + 2]])
                pair = partner_indices(times, np.array([at]), self._clip.motion_step_seconds)
                earlier, later = int(pair[0][0]), int(pair[1][0])
            shown = frames[at], frames[earlier], frames[later]
            yield LiveTimestep(self._next_index, seconds, *shown)
            self._next_index += 1

    def _seconds_of(self, index: int) -> float:
        return (self._first_seconds or 0.0) + (index + 0.5) * self._step

    def _on_screen(self, seconds: float) -> int:
        at = bisect_right(self._frames, seconds + self._tie, key=lambda frame: frame.seconds)
        return max(at - 1, 0)


def thin_out(timesteps: Sequence[LiveTimestep], count: int) -> list[LiveTimestep]:
    """Keep at most `count` timesteps, evenly spread; the newest is always kept."""
    if len(timesteps) <= count:
        return list(timesteps)
    last = len(timesteps) - 1
    return [timesteps[last - i * len(timesteps) // count] for i in reversed(range(count))]


def stack_timesteps(
    timesteps: Sequence[LiveTimestep], clip: ClipSettings
) -> dict[FrameRole, Images]:
    """Return (N, H, W, channels) per role that the streams need; empty without timesteps."""
    roles: dict[FrameRole, list[Frame]] = {
        "frames": [one.frame.image for one in timesteps],
        "earlier": [one.earlier.image for one in timesteps],
        "later": [one.later.image for one in timesteps],
    }
    return stack_roles(roles, clip)


_NUM_COSTS = 9  # the cost is the median of this many measurements: one delay does not change it
# Share of a stride's time that timesteps may cost. The rest is for the window, and for delays.
_SHARE_FOR_TIMESTEPS = 0.5


class LiveWindow(NamedTuple):
    """A window that ends now."""

    values: NDArray[Any]  # (S, T, ...)
    num_missing: int  # timesteps that were dropped; each repeats the one before it


class WindowBuffer:
    """Timesteps of one connection. A window ends at the newest, a stride or more after the last."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._indices: deque[int] = deque()
        self._values: deque[NDArray[Any]] = deque()  # (S, ...) each
        self._next_end = windows.num_frames - 1

    def add(self, indices: Sequence[int], values: NDArray[Any]) -> None:
        """Append N timesteps: their indices and (S, N, ...)."""
        self._indices.extend(indices)
        self._values.extend(np.moveaxis(values, 1, 0))
        oldest = self._indices[-1] - self._windows.num_frames + 1 if self._indices else 0
        # The first timesteps of a window may repeat one from before it.
        while len(self._indices) > 1 and self._indices[1] <= oldest:
            self._indices.popleft()
            self._values.popleft()

    @property
    def timesteps_to_go(self) -> int:
        """Timesteps until the next window is due, if none is dropped."""
        newest = self._indices[-1] if self._indices else -1
        return max(self._next_end - newest, 1)

    def take_window(self) -> LiveWindow | None:
        """Return the window that ends at the newest timestep, if it is due."""
        if not self._indices or self._indices[-1] < self._next_end:
            return None
        newest = self._indices[-1]
        self._next_end = newest + self._windows.stride_steps
        wanted = range(newest - self._windows.num_frames + 1, newest + 1)
        present = list(self._indices)
        at = [max(bisect_right(present, index) - 1, 0) for index in wanted]
        return LiveWindow(
            values=np.stack([self._values[i] for i in at], axis=1),
            num_missing=len(set(wanted) - set(present)),
        )


class LoadShedder:
    """Limits the number of timesteps to what the machine can process without falling behind."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._costs: deque[float] = deque(maxlen=_NUM_COSTS)

    def measured(self, seconds: float, num_timesteps: int) -> None:
        """Record how long this many timesteps took."""
        self._costs.append(seconds / num_timesteps)

    @property
    def max_timesteps(self) -> int:
        """Most timesteps to process at once, at least 1."""
        if not self._costs:
            return self._windows.num_frames
        seconds = _SHARE_FOR_TIMESTEPS * self._windows.stride_seconds
        affordable = int(seconds / max(median(self._costs), 1e-6))
        return min(max(affordable, 1), self._windows.num_frames)
