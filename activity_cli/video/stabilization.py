"""Taking the camera's own movement out of motion images.

A shaking camera makes every edge of a scene look as if it moved. Before two frames are compared,
the earlier one is shifted by as much as the whole picture was: found by phase correlation (Kuglin
and Hines, 1975) to parts of a pixel. Where that does not make the two more alike, nothing is moved:
then it was people who moved, or the camera turned.
"""

from functools import lru_cache
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from activity_cli.types import Images
from activity_cli.video.reader import Frame

MIN_RESPONSE = 0.2
"""Share of the correlation around its peak from which the shift is believed."""
MIN_SHIFT, MAX_SHIFT = 0.05, 8.0
"""Pixels; less is not worth it, more is no shaking."""
MIN_GAIN = 0.1
"""Share by which the difference of the frames must shrink."""


def steady(earlier: Images, later: Images) -> Images:
    """The earlier frames, each as if taken where the camera was for the later one.

    Args:
        earlier: (N, H, W, channels) uint8.
        later: the same shape.

    Returns:
        (N, H, W, channels) uint8.
    """
    return np.stack([_steady_frame(a, b) for a, b in zip(earlier, later, strict=True)])


def _steady_frame(earlier: Frame, later: Frame) -> Frame:
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
    """Fades the frame out towards its borders, whose edges would be taken for a still picture."""
    return cast("NDArray[np.float32]", cv2.createHanningWindow((width, height), cv2.CV_32F))
