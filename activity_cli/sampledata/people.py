"""People: their bodies and looks, the joints of a posture, and the solids to paint.

Coordinates are metres, (forward, up, right), with the floor at up = 0. Side 0 is right.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from activity_cli.sampledata.actions import Floats, Motion
from activity_cli.sampledata.rendering import Colour, Solid, Thing, limb, pick, shaded


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


_SKINS = "f6d7c3 eec1a2 e0ac88 c98d66 a9704a 8a5536 6b4029 50301f"
_HAIRS = "1d1a1a 2f2320 4a3122 6e4a2c 9a6b3a c9a063 8f3f24 9b9b9b"
_TOPS = "e63946 f08a5d f2b134 5fa777 2a9d8f 3d7ea6 1d4e89 d96c8a 6a4c93 b5838d f1ece2 343a40 8ab6d6"
_BOTTOMS = "27374d 1f2933 4a5a6a 5b4636 8d7b68 30475e 6b705c b8a58b"
_SHOES = "f4f1ea 22252a c0392b 2d6a8f 7a5237 e9b44c"
_EYES = (32.0, 34.0, 43.0)


class Clothes(NamedTuple):
    """What a person wears in one clip."""

    top: Colour
    stripe: Colour
    trousers: Colour
    shoes: Colour
    striped: bool
    long_sleeves: bool
    shorts: bool

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Clothes":
        """Draw random clothes."""
        top, stripe, trousers, shoes = (pick(rng, p) for p in (_TOPS, _TOPS, _BOTTOMS, _SHOES))
        striped, long_sleeves, shorts = (rng.uniform(size=3) < (0.4, 0.55, 0.3)).tolist()
        return cls(top, stripe, trousers, shoes, striped, long_sleeves, shorts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What stays the same about a person from clip to clip."""

    body: Body
    skin: Colour
    hair: Colour
    long_hair: bool

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Person":
        """Draw a random person."""
        body, skin, hair = Body.draw(rng), pick(rng, _SKINS), pick(rng, _HAIRS)
        return cls(body=body, skin=skin, hair=hair, long_hair=bool(rng.uniform() < 0.4))

    def dressed(self, clothes: Clothes, joints: Joints) -> list[Thing]:
        """Return the person in these clothes; `joints` are in world coordinates."""
        size = self.body.height / 1.7
        soft = size * self.body.girth  # the scale of what is thicker on heavier people
        top, stripe, trousers, shoes, striped, long_sleeves, shorts = clothes
        sleeves, shins = top if long_sleeves else self.skin, self.skin if shorts else trousers
        pelvis, spine = joints["pelvis"], joints["neck"] - joints["pelvis"]
        chest, belly = pelvis + 0.72 * spine, pelvis + 0.3 * spine
        sides = [{name: both[:, side] for name, both in joints.items()} for side in (0, 1)]
        middle, breadth = np.stack([chest, belly], axis=1), soft * np.array([0.093, 0.093])
        trunk = np.concatenate([joints["shoulders"], middle, joints["hips"]], axis=1)
        radii = soft * np.array([0.058, 0.058, 0.115, 0.113, 0.09, 0.09])
        badge = stripe if striped else top
        solids = [
            Solid(trunk, radii, top),
            limb(chest - 0.1 * spine, chest, 0.11 * soft, 0.11 * soft, badge),
            Solid(joints["hips"], breadth, trousers),
        ]
        things = [Thing(pelvis[:, 2], solids), *self._head(joints, size)]
        for side in sides:
            hip, knee, ankle, toe = (side[name] for name in ("hips", "knees", "ankles", "toes"))
            leg = [
                limb(ankle - 0.35 * (toe - ankle), toe, 0.039 * size, 0.029 * size, shoes),
                limb(knee, ankle, 0.06 * soft, 0.042 * soft, shins),
                limb(hip, knee, 0.088 * soft, 0.062 * soft, trousers),
            ]
            shoulder, elbow, wrist = (side[name] for name in ("shoulders", "elbows", "wrists"))
            hand, half = wrist + 0.16 * (wrist - elbow), 0.5 * (shoulder + elbow)
            arm = [
                limb(wrist, hand, 0.03 * size, 0.034 * size, self.skin),
                limb(elbow, wrist, 0.042 * soft, 0.031 * soft, sleeves),
                limb(shoulder, elbow, 0.054 * soft, 0.042 * soft, sleeves),
                limb(shoulder, half, 0.058 * soft, 0.052 * soft, top),
            ]
            # The trunk hides the hips; the knees hide the trunk of a person who sits.
            things.append(Thing(0.5 * (knee + pelvis)[:, 2] + 0.12, leg))
            things.append(Thing(np.minimum(elbow, wrist)[:, 2] - 0.02, arm))
        return things

    def _head(self, joints: Joints, size: float) -> list[Thing]:
        """Return head, hair and eyes; what is nearer to the camera hides the others."""
        chin, crown, nape = joints["chin"], joints["crown"], joints["nape"]
        radius, up = self.body.head_radius, crown - chin
        top, low = crown + 0.9 * up, nape - (1.5 * up if self.long_hair else 0.0)
        head = [
            limb(joints["neck"], chin, 0.05 * size, 0.045 * size, shaded(self.skin, 0.9)),
            limb(chin, crown, 0.8 * radius, radius, self.skin),
            limb(top + 0.3 * (nape - chin), top, 0.75 * radius, 0.65 * radius, self.hair),
        ]
        hair = limb(low, crown + 0.2 * up, 0.75 * radius, radius, self.hair)
        things = [Thing((chin + crown)[:, 2] / 2 - 0.03, head), Thing(nape[:, 2] - 0.05, [hair])]
        eyes = [joints["eyes"][:, side : side + 1] for side in (0, 1)]
        things += [Thing(eye[:, 0, 2], [Solid(eye, [0.12 * radius], _EYES)]) for eye in eyes]
        return things
