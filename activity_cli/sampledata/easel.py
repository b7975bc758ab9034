"""A place under way: what is on the wall and the floor is given in metres and painted in pixels."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from activity_cli.sampledata.camera import FRAME_HEIGHT, FRAME_WIDTH, SUPERSAMPLING, Camera
from activity_cli.sampledata.canvas import Colour, Picture, box_points, colour, fill_points, shaded
from activity_cli.sampledata.motion import Floats

MARGIN = (120 * SUPERSAMPLING, 16 * SUPERSAMPLING)
"""Pixels drawn beyond the frame on each side, and above and below, for the camera to move into."""

PLACE_WIDTH = SUPERSAMPLING * FRAME_WIDTH + 2 * MARGIN[0]
PLACE_HEIGHT = SUPERSAMPLING * FRAME_HEIGHT + 2 * MARGIN[1]

WALLS = ["e8e0d2", "d7e0dd", "cfd8e3", "e9d8c4", "c9d6c3", "dcd3e2", "efe6c8", "d9b8a4"]
WOODS = ["b08a5e", "8f6a45", "c9a57a", "6f5138", "a6998a"]
ACCENTS = ["c8553d", "588b8b", "f2c14e", "28536b", "7d8f69", "b07bac", "d98c5f", "e0b1a0"]
LEAVES = ["4f7f4b", "6a994e", "386641", "7fa65a", "2f5d50"]


@dataclass(frozen=True, slots=True)
class Easel:
    """A picture under way, in coordinates of the frame, and what the painter needs to know."""

    picture: Picture
    camera: Camera
    rng: np.random.Generator
    wall_away: float
    """Metres to where the floor ends."""

    @property
    def floor_row(self) -> float:
        """Where the floor ends."""
        return float(self.camera.see(np.array([0.0, 0.0, self.wall_away]))[1])

    @property
    def metre(self) -> float:
        """Pixels per metre on the wall."""
        return self.camera.focal / self.wall_away

    def pick(self, colours: list[str]) -> Colour:
        """One of the colours."""
        return colour(colours[self.rng.integers(len(colours))])

    def polygon(self, points: Floats, paint: Colour) -> None:
        """Fill (P, 2) pixels of the frame."""
        fill_points(self.picture, points + MARGIN, paint)

    def box(self, left: float, top: float, right: float, bottom: float, paint: Colour) -> None:
        """Fill an upright rectangle."""
        self.polygon(box_points(left, top, right, bottom), paint)

    def on_wall(self, x: float, up: float, width: float, height: float, paint: Colour) -> None:
        """Fill a rectangle on the wall: metres from the middle, above the floor, and its size."""
        left, bottom = self.wall_point(x, up)
        self.box(left, bottom - height * self.metre, left + width * self.metre, bottom, paint)

    def wall_point(self, x: float, up: float) -> tuple[float, float]:
        """Pixels of metres from the middle and above the floor, on the wall."""
        return SUPERSAMPLING * FRAME_WIDTH / 2 + x * self.metre, self.floor_row - up * self.metre

    def on_floor(self, points: Floats, paint: Colour) -> None:
        """Fill (P, 2) metres to the right and away from the camera, on the floor."""
        lying = np.stack([points[:, 0], np.zeros(len(points)), points[:, 1]], axis=-1)
        self.polygon(self.camera.see(lying), paint)


def gradient(easel: Easel, top: float, bottom: float, above: Colour, below: Colour) -> None:
    """Fill rows of the frame with one colour that turns into another."""
    first, last = (round(min(max(row + MARGIN[1], 0), PLACE_HEIGHT)) for row in (top, bottom))
    part = np.linspace(0, 1, max(last - first, 0))[:, None]
    rows = (1 - part) * np.array(above) + part * np.array(below)
    easel.picture[first:last] = rows[:, None].astype(np.uint8)


def weather(easel: Easel) -> None:
    """Cloudy stains and grain all over, since nothing real has one plain colour."""
    import cv2

    stains = np.zeros((PLACE_HEIGHT, PLACE_WIDTH), np.float32)
    for cells, strength in ((6, 0.03), (24, 0.02), (160, 0.02)):
        coarse = easel.rng.normal(0, strength, (cells, cells * 2)).astype(np.float32)
        stains += cv2.resize(coarse, (PLACE_WIDTH, PLACE_HEIGHT), interpolation=cv2.INTER_LINEAR)
    gain = cv2.merge([1 + stains] * 3)
    easel.picture[:] = cv2.multiply(easel.picture, gain, dtype=cv2.CV_8U)


def tiles(easel: Easel, base: Colour, size: float) -> None:
    """A floor of square tiles."""
    gradient(easel, easel.floor_row, 9999, shaded(base, 0.85), base)
    for away in np.arange(easel.wall_away, 2.0, -size):
        easel.on_floor(strip(-9, 9, away, away - 0.02), shaded(base, 0.84))
    for x in np.arange(-6, 6, size):
        easel.on_floor(strip(x, x + 0.02, easel.wall_away, 2.0), shaded(base, 0.84))


def spread(
    easel: Easel, things: list[Callable[[Easel, float], None]]
) -> list[tuple[float, Callable[[Easel, float], None]]]:
    """Places along the wall, metres from the middle, and what is there."""
    places = np.arange(-4.2, 4.2, 1.35) + easel.rng.uniform(-0.25, 0.25)
    chosen = easel.rng.integers(len(things), size=len(places))
    return [(float(x), things[which]) for x, which in zip(places, chosen, strict=True)]


def strip(left: float, right: float, far: float, near: float) -> Floats:
    """(4, 2) corners of a rectangle on the floor, metres to the right and away."""
    return np.array([(left, far), (right, far), (right, near), (left, near)], dtype=float)
