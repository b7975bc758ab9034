"""Frames as they come -> points at even steps of time: the live half of `grid.py`.

Point j stands at (j + 1/2) steps after the first frame, and the frame on screen then stands for it.
Which one that is, is certain once a later frame has come.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from activity_cli.settings import ClipSettings, Stream
from activity_cli.types import FrameRole, Images
from activity_cli.video.capture import Frame
from activity_cli.video.clips import images_by_stream, stack_roles
from activity_cli.video.sampling import TIE_SECONDS, end_of_video, partner_indices


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """A small square frame, and when it was."""

    seconds: float
    """Its place in time: when it arrived, or its time stamp in a file."""
    arrived: float
    """When it was read, by `time.monotonic()`, which all processes share."""
    image: Frame
    """(H, W, channels), H = W."""


@dataclass(frozen=True, slots=True)
class LivePoint:
    """A point of the grid, with the frames that stand for it."""

    index: int
    seconds: float
    frame: LiveFrame
    earlier: LiveFrame
    later: LiveFrame


class PointMaker:
    """Makes points of frames. Holds a few of the last frames, however long it goes on.

    Args:
        settings: whether there are motion images, and of frames how far apart.
        step_seconds: time between two points.
        tie_seconds: times that differ by less count as equal.
        most_at_once: points that one frame may bring; where it ends a longer pause, those before
            are left out.
    """

    def __init__(
        self,
        settings: ClipSettings,
        step_seconds: float,
        *,
        tie_seconds: float = TIE_SECONDS,
        most_at_once: int,
    ) -> None:
        self._settings = settings
        self._step = step_seconds
        self._tie = tie_seconds
        self._most_at_once = most_at_once
        self._first_seconds: float | None = None
        self._next_index = 0
        self._frames: list[LiveFrame] = []

    @property
    def num_held(self) -> int:
        """Frames in memory now."""
        return len(self._frames)

    def add(self, frame: LiveFrame) -> list[LivePoint]:
        """The points that are certain now that this frame has come."""
        if self._first_seconds is None:
            self._first_seconds = frame.seconds
        self._frames.append(frame)
        if len(self._frames) < 2:  # motion images of the first frame need the second
            return []
        points = list(self._points_before(frame.seconds - self._tie))
        self._forget()
        return points

    def end(self, interval_seconds: float) -> list[LivePoint]:
        """The points that are left when no more frames come: the last one stays so long."""
        if not self._frames:
            return []
        times = np.array([frame.seconds for frame in self._frames])
        return list(self._points_before(end_of_video(times, interval_seconds)))

    def _points_before(self, limit: float) -> Iterator[LivePoint]:
        assert self._first_seconds is not None
        due = int(np.ceil((limit - self._first_seconds) / self._step - 0.5))
        self._next_index = max(self._next_index, due - self._most_at_once)
        while (seconds := self._seconds_of(self._next_index)) < limit:
            yield self._point(seconds)
            self._next_index += 1

    def _seconds_of(self, index: int) -> float:
        return (self._first_seconds or 0.0) + (index + 0.5) * self._step

    def _on_screen(self, seconds: float) -> int:
        at = bisect_right(self._frames, seconds + self._tie, key=lambda frame: frame.seconds)
        return max(at - 1, 0)

    def _point(self, seconds: float) -> LivePoint:
        at = self._on_screen(seconds)
        earlier = later = at
        if self._settings.compares_frames:
            times = np.array([frame.seconds for frame in self._frames[: at + 2]])
            pair = partner_indices(times, np.array([at]), self._settings.motion_step_seconds)
            earlier, later = int(pair[0][0]), int(pair[1][0])
        frames = self._frames
        return LivePoint(self._next_index, seconds, frames[at], frames[earlier], frames[later])

    def _forget(self) -> None:
        """Drop frames that no later point can need: on screen next, its partner, and two more."""
        at = self._on_screen(self._seconds_of(self._next_index))
        partner = self._on_screen(self._frames[at].seconds - self._settings.motion_step_seconds)
        del self._frames[: max(partner - 2, 0)]


def thin_out(points: Sequence[LivePoint], count: int) -> list[LivePoint]:
    """At most so many of the points, evenly spread; always the newest."""
    if len(points) <= count:
        return list(points)
    last = len(points) - 1
    return [points[last - i * len(points) // count] for i in reversed(range(count))]


def stack_points(points: Iterable[LivePoint], settings: ClipSettings) -> dict[FrameRole, Images]:
    """(N, H, W, channels) per role that the streams need; nothing where there are no points."""
    roles: dict[FrameRole, list[Frame]] = {"frames": [], "earlier": [], "later": []}
    for point in points:
        roles["frames"].append(point.frame.image)
        roles["earlier"].append(point.earlier.image)
        roles["later"].append(point.later.image)
    return stack_roles(roles, settings)


def streams_of(frames: Mapping[FrameRole, Images], settings: ClipSettings) -> dict[Stream, Images]:
    """What the CNN sees of them, (N, H, W, channels) per stream; nothing without points."""
    return images_by_stream(frames, settings) if frames else {}
