"""Places with a wall and a floor: a living room and a gym."""

import numpy as np

from activity_cli.sampledata.canvas import Colour, capsule, colour, mixed, oval_points, shaded
from activity_cli.sampledata.easel import (
    ACCENTS,
    LEAVES,
    WALLS,
    WOODS,
    Easel,
    gradient,
    spread,
    strip,
    tiles,
)


def _boards(easel: Easel, base: Colour, width: float) -> None:
    """A floor of boards that run away from the camera."""
    gradient(easel, easel.floor_row, 9999, shaded(base, 0.82), shaded(base, 1.05))
    near = 2.0
    for x in np.arange(-6, 6, width):
        board = shaded(base, easel.rng.uniform(0.88, 1.06))
        edges = [(x, near), (x + width, near), (x + width, easel.wall_away), (x, easel.wall_away)]
        easel.on_floor(np.array(edges), board)
        seam = [(x, near), (x + 0.012, near), (x + 0.012, easel.wall_away), (x, easel.wall_away)]
        easel.on_floor(np.array(seam), shaded(base, 0.7))


def _wall(easel: Easel, base: Colour) -> None:
    gradient(easel, -99, easel.floor_row, shaded(base, 0.9), shaded(base, 1.02))
    easel.on_wall(-6, 0, 12, 0.1, shaded(base, 1.12))
    easel.on_wall(-6, 0, 12, 0.015, shaded(base, 0.6))


def _window(easel: Easel, x: float) -> None:
    width, height = easel.rng.uniform(0.9, 1.6), easel.rng.uniform(0.9, 1.3)
    easel.on_wall(x - 0.07, 0.88, width + 0.14, height + 0.14, colour("f5f1e8"))
    easel.on_wall(x, 0.95, width, height, colour("bfdcec"))
    easel.on_wall(x, 0.95, width, height * 0.35, easel.pick(LEAVES))
    easel.on_wall(x + width / 2 - 0.02, 0.95, 0.04, height, colour("f5f1e8"))
    drape = easel.pick(ACCENTS)
    for left in (x - 0.25, x + width - 0.02):
        for fold in range(4):
            tone = shaded(drape, 0.85 + 0.15 * (fold % 2))
            easel.on_wall(left + 0.07 * fold, 0.6, 0.07, height + 0.55, tone)


def _poster(easel: Easel, x: float) -> None:
    width, height = easel.rng.uniform(0.45, 0.9, 2)
    up = easel.rng.uniform(1.1, 1.4)
    easel.on_wall(x - 0.04, up - 0.04, width + 0.08, height + 0.08, colour("3a332c"))
    ground = easel.pick(ACCENTS)
    easel.on_wall(x, up, width, height, shaded(ground, 1.2))
    for _ in range(3):
        left, bottom = easel.wall_point(
            x + width * easel.rng.uniform(0.25, 0.75), up + height * easel.rng.uniform(0.3, 0.7)
        )
        radius = easel.metre * easel.rng.uniform(0.06, 0.2) * min(width, height)
        easel.polygon(oval_points(left, bottom, radius, radius), easel.pick(ACCENTS))


def _plant(easel: Easel, x: float) -> None:
    left, floor = easel.wall_point(x, -0.05)
    size = easel.metre * easel.rng.uniform(0.35, 0.55)
    leaf = easel.pick(LEAVES)
    for turn in easel.rng.uniform(-1.15, 1.15, 11):
        length = size * easel.rng.uniform(1.2, 2.0)
        root = np.array([[left, floor - 0.7 * size]])
        tip = root + length * np.array([np.sin(turn), -np.cos(turn)])
        blade = capsule(root, tip, np.array([2.0]), np.array([size * 0.13]))[0]
        easel.polygon(blade, shaded(leaf, easel.rng.uniform(0.8, 1.15)))
    pot = np.array([(-0.4, -0.75), (0.4, -0.75), (0.28, 0.0), (-0.28, 0.0)]) * size
    easel.polygon(pot + np.array([left, floor]), easel.pick(ACCENTS))


def _shelf(easel: Easel, x: float) -> None:
    wood = easel.pick(WOODS)
    width, rows = easel.rng.uniform(0.8, 1.3), int(easel.rng.integers(3, 5))
    easel.on_wall(x, 0, width, 0.42 * rows + 0.05, shaded(wood, 0.6))
    for row in range(rows):
        book = x + 0.05
        while book < x + width - 0.15:
            thick, tall = easel.rng.uniform(0.04, 0.1), easel.rng.uniform(0.2, 0.32)
            easel.on_wall(book, 0.42 * row + 0.07, thick, tall, easel.pick(ACCENTS))
            book += thick + (0.18 if easel.rng.uniform() < 0.15 else 0.006)
        easel.on_wall(x, 0.42 * row + 0.02, width, 0.05, wood)
    for side in (x, x + width - 0.05):
        easel.on_wall(side, 0, 0.05, 0.42 * rows + 0.05, wood)


def _sofa(easel: Easel, x: float) -> None:
    base = easel.pick(ACCENTS)
    easel.on_wall(x, 0.12, 1.9, 0.72, shaded(base, 0.85))
    easel.on_wall(x + 0.12, 0.12, 1.66, 0.34, base)
    for side in (x - 0.12, x + 1.82):
        easel.on_wall(side, 0.06, 0.22, 0.56, shaded(base, 0.95))
    for cushion in (x + 0.2, x + 1.2):
        easel.on_wall(cushion, 0.46, 0.45, 0.34, easel.pick(ACCENTS))


def _rug(easel: Easel) -> None:
    x, away = easel.rng.uniform(-0.6, 0.6), easel.camera.distance + easel.rng.uniform(-0.1, 0.3)
    wide, deep = easel.rng.uniform(0.9, 1.4), easel.rng.uniform(0.5, 0.75)
    for size, paint in (
        (1.0, easel.pick(ACCENTS)),
        (0.86, easel.pick(WALLS)),
        (0.76, easel.pick(ACCENTS)),
    ):
        easel.on_floor(
            oval_points(x, away, wide * size, deep * size), mixed(paint, colour("c9bda9"), 0.35)
        )


def room(easel: Easel) -> None:
    """A living room."""
    _wall(easel, easel.pick(WALLS))
    _boards(easel, easel.pick(WOODS), easel.rng.uniform(0.16, 0.3))
    for x, thing in spread(easel, [_window, _poster, _shelf, _plant, _sofa, _poster, _plant]):
        thing(easel, x)
    if easel.rng.uniform() < 0.6:
        _rug(easel)


def gym(easel: Easel) -> None:
    """A gym with wall bars, weights and mats."""
    _wall(easel, easel.pick(["a9b5c0", "c3ccc8", "d6cdc0", "92a3b0", "cbbca9"]))
    tiles(easel, easel.pick(["6b7280", "7d8a8c", "9a8672", "5f7f8c"]), easel.rng.uniform(0.6, 1.0))
    for x, thing in spread(easel, [_bars, _weights, _poster, _ball, _mat]):
        thing(easel, x)


def _bars(easel: Easel, x: float) -> None:
    wood = easel.pick(WOODS)
    for up in np.arange(0.3, 2.3, 0.17):
        easel.on_wall(x, up, 0.95, 0.045, shaded(wood, 1.1))
    for side in (x - 0.04, x + 0.92):
        easel.on_wall(side, 0, 0.08, 2.4, shaded(wood, 0.85))


def _weights(easel: Easel, x: float) -> None:
    for up in (0.25, 0.62):
        easel.on_wall(x, up, 1.15, 0.06, colour("2b2f33"))
        for k in range(4):
            plate = easel.pick(ACCENTS)
            middle, row = easel.wall_point(x + 0.15 + 0.28 * k, up + 0.15)
            easel.polygon(oval_points(middle, row, 0.1 * easel.metre, 0.1 * easel.metre), plate)
            easel.polygon(oval_points(middle, row, 5, 5), colour("d0d4d8"))
    for side in (x, x + 1.1):
        easel.on_wall(side, 0, 0.06, 0.85, colour("3a3f45"))


def _ball(easel: Easel, x: float) -> None:
    radius = easel.metre * easel.rng.uniform(0.22, 0.34)
    middle, floor = easel.wall_point(x + 0.4, -0.1)
    base = easel.pick(ACCENTS)
    for size, shift, light in ((1.0, 0.0, 0.8), (0.85, 0.08, 1.0), (0.4, 0.3, 1.15)):
        row = floor - radius * (1 + shift)
        easel.polygon(oval_points(middle, row, radius * size, radius * size), shaded(base, light))


def _mat(easel: Easel, x: float) -> None:
    base = easel.pick(ACCENTS)
    far = easel.wall_away - 0.25
    easel.on_floor(strip(x, x + 1.2, far, far - 1.0), base)
    easel.on_floor(strip(x + 0.06, x + 1.14, far - 0.06, far - 0.94), shaded(base, 1.12))
