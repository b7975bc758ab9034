"""A handheld pinhole camera, and the painting of solids that it sees.

World coordinates are metres: right of the picture's middle, up from the floor, away from the
camera. Pixels are those of the supersampled picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from activity_cli.sampledata.actions import Floats

Picture = NDArray[np.uint8]  # (H, W, 3) BGR
Timesteps = NDArray[np.int32]  # (..., 2) pixels
Colour = tuple[float, float, float]  # BGR, 0 to 255

FRAME_WIDTH, FRAME_HEIGHT = 320, 240
SUPERSAMPLING = 2
"""Pictures are painted this much larger and then averaged down, which smooths all edges."""
WIDTH, HEIGHT = SUPERSAMPLING * FRAME_WIDTH, SUPERSAMPLING * FRAME_HEIGHT
MARGIN = np.array([240, 32])
"""Pixels by which the camera may move sideways and up; the background is that much larger."""

_TURN = np.linspace(0, 2 * np.pi, 14, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=-1)
# From the shaded rim of a solid to its lit middle: size, shift towards the light, brightness.
_TONES = ((1.0, 0.0, 0.8), (0.75, 0.2, 1.0))


class Solid(NamedTuple):
    """The convex hull of N balls over T frames."""

    balls: Floats  # (T, N, 3) metres
    radii: Sequence[float] | Floats
    colour: Colour


class Thing(NamedTuple):
    """Solids that overlap in a known order and share one outline."""

    away: Floats  # (T,) metres from the camera; far things are painted first
    solids: Sequence[Solid]


def limb(start: Floats, end: Floats, first: float, second: float, colour: Colour) -> Solid:
    """Return a tapered limb between (T, 3) points with the radii of its ends."""
    return Solid(np.stack([start, end], axis=1), (first, second), colour)


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A level camera that a hand moves over T frames, and the light."""

    focal: float
    horizon: float  # the row at which things as high as the camera appear
    height: float  # metres above the floor
    shift: Timesteps  # (T, 2) whole pixels
    light_side: float  # -1 where light comes from the left, 1 from the right

    @classmethod
    def draw(
        cls, rng: np.random.Generator, seconds: Floats, distance: float, walked: Floats
    ) -> "Camera":
        """Draw a camera that shows an adult at this distance (metres) from head to foot.

        `seconds` (T,) are the times of the frames. Where the person has `walked` (T,) metres
        sideways, the camera follows in part.
        """
        height, scale = rng.uniform(1.15, 1.45), SUPERSAMPLING * rng.uniform(84, 94)
        part = seconds / seconds[-1] - 0.5
        shift = SUPERSAMPLING * part[:, None] * rng.uniform((-9, -4.5), (9, 4.5))
        rates, phases = rng.uniform(0.5, 2.2, 2), rng.uniform(0, 2 * np.pi, 2)
        waves = np.sin(2 * np.pi * rates * seconds[:, None] + phases)  # (T, 2)
        shift += SUPERSAMPLING * rng.uniform(0, 1.5) * waves
        shift[:, 0] -= 0.55 * walked * scale
        return cls(
            focal=scale * distance,
            horizon=HEIGHT * rng.uniform(0.89, 0.94) - scale * height,
            height=height,
            shift=np.clip(np.rint(shift), -MARGIN, MARGIN).astype(np.int32),
            light_side=float(rng.choice((-1.0, 1.0))),
        )

    def see(self, points: Floats) -> Floats:
        """Project (..., 3) metres to (..., 2) pixels, without the shift."""
        scale = self.focal / points[..., 2]
        x, y = points[..., 0] * scale, (self.height - points[..., 1]) * scale
        return np.stack([WIDTH / 2 + x, self.horizon + y], axis=-1)

    def discs(self, balls: Floats, radii: Sequence[float] | Floats) -> tuple[Floats, Floats]:
        """Project balls (T, N, 3) to the middles (T, N, 2) and radii (T, N) of discs."""
        return self.see(balls) + self.shift[:, None], np.array(radii) * self.focal / balls[..., 2]


class Layer(NamedTuple):
    """A projected thing: shapes to fill in this order."""

    away: Floats  # (T,)
    shapes: list[tuple[Timesteps, Colour]]  # the convex hulls of (T, P, 2)
    shadows: list[Timesteps]

    @classmethod
    def project(cls, thing: Thing, camera: Camera) -> "Layer":
        """Project the solids, their outlines, their lit sides and their shadows on the floor."""
        light = np.array([camera.light_side, -0.55])
        cast = np.array([[1.0, 0, 0], [-0.35 * camera.light_side, 0, 0.22], [0, 0, 1.0]])
        outlines, sides, shadows = [], [], []
        for balls, sizes, colour in thing.solids:
            middles, radii = camera.discs(balls, sizes)
            outlines.append((_rims(middles, radii + 1.6), shaded(colour, 0.5)))
            for size, shift, bright in _TONES:
                moved = middles + radii[..., None] * light * shift
                sides.append((_rims(moved, radii * size), shaded(colour, bright)))
            middles, radii = camera.discs(balls @ cast, sizes)
            shadows.append(_rims(middles, 0.8 * radii))
        return cls(thing.away, [*outlines, *sides], shadows)


def paint(background: Picture, camera: Camera, layers: Sequence[Layer], frame: int) -> Picture:
    """Paint the soft shadows of things and then the things, far ones first, in one frame."""
    import cv2

    left, top = MARGIN - camera.shift[frame]
    picture = background[top : top + HEIGHT, left : left + WIDTH].copy()
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    for rims in (rims for layer in layers for rims in layer.shadows):
        cv2.fillConvexPoly(mask, cv2.convexHull(rims[frame]), 142.0)
    soft = cv2.blur(cv2.blur(mask, (15, 9)), (15, 9))
    cv2.multiply(picture, cv2.merge([soft] * 3), dst=picture, scale=1 / 255)
    for layer in sorted(layers, key=lambda one: -float(one.away[frame])):
        for rims, colour in layer.shapes:
            cv2.fillConvexPoly(picture, cv2.convexHull(rims[frame]), colour, cv2.LINE_AA)
    size = (FRAME_WIDTH, FRAME_HEIGHT)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _rims(middles: Floats, radii: Floats) -> Timesteps:
    """Return points (T, P, 2) on the circles around (T, N, 2) middles."""
    points: Floats = middles[:, :, None] + radii[..., None, None] * _CIRCLE
    return np.rint(points.reshape(len(middles), -1, 2)).astype(np.int32)


def pick(rng: np.random.Generator, palette: str) -> Colour:
    """Draw one of the colours of a palette, such as `e07a5f f2cc8f`, red first."""
    return colour_of(str(rng.choice(palette.split())))


def colour_of(digits: str) -> Colour:
    """Return the colour of six hexadecimal digits, red first."""
    red, green, blue = bytes.fromhex(digits)
    return float(blue), float(green), float(red)


def shaded(base: Colour, light: float) -> Colour:
    """Return a colour under less light (below 1) or more (above 1)."""
    blue, green, red = (min(max(part * light, 0.0), 255.0) for part in base)
    return blue, green, red
