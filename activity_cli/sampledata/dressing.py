"""A person in clothes as layers of shapes: legs, trunk, head and arms."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from activity_cli.sampledata.camera import Stand
from activity_cli.sampledata.canvas import Colour, Shape, capsule, colour, fixed_point, shaded
from activity_cli.sampledata.figure import Skeleton
from activity_cli.sampledata.motion import Floats
from activity_cli.sampledata.paint import (
    Layer,
    Limb,
    View,
    band,
    discs_hull,
    hull_shapes,
    limb_shapes,
    outline_shape,
)
from activity_cli.sampledata.person import Clothes, Person

_EYE = colour("2b2220")


@dataclass(frozen=True, slots=True)
class _Sitter:
    """All that is needed to draw somebody."""

    view: View
    person: Person
    clothes: Clothes
    joints: Skeleton
    """In pixels."""
    away: Skeleton
    """(T, ..., 1) metres from the camera."""
    toward_camera: Floats
    """(T,) cosine between where the head faces and the way to the camera."""

    def radius(self, metres: float, away: Floats, *, soft: bool = True) -> Floats:
        """(T,) pixels of a thickness; that of soft parts follows the girth."""
        body = self.person.body
        size = metres * body.height / 1.7 * (body.girth if soft else 1.0)
        return size * self.view.pixels_per_metre(away)


def figure_layers(
    view: View, stand: Stand, person: Person, clothes: Clothes, skeleton: Skeleton
) -> list[Layer]:
    """Layers that show somebody.

    Args:
        view: The camera.
        stand: Where they stand.
        person: Who it is.
        clothes: What they wear.
        skeleton: Their joints in metres, as `figure.pose` gives them.
    """
    placed = skeleton.map(stand.place)
    facing = placed.face - placed.back_of_head
    sitter = _Sitter(
        view=view,
        person=person,
        clothes=clothes,
        joints=placed.map(view.pixels),
        away=placed.map(lambda points: points[..., 2]),
        toward_camera=-facing[:, 2] / np.linalg.norm(facing, axis=-1),
    )
    sides = (0, 1)
    legs = [_leg(sitter, side) for side in sides]
    arms = [_arm(sitter, side) for side in sides]
    layers = [*legs, *arms, _trunk(sitter), _head(sitter)]
    if clothes.bottom == "skirt":
        nearest_leg = np.minimum(legs[0].away, legs[1].away)
        layers.append(Layer(nearest_leg - 0.01, _skirt(sitter)))
    return layers


def _leg(sitter: _Sitter, side: int) -> Layer:
    joints, clothes, person = sitter.joints, sitter.clothes, sitter.person
    hip, knee = joints.hips[:, side], joints.knees[:, side]
    ankle, toe = joints.ankles[:, side], joints.toes[:, side]
    away = sitter.away.knees[:, side]
    thick, mid, thin = (sitter.radius(metres, away) for metres in (0.088, 0.06, 0.042))
    sole = sitter.radius(0.034, away, soft=False)
    shin = clothes.bottom_colour if clothes.bottom == "trousers" else person.skin
    thigh = person.skin if clothes.bottom == "skirt" else clothes.bottom_colour
    heel = ankle - 0.35 * (toe - ankle)
    limbs = [
        _limb(heel, toe, sole * 1.15, sole * 0.85, clothes.shoes),
        _limb(knee, ankle, mid, thin, shin),
        _limb(hip, knee, thick, mid, thigh),
    ]
    if clothes.bottom == "shorts":
        limbs[2] = _limb(hip, knee, thick, mid, person.skin)
        limbs.append(_limb(hip, hip + 0.72 * (knee - hip), thick * 1.03, mid * 1.2, thigh))
    # Standing, the trunk hides the hips; seated, the knees come in front of it.
    return Layer(0.5 * (away + sitter.away.pelvis) + 0.12, limb_shapes(limbs, _light(sitter)))


def _arm(sitter: _Sitter, side: int) -> Layer:
    joints, clothes, person = sitter.joints, sitter.clothes, sitter.person
    shoulder, elbow = joints.shoulders[:, side], joints.elbows[:, side]
    wrist, finger = joints.wrists[:, side], joints.fingers[:, side]
    away = sitter.away.elbows[:, side]
    thick, mid, thin = (sitter.radius(metres, away) for metres in (0.054, 0.042, 0.031))
    hand = sitter.radius(0.033, away, soft=False)
    sleeve = clothes.top if clothes.long_sleeves else person.skin
    limbs = [
        _limb(wrist, finger, hand * 0.9, hand, person.skin),
        _limb(elbow, wrist, mid, thin, sleeve),
        _limb(shoulder, elbow, thick, mid, sleeve),
    ]
    if not clothes.long_sleeves:
        short = shoulder + 0.6 * (elbow - shoulder)
        limbs.append(_limb(shoulder, short, thick * 1.08, mid * 1.25, clothes.top))
    nearest = np.minimum(away, sitter.away.wrists[:, side])
    return Layer(nearest - 0.02, limb_shapes(limbs, _light(sitter)))


def _trunk(sitter: _Sitter) -> Layer:
    joints, clothes = sitter.joints, sitter.clothes
    away = sitter.away.pelvis
    chest, belly = 0.72 * (joints.neck - joints.pelvis), 0.3 * (joints.neck - joints.pelvis)
    shoulder, hip = sitter.radius(0.058, away), sitter.radius(0.09, away)
    outlines = discs_hull(
        [
            (joints.shoulders[:, 0], shoulder),
            (joints.shoulders[:, 1], shoulder),
            (joints.pelvis + chest, sitter.radius(0.115, away)),
            (joints.pelvis + belly, sitter.radius(0.113, away)),
            (joints.hips[:, 0], hip),
            (joints.hips[:, 1], hip),
        ]
    )
    shapes = [outline_shape(outlines, clothes.top)]
    shapes.extend(hull_shapes(outlines, clothes.top, _light(sitter)))
    if clothes.stripes is not None:
        shapes.extend(_stripes(sitter, outlines, clothes.stripes))
    if clothes.bottom != "skirt":
        shapes.append(_belt(sitter, outlines))
    return Layer(away, shapes)


def _stripes(sitter: _Sitter, outlines: list[Floats], paint: Colour) -> list[Shape]:
    ends = list(zip(outlines, sitter.joints.pelvis, sitter.joints.neck, strict=True))
    rows = ((0.18, 0.3), (0.46, 0.58), (0.74, 0.86))
    return [
        Shape([fixed_point(band(*end, low, high)) for end in ends], shaded(paint, 0.95))
        for low, high in rows
    ]


def _belt(sitter: _Sitter, outlines: list[Floats]) -> Shape:
    """The upper rim of trousers, at the lower end of the trunk."""
    ends = zip(outlines, sitter.joints.pelvis, sitter.joints.neck, strict=True)
    polygons = [fixed_point(band(*end, -0.6, -0.02)) for end in ends]
    return Shape(polygons, shaded(sitter.clothes.bottom_colour, 0.88))


def _skirt(sitter: _Sitter) -> list[Shape]:
    joints, away = sitter.joints, sitter.away.pelvis
    discs = [(joints.pelvis, sitter.radius(0.12, away))]
    for side in (0, 1):
        hip, knee = joints.hips[:, side], joints.knees[:, side]
        discs.append((hip + 0.78 * (knee - hip), sitter.radius(0.098, away)))
    outlines = discs_hull(discs)
    paint = sitter.clothes.bottom_colour
    return [outline_shape(outlines, paint), *hull_shapes(outlines, paint, _light(sitter))]


def _head(sitter: _Sitter) -> Layer:
    joints, person, away = sitter.joints, sitter.person, sitter.away.crown
    size = sitter.radius(person.body.head_radius * 1.7 / person.body.height, away, soft=False)
    throat = sitter.radius(0.045, away)
    neck = _limb(joints.neck, joints.chin, throat * 1.1, throat, shaded(person.skin, 0.9))
    skull = _limb(joints.chin, joints.crown, size * 0.8, size, person.skin)
    # From behind, the hair hides the face.
    from_front = sitter.toward_camera > -0.25
    hair = _hair(sitter, size)
    shapes = [shape._replace(visible=from_front) for shape in hair]
    shapes += limb_shapes([neck, skull], _light(sitter))
    shapes += _features(sitter, size)
    shapes += [shape._replace(visible=~from_front) for shape in hair]
    if person.hair_cut != "bald":
        shapes.append(_fringe(sitter, size))
    return Layer(away - 0.03, shapes)


def _hair(sitter: _Sitter, size: Floats) -> list[Shape]:
    """What of the hair lies behind the face."""
    joints, person = sitter.joints, sitter.person
    up = joints.crown - joints.chin
    behind = joints.back_of_head
    hair = person.hair
    short = _limb(behind + 0.1 * up, joints.crown + 0.12 * up, size * 0.85, size * 1.05, hair)
    match person.hair_cut:
        case "bald":
            limbs = []
        case "short":
            limbs = [short]
        case "long":
            ends = behind - 1.5 * up
            limbs = [_limb(ends, joints.crown + 0.1 * up, size * 0.72, size * 1.1, hair)]
        case "bun":
            knot = behind + 0.33 * (behind - joints.face) + 0.9 * up
            limbs = [_limb(knot, knot, size * 0.45, size * 0.45, hair), short]
    return limb_shapes(limbs, _light(sitter))


def _fringe(sitter: _Sitter, size: Floats) -> Shape:
    """Hair on top of the head, down to the forehead: a piece of the disc, tilted to the back."""
    joints = sitter.joints
    up = joints.crown - joints.chin
    back = joints.back_of_head - joints.face
    axis = up / np.linalg.norm(up, axis=-1, keepdims=True) + 0.42 * back / size[:, None]
    middle = np.arctan2(axis[:, 1], axis[:, 0])
    turn = middle[:, None] + np.linspace(-0.4, 0.4, 14) * np.pi
    rim = np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    outlines = joints.crown[:, None] + 1.06 * size[:, None, None] * rim
    return Shape(list(fixed_point(outlines)), shaded(sitter.person.hair, 0.95))


def _features(sitter: _Sitter, size: Floats) -> list[Shape]:
    """Nose, eyes and mouth, where the face is in view."""
    joints, skin = sitter.joints, sitter.person.skin
    up = joints.crown - joints.chin
    seen = sitter.toward_camera > -0.2
    tiny = size * 0.11
    middle = 0.5 * (joints.chin + joints.crown)
    between = joints.eyes.mean(axis=1)
    ahead = 0.12 * (joints.face - joints.back_of_head)
    shapes = [_stroke(between, between - 0.5 * up + ahead, tiny * 1.1, shaded(skin, 0.86), seen)]
    for side in (0, 1):
        eye = joints.eyes[:, side]
        inside = np.abs(eye - middle).max(axis=-1) < 0.93 * size
        shapes.append(_stroke(eye - 0.06 * up, eye + 0.06 * up, tiny, _EYE, seen & inside))
    mouth = between - 0.85 * up
    half = 0.4 * (joints.eyes[:, 1] - joints.eyes[:, 0])
    shapes.append(_stroke(mouth - half, mouth + half, tiny * 0.6, shaded(skin, 0.55), seen))
    return shapes


def _stroke(
    start: Floats, end: Floats, radius: Floats, paint: Colour, visible: NDArray[np.bool_]
) -> Shape:
    return Shape(list(fixed_point(capsule(start, end, radius, radius))), paint, visible)


def _limb(start: Floats, end: Floats, first: Floats, second: Floats, paint: Colour) -> Limb:
    return Limb(start=start, end=end, start_radius=first, end_radius=second, colour=paint)


def _light(sitter: _Sitter) -> float:
    return sitter.view.light_side
