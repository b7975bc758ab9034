"""Actions as pose functions: how far through the clip we are -> how the body is held."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from activity_cli.sampledata.motion import (
    LEFT,
    Floats,
    Motion,
    Style,
    cycles,
    glide,
    mirrored,
    once,
    sides,
    stand,
    vectors,
)


def _gait(cycle: Floats, *, stride: float, stance: float, lift: float) -> tuple[Floats, Floats]:
    """One foot of a walk or run: (T, 3) displacement and (T,) pitch.

    On the ground the foot moves back as fast as the body moves forward, so it does not slide.
    """
    phase = cycle % 1
    swing = np.clip((phase - stance) / (1 - stance), 0, 1)
    forward = np.where(phase < stance, 1 - 2 * phase / stance, -np.cos(np.pi * swing))
    up = lift * np.sin(np.pi * swing) * (1.25 - 0.6 * swing)
    pitch = np.where(phase < stance, 0.0, -0.9 * np.sin(np.pi * swing) + 0.5 * swing)
    return vectors(stride * forward, up, 0.0), pitch


def _walk(progress: Floats, style: Style) -> Motion:
    cycle = cycles(progress, style, 0.95)
    stride, stance = 0.4 * style.energy, 0.6
    right, right_pitch = _gait(cycle, stride=stride, stance=stance, lift=0.13)
    left, left_pitch = _gait(cycle + 0.5, stride=stride, stance=stance, lift=0.13)
    swing = np.cos(2 * np.pi * (cycle - 0.05)) * style.energy
    return replace(
        stand(progress, style),
        pelvis=vectors(0.0, -0.06 - 0.02 * np.cos(4 * np.pi * cycle), 0.0),
        lean=np.full_like(progress, 0.06),
        twist=-0.16 * swing,
        hands=sides(
            vectors(0.12 - 0.38 * swing, -0.88, 0.13), vectors(0.12 + 0.38 * swing, -0.88, 0.13)
        ),
        feet=sides(right, left),
        toes=sides(right_pitch, left_pitch),
        travel=(cycle - cycle.mean()) * 2 * stride / stance,
    )


def _run(progress: Floats, style: Style) -> Motion:
    cycle = cycles(progress, style, 1.45)
    stride, stance = 0.3 * style.energy, 0.4
    right, right_pitch = _gait(cycle, stride=stride * 1.3, stance=stance, lift=0.42)
    left, left_pitch = _gait(cycle + 0.5, stride=stride * 1.3, stance=stance, lift=0.42)
    swing = np.cos(2 * np.pi * (cycle - 0.05)) * style.energy
    bounce = np.maximum(0, np.sin(4 * np.pi * (cycle - stance))) * 0.09
    airborne = vectors(0.0, bounce, 0.0)[:, None]
    return replace(
        stand(progress, style),
        pelvis=vectors(0.0, -0.1 + bounce, 0.0),
        lean=np.full_like(progress, 0.24),
        twist=-0.25 * swing,
        hands=sides(
            vectors(0.2 - 0.42 * swing, -0.42 - 0.16 * swing, 0.02),
            vectors(0.2 + 0.42 * swing, -0.42 + 0.16 * swing, 0.02),
        ),
        feet=sides(right, left) + airborne,
        toes=sides(right_pitch, left_pitch),
        travel=(cycle - cycle.mean()) * 2 * stride / stance,
    )


def _jump(progress: Floats, style: Style) -> Motion:
    cycle = cycles(progress, style, 0.95) % 1
    height = 0.34 * style.energy
    up = glide(
        cycle, (0, 0), (0.25, -0.3), (0.4, 0.03), (0.56, height), (0.72, 0.02), (0.84, -0.2), (1, 0)
    )
    flight = glide(cycle, (0.38, 0), (0.56, height - 0.03), (0.74, 0))
    crouch = np.clip(-up, 0, 1)
    hands = glide(
        cycle,
        (0, (0.1, -0.95, 0.16)),
        (0.25, (-0.45, -0.8, 0.16)),
        (0.5, (0.35, 0.9, 0.15)),
        (0.6, (0.3, 0.9, 0.2)),
        (0.84, (0.5, -0.6, 0.2)),
        (1, (0.1, -0.95, 0.16)),
    )
    feet = vectors(0.0, flight, 0.06)
    pitch = -2.2 * flight
    return replace(
        stand(progress, style),
        pelvis=vectors(-0.35 * crouch, up, 0.0),
        lean=0.05 + 1.7 * crouch,
        hands=sides(hands, hands),
        feet=sides(feet, feet),
        toes=sides(pitch, pitch),
    )


def _wave(progress: Floats, style: Style) -> Motion:
    standing = stand(progress, style)
    swing = np.sin(2 * np.pi * cycles(progress, style, 1.7)) * style.energy
    raised = vectors(0.22, 0.62 - 0.1 * np.abs(swing), 0.22 + 0.34 * swing)
    return replace(standing, hands=sides(raised, standing.hands[:, LEFT]), twist=0.04 * swing)


def _squat(progress: Floats, style: Style) -> Motion:
    depth = 0.5 - 0.5 * np.cos(2 * np.pi * cycles(progress, style, 0.65))
    depth = depth * min(style.energy, 1.0)
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
    cycle = cycles(progress, style, 1.0)
    hand = ((0.0, (0.32, 0.02, -0.12)), (0.2, (0.98, 0.05, -0.3)), (0.45, (0.32, 0.02, -0.12)))
    right, left = (glide((cycle + offset) % 1, *hand) for offset in (0.0, 0.5))
    thrust = right[:, 0] - left[:, 0]
    bounce = 0.02 * np.cos(4 * np.pi * cycle)
    feet = [np.tile((forward, 0.0, 0.08), (len(progress), 1)) for forward in (-0.22, 0.22)]
    return replace(
        stand(progress, style),
        pelvis=vectors(0.05 * np.abs(thrust), -0.1 + bounce, 0.0),
        lean=0.14 + 0.1 * np.abs(thrust),
        twist=0.55 * style.energy * thrust,
        hands=sides(right, left),
        feet=sides(*feet),
    )


SEATED_BACK, SEATED_DOWN = 0.46, 0.47
"""Where a seated pelvis is, in leg lengths behind and below the standing one."""


def _sit(progress: Floats, style: Style) -> Motion:
    done = once(progress, style)
    standing = stand(progress, style)
    seated = glide(done, (0, 0), (0.9, 1))
    hands = glide(
        done,
        (0, (0.1, -0.95, 0.16)),
        (0.5, (0.5, -0.72, 0.1)),
        (1, (0.52, -0.66, -0.02)),
    )
    return replace(
        standing,
        pelvis=standing.pelvis + vectors(-SEATED_BACK * seated, -SEATED_DOWN * seated, 0.0),
        lean=standing.lean + glide(done, (0, 0), (0.55, 0.72 * style.energy), (1, 0.06)),
        nod=standing.nod + glide(done, (0, 0), (0.45, 0.2), (1, 0)),
        hands=sides(hands, hands),
    )


def _pick(progress: Floats, style: Style) -> Motion:
    done = once(progress, style)
    standing = stand(progress, style)
    # The body rests in the grip, so frames just before and just after it look the same.
    bent = glide(done, (0, 0), (0.44, 1), (0.56, 1), (1, 0))
    grip = glide(done, (0.12, 0), (0.44, 1), (0.56, 1), (0.88, 0))
    carried = (0.48, -0.5, -0.1) if style.two_handed else (0.36, -0.6, 0.1)
    hands = glide(
        done,
        (0, (0.1, -0.95, 0.16)),
        (0.44, (0.5, -0.8, 0.0)),
        (0.56, (0.5, -0.8, 0.0)),
        (1, carried),
    )
    other = hands if style.two_handed else vectors(0.1 + 0.2 * bent, -0.9 + 0.12 * bent, 0.2)
    down = 0.46 + 0.12 * style.crouch
    return replace(
        standing,
        pelvis=standing.pelvis + vectors(-0.24 * bent, -down * bent, 0.0),
        lean=standing.lean + (1.22 - 0.2 * style.crouch) * bent,
        nod=standing.nod + 0.1 * bent,
        hands=sides(hands, other),
        reach=sides(grip, grip if style.two_handed else np.zeros_like(grip)),
        held=done >= 0.5,
    )


_POSES: dict[str, tuple[Callable[[Floats, Style], Motion], bool]] = {
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
"""The pose function of each action, and whether it runs backwards in time."""

ACTIONS = tuple(_POSES)
"""The actions that can be drawn. Of two pairs, only the order in time tells which it is."""

REPEATED = ACTIONS[:6]
"""Those that go on and on; the others happen once and leave something changed."""


def perform(label: str, progress: Floats, style: Style) -> Motion:
    """The movement of an action.

    Args:
        label: One of `ACTIONS`.
        progress: (T,) time as a fraction of the clip, 0 to 1.
        style: How it is performed this time.
    """
    pose, backwards = _POSES[label]
    motion = pose(1 - progress if backwards else progress, style)
    return mirrored(motion) if style.left_handed else motion


_EASING = 0.2
"""Of an action, to come to it from standing still, and again to leave it."""


def perform_amid_stillness(label: str, progress: Floats, style: Style, num_still: int) -> Motion:
    """The movement of an action, with some frames before and after it in which nobody moves.

    Repeated movements come from standing and end in it. Others are held as they begin and end, as
    what they change, from standing to sitting say, stays changed.

    Args:
        label: One of `ACTIONS`.
        progress: (T,) as for `perform`.
        style: How it is performed this time.
        num_still: Frames to add at each end.
    """
    held = np.pad(progress, num_still, mode="edge")
    moving = perform(label, held, style)
    if label not in REPEATED or not num_still:
        return moving
    away = np.pad(np.minimum(progress, 1 - progress), num_still, constant_values=0.0)
    share = glide(away, (0, 0), (_EASING, 1))
    standing = stand(held, style)

    def blend(still: Floats, moved: Floats) -> Floats:
        blended: Floats = still + share.reshape(-1, *[1] * (moved.ndim - 1)) * (moved - still)
        return blended

    return replace(
        moving,
        pelvis=blend(standing.pelvis, moving.pelvis),
        lean=blend(standing.lean, moving.lean),
        twist=blend(standing.twist, moving.twist),
        nod=blend(standing.nod, moving.nod),
        hands=blend(standing.hands, moving.hands),
        feet=blend(standing.feet, moving.feet),
        toes=blend(standing.toes, moving.toes),
    )
