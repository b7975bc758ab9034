"""Motion images show what moves in the scene, not how the camera shakes."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from activity_cli.settings import ClipSettings
from activity_cli.types import Images
from activity_cli.video.clips import images_by_stream, stack_roles

SIDE = 96


def scene(*, shift: tuple[float, float], ball: int, channels: int = 3) -> Images:
    """(1, H, W, channels): a ball before a textured wall, both shifted by the camera."""
    rng = np.random.default_rng(0)
    wall = cv2.GaussianBlur(rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.float32), (0, 0), 1)
    image = np.clip(128 + 2 * (wall - 128), 0, 255).astype(np.uint8)
    cv2.circle(image, (ball, 48), 8, (255, 0, 0), -1)
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    frame = cv2.warpAffine(image, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(frame[None, ..., :channels], np.uint8)


def motion(earlier: Images, later: Images, settings: ClipSettings) -> NDArray[np.int16]:
    roles = stack_roles({"frames": [], "earlier": list(earlier), "later": list(later)}, settings)
    image: NDArray[np.int16] = images_by_stream(roles, settings)["motion"][0].astype(np.int16)
    return image - np.int16(128)


@pytest.mark.parametrize("channels", [3, 1])
def test_a_shaking_camera_leaves_a_still_scene_grey(channels: int) -> None:
    settings = ClipSettings(frame_size=SIDE, streams=("motion",), channels=channels)
    as_filmed = replace(settings, stabilize=False)
    before = scene(shift=(0, 0), ball=40, channels=channels)
    after = scene(shift=(2, -3), ball=40, channels=channels)

    middle = (slice(8, -8), slice(8, -8))
    shaken = np.abs(motion(before, after, as_filmed)[middle])
    steadied = np.abs(motion(before, after, settings)[middle])

    assert np.median(shaken) > 5
    assert np.median(steadied) <= 2


def test_who_moves_before_a_still_camera_is_left_as_filmed() -> None:
    settings = ClipSettings(frame_size=SIDE, streams=("motion",))
    as_filmed = ClipSettings(frame_size=SIDE, streams=("motion",), stabilize=False)
    before, after = scene(shift=(0, 0), ball=30), scene(shift=(0, 0), ball=36)

    moved = motion(before, after, settings)

    np.testing.assert_array_equal(moved, motion(before, after, as_filmed))
    assert np.abs(moved).max() > 60
