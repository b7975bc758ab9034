"""Motion images and optical flow show what moves in the scene, not how the camera shakes."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from activity_cli.errors import SettingsError
from activity_cli.settings import ClipSettings
from activity_cli.types import Images
from activity_cli.video.clips import images_by_stream, stack_roles
from activity_cli.video.motion import FLOW_GAIN, STILL, flow_images, motion_image

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
    as_filmed = ClipSettings(
        frame_size=SIDE, streams=("motion",), channels=channels, stabilize=False
    )
    before = scene(shift=(0, 0), ball=40, channels=channels)
    after = scene(shift=(2, -3), ball=40, channels=channels)

    middle = (slice(8, -8), slice(8, -8))
    shaken = np.abs(motion(before, after, as_filmed)[middle])
    stabilized = np.abs(motion(before, after, settings)[middle])

    assert np.median(shaken) > 5
    assert np.median(stabilized) <= 2


def test_who_moves_before_a_still_camera_is_left_as_filmed() -> None:
    settings = ClipSettings(frame_size=SIDE, streams=("motion",))
    as_filmed = ClipSettings(frame_size=SIDE, streams=("motion",), stabilize=False)
    before, after = scene(shift=(0, 0), ball=30), scene(shift=(0, 0), ball=36)

    moved = motion(before, after, settings)

    np.testing.assert_array_equal(moved, motion(before, after, as_filmed))
    assert np.abs(moved).max() > 60


def test_motion_image_is_the_amplified_difference() -> None:
    later, earlier = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8, 3), dtype=np.uint8)

    for gain in (0.5, 1.0, 2.0, 2.5):
        expected = np.clip(np.rint(128 + gain * (later.astype(float) - earlier)), 0, 255)
        np.testing.assert_array_equal(motion_image(later, earlier, gain), expected)


WHERE_IT_WAS = (0, slice(40, 56), slice(22, 38))


def textured(*, left: int, top: int = 32, shift: int = 0) -> Images:
    """(1, H, W, 3): a textured square before a textured wall, seen by a camera that shifts."""
    rng = np.random.default_rng(0)
    wall, square = (
        cv2.GaussianBlur(rng.integers(0, 256, (side, side, 3)).astype(np.uint8), (0, 0), 1.5)
        for side in (SIDE + 16, 32)
    )
    wall[8 + top : 40 + top, 8 + left : 40 + left] = square
    return np.ascontiguousarray(wall[None, 8 : 8 + SIDE, 8 - shift : 8 - shift + SIDE])


@pytest.mark.parametrize(("right", "down"), [(4, 0), (-4, 0), (0, 4), (3, -3)])
def test_colours_say_where_something_went_and_how_far(right: int, down: int) -> None:
    [image] = flow_images(textured(left=14), textured(left=14 + right, top=32 + down))

    found = np.median(image[WHERE_IT_WAS[1:]], axis=(0, 1))
    expected = np.array([right, down, np.hypot(right, down)])  # pixels
    np.testing.assert_allclose((found - [STILL, STILL, 0]) / FLOW_GAIN, expected, atol=0.5)
    np.testing.assert_allclose(np.median(image[:, 70:], axis=(0, 1)), [STILL, STILL, 0], atol=3)


def test_a_shaking_camera_is_no_flow() -> None:
    before, after = list(textured(left=14)), list(textured(left=14, shift=3))

    def flow(*, stabilized: bool) -> Images:
        settings = ClipSettings(frame_size=SIDE, streams=("flow",), stabilize=stabilized)
        roles = stack_roles({"frames": [], "earlier": before, "later": after}, settings)
        return images_by_stream(roles, settings)["flow"]

    stabilized, as_filmed = flow(stabilized=True), flow(stabilized=False)

    np.testing.assert_allclose(np.median(stabilized, axis=(0, 1, 2)), [STILL, STILL, 0], atol=3)
    right = STILL + 3 * FLOW_GAIN
    np.testing.assert_allclose(np.median(as_filmed[..., 0]), right, atol=FLOW_GAIN / 2)


def test_flow_is_the_same_with_any_number_of_threads() -> None:
    threads, found = cv2.getNumThreads(), []
    try:
        for number in (1, 2, 5):
            cv2.setNumThreads(number)
            found.append(flow_images(textured(left=14), textured(left=20, top=30)))
    finally:
        cv2.setNumThreads(threads)

    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_tiny_frames_do_not_move() -> None:
    small = textured(left=14)[:, :8, :8]

    np.testing.assert_array_equal(flow_images(small, small[:, ::-1])[0, 0, 0], [STILL, STILL, 0])


def test_grey_pictures_have_no_flow() -> None:
    with pytest.raises(SettingsError, match="3 channels"):
        ClipSettings(streams=("rgb", "flow"), channels=1)
