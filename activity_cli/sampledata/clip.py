"""One clip: what is in it, drawn from a random stream, and its frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from activity_cli.sampledata.actions import perform, perform_amid_stillness
from activity_cli.sampledata.camera import (
    FRAME_HEIGHT,
    FRAME_WIDTH,
    SUPERSAMPLING,
    Camera,
    Stand,
    handheld,
)
from activity_cli.sampledata.canvas import Picture, capsule, fill, fixed_point
from activity_cli.sampledata.dressing import figure_layers
from activity_cli.sampledata.easel import MARGIN
from activity_cli.sampledata.figure import Skeleton, pose
from activity_cli.sampledata.motion import Floats, Motion, Style
from activity_cli.sampledata.paint import Layer, Scenery, View, paint
from activity_cli.sampledata.person import Clothes, Person
from activity_cli.sampledata.props import Props, clutter
from activity_cli.sampledata.scene import draw_place

FRAME_RATES = (20.0, 24.0, 25.0, 30.0)
SECONDS = (1.6, 2.6)
"""Shortest and longest clip."""

_WIDTH, _HEIGHT = SUPERSAMPLING * FRAME_WIDTH, SUPERSAMPLING * FRAME_HEIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """Brightness and colour over the frame, and grain."""

    gain: NDArray[np.float32]
    """(H, W, 3)"""
    grain: NDArray[np.int16]
    """(H, W, 3) and some more, of which every frame takes another part."""
    side: float
    """-1 where light comes from the left, 1 from the right."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Light":
        """Random light."""
        warmth = rng.uniform(-0.07, 0.07)
        balance = rng.uniform(0.86, 1.16) * np.array([1 - warmth, 1.0, 1 + warmth])
        rows, columns = np.ogrid[-1 : 1 : FRAME_HEIGHT * 1j, -1 : 1 : FRAME_WIDTH * 1j]
        vignette = 1 - rng.uniform(0.0, 0.12) * (rows**2 + columns**2)
        side = float(rng.choice((-1.0, 1.0)))
        slope = 1 + side * rng.uniform(0, 0.1) * columns
        strength = rng.uniform(0.5, 3.5)
        grain = rng.normal(0, strength, (FRAME_HEIGHT + 64, FRAME_WIDTH + 64, 1))
        return cls(
            gain=((vignette * slope)[..., None] * balance).astype(np.float32),
            grain=np.repeat(np.rint(grain), 3, axis=2).astype(np.int16),
            side=side,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A clip that is made up but not yet painted."""

    frame_rate: float
    place: Picture
    """The background, larger than the frame by `MARGIN`."""
    view: View
    layers: list[Layer]
    shadows: list[Floats]
    """(T, P, 2) outlines of what darkens the floor."""
    light: Light
    grain_corners: NDArray[np.int64]
    """(T, 2) which part of the grain each frame takes."""

    def frames(self) -> Iterator[Picture]:
        """Paint the frames, (H, W, 3) BGR, one after the other."""
        return (self._frame(index) for index in range(len(self.grain_corners)))

    def _frame(self, index: int) -> Picture:
        import cv2

        # The place has the size of frames; shapes are painted supersampled and averaged down.
        size = (FRAME_WIDTH, FRAME_HEIGHT)
        matrix = self.view.maps[index].copy()
        matrix[:, 2] = (matrix[:, 2] - matrix[:, :2] @ MARGIN) / SUPERSAMPLING
        place = cv2.warpAffine(self.place, matrix, size, borderMode=cv2.BORDER_REPLICATE)
        enlarged = cv2.resize(place, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_NEAREST)
        picture = np.asarray(enlarged, np.uint8)  # cv2's own type says less
        _darken(picture, self.shadows, index)
        paint(picture, self.layers, index)
        lit = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        lit = cv2.multiply(lit, self.light.gain, dtype=cv2.CV_8U)
        row, column = self.grain_corners[index]
        grain = self.light.grain[row : row + FRAME_HEIGHT, column : column + FRAME_WIDTH]
        return np.asarray(cv2.add(lit, grain, dtype=cv2.CV_8U), np.uint8)


def make_up_clip(
    label: str, person: Person, rng: np.random.Generator, *, still: float = 0.0
) -> Clip:
    """Make up a clip of somebody doing something.

    Every random choice is made in the same order for every label, so nothing but the movement and
    the things that it needs tells labels apart.

    Args:
        label: what is done.
        person: who does it.
        rng: where chance comes from.
        still: for how long nobody moves before the action and again after it, in lengths of it.
    """
    frame_rate = float(rng.choice(FRAME_RATES))
    num_frames = round(rng.uniform(*SECONDS) * frame_rate)
    style = Style.draw(rng, num_frames / frame_rate)
    num_still = round(still * num_frames)
    passed = np.linspace(0, 1, num_frames + 2 * num_still)
    seconds = len(passed) / frame_rate
    camera = Camera.draw(rng)
    stand = Stand.draw(rng, camera)
    clothes = Clothes.draw(rng)
    light = Light.draw(rng)
    props = Props.draw(rng, person.body, style)
    motion = perform_amid_stillness(label, np.linspace(0, 1, num_frames), style, num_still)
    skeleton = pose(person.body, motion, props.grips)
    maps = handheld(rng, passed * seconds, _followed(camera, stand, motion, person), MARGIN)
    view = View(camera, maps, light.side)
    scenery = [
        _figure(view, stand, person, clothes, skeleton),
        props.scenery(label, view, stand, skeleton, motion),
        *clutter(rng, view, stand),
        *_passers_by(rng, view, passed, seconds),
    ]
    return Clip(
        frame_rate=frame_rate,
        place=draw_place(rng, camera),
        view=view,
        layers=[layer for thing in scenery for layer in thing.layers],
        shadows=[shadow for thing in scenery for shadow in thing.shadows],
        light=light,
        grain_corners=rng.integers(64, size=(len(passed), 2)),
    )


def _followed(camera: Camera, stand: Stand, motion: Motion, person: Person) -> Floats:
    """(T,) pixels by which whoever walks moves sideways."""
    way: Floats = motion.travel * person.body.leg_length * np.cos(stand.facing)
    way *= camera.focal / camera.distance
    return way


def _passers_by(
    rng: np.random.Generator, view: View, progress: Floats, seconds: float
) -> list[Scenery]:
    """Now and then, somebody who walks past in the background."""
    person, clothes = Person.draw(rng), Clothes.draw(rng)
    style = Style.draw(rng, seconds)
    stand = Stand(
        x=rng.uniform(-1.8, 1.8),
        away=view.camera.distance + rng.uniform(0.9, 1.2),
        facing=float(rng.choice((0.0, np.pi))),
    )
    if rng.uniform() > 0.12:
        return []
    skeleton = pose(person.body, perform("walk", progress, style), np.zeros((2, 3)))
    return [_figure(view, stand, person, clothes, skeleton)]


def _figure(
    view: View, stand: Stand, person: Person, clothes: Clothes, skeleton: Skeleton
) -> Scenery:
    layers = figure_layers(view, stand, person, clothes, skeleton)
    return Scenery(layers, _shadows(view, stand, skeleton))


def _shadows(view: View, stand: Stand, skeleton: Skeleton) -> list[Floats]:
    """(T, P, 2) outlines of the limbs, thrown on the floor away from the light."""

    def thrown(points: Floats) -> tuple[Floats, Floats]:
        placed = stand.place(points)
        placed = placed + placed[..., 1:2] * np.array([-view.light_side * 0.35, 0.0, 0.22])
        placed[..., 1] = 0
        return view.pixels(placed), placed[..., 2]

    bones = [
        (skeleton.pelvis, skeleton.neck, 0.14),
        (skeleton.chin, skeleton.crown, 0.1),
    ]
    for side in (0, 1):
        leg = [skeleton.hips, skeleton.knees, skeleton.ankles, skeleton.toes]
        arm = [skeleton.shoulders, skeleton.elbows, skeleton.wrists]
        for chain, thickness in ((leg, 0.07), (arm, 0.045)):
            for first, second in pairwise(chain):
                bones.append((first[:, side], second[:, side], thickness))
    outlines = []
    for first, second, thickness in bones:
        (start, away), (end, _) = thrown(first), thrown(second)
        radius = thickness * view.pixels_per_metre(away)
        outlines.append(capsule(start, end, radius, radius))
    return outlines


def _darken(picture: Picture, shadows: list[Floats], frame: int) -> None:
    """Throw soft shadows, in place."""
    import cv2

    points = np.concatenate([outline[frame] for outline in shadows])
    low = np.maximum(np.floor(points.min(axis=0)).astype(int) - 16, 0)
    high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 16, (_WIDTH, _HEIGHT))
    if (high <= low).any():
        return
    mask = np.full((high[1] - low[1], high[0] - low[0], 3), 255, np.uint8)
    for outline in shadows:
        fill(mask, fixed_point(outline[frame] - low), (148.0, 140.0, 136.0))
    soft = cv2.blur(cv2.blur(mask, (15, 9)), (15, 9))
    area = picture[low[1] : high[1], low[0] : high[0]]
    cv2.multiply(area, soft, dst=area, scale=1 / 255)
