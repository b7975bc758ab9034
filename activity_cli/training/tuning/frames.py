"""Clips of T frames out of clips of more: which numbers need a reading of the videos of their own.

A clip's frames are on screen at the middles of T equal parts of it. With k times as many parts, k
odd, the middle of every part is the middle of one of its k pieces, so the clip of T frames lies in
that of k * T frames: every k-th frame, beginning with the one at k // 2. With an even k the middles
fall between, and nothing less than another reading gives the same frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesFrom:
    """Where the clips of a number of frames come from."""

    num_read: int
    """Frames per clip of the reading that has them."""
    every: int
    """k: 1 takes all."""

    @property
    def taken(self) -> slice:
        """The frames to take, along the axis of time."""
        return slice(self.every // 2, None, self.every)


def plan_readings(num_frames: Sequence[int]) -> dict[int, FramesFrom]:
    """For each number of frames the largest reading that has it exactly."""
    wanted = sorted(set(num_frames), reverse=True)
    plan: dict[int, FramesFrom] = {}
    for number in wanted:
        sources = [read for read in wanted if read % number == 0 and read // number % 2 == 1]
        plan[number] = FramesFrom(num_read=sources[0], every=sources[0] // number)
    return plan
