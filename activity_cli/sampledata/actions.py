"""The actions: functions from the time within the clip to the posture of the body.

Lengths are relative to the leg or arm length of the person, so one function fits every body.
Vectors are (forward, up, right), or (forward, up, outward) where both sides have one; side 0 is
the right one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

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


_AT_EASE = (0.1, -0.95, 0.16)  # a hanging hand


def _cycles(progress: Floats, style: Style, per_second: float) -> Floats:
    """Return the number of cycles that a repeated movement has completed."""
    return style.start + progress * style.seconds * style.tempo * per_second


def _foot(cycle: Floats, stride: float, stance: float, lift: float) -> Floats:
    """Return the (T, 3) displacement of one foot that walks or runs.

    On the ground the foot moves back as fast as the body moves forward, so it does not slide.
    """
    phase = cycle % 1
    swing = np.clip((phase - stance) / (1 - stance), 0, 1)
    forward = np.where(phase < stance, 1 - 2 * phase / stance, -np.cos(np.pi * swing))
    return vectors(stride * forward, lift * np.sin(np.pi * swing) * (1.25 - 0.6 * swing), 0.0)


def _gait(
    progress: Floats, style: Style, *, rate: float, stride: float, stance: float, lift: float
) -> tuple[Motion, Floats]:
    """Return the legs of somebody who walks or runs, and the swing of the arms (T,)."""
    cycle, stride = _cycles(progress, style, rate), stride * style.energy
    swing = np.cos(2 * np.pi * (cycle - 0.05)) * style.energy
    # Both feet leave the ground where a foot stands for less than half of the cycle.
    airborne = max(0.5 - stance, 0) * 0.9 * np.maximum(0, np.sin(4 * np.pi * (cycle - stance)))
    feet = [_foot(cycle + offset, stride, stance, lift) for offset in (0.0, 0.5)]
    motion = replace(
        stand(progress, style),
        pelvis=vectors(0.0, airborne - 0.08 - 0.02 * np.cos(4 * np.pi * cycle), 0.0),
        lean=np.full_like(progress, 0.4 * lift + 0.02),
        twist=-0.2 * swing,
        feet=sides(*feet) + vectors(0.0, airborne, 0.0)[:, None],
        travel=(cycle - cycle.mean()) * 2 * stride / stance,
    )
    return motion, swing


def _walk(progress: Floats, style: Style) -> Motion:
    motion, swing = _gait(progress, style, rate=0.95, stride=0.4, stance=0.6, lift=0.13)
    hands = [vectors(0.12 + side * 0.38 * swing, -0.88, 0.13) for side in (-1, 1)]
    return replace(motion, hands=sides(*hands))


def _run(progress: Floats, style: Style) -> Motion:
    motion, swing = _gait(progress, style, rate=1.45, stride=0.36, stance=0.4, lift=0.42)
    hands = [vectors(0.2 + 0.42 * one, -0.42 + 0.16 * one, 0.02) for one in (-swing, swing)]
    return replace(motion, hands=sides(*hands))


def _jump(progress: Floats, style: Style) -> Motion:
    cycle = _cycles(progress, style, 0.95) % 1
    height = 0.34 * style.energy
    heights = ((0.25, -0.3), (0.4, 0.03), (0.56, height), (0.72, 0.02), (0.84, -0.2))
    up = interpolate(cycle, (0, 0), *heights, (1, 0))
    flight = interpolate(cycle, (0.38, 0), (0.56, height - 0.03), (0.74, 0))
    crouch = np.clip(-up, 0, 1)
    raised = ((0.5, (0.35, 0.9, 0.15)), (0.6, (0.3, 0.9, 0.2)))
    swung = ((0.25, (-0.45, -0.8, 0.16)), *raised, (0.84, (0.5, -0.6, 0.2)))
    hands = interpolate(cycle, (0, _AT_EASE), *swung, (1, _AT_EASE))
    feet = vectors(0.0, flight, 0.06)
    return replace(
        stand(progress, style),
        pelvis=vectors(-0.35 * crouch, up, 0.0),
        lean=0.05 + 1.7 * crouch,
        hands=sides(hands, hands),
        feet=sides(feet, feet),
    )


def _wave(progress: Floats, style: Style) -> Motion:
    standing = stand(progress, style)
    swing = np.sin(2 * np.pi * _cycles(progress, style, 1.7)) * style.energy
    raised = vectors(0.22, 0.62 - 0.1 * np.abs(swing), 0.22 + 0.34 * swing)
    return replace(standing, hands=sides(raised, standing.hands[:, 1]), twist=0.04 * swing)


def _squat(progress: Floats, style: Style) -> Motion:
    depth = min(style.energy, 1.0) * np.sin(np.pi * _cycles(progress, style, 0.65)) ** 2
    hands = vectors(0.15 + 0.75 * depth, -0.9 + 0.82 * depth, 0.1 - 0.15 * depth)
    feet = np.tile((0.0, 0.0, 0.1), (len(progress), 1))
    return replace(
        stand(progress, style),
        pelvis=vectors(-0.3 * depth, -0.02 - 0.56 * depth, 0.0),
        lean=0.04 + 0.72 * depth,
        hands=sides(hands, hands),
        feet=sides(feet, feet),
    )


def _punch(progress: Floats, style: Style) -> Motion:
    cycle = _cycles(progress, style, 1.0)
    hand = ((0.0, (0.32, 0.02, -0.12)), (0.2, (0.98, 0.05, -0.3)), (0.45, (0.32, 0.02, -0.12)))
    right, left = (interpolate((cycle + offset) % 1, *hand) for offset in (0.0, 0.5))
    thrust = right[:, 0] - left[:, 0]
    feet = [np.tile((forward, 0.0, 0.08), (len(progress), 1)) for forward in (-0.22, 0.22)]
    return replace(
        stand(progress, style),
        pelvis=vectors(0.05 * np.abs(thrust), -0.1 + 0.02 * np.cos(4 * np.pi * cycle), 0.0),
        lean=0.14 + 0.1 * np.abs(thrust),
        twist=0.55 * style.energy * thrust,
        hands=sides(right, left),
        feet=sides(*feet),
    )


def _done(progress: Floats, style: Style) -> Floats:
    """Return how much of a one-time movement is done, from 0 to 1."""
    return np.clip((progress - style.lead) / (1 - style.lead - style.tail), 0, 1)


# Where a seated pelvis is, in leg lengths behind and below the standing one.
SEATED_BACK, SEATED_DOWN = 0.46, 0.47


def _sit(progress: Floats, style: Style) -> Motion:
    done, standing = _done(progress, style), stand(progress, style)
    seated = interpolate(done, (0, 0), (0.9, 1))
    hands = interpolate(done, (0, _AT_EASE), (0.5, (0.5, -0.72, 0.1)), (1, (0.52, -0.66, -0.02)))
    lean = interpolate(done, (0, 0), (0.55, 0.72 * style.energy), (1, 0.06))
    return replace(
        standing,
        pelvis=standing.pelvis + vectors(-SEATED_BACK * seated, -SEATED_DOWN * seated, 0.0),
        lean=standing.lean + lean,
        hands=sides(hands, hands),
    )


def _pick(progress: Floats, style: Style) -> Motion:
    done, standing = _done(progress, style), stand(progress, style)
    # The body pauses at the object, so frames just before and just after the grip look the same.
    bent = interpolate(done, (0, 0), (0.44, 1), (0.56, 1), (1, 0))
    grip = interpolate(done, (0.12, 0), (0.44, 1), (0.56, 1), (0.88, 0))
    low, carried = (0.5, -0.8, 0.0), (0.48, -0.5, -0.1)
    hands = interpolate(done, (0, _AT_EASE), (0.44, low), (0.56, low), (1, carried))
    return replace(
        standing,
        pelvis=standing.pelvis + vectors(-0.24 * bent, -0.52 * bent, 0.0),
        lean=standing.lean + 1.12 * bent,
        hands=sides(hands, hands),
        reach=grip,
        held=done >= 0.5,
    )


# The function of each action, and whether it runs backwards in time.
_MOTIONS: dict[str, tuple[Callable[[Floats, Style], Motion], bool]] = {
    "walk": (_walk, False),
    "run": (_run, False),
    "jump": (_jump, False),
    "wave": (_wave, False),
    "squat": (_squat, False),
    "punch": (_punch, False),
    "sit_down": (_sit, False),
    "stand_up": (_sit, True),
    "pick_up": (_pick, False),
    "put_down": (_pick, True),
}

ACTIONS = tuple(_MOTIONS)
"""All actions. Within the last two pairs, only the order of the frames differs."""


def perform(label: str, progress: Floats, style: Style) -> Motion:
    """Return the motion of one of `ACTIONS`; `progress` is (T,) time as a fraction of the clip."""
    motion_of, backwards = _MOTIONS[label]
    return motion_of(1 - progress if backwards else progress, style)
