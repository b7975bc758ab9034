"""Flow images show where things go, and how fast."""

import cv2
import numpy as np
import pytest

from activity_cli.errors import SettingsError
from activity_cli.settings import ClipSettings
from activity_cli.types import Images
from activity_cli.video.clips import images_by_stream, stack_roles
from activity_cli.video.flow import FLOW_GAIN, STILL, flow_images

SIDE = 96
WHERE_IT_WAS = (0, slice(40, 56), slice(22, 38))


def scene(*, left: int, top: int = 32, shift: int = 0) -> Images:
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
    [image] = flow_images(scene(left=14), scene(left=14 + right, top=32 + down))

    found = np.median(image[WHERE_IT_WAS[1:]], axis=(0, 1))
    expected = np.array([right, down, np.hypot(right, down)])  # pixels
    np.testing.assert_allclose((found - [STILL, STILL, 0]) / FLOW_GAIN, expected, atol=0.5)
    np.testing.assert_allclose(np.median(image[:, 70:], axis=(0, 1)), [STILL, STILL, 0], atol=3)


def test_a_shaking_camera_is_no_flow() -> None:
    before, after = list(scene(left=14)), list(scene(left=14, shift=3))

    def flow(*, steady: bool) -> Images:
        settings = ClipSettings(frame_size=SIDE, streams=("flow",), stabilize=steady)
        roles = stack_roles({"frames": [], "earlier": before, "later": after}, settings)
        return images_by_stream(roles, settings)["flow"]

    steadied, as_filmed = flow(steady=True), flow(steady=False)

    np.testing.assert_allclose(np.median(steadied, axis=(0, 1, 2)), [STILL, STILL, 0], atol=3)
    right = STILL + 3 * FLOW_GAIN
    np.testing.assert_allclose(np.median(as_filmed[..., 0]), right, atol=FLOW_GAIN / 2)


def test_flow_is_the_same_with_any_number_of_threads() -> None:
    threads, found = cv2.getNumThreads(), []
    try:
        for number in (1, 2, 5):
            cv2.setNumThreads(number)
            found.append(flow_images(scene(left=14), scene(left=20, top=30)))
    finally:
        cv2.setNumThreads(threads)

    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_tiny_frames_do_not_move() -> None:
    small = scene(left=14)[:, :8, :8]

    np.testing.assert_array_equal(flow_images(small, small[:, ::-1])[0, 0, 0], [STILL, STILL, 0])


def test_grey_pictures_have_no_flow() -> None:
    with pytest.raises(SettingsError, match="3 channels"):
        ClipSettings(streams=("rgb", "flow"), channels=1)
