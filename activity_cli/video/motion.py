"""Pairs of frames -> pictures of their motion: difference images and optical flow, stabilized.

N is pairs, H = W the frame size in pixels.

Stabilization: a shaking camera makes every edge look as if it moved, so the earlier frame is
shifted by the movement of the whole picture, found by phase correlation (Kuglin and Hines, 1975).
Where that does not make the two frames more alike, people moved, and nothing is shifted.

Optical flow, as in two-stream networks (Simonyan and Zisserman, 2014), is dense inverse search
(Kroeger et al., 2016) in OpenCV's medium preset, 6 ms for 224 x 224. With the fast preset, 1.3 ms,
flow alone gives 0.75 instead of 0.83 accuracy on surveillance fights.
"""

import threading
from functools import lru_cache
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from activity_cli.types import Images
from activity_cli.video.capture import Frame

MIN_RESPONSE = 0.2  # least share of the correlation around its peak for a shift to be reliable
MIN_SHIFT, MAX_SHIFT = 0.05, 8.0  # pixels; smaller shifts don't matter, larger ones are not shaking
MIN_GAIN = 0.1  # least share by which the difference of the frames must shrink

FLOW_GAIN = 12.0
"""Grey levels per pixel of movement: up to 10 pixels each way are told apart.
Stored features depend on it (`features.extraction._FORMAT`)."""
STILL = 128  # grey level of what did not move
_SMALLEST = 16  # pixels of a side below which there is no flow to search for
_own = threading.local()


def motion_image(later: Images, earlier: Images, gain: float) -> Images:
    """Return 128 + gain * (later - earlier), rounded and clipped: what moved, around mid-grey.

    Both, and the result, are (..., H, W, channels) uint8.
    """
    rows = (-1, later.shape[-2] * later.shape[-1])  # OpenCV takes no more than three axes
    flat = cv2.addWeighted(later.reshape(rows), gain, earlier.reshape(rows), -gain, 128)
    return cast(Images, flat.reshape(later.shape))


def stabilize(earlier: Images, later: Images) -> Images:
    """Shift each earlier frame to where the camera was for the later one.

    Both, and the result, are (N, H, W, channels) uint8.
    """
    return np.stack([_stabilize_frame(a, b) for a, b in zip(earlier, later, strict=True)])


def _stabilize_frame(earlier: Frame, later: Frame) -> Frame:
    height, width = later.shape[:2]
    window = _window(height, width)
    (x, y), response = cv2.phaseCorrelate(_grey(earlier), _grey(later), window)
    if response < MIN_RESPONSE or not MIN_SHIFT < max(abs(x), abs(y)) < MAX_SHIFT:
        return earlier
    shift = np.array([[1, 0, x], [0, 1, y]], np.float32)
    moved = cv2.warpAffine(earlier, shift, (width, height), borderMode=cv2.BORDER_REPLICATE)
    moved = moved.reshape(earlier.shape)  # OpenCV drops the axis of a single channel
    before, after = (cv2.norm(frame, later, cv2.NORM_L1) for frame in (earlier, moved))
    return cast(Frame, moved) if after < (1 - MIN_GAIN) * before else earlier


def _grey(frame: Frame) -> NDArray[np.float32]:
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) if frame.shape[-1] == 3 else frame[..., 0]
    return grey.astype(np.float32)


@lru_cache(maxsize=4)
def _window(height: int, width: int) -> NDArray[np.float32]:
    """Fade the frame out towards its borders, which would correlate as a still picture."""
    return cast("NDArray[np.float32]", cv2.createHanningWindow((width, height), cv2.CV_32F))


def flow_images(earlier: Images, later: Images) -> Images:
    """Compute the optical flow from each earlier frame to the later one, (N, H, W, 3) RGB uint8.

    Returns (N, H, W, 3) uint8: 128 + 12 * pixels to the right, 128 + 12 * pixels down, and 12 * the
    length of both, rounded and clipped, at the places of the earlier frame.
    """
    return np.stack([_flow_image(a, b) for a, b in zip(earlier, later, strict=True)])


def _flow_image(earlier: Frame, later: Frame) -> Frame:
    before, after = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (earlier, later))
    height, width = before.shape
    if min(height, width) < _SMALLEST:
        return np.full((height, width, 3), (STILL, STILL, 0), np.uint8)
    flow: NDArray[np.float32] = _flow_search().calc(before, after, None)  # type: ignore[call-overload]
    length = FLOW_GAIN * np.linalg.norm(flow, axis=-1, keepdims=True)
    image = np.concatenate([STILL + FLOW_GAIN * flow, length], axis=-1)
    return image.round().clip(0, 255).astype(np.uint8)


def _flow_search() -> cv2.DISOpticalFlow:
    """Return this thread's search: it holds buffers, so threads cannot share it."""
    if not hasattr(_own, "search"):
        _own.search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return cast(cv2.DISOpticalFlow, _own.search)
