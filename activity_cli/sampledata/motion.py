"""How a body is held over time, and the means to describe it.

Lengths are in leg or arm lengths of whoever performs, so that one function fits every body. Vectors
are (forward, up, right), or (forward, up, outward) for what exists on both sides; side 0 is right.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RIGHT, LEFT = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """One performance of an action. Drawn the same way for every label, so it gives none away."""

    seconds: float
    tempo: float
    """Cycles of a repeated movement, relative to its usual rate."""
    energy: float
    """Size of the movement, relative to its usual size."""
    start: float
    """Where in its cycle a repeated movement begins, 0 to 1."""
    lead: float
    """Fraction of the clip before a movement that happens once; `tail` is the fraction after."""
    tail: float
    left_handed: bool
    two_handed: bool
    """Whether things are picked up with both hands."""
    crouch: float
    """0 bends the back to reach down, 1 the knees."""

    @classmethod
    def draw(cls, rng: np.random.Generator, seconds: float) -> "Style":
        """A random performance that lasts `seconds`."""
        return cls(
            seconds=seconds,
            tempo=rng.uniform(0.85, 1.2),
            energy=rng.uniform(0.85, 1.12),
            start=rng.uniform(),
            lead=rng.uniform(0.04, 0.2),
            tail=rng.uniform(0.04, 0.2),
            left_handed=bool(rng.uniform() < 0.4),
            two_handed=bool(rng.uniform() < 0.5),
            crouch=rng.uniform(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """How a body is held over T frames."""

    pelvis: Floats
    """(T, 3) displacement from standing, in leg lengths."""
    lean: Floats
    """(T,) forward pitch of the spine, radians."""
    twist: Floats
    """(T,) turn of the shoulders, radians; positive brings the right one forward."""
    nod: Floats
    """(T,) forward pitch of the head on top of what follows from the spine, radians."""
    hands: Floats
    """(T, 2, 3) from the shoulder, in arm lengths."""
    feet: Floats
    """(T, 2, 3) displacement of the ankles from standing, in leg lengths."""
    toes: Floats
    """(T, 2) pitch of the feet, radians; positive lifts the toes."""
    travel: Floats
    """(T,) way gone forward, in leg lengths, centred on the clip."""
    reach: Floats
    """(T, 2) how far each hand is drawn to its grip on the object: 0 not at all, 1 on it."""
    held: NDArray[np.bool_]
    """(T,) whether the object moves with the hands."""


def glide(at: Floats, *keys: tuple[float, float | tuple[float, ...]]) -> Floats:
    """Ease from key to key: (T,) times to (T,) or (T, D) values, at rest in every key."""
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
    """(T, 2, ...) what the right and the left side do, from (T, ...) each."""
    return np.stack(np.broadcast_arrays(right, left), axis=1)


def vectors(forward: Floats | float, up: Floats | float, side: Floats | float) -> Floats:
    """(T, 3) from its components, each (T,) or constant."""
    return np.stack(np.broadcast_arrays(forward, up, side), axis=-1).astype(float)


def once(progress: Floats, style: Style) -> Floats:
    """0 before and 1 after a movement that happens once."""
    return np.clip((progress - style.lead) / (1 - style.lead - style.tail), 0, 1)


def cycles(progress: Floats, style: Style, per_second: float) -> Floats:
    """Cycles of a repeated movement since its beginning."""
    return style.start + progress * style.seconds * style.tempo * per_second


def stand(progress: Floats, style: Style) -> Motion:
    """Standing at ease, breathing and swaying a little."""
    breath = np.sin(2 * np.pi * (0.4 * style.seconds * progress + style.start))
    none = np.zeros_like(progress)
    hands = vectors(0.1 + 0.02 * breath, -0.95, 0.16)
    feet = np.zeros((len(progress), 2, 3))
    feet[..., 2] = 0.05
    return Motion(
        pelvis=vectors(0.006 * breath, -0.015 + 0.004 * breath, 0.012 * breath),
        lean=0.03 + 0.012 * breath,
        twist=0.03 * breath,
        nod=0.05 * breath,
        hands=sides(hands, hands),
        feet=feet,
        toes=np.zeros((len(progress), 2)),
        travel=none,
        reach=np.zeros((len(progress), 2)),
        held=np.zeros(len(progress), dtype=bool),
    )


def mirrored(motion: Motion) -> Motion:
    """The same movement with left and right swapped."""
    return replace(
        motion,
        pelvis=motion.pelvis * (1, 1, -1),
        twist=-motion.twist,
        hands=motion.hands[:, ::-1],
        feet=motion.feet[:, ::-1],
        toes=motion.toes[:, ::-1],
        reach=motion.reach[:, ::-1],
    )
