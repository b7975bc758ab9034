"""The motion of a body over T frames, and the functions that describe it.

Lengths are relative to the leg or arm length of the person, so one function fits every body.
Vectors are (forward, up, right), or (forward, up, outward) where both sides have one; side 0 is
the right one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How an action is performed in one clip. Independent of the label."""

    seconds: float
    tempo: float  # cycles of a repeated movement, relative to its usual rate
    energy: float  # size of the movement, relative to its usual size
    start: float  # where in its cycle a repeated movement begins, 0 to 1
    lead: float  # fraction of the clip before a one-time movement
    tail: float  # and after it
    left_handed: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, seconds: float) -> "Style":
        """Draw a random style for a clip of this length."""
        return cls(
            seconds=seconds,
            tempo=rng.uniform(0.85, 1.2),
            energy=rng.uniform(0.85, 1.12),
            start=rng.uniform(),
            lead=rng.uniform(0.04, 0.2),
            tail=rng.uniform(0.04, 0.2),
            left_handed=bool(rng.uniform() < 0.4),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """The posture of a body in each of T frames."""

    pelvis: Floats  # (T, 3) displacement from standing, in leg lengths
    lean: Floats  # (T,) forward pitch of the spine, radians
    twist: Floats  # (T,) turn of the shoulders, radians; positive moves the right one forward
    hands: Floats  # (T, 2, 3) from the shoulder, in arm lengths
    feet: Floats  # (T, 2, 3) displacement of the ankles from standing, in leg lengths
    travel: Floats  # (T,) distance walked, in leg lengths, centred on the clip
    reach: Floats  # (T,) 1 where the hands are at their grips of the object, 0 where they are free
    held: NDArray[np.bool_]  # (T,) whether the object moves with the hands


def interpolate(at: Floats, *keys: tuple[float, float | tuple[float, ...]]) -> Floats:
    """Ease from key to key, at rest in each: (T,) times to (T,) or (T, D) values."""
    times = np.array([time for time, _ in keys])
    values = np.array([value for _, value in keys], dtype=float)
    left = np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(times) - 2)
    part = np.clip((at - times[left]) / (times[left + 1] - times[left]), 0, 1)
    eased = part * part * (3 - 2 * part)
    if values.ndim == 2:
        eased = eased[:, None]
    blended: Floats = values[left] + (values[left + 1] - values[left]) * eased
    return blended


def sides(right: Floats, left: Floats) -> Floats:
    """Stack (T, ...) of the right and of the left side to (T, 2, ...)."""
    return np.stack(np.broadcast_arrays(right, left), axis=1)


def vectors(forward: Floats | float, up: Floats | float, side: Floats | float) -> Floats:
    """Return (T, 3) vectors from their components, each (T,) or constant."""
    return np.stack(np.broadcast_arrays(forward, up, side), axis=-1).astype(float)


def stand(progress: Floats, style: Style) -> Motion:
    """Stand at ease, with some breathing and swaying."""
    breath = np.sin(2 * np.pi * (0.4 * style.seconds * progress + style.start))
    hands = vectors(0.1 + 0.02 * breath, -0.95, 0.16)
    feet = np.tile((0.0, 0.0, 0.05), (len(progress), 2, 1))
    return Motion(
        pelvis=vectors(0.006 * breath, -0.015 + 0.004 * breath, 0.012 * breath),
        lean=0.03 + 0.012 * breath,
        twist=0.03 * breath,
        hands=sides(hands, hands),
        feet=feet,
        travel=np.zeros_like(progress),
        reach=np.zeros_like(progress),
        held=np.zeros(len(progress), dtype=bool),
    )
