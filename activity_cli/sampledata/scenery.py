"""Backgrounds, and the chairs and boxes that people use."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from activity_cli.sampledata.actions import SEATED_BACK, SEATED_DOWN, Floats
from activity_cli.sampledata.people import Body
from activity_cli.sampledata.rendering import (
    HEIGHT,
    MARGIN,
    WIDTH,
    Camera,
    Colour,
    Picture,
    Solid,
    Thing,
    pick,
    shaded,
)

_WALLS = "e8e0d2 d7e0dd cfd8e3 e9d8c4 c9d6c3 dcd3e2 efe6c8 d9b8a4 a9b5c0 8ec5e8 a9d3e6 f3c9a5"
_FLOORS = "b08a5e 8f6a45 c9a57a 6f5138 a6998a 6b7280 9a8672 b9b2a6 7fa653 6d9a4c a3a860 5f7f8c"
_ACCENTS = "c8553d 588b8b f2c14e 28536b 7d8f69 b07bac d98c5f e0b1a0 4f7f4b f5f1e8 3a332c 386641"
_LEAF, _TRUNK = (70.0, 125.0, 85.0), (58.0, 79.0, 107.0)

_TURN = np.linspace(0, 2 * np.pi, 32)
_OVAL = 0.5 + 0.5 * np.stack([np.cos(_TURN), np.sin(_TURN)], axis=-1)
_RECTANGLE = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])


class Room(NamedTuple):
    """A wall or sky, and a floor."""

    wall_away: float  # metres from the camera
    wall: Colour
    floor: Colour

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Room":
        """Draw a random one."""
        return cls(rng.uniform(5.9, 7.2), pick(rng, _WALLS), pick(rng, _FLOORS))


def draw_background(rng: np.random.Generator, camera: Camera, room: Room) -> Picture:
    """Draw a room and things along its wall, larger than the frame by `MARGIN`."""
    import cv2

    width, height = WIDTH + 2 * int(MARGIN[0]), HEIGHT + 2 * int(MARGIN[1])
    picture = np.zeros((height, width, 3), np.uint8)
    wall_away, wall, floor = room
    end = round(camera.see(np.array([0.0, 0.0, wall_away]))[1] + MARGIN[1])
    for rows, colour in ((picture[:end], wall), (picture[end:], floor)):
        rows[:] = np.clip(np.linspace(0.85, 1.05, len(rows))[:, None, None] * colour, 0, 255)

    def paint(x: Floats, up: Floats, away: Floats, colour: Colour) -> None:
        points = np.stack(np.broadcast_arrays(x, up, away), axis=-1)
        corners = np.rint(camera.see(points) + MARGIN).astype(np.int32)
        cv2.fillConvexPoly(picture, corners, colour, cv2.LINE_AA)

    for x in np.arange(-6, 6, rng.uniform(0.2, 0.9)):  # floorboards
        right, forward = _RECTANGLE.T * [[0.02], [wall_away - 2]]
        paint(x + right, np.zeros(4), 2 + forward, shaded(floor, 0.85))
    for x in np.arange(-4.2, 4.2, 1.3) + rng.uniform(-0.25, 0.25):
        for outline, colour in _wall_thing(rng, float(x)):
            paint(outline[:, 0], outline[:, 1], np.array(wall_away), colour)
    # Stains and grain: nothing real has one plain colour.
    gain = np.ones((height, width), np.float32)
    for cells, strength in ((6, 0.03), (24, 0.02), (160, 0.02)):
        coarse = rng.normal(0, strength, (cells, 2 * cells)).astype(np.float32)
        gain += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.multiply(picture, cv2.merge([gain] * 3), dtype=cv2.CV_8U), np.uint8)


def _wall_thing(rng: np.random.Generator, x: float) -> list[tuple[Floats, Colour]]:
    """Return outlines (P, 2), metres right and up, of a tree, shelf, window or picture."""
    first, *others = (pick(rng, _ACCENTS) for _ in range(3))
    width, height = rng.uniform((0.4, 0.5), (1.25, 1.8))
    corner = np.array([x, rng.choice((0.0, 1.9 - height))])
    rows, columns = rng.integers(1, 5, 2)
    spots = rng.uniform(-0.5, 0.5, (9, 2))
    if rng.uniform() < 0.25:
        crowns = [_OVAL * (0.5, 0.45) + (x, height) + spot * (width, 0.8) for spot in spots]
        leaves = [shaded(_LEAF, light) for light in 1 + spots[:, 1] / 2]
        trunk = _RECTANGLE * (0.12, height) + (x + 0.2, 0)
        return [(trunk, _TRUNK), *zip(crowns, leaves, strict=True)]
    cell = np.array([width / columns, height / rows])
    patches = [(_RECTANGLE * (width, height) + corner, first)]
    for index in range(rows * columns):
        low = corner + cell * (index % columns, index // columns) + 0.04
        tone = shaded(others[index % 2], 1 + 0.3 * spots[index % 9, 0])
        patches.append((_RECTANGLE * (cell - 0.08) + low, tone))
    return patches


class Stand(NamedTuple):
    """A position on the floor and a direction."""

    x: float  # metres to the right of the picture's middle
    away: float  # metres from the camera
    facing: float  # radians; 0 faces right in the picture, a quarter turn faces the camera

    def place(self, points: Floats) -> Floats:
        """Turn (..., 3) metres (forward, up, right) into world coordinates."""
        cos, sin = np.cos(self.facing), np.sin(self.facing)
        turn: Floats = np.array([[cos, 0, -sin], [0, 1, 0], [-sin, 0, -cos]])
        return points @ turn + (self.x, 0, self.away)


# Corners of a unit cube, (forward, up, right); the upper ones last.
_CORNERS = np.array([(x, y, z) for y in (-0.5, 0.5) for x in (-0.5, 0.5) for z in (-0.5, 0.5)])


def box(stand: Stand, middle: Floats, size: Sequence[float] | Floats, colour: Colour) -> Thing:
    """Return a box with upright sides; `middle` is (T, 3) metres forward, up, right of a stand."""
    corners = stand.place(middle[:, None] + _CORNERS * size)
    body = Solid(corners, [0.01] * 8, shaded(colour, 0.9))
    lid = Solid(corners[:, 4:], [0.005] * 4, shaded(colour, 1.15))
    # A hand's breadth nearer than it is: hands hold it from above or behind.
    return Thing(corners[..., 2].mean(axis=1) - 0.05, [body, lid])


class Props(NamedTuple):
    """An object to pick up and a seat, in reach of one body: metres forward, up, right."""

    rest: Floats  # (3,) middle of the object where it lies
    size: Floats  # (3,) of the object
    grips: Floats  # (2, 3) where each hand holds it there
    seat: Floats  # (3,) middle of the upper side of the seat
    colour: Colour

    @classmethod
    def draw(cls, rng: np.random.Generator, body: Body) -> "Props":
        """Draw random props."""
        size, leg = rng.uniform((0.2, 0.2, 0.2), (0.3, 0.32, 0.36)), body.leg_length
        rest = np.array([leg * rng.uniform(0.42, 0.52), size[1] / 2, 0.0])
        grips = rest + np.array([[0, 0.02, size[2] / 2 + 0.02]]) * [[1, 1, 1], [1, 1, -1]]
        seat_height = body.ankle_height + (1 - SEATED_DOWN) * leg - 0.085 * body.girth
        seat = np.array([-(SEATED_BACK + 0.04) * leg, seat_height, 0.0])
        return cls(rest, size, grips, seat, pick(rng, _ACCENTS))

    def chair(self, stand: Stand, num_frames: int) -> list[Thing]:
        """Return a chair at its place behind whoever stands there."""

        def piece(middle: tuple[float, float, float], size: tuple[float, float, float]) -> Thing:
            return box(stand, np.tile(self.seat + middle, (num_frames, 1)), size, self.colour)

        corners = [(x, z) for x in (-0.19, 0.19) for z in (-0.19, 0.19)]
        height, seat = self.seat[1], piece((0, -0.025, 0), (0.44, 0.05, 0.44))
        legs = [piece((x, -height / 2, z), (0.05, height, 0.05)) for x, z in corners]
        # Who sits here is above the seat, hence painted in front of it.
        lower = Thing(seat.away + 0.65, [part for one in (*legs, seat) for part in one.solids])
        return [lower, piece((-0.21, 0.24, 0), (0.04, 0.44, 0.42))]


def clutter(rng: np.random.Generator, stand: Stand, body: Body, num_frames: int) -> list[Thing]:
    """Draw chairs and boxes that nobody uses, so that seeing one does not reveal the action."""
    things = []
    for _ in range(2):
        x = stand.x + rng.choice((-1.0, 1.0)) * rng.uniform(0.85, 1.5)
        spot = Stand(x, stand.away + rng.uniform(0.1, 0.8), rng.uniform(0, 2 * np.pi))
        props, kind = Props.draw(rng, body), rng.uniform()
        if kind < 0.3:
            things += props.chair(spot, num_frames)
        elif kind < 0.55:
            middle = np.tile(props.rest, (num_frames, 1))
            things.append(box(spot, middle, props.size, props.colour))
    return things
