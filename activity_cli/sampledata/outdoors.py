"""Places under the sky: a street and a park."""

import numpy as np

from activity_cli.sampledata.canvas import Colour, colour, mixed, oval_points, shaded
from activity_cli.sampledata.easel import (
    ACCENTS,
    LEAVES,
    WOODS,
    Easel,
    gradient,
    spread,
    strip,
    tiles,
)


def street(easel: Easel) -> None:
    """A pavement in front of houses."""
    gradient(easel, -99, easel.floor_row, colour("9cc4de"), colour("e6eef0"))
    tiles(easel, easel.pick(["a8a49c", "b9b2a6", "98a0a3"]), easel.rng.uniform(0.5, 0.9))
    x = -5.5
    while x < 5.5:
        width = easel.rng.uniform(1.8, 3.2)
        _house(easel, x, width)
        x += width
    for x in easel.rng.uniform(-4, 4, 2):
        _lamp(easel, float(x))


def _house(easel: Easel, x: float, width: float) -> None:
    front = easel.pick(["c98b6b", "d8c3a5", "8e9aaf", "b56b5d", "e4d5b7", "a3b18a", "cbb8a9"])
    easel.on_wall(x, 0, width, 4.5, front)
    easel.on_wall(x, 0, width, 0.25, shaded(front, 0.75))
    door = easel.pick(ACCENTS)
    easel.on_wall(x + 0.2, 0, 0.66, 1.5, shaded(front, 1.15))
    easel.on_wall(x + 0.26, 0, 0.54, 1.44, door)
    for left in np.arange(x + 1.1, x + width - 0.6, 0.8):
        easel.on_wall(left - 0.05, 0.6, 0.6, 0.98, shaded(front, 1.15))
        easel.on_wall(left, 0.65, 0.5, 0.88, colour("5d7f95"))
        easel.on_wall(left, 0.65, 0.23, 0.88, colour("7da0b5"))
    if easel.rng.uniform() < 0.6:
        shade = easel.pick(ACCENTS)
        for k in range(int((width - 0.9) / 0.18)):
            tone = shade if k % 2 else colour("f3ead8")
            easel.on_wall(x + 0.95 + 0.18 * k, 1.66, 0.18, 0.3, tone)


def _lamp(easel: Easel, x: float) -> None:
    easel.on_wall(x, -0.08, 0.07, 3.2, colour("2f3b40"))
    easel.on_wall(x - 0.06, -0.08, 0.19, 0.25, colour("2f3b40"))


def park(easel: Easel) -> None:
    """Grass, trees and hills."""
    sky = easel.pick(["8ec5e8", "a9d3e6", "f3c9a5", "b8cfe0"])
    gradient(easel, -99, easel.floor_row, sky, mixed(sky, (255, 255, 255), 0.7))
    _hills(easel, sky)
    grass = easel.pick(["7fa653", "6d9a4c", "8fae62", "a3a860"])
    gradient(easel, easel.floor_row, 9999, shaded(grass, 0.8), shaded(grass, 1.05))
    for x, thing in spread(easel, [_tree, _tree, _bush, _bench]):
        thing(easel, x)
    if easel.rng.uniform() < 0.6:
        near = easel.camera.distance - 0.8
        easel.on_floor(strip(-9, 9, near + 1.5, near), colour("cdb892"))
    _tufts(easel, grass)


def _hills(easel: Easel, sky: Colour) -> None:
    for up, haze in ((0.0, 0.75), (-0.45, 0.5)):
        for x in np.arange(-6, 6, 1.1):
            middle, row = easel.wall_point(x + easel.rng.uniform(-0.4, 0.4), up)
            size = easel.metre * easel.rng.uniform(0.9, 1.4)
            hill = mixed(easel.pick(LEAVES), sky, haze)
            easel.polygon(oval_points(middle, row, size, size * 0.9), hill)


def _tree(easel: Easel, x: float) -> None:
    middle, floor = easel.wall_point(x, -0.1)
    metre = easel.metre * easel.rng.uniform(0.8, 1.15)
    trunk = np.array([(-0.09, -1.5), (0.09, -1.5), (0.14, 0), (-0.14, 0)]) * metre
    easel.polygon(trunk + np.array([middle, floor]), colour("6b4f3a"))
    leaf = easel.pick(LEAVES)
    for light in (0.75, 0.9, 1.0, 1.12):
        for _ in range(5):
            dx, dy = easel.rng.uniform(-0.6, 0.6), easel.rng.uniform(-0.5, 0.5) - light + 0.9
            size = metre * easel.rng.uniform(0.25, 0.45) / light
            spot = oval_points(middle + dx * metre, floor + (dy - 1.9) * metre, size, size * 0.85)
            easel.polygon(spot, shaded(leaf, light))


def _bush(easel: Easel, x: float) -> None:
    leaf = easel.pick(LEAVES)
    for _ in range(9):
        middle, row = easel.wall_point(x + easel.rng.uniform(-0.5, 0.5), easel.rng.uniform(0, 0.4))
        size = easel.metre * easel.rng.uniform(0.15, 0.3)
        spot = oval_points(middle, row, size, size * 0.8)
        easel.polygon(spot, shaded(leaf, easel.rng.uniform(0.8, 1.15)))


def _bench(easel: Easel, x: float) -> None:
    wood = easel.pick(WOODS)
    for left in (x + 0.1, x + 1.1):
        easel.on_wall(left, -0.12, 0.07, 0.5, colour("33383c"))
    for up in (0.36, 0.55, 0.7):
        easel.on_wall(x, up - 0.1, 1.3, 0.1, shaded(wood, 0.8 + up / 2))


def _tufts(easel: Easel, grass: Colour) -> None:
    """Blades of grass, smaller the farther away they are."""
    for x, part in easel.rng.uniform((-4, 0), (4, 1), (150, 2)):
        away = 2.4 + (easel.wall_away - 2.4) * part
        foot = easel.camera.see(np.array([x, 0.0, away]))
        size = easel.camera.focal / away * 0.05
        tone = shaded(grass, easel.rng.uniform(0.8, 1.2))
        easel.polygon(np.array([(-0.3, 0), (0.3, 0), (0.1, -1)]) * size + foot, tone)
