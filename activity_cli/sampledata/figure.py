"""An articulated body: proportions, and where its joints are when it is held in some way.

Coordinates are metres, (forward, up, right), with the floor at up = 0. Side 0 is right.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from activity_cli.sampledata.motion import Floats, Motion

_OUTWARD = np.array([1.0, -1.0])  # along the axis that points right


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """Proportions of one person."""

    height: float
    """Metres."""
    girth: float
    """Thickness of limbs and trunk, relative to the average."""
    legs: float
    """Length of the legs, relative to the average for that height; so with the others below."""
    arms: float
    shoulders: float
    head: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Body":
        """A random grown-up."""
        return cls(
            height=rng.uniform(1.52, 1.9),
            girth=rng.uniform(0.85, 1.25),
            legs=rng.uniform(0.94, 1.05),
            arms=rng.uniform(0.95, 1.05),
            shoulders=rng.uniform(0.88, 1.1),
            head=rng.uniform(0.98, 1.14),
        )

    @property
    def leg_length(self) -> float:
        """Hip to ankle."""
        return 0.46 * self.height * self.legs

    @property
    def arm_length(self) -> float:
        """Shoulder to wrist."""
        return 0.335 * self.height * self.arms

    @property
    def ankle_height(self) -> float:
        """Floor to ankle."""
        return 0.045 * self.height

    @property
    def hip_height(self) -> float:
        """Floor to hip, standing."""
        return self.ankle_height + self.leg_length

    @property
    def head_radius(self) -> float:
        """Half the breadth of the head."""
        return 0.056 * self.height * self.head


@dataclass(frozen=True, slots=True, kw_only=True)
class Skeleton:
    """Positions of the joints over T frames. D is 3 in space and 2 in a picture."""

    pelvis: Floats  # (T, D), as are neck, chin, crown and the points of the face
    neck: Floats
    chin: Floats
    crown: Floats
    face: Floats
    back_of_head: Floats
    eyes: Floats  # (T, 2, D), as are all below
    shoulders: Floats
    elbows: Floats
    wrists: Floats
    fingers: Floats
    hips: Floats
    knees: Floats
    ankles: Floats
    toes: Floats

    def map(self, change: Callable[[Floats], Floats]) -> "Skeleton":
        """The skeleton with every joint's positions changed by a function."""
        return Skeleton(**{f.name: change(getattr(self, f.name)) for f in fields(self)})


def pose(body: Body, motion: Motion, grips: Floats) -> Skeleton:
    """Forward kinematics of the trunk, inverse kinematics of the limbs.

    Args:
        body: Whose joints.
        motion: How the body is held.
        grips: (2, 3) where each hand holds the object while that lies at rest.
    """
    height, leg, arm = body.height, body.leg_length, body.arm_length
    travel = np.zeros((len(motion.lean), 3))
    travel[:, 0] = motion.travel * leg
    pelvis = travel + (0, body.hip_height, 0) + leg * motion.pelvis
    spine, right = _trunk_axes(motion)
    neck = pelvis + 0.3 * height * spine
    breadth = 0.105 * height * body.shoulders
    shoulders = _both(neck - 0.035 * height * spine, right * breadth)
    hips = _both(pelvis, right * (1, 0, 1) * 0.05 * height)
    targets = shoulders + arm * _outward(motion.hands)
    targets += motion.reach[..., None] * (grips - targets)
    # Elbows point down, back and out; knees forward and a little out.
    elbows, wrists = _two_bones(shoulders, targets, (0.53 * arm, 0.47 * arm), (-0.5, -0.8, 0.45))
    stance = np.array([[0, body.ankle_height, 0.055 * height]] * 2)
    ankles = travel[:, None] + _outward(stance + leg * motion.feet)
    knees, ankles = _two_bones(hips, ankles, (0.5 * leg, 0.5 * leg), (1.0, 0.1, 0.22))
    return Skeleton(
        pelvis=pelvis,
        neck=neck,
        shoulders=shoulders,
        elbows=elbows,
        wrists=wrists,
        fingers=wrists + 0.3 * (wrists - elbows) * (0.07 * height / (0.3 * 0.47 * arm)),
        hips=hips,
        knees=knees,
        ankles=ankles,
        toes=ankles + _feet(body, motion),
        **_head(body, motion, neck, spine),
    )


def _trunk_axes(motion: Motion) -> tuple[Floats, Floats]:
    """Unit vectors (T, 3) along the spine and to the right, from the pelvis."""
    none = np.zeros_like(motion.lean)
    spine = np.stack([np.sin(motion.lean), np.cos(motion.lean), none], axis=-1)
    right = np.stack([np.sin(motion.twist), none, np.cos(motion.twist)], axis=-1)
    right -= (right * spine).sum(-1, keepdims=True) * spine
    return spine, right / np.linalg.norm(right, axis=-1, keepdims=True)


def _head(body: Body, motion: Motion, neck: Floats, spine: Floats) -> dict[str, Floats]:
    """Points of the head, which stays more upright than the spine."""
    radius = body.head_radius
    pitch = 0.45 * motion.lean + motion.nod
    none = np.zeros_like(pitch)
    up = np.stack([np.sin(pitch), np.cos(pitch), none], axis=-1)
    front = np.stack([np.cos(pitch), -np.sin(pitch), none], axis=-1)
    chin = neck + 0.5 * radius * spine + radius * (1.05 * up + 0.18 * front)
    crown = chin + 0.62 * radius * up
    eyes = _both(chin + radius * (0.5 * up + 0.9 * front), np.array([0, 0, 0.4 * radius]))
    return {
        "chin": chin,
        "crown": crown,
        "face": chin + radius * (0.2 * up + 1.0 * front),
        "back_of_head": chin + radius * (0.5 * up - 0.4 * front),
        "eyes": eyes,
    }


def _feet(body: Body, motion: Motion) -> Floats:
    """(T, 2, 3) from the ankle to the ball of the foot."""
    length = 0.085 * body.height
    # A flat foot slopes from the ankle to the floor.
    pitch = motion.toes - 0.33
    turned_out = np.full_like(pitch, 0.2)
    return length * _outward(np.stack([np.cos(pitch), np.sin(pitch), turned_out], axis=-1))


def _both(middle: Floats, rightward: Floats) -> Floats:
    """(T, 2, 3) points to the right and to the left of (T, 3) points."""
    return np.stack([middle + rightward, middle - rightward], axis=1)


def _outward(vectors: Floats) -> Floats:
    """(..., 2, 3) vectors (forward, up, outward) as (forward, up, right)."""
    signs = np.ones((2, 3))
    signs[:, 2] = _OUTWARD
    return vectors * signs


def _two_bones(
    root: Floats, target: Floats, lengths: tuple[float, float], pole: tuple[float, float, float]
) -> tuple[Floats, Floats]:
    """Bend a limb of two bones so that its end comes as near to the target as it can.

    Args:
        root: (T, 2, 3) where the limbs begin.
        target: (T, 2, 3) where they should end.
        lengths: Of the two bones.
        pole: (forward, up, outward) direction to which the middle joint bends.

    Returns:
        (T, 2, 3) the middle joints and the ends.
    """
    first, second = lengths
    way = target - root
    far = np.linalg.norm(way, axis=-1, keepdims=True)
    direction = way / np.maximum(far, 1e-9)
    far = np.clip(far, abs(first - second) + 1e-3, 0.998 * (first + second))
    along = (first**2 - second**2 + far**2) / (2 * far)
    aside = np.sqrt(np.maximum(first**2 - along**2, 0))
    bend = np.broadcast_to(_outward(np.array([pole, pole])), way.shape)
    bend = bend - (bend * direction).sum(-1, keepdims=True) * direction
    bend = bend / np.maximum(np.linalg.norm(bend, axis=-1, keepdims=True), 1e-9)
    return root + along * direction + aside * bend, root + far * direction


def held_path(
    skeleton: Skeleton, motion: Motion, grips: Floats, rest: Floats
) -> NDArray[np.float64]:
    """(T, 3) the object's middle: at rest until the hands have it, then with them.

    Args:
        skeleton: Of whoever holds it, in metres.
        motion: Says which hands grip and when.
        grips: (2, 3) where each hand holds the object while that lies at rest.
        rest: (3,) the object's middle while it lies at rest.
    """
    gripping = (motion.reach.max(axis=0) > 0).astype(float)[:, None]  # (2, 1)
    if not gripping.any():
        return np.broadcast_to(rest, skeleton.pelvis.shape)
    moved = ((skeleton.wrists - grips) * gripping).sum(axis=1) / gripping.sum()
    return rest + np.where(motion.held[:, None], moved, 0.0)
