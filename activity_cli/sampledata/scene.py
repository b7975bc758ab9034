"""The place of a clip, drawn once: the camera then moves over it."""

from collections.abc import Callable

import numpy as np

from activity_cli.sampledata.camera import SUPERSAMPLING, Camera
from activity_cli.sampledata.canvas import Picture
from activity_cli.sampledata.easel import PLACE_HEIGHT, PLACE_WIDTH, Easel, weather
from activity_cli.sampledata.indoors import gym, room
from activity_cli.sampledata.outdoors import park, street

_PLACES: tuple[Callable[[Easel], None], ...] = (room, room, gym, street, park)
_WALL_AWAY = (5.9, 7.2)  # metres


def draw_place(rng: np.random.Generator, camera: Camera) -> Picture:
    """A random place, larger than the frame by `MARGIN` on every side.

    It is drawn supersampled and comes back in the size of the frames.
    """
    import cv2

    picture = np.zeros((PLACE_HEIGHT, PLACE_WIDTH, 3), np.uint8)
    easel = Easel(picture, camera, rng, rng.uniform(*_WALL_AWAY))
    _PLACES[rng.integers(len(_PLACES))](easel)
    weather(easel)
    size = (PLACE_WIDTH // SUPERSAMPLING, PLACE_HEIGHT // SUPERSAMPLING)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
