"""What was seen of points in time -> windows over them, with gaps filled.

S is streams, T points per window; `...` whatever is remembered of a point, such as D features.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.video.sampling import Windows

_COSTS = 9
"""What a point costs is the median of so many measurements: one that was held up is no rule."""
_SHARE_FOR_POINTS = 0.5
"""Of a stride's time, what the points may cost. The rest is for the window, and for delays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveWindow:
    """A window that ends now."""

    values: NDArray[Any]
    """(S, T, ...)"""
    num_missing: int
    """Points that were dropped. The one before stands for each."""


class WindowMemory:
    """Remembers the last points of a connection, and says when a window is due.

    A window ends at the newest point there is, at least a stride after the one before.
    """

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._indices: deque[int] = deque()
        self._values: deque[NDArray[Any]] = deque()  # (S, ...) each
        self._last_end: int | None = None

    def add(self, indices: Sequence[int], values: NDArray[Any]) -> None:
        """Remember (S, N, ...), of the N points with these indices."""
        self._indices.extend(indices)
        self._values.extend(np.moveaxis(values, 1, 0))
        oldest = self._indices[-1] - self._windows.num_frames + 1 if self._indices else 0
        # One before the window may have to stand for its first points.
        while len(self._indices) > 1 and self._indices[1] <= oldest:
            self._indices.popleft()
            self._values.popleft()

    @property
    def points_to_go(self) -> int:
        """How many points until the next window is due, if none is dropped."""
        newest = self._indices[-1] if self._indices else -1
        return max(self._next_end() - newest, 1)

    def take_window(self) -> LiveWindow | None:
        """The window that ends at the newest point, if it is due."""
        if not self._indices or self._indices[-1] < self._next_end():
            return None
        newest = self._last_end = self._indices[-1]
        wanted = range(newest - self._windows.num_frames + 1, newest + 1)
        known = list(self._indices)
        at = [max(bisect_right(known, index) - 1, 0) for index in wanted]
        there = set(known)
        return LiveWindow(
            values=np.stack([self._values[i] for i in at], axis=1),
            num_missing=sum(index not in there for index in wanted),
        )

    def _next_end(self) -> int:
        if self._last_end is None:
            return self._windows.num_frames - 1
        return self._last_end + self._windows.stride_steps


class Budget:
    """How many points can be seen without falling behind, by what they cost so far."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._costs: deque[float] = deque(maxlen=_COSTS)

    def spent(self, seconds: float, num_timesteps: int) -> None:
        """Learn that so many points took so long."""
        self._costs.append(seconds / num_timesteps)

    @property
    def max_timesteps(self) -> int:
        """So many at once, at least 1: with more the next ones would have to wait."""
        if not self._costs:
            return self._windows.num_frames
        seconds = _SHARE_FOR_POINTS * self._windows.stride_seconds
        affordable = int(seconds / max(median(self._costs), 1e-6))
        return min(max(affordable, 1), self._windows.num_frames)
