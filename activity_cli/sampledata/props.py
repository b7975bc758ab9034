"""Things that people handle: something to pick up and something to sit on."""

from dataclasses import dataclass

import numpy as np

from activity_cli.sampledata.actions import SEATED_BACK, SEATED_DOWN
from activity_cli.sampledata.camera import Stand
from activity_cli.sampledata.canvas import Colour, colour
from activity_cli.sampledata.figure import Body, Skeleton, held_path
from activity_cli.sampledata.motion import Floats, Motion, Style
from activity_cli.sampledata.paint import Layer, Scenery, View, box_shapes, floor_shadow

_THINGS = ["c8874a", "d9a86c", "3c6e71", "b23a48", "e0b03c", "5b7aa8", "7b4f8c", "6b8f52"]
_SEATS = ["9c6b3f", "6b4a2f", "c49a6c", "3f4a52", "7d8f69", "a8503f"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Props:
    """A thing to pick up and something to sit on."""

    rest: Floats
    """(3,) middle of the thing where it lies, metres forward, up, right."""
    size: tuple[float, float, float]
    grips: Floats
    """(2, 3) where each hand holds it there."""
    thing: Colour
    seat: Colour
    has_back: bool
    seat_top: float
    seat_at: float

    @classmethod
    def draw(cls, rng: np.random.Generator, body: Body, style: Style) -> "Props":
        """Random things in reach of a body."""
        size = rng.uniform((0.2, 0.2, 0.24), (0.3, 0.32, 0.36))
        if not style.two_handed:
            size = size * (0.75, 0.75, 0.6)
        forward = body.leg_length * rng.uniform(0.42, 0.52)
        side = 0.0 if style.two_handed else 0.14 * (-1 if style.left_handed else 1)
        rest = np.array([forward, size[1] / 2, side])
        half = size[2] / 2 + 0.02
        grips = rest + np.array([[0, 0.02, half], [0, 0.02, -half]])
        if not style.two_handed:
            grips = np.tile(rest + np.array([0, size[1] / 2 + 0.02, 0]), (2, 1))
        return cls(
            rest=rest,
            size=(float(size[0]), float(size[1]), float(size[2])),
            grips=grips,
            thing=colour(rng.choice(_THINGS)),
            seat=colour(rng.choice(_SEATS)),
            has_back=bool(rng.uniform() < 0.6),
            seat_top=body.hip_height - SEATED_DOWN * body.leg_length - 0.085 * body.girth,
            seat_at=-(SEATED_BACK + 0.04) * body.leg_length,
        )

    def scenery(
        self, label: str, view: View, stand: Stand, skeleton: Skeleton, motion: Motion
    ) -> Scenery:
        """What the action needs."""
        if label in {"sit_down", "stand_up"}:
            at, top = (self.seat_at, 0.0), self.seat_top
            return _chair(view, stand, at, top, self.seat, has_back=self.has_back)
        if label in {"pick_up", "put_down"}:
            path = held_path(skeleton, motion, self.grips, self.rest)
            return _box(view, stand, path, self.size, self.thing)
        return Scenery([], [])


def clutter(rng: np.random.Generator, view: View, stand: Stand) -> list[Scenery]:
    """Chairs and boxes that nobody uses, so that having one in view does not name the action."""
    things = []
    for _ in range(2):
        aside = rng.choice((-1.0, 1.0)) * rng.uniform(0.85, 1.5)
        spot = Stand(
            x=stand.x + aside,
            away=stand.away + rng.uniform(0.1, 0.8),
            facing=rng.uniform(0, 2 * np.pi),
        )
        size = rng.uniform((0.2, 0.2, 0.24), (0.3, 0.32, 0.36))
        top, seat, thing = rng.uniform(0.38, 0.5), rng.choice(_SEATS), rng.choice(_THINGS)
        has_back, kind = bool(rng.uniform() < 0.6), rng.uniform()
        if kind < 0.3:
            things.append(_chair(view, spot, (0.0, 0.0), top, colour(seat), has_back=has_back))
        elif kind < 0.55:
            middle = np.tile((0.0, size[1] / 2, 0.0), (len(view.maps), 1))
            things.append(
                _box(
                    view,
                    spot,
                    middle,
                    (float(size[0]), float(size[1]), float(size[2])),
                    colour(thing),
                )
            )
    return things


def _box(
    view: View,
    stand: Stand,
    middle: Floats,
    size: tuple[float, float, float],
    paint: Colour,
) -> Scenery:
    # A hand's breadth nearer than it is: hands hold it from above or behind.
    away = stand.place(middle)[:, 2] - 0.05
    shadow = floor_shadow(view, stand, middle, 0.6 * max(size[0], size[2]))
    return Scenery([Layer(away, box_shapes(view, stand, middle, size, paint))], [shadow])


def _chair(
    view: View, stand: Stand, at: tuple[float, float], top: float, paint: Colour, *, has_back: bool
) -> Scenery:
    """A chair or stool.

    Args:
        view: The camera.
        stand: Place and direction that the chair shares with whoever stands there.
        at: Metres forward and right of there.
        top: Height of the seat in metres.
        paint: Its colour.
        has_back: Whether it is a chair.
    """

    def piece(x: float, up: float, z: float, size: tuple[float, float, float]) -> Layer:
        middle = np.tile((at[0] + x, up, at[1] + z), (len(view.maps), 1))
        return Layer(stand.place(middle)[:, 2], box_shapes(view, stand, middle, size, paint))

    corners = [(x, z) for x in (-0.19, 0.19) for z in (-0.19, 0.19)]
    legs = [piece(x, top / 2 - 0.02, z, (0.045, top - 0.04, 0.045)) for x, z in corners]
    legs.sort(key=lambda leg: -float(leg.away[0]))
    seat = piece(0, top - 0.025, 0, (0.44, 0.05, 0.44))
    shapes = [shape for layer in [*legs, seat] for shape in layer.shapes]
    # Whoever sits here is above the seat, hence seen in front of it.
    layers = [Layer(seat.away + 0.6, shapes)]
    if has_back:
        layers.append(piece(-0.21, top + 0.24, 0, (0.04, 0.44, 0.42)))
    foot = np.tile((at[0], 0.0, at[1]), (len(view.maps), 1))
    return Scenery(layers, [floor_shadow(view, stand, foot, 0.27)])
