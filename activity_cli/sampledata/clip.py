"""One clip: everything in it is drawn at random from one generator, then painted."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from activity_cli.sampledata.actions import Floats, Motion, Style, perform
from activity_cli.sampledata.people import Person, pose
from activity_cli.sampledata.rendering import Camera, Layer, Picture, paint
from activity_cli.sampledata.scenery import Props, Stand, box, clutter, draw_background

FRAME_RATES = (20.0, 24.0, 25.0, 30.0)
SECONDS = (1.6, 2.6)
"""Shortest and longest clip."""


class Clip(NamedTuple):
    """The contents of a clip of T frames, not yet painted."""

    frame_rate: float
    background: Picture  # larger than the frames
    camera: Camera
    layers: list[Layer]
    light: Floats  # (3,) brightness and colour, BGR
    grain: float  # strength of the camera's noise
    grain_seed: int

    def frames(self) -> Iterator[Picture]:
        """Paint the frames, (H, W, 3) BGR, one after the other."""
        noise = np.random.default_rng(self.grain_seed)
        for index in range(len(self.camera.shift)):
            frame = paint(self.background, self.camera, self.layers, index)
            grain = self.grain * noise.standard_normal((*frame.shape[:2], 1), np.float32)
            yield np.clip(frame * self.light + grain, 0, 255).astype(np.uint8)


def make_clip(
    label: str,
    person: Person,
    rng: np.random.Generator,
    *,
    perform: Callable[[str, Floats, Style], Motion] = perform,
    lengthened: int = 1,
) -> Clip:
    """Draw the contents of a clip of a person who performs an action.

    All random choices are made in the same order for every label, so labels differ only in the
    movement and in the objects that it needs. `perform` may be another function that also stretches
    the motion: then the clip is `lengthened` times as long.
    """
    frame_rate = float(rng.choice(FRAME_RATES))
    num_frames = round(rng.uniform(*SECONDS) * frame_rate)
    style = Style.draw(rng, num_frames / frame_rate)
    progress = np.linspace(0, 1, num_frames * lengthened)
    # Near the middle, seen from the side or half from the front.
    facing, to_the_right = rng.uniform(-0.2, 0.95), rng.uniform() < 0.5
    facing = facing if to_the_right else np.pi - facing
    stand = Stand(x=rng.uniform(-0.3, 0.3), away=rng.uniform(4.2, 5.0), facing=facing)
    props = Props.draw(rng, person.body)
    motion = perform(label, progress, style)
    joints = pose(person.body, motion, props.grips)
    mirror = (1, 1, -1 if style.left_handed else 1)
    things = person.dressed(rng, {n: stand.place(p * mirror) for n, p in joints.items()})
    if label in {"sit_down", "stand_up"}:
        things += props.chair(stand, len(progress))
    if label in {"pick_up", "put_down"}:
        moved = (joints["wrists"] - props.grips).mean(axis=1)
        path = props.rest + np.where(motion.held[:, None], moved, 0.0)
        things.append(box(stand, path, props.size, props.colour))
    things += clutter(rng, stand, person.body, len(progress))
    walked = motion.travel * person.body.leg_length * np.cos(stand.facing)
    camera = Camera.draw(rng, np.arange(len(progress)) / frame_rate, stand.away, walked)
    return Clip(
        frame_rate=frame_rate,
        background=draw_background(rng, camera),
        camera=camera,
        layers=[Layer.project(thing, camera) for thing in things],
        light=rng.uniform(0.86, 1.16) * (1 + rng.uniform(-0.07, 0.07) * np.array([-1.0, 0, 1])),
        grain=rng.uniform(0.5, 3.5),
        grain_seed=int(rng.integers(2**32)),
    )
