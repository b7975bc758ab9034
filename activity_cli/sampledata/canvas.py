"""Filled shapes with soft edges on BGR pictures, and the colours that they are filled with."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from activity_cli.sampledata.motion import Floats

Picture = NDArray[np.uint8]  # (H, W, 3) BGR
Polygon = NDArray[np.int32]  # (P, 2) in fractions of a pixel
Colour = tuple[float, float, float]  # BGR, 0 to 255

_FRACTION_BITS = 4
_ARC_POINTS = 9


class Shape(NamedTuple):
    """One convex shape over T frames."""

    polygons: Sequence[Polygon]
    colour: Colour
    visible: NDArray[np.bool_] | None = None
    """(T,), or None where it is always in view."""


def colour(hex_rgb: str) -> Colour:
    """The colour that a string such as `e07a5f` stands for."""
    red, green, blue = bytes.fromhex(hex_rgb)
    return float(blue), float(green), float(red)


def shaded(base: Colour, light: float) -> Colour:
    """A colour under less light (below 1) or more (above 1)."""
    blue, green, red = (min(max(part * light, 0.0), 255.0) for part in base)
    return blue, green, red


def mixed(first: Colour, second: Colour, part: float) -> Colour:
    """A blend of two colours, all of the second one where `part` is 1."""
    blue, green, red = (a + (b - a) * part for a, b in zip(first, second, strict=True))
    return blue, green, red


def fixed_point(points: Floats) -> Polygon:
    """Pixels as the integers that `fill` takes."""
    return np.rint(points * (1 << _FRACTION_BITS)).astype(np.int32, order="C")


def fill(picture: Picture, polygon: Polygon, paint: Colour) -> None:
    """Fill a convex polygon, in place."""
    import cv2

    cv2.fillConvexPoly(picture, polygon, paint, cv2.LINE_AA, _FRACTION_BITS)


def fill_points(
    picture: Picture, points: Floats | Sequence[Sequence[float]], paint: Colour
) -> None:
    """Fill a convex polygon whose corners (P, 2) are given in pixels, in place."""
    fill(picture, fixed_point(np.asarray(points, dtype=float)), paint)


def box_points(left: float, top: float, right: float, bottom: float) -> Floats:
    """(4, 2) corners of an upright rectangle."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def oval_points(x: float, y: float, half_width: float, half_height: float) -> Floats:
    """(40, 2) outline of an ellipse."""
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack([x + half_width * np.cos(turn), y + half_height * np.sin(turn)], axis=-1)


def capsule(start: Floats, end: Floats, start_radius: Floats, end_radius: Floats) -> Floats:
    """Outlines (T, P, 2) of tapered limbs: two discs and what lies between them.

    Args:
        start: (T, 2) middle of the first disc, pixels.
        end: (T, 2) middle of the second disc.
        start_radius: (T,)
        end_radius: (T,)
    """
    way = end - start
    far = np.maximum(np.hypot(way[:, 0], way[:, 1]), 1e-6)
    heading = np.arctan2(way[:, 1], way[:, 0])
    # Where the common tangents touch. One disc within the other leaves only the bigger one.
    touch = np.arccos(np.clip((start_radius - end_radius) / far, -1, 1))
    part = np.linspace(0, 1, _ARC_POINTS)
    end_turn = heading[:, None] - touch[:, None] + 2 * touch[:, None] * part
    start_turn = heading[:, None] + touch[:, None] + 2 * (np.pi - touch[:, None]) * part
    return np.concatenate(
        [_arc(end, end_radius, end_turn), _arc(start, start_radius, start_turn)], axis=1
    )


def _arc(middle: Floats, radius: Floats, turn: Floats) -> Floats:
    around = np.stack([np.cos(turn), np.sin(turn)], axis=-1)  # (T, P, 2)
    points: Floats = middle[:, None] + radius[:, None, None] * around
    return points


def hull(points: Floats) -> Floats:
    """(P, 2) convex outline around points (N, 2)."""
    import cv2

    outline: Floats = cv2.convexHull(points.astype(np.float32)).reshape(-1, 2).astype(float)
    return outline


def common(first: Floats, second: Floats) -> Floats:
    """(P, 2) what two convex outlines have in common; no points where they do not meet."""
    import cv2

    area, outline = cv2.intersectConvexConvex(first.astype(np.float32), second.astype(np.float32))
    return outline.reshape(-1, 2).astype(float) if area > 0 else np.zeros((0, 2))
