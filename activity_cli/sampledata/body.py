"""An articulated body: its proportions, and the positions of its joints in a posture.

Coordinates are metres, (forward, up, right), with the floor at up = 0. Side 0 is right.
"""

from dataclasses import dataclass

import numpy as np

from activity_cli.sampledata.motion import Floats, Motion


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The proportions of one person."""

    height: float  # metres
    girth: float  # of limbs and trunk, relative to the average; so with the others below
    legs: float
    head: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Body":
        """Draw a random adult."""
        return cls(
            height=rng.uniform(1.52, 1.9),
            girth=rng.uniform(0.85, 1.25),
            legs=rng.uniform(0.94, 1.05),
            head=rng.uniform(0.98, 1.14),
        )

    @property
    def leg_length(self) -> float:
        """Hip to ankle, in metres."""
        return 0.46 * self.height * self.legs

    @property
    def ankle_height(self) -> float:
        """Floor to ankle, in metres."""
        return 0.045 * self.height

    @property
    def head_radius(self) -> float:
        """Half the breadth of the head, in metres."""
        return 0.056 * self.height * self.head


Joints = dict[str, Floats]
"""Positions over T frames in metres: (T, 3), or (T, 2, 3) of what exists on both sides."""


def pose(body: Body, motion: Motion, grips: Floats) -> Joints:
    """Compute the joints: forward kinematics of the trunk, inverse kinematics of the limbs.

    `grips` (2, 3) is where each hand holds the object while that lies at rest.
    """
    height, leg, arm = body.height, body.leg_length, 0.335 * body.height
    travel = motion.travel[:, None, None] * (leg, 0, 0)  # (T, 1, 3)
    pelvis = travel[:, 0] + (0, body.ankle_height + leg, 0) + leg * motion.pelvis
    lean, twist, none = motion.lean, motion.twist, np.zeros_like(motion.lean)
    spine = np.stack([np.sin(lean), np.cos(lean), none], axis=-1)
    # The shoulders turn about the spine: their axis stays at a right angle to it.
    right = np.stack([np.sin(twist), none, np.cos(twist)], axis=-1)
    right -= (right * spine).sum(-1, keepdims=True) * spine
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    neck = pelvis + 0.3 * height * spine
    shoulders = _both(neck - 0.035 * height * spine, right * 0.104 * height)
    hips = _both(pelvis, right * (1, 0, 1) * 0.05 * height)
    targets = shoulders + arm * _outward(motion.hands)
    targets += motion.reach[:, None, None] * (grips - targets)
    # Elbows bend down, back and out; knees forward and a little out.
    elbows, wrists = _two_bones(shoulders, targets, (0.53 * arm, 0.47 * arm), (-0.5, -0.8, 0.45))
    stance = np.array([0, body.ankle_height, 0.055 * height])
    ankles = travel + _outward(stance + leg * motion.feet)
    knees, ankles = _two_bones(hips, ankles, (0.5 * leg, 0.5 * leg), (1.0, 0.1, 0.22))
    # A foot on the floor slopes down from its ankle; a lifted one points further down.
    pitch = -0.33 - 2.0 * motion.feet[..., 1]
    foot = np.stack([np.cos(pitch), np.sin(pitch), np.full_like(pitch, 0.2)], axis=-1)
    radius, tilt = body.head_radius, 0.45 * lean
    up = np.stack([np.sin(tilt), np.cos(tilt), none], axis=-1)
    front = np.stack([np.cos(tilt), -np.sin(tilt), none], axis=-1)
    chin = neck + 0.5 * radius * spine + radius * (1.05 * up + 0.18 * front)
    return {
        "pelvis": pelvis,
        "neck": neck,
        "chin": chin,
        "crown": chin + 0.62 * radius * up,
        "nape": chin + radius * (0.5 * up - 0.4 * front),
        "eyes": _both(chin + radius * (0.5 * up + 0.9 * front), np.array([0, 0, 0.4 * radius])),
        "shoulders": shoulders,
        "elbows": elbows,
        "wrists": wrists,
        "hips": hips,
        "knees": knees,
        "ankles": ankles,
        "toes": ankles + 0.085 * height * _outward(foot),
    }


def _both(middle: Floats, rightward: Floats) -> Floats:
    """Return (T, 2, 3) points to the right and to the left of (T, 3) points."""
    return np.stack([middle + rightward, middle - rightward], axis=1)


def _outward(vectors: Floats) -> Floats:
    """Turn (..., 2, 3) vectors (forward, up, outward) into (forward, up, right)."""
    signed: Floats = vectors * np.array([[1.0, 1.0, 1.0], [1.0, 1.0, -1.0]])
    return signed


def _two_bones(
    root: Floats, target: Floats, lengths: tuple[float, float], pole: tuple[float, float, float]
) -> tuple[Floats, Floats]:
    """Bend limbs of two bones from the root towards the target, both (T, 2, 3).

    Returns the middle joints, which bend towards `pole` (forward, up, outward), and the ends.
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
