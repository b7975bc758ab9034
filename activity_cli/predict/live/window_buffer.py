"""Timesteps -> sliding windows, and how many timesteps the machine can afford.

S is streams, T timesteps per window; `...` is what is kept of a timestep, such as D features.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from activity_cli.video.sampling import Windows

_NUM_COSTS = 9  # the cost is the median of this many measurements: one delay does not change it
# Share of a stride's time that timesteps may cost. The rest is for the window, and for delays.
_SHARE_FOR_TIMESTEPS = 0.5


class LiveWindow(NamedTuple):
    """A window that ends now."""

    values: NDArray[Any]  # (S, T, ...)
    num_missing: int  # timesteps that were dropped; each repeats the one before it


class WindowBuffer:
    """Sliding-window buffer over the timesteps of one connection.

    A window ends at the newest timestep, at least a stride after the window before.
    """

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
