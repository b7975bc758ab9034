"""Figures and furniture as layers of shapes, and the painter that fills them from far to near."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from activity_cli.sampledata.camera import Camera, Stand
from activity_cli.sampledata.canvas import (
    Colour,
    Picture,
    Shape,
    capsule,
    common,
    fill,
    fixed_point,
    hull,
    shaded,
)
from activity_cli.sampledata.motion import Floats


@dataclass(frozen=True, slots=True)
class Layer:
    """Shapes that overlap in a known order, painted together."""

    away: Floats
    """(T,) metres from the camera, by which layers are sorted."""
    shapes: list[Shape] = field(default_factory=list)


class Scenery(NamedTuple):
    """Something to paint, and the shadow that it throws."""

    layers: list[Layer]
    shadows: list[Floats]
    """(T, P, 2) outlines on the floor, in pixels."""


def paint(picture: Picture, layers: Sequence[Layer], frame: int) -> None:
    """Fill the layers' shapes as they are in one frame, far ones first, in place."""
    for layer in sorted(layers, key=lambda one: -float(one.away[frame])):
        for shape in layer.shapes:
            if shape.visible is None or shape.visible[frame]:
                polygon = shape.polygons[frame]
                if len(polygon):
                    fill(picture, polygon, shape.colour)


@dataclass(frozen=True, slots=True)
class View:
    """How one place is seen in every frame."""

    camera: Camera
    maps: Floats
    """(T, 2, 3) of the handheld camera."""
    light_side: float
    """-1 where light comes from the left, 1 from the right."""

    def pixels(self, points: Floats) -> Floats:
        """(T, ..., 3) placed points -> (T, ..., 2) pixels."""
        seen = self.camera.see(points)
        spare = (1,) * (points.ndim - 2)
        scale = self.maps[:, (0, 1), (0, 1)].reshape(-1, *spare, 2)
        shift = self.maps[:, :, 2].reshape(-1, *spare, 2)
        moved: Floats = seen * scale + shift
        return moved

    def pixels_per_metre(self, away: Floats) -> Floats:
        """(T,) scale at (T,) metres from the camera."""
        scale: Floats = self.camera.focal / away * self.maps[:, 0, 0]
        return scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Limb:
    """A tapered piece of somebody, in pixels."""

    start: Floats  # (T, 2)
    end: Floats  # (T, 2)
    start_radius: Floats  # (T,)
    end_radius: Floats  # (T,)
    colour: Colour


_ROUNDNESS = ((1.0, 0.0, 0.76), (0.86, 0.13, 0.89), (0.68, 0.25, 1.0), (0.34, 0.38, 1.07))
"""From the shaded rim to the highlight: size, shift towards the light in radii, and brightness."""


def limb_shapes(limbs: Sequence[Limb], light_side: float) -> list[Shape]:
    """Limbs with a dark outline around all of them, a shaded and a lit side, and a highlight."""
    shapes = [_limb_shape(limb, light_side, 1.0, 0.0, 0.5, outline=1.6) for limb in limbs]
    for limb in limbs:
        for size, shift, light in _ROUNDNESS:
            shapes.append(_limb_shape(limb, light_side, size, shift, light))
    return shapes


def _limb_shape(
    limb: Limb, light_side: float, size: float, shift: float, light: float, *, outline: float = 0.0
) -> Shape:
    towards = np.array([light_side, -0.55]) * shift
    outlines = capsule(
        limb.start + limb.start_radius[:, None] * towards,
        limb.end + limb.end_radius[:, None] * towards,
        limb.start_radius * size + outline,
        limb.end_radius * size + outline,
    )
    return Shape(list(fixed_point(outlines)), shaded(limb.colour, light))


def hull_shapes(outlines: Sequence[Floats], base: Colour, light_side: float) -> list[Shape]:
    """A rounded body in given outlines, T of (P, 2), shaded as limbs are."""
    middles = [outline.mean(axis=0) for outline in outlines]
    extents = [np.ptp(outline, axis=0).min() for outline in outlines]
    shapes = []
    for size, shift, light in ((1.0, 0.0, 0.76), (0.9, 0.06, 0.89), (0.76, 0.12, 1.0)):
        towards = np.array([light_side, -0.4]) * shift * 0.8
        polygons = [
            fixed_point(middle + (outline - middle) * size + towards * extent)
            for outline, middle, extent in zip(outlines, middles, extents, strict=True)
        ]
        shapes.append(Shape(polygons, shaded(base, light)))
    return shapes


def outline_shape(outlines: Sequence[Floats], base: Colour, width: float = 1.6) -> Shape:
    """The dark rim around a body, in pixels."""
    polygons = []
    for outline in outlines:
        middle = outline.mean(axis=0)
        reach = np.maximum(np.linalg.norm(outline - middle, axis=-1, keepdims=True), 1e-6)
        polygons.append(fixed_point(middle + (outline - middle) * (1 + width / reach)))
    return Shape(polygons, shaded(base, 0.5))


def discs_hull(discs: Sequence[tuple[Floats, Floats]]) -> list[Floats]:
    """T outlines around discs, each given by (T, 2) middles and (T,) radii."""
    turn = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    around = np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    rims = [middle[:, None] + radius[:, None, None] * around for middle, radius in discs]
    return [hull(points) for points in np.concatenate(rims, axis=1)]


def band(outline: Floats, start: Floats, end: Floats, low: float, high: float) -> Floats:
    """(P, 2) the part of an outline between two fractions of the way from start to end."""
    way = end - start
    across = np.array([-way[1], way[0]]) * 4
    corners = [
        start + low * way - across,
        start + low * way + across,
        start + high * way + across,
        start + high * way - across,
    ]
    return common(outline, np.array(corners))


# Corners of a unit cube, (forward, up, right), and its faces but the lower one.
_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_FACES = ((2, 3, 7, 6), (0, 1, 3, 2), (4, 6, 7, 5), (0, 2, 6, 4), (1, 5, 7, 3))


def box_shapes(
    view: View, stand: Stand, middle: Floats, size: tuple[float, float, float], base: Colour
) -> list[Shape]:
    """A box with upright sides.

    Args:
        view: The camera.
        stand: Place and direction that the box shares with whoever stands there.
        middle: (T, 3) metres forward, up, right of there.
        size: Metres along the same directions.
        base: Its colour.
    """
    middles = stand.place(middle)
    corners = stand.place(middle[:, None] + _CORNERS * size)  # (T, 8, 3)
    pixels = view.pixels(corners)
    eye = np.array([0.0, view.camera.height, 0.0])
    shapes = []
    for face in _FACES:
        centre = corners[:, face].mean(axis=1)
        outward = centre - middles
        toward_camera = (outward * (eye - centre)).sum(axis=-1) > 0
        side, up, _ = outward[0] / np.linalg.norm(outward[0])
        light = 0.84 + 0.28 * max(up, 0.0) + 0.12 * side * view.light_side
        polygons = list(fixed_point(pixels[:, face]))
        shapes.append(Shape(polygons, shaded(base, light), toward_camera))
    return shapes


def floor_shadow(view: View, stand: Stand, middle: Floats, radius: float) -> Floats:
    """(T, P, 2) outline of what a thing darkens below it.

    Args:
        view: The camera.
        stand: Place and direction that the thing shares with whoever stands there.
        middle: (T, 3) metres forward, up, right of there.
        radius: Metres.
    """
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    rim = radius * np.stack([np.cos(turn), np.zeros_like(turn), np.sin(turn)], axis=-1)
    placed = stand.place(middle)[:, None] + rim
    placed[..., 0] -= view.light_side * (0.06 + 0.35 * placed[..., 1] * 0.5)
    placed[..., 1] = 0
    return view.pixels(placed)
