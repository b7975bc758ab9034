"""Frames as they arrive -> timesteps at a fixed rate: the live half of `video/resampling.py`.

Timestep j is at (j + 1/2) steps after the first frame; it takes the frame that is on screen then.
Which one that is, is certain once a later frame has arrived.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from activity_cli.predict.live.frames import LiveFrame
from activity_cli.settings import ClipSettings
from activity_cli.types import FrameRole, Images
from activity_cli.video.capture import Frame
from activity_cli.video.clips import stack_roles
from activity_cli.video.sampling import TIE_SECONDS, end_of_video, partner_indices


@dataclass(frozen=True, slots=True)
class LiveTimestep:
    """A timestep with its frame, and the two frames that show its motion."""

    index: int
    seconds: float
    frame: LiveFrame
    earlier: LiveFrame
    later: LiveFrame


class TimestepSampler:
    """Samples timesteps from frames. Holds only the last few frames.

    Args:
        clip: Which streams there are, and how far apart the frames of a motion image are.
        step_seconds: Time between two timesteps.
        tie_seconds: Times that differ by less count as equal.
        max_per_frame: Most timesteps that one frame may complete; after a longer pause the older
            ones are left out.
    """

    def __init__(
        self,
        clip: ClipSettings,
        step_seconds: float,
        *,
        tie_seconds: float = TIE_SECONDS,
        max_per_frame: int,
    ) -> None:
        self._clip = clip
        self._step = step_seconds
        self._tie = tie_seconds
        self._max_per_frame = max_per_frame
        self._first_seconds: float | None = None
        self._next_index = 0
        self._frames: list[LiveFrame] = []

    @property
    def num_held(self) -> int:
        """Number of frames in memory."""
        return len(self._frames)

    def add(self, frame: LiveFrame) -> list[LiveTimestep]:
        """Return the timesteps that are certain once this frame has arrived."""
        if self._first_seconds is None:
            self._first_seconds = frame.seconds
        self._frames.append(frame)
        if len(self._frames) < 2:  # motion images of the first frame need the second
            return []
        timesteps = list(self._before(frame.seconds - self._tie))
        self._drop_old_frames()
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
            yield self._timestep(seconds)
            self._next_index += 1

    def _seconds_of(self, index: int) -> float:
        return (self._first_seconds or 0.0) + (index + 0.5) * self._step

    def _on_screen(self, seconds: float) -> int:
        at = bisect_right(self._frames, seconds + self._tie, key=lambda frame: frame.seconds)
        return max(at - 1, 0)

    def _timestep(self, seconds: float) -> LiveTimestep:
        frames = self._frames
        at = earlier = later = self._on_screen(seconds)
        if self._clip.compares_frames:
            times = np.array([frame.seconds for frame in frames[: at + 2]])
            pair = partner_indices(times, np.array([at]), self._clip.motion_step_seconds)
            earlier, later = int(pair[0][0]), int(pair[1][0])
        return LiveTimestep(self._next_index, seconds, frames[at], frames[earlier], frames[later])

    def _drop_old_frames(self) -> None:
        """Keep the frame that is on screen next, its partner for motion, and two more."""
        at = self._on_screen(self._seconds_of(self._next_index))
        partner = self._on_screen(self._frames[at].seconds - self._clip.motion_step_seconds)
        del self._frames[: max(partner - 2, 0)]


def thin_out(timesteps: Sequence[LiveTimestep], count: int) -> list[LiveTimestep]:
    """Keep at most `count` timesteps, evenly spread; the newest is always kept."""
    if len(timesteps) <= count:
        return list(timesteps)
    last = len(timesteps) - 1
    return [timesteps[last - i * len(timesteps) // count] for i in reversed(range(count))]


def stack_timesteps(
    timesteps: Iterable[LiveTimestep], clip: ClipSettings
) -> dict[FrameRole, Images]:
    """Return (N, H, W, channels) per role that the streams need; empty without timesteps."""
    roles: dict[FrameRole, list[Frame]] = {"frames": [], "earlier": [], "later": []}
    for one in timesteps:
        roles["frames"].append(one.frame.image)
        roles["earlier"].append(one.earlier.image)
        roles["later"].append(one.later.image)
    return stack_roles(roles, clip)
