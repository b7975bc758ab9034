"""What a view's look does to pixels: one geometry, colour and blur for all frames of a clip.

It is done to the decoded frames, before motion images are made of them. So a picture and its
motion image agree, and where nothing moves there is still no motion. H = W is the frame's side.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from activity_cli.video.augmentation import Look
from activity_cli.video.reader import Frame

_GREY_OF_RGB = np.array([0.299, 0.587, 0.114])
_NOISE_MARGIN = 32
"""One field of noise serves a whole view, for each frame moved by up to so many pixels: as good
to the eye and the CNN as new noise, at a tenth of the cost."""


class Painter:
    """Applies one look to the frames of a clip.

    Args:
        look: what to do.
        frame_size: side of the frames, in pixels.
    """

    def __init__(self, look: Look, frame_size: int) -> None:
        self._look = look
        self._size = frame_size
        self._warp = _warp_matrix(look, frame_size)
        self._colour = _colour_matrix(look)
        self._noise = _noise_field(look, frame_size)

    def paint(self, frame: Frame, index: int) -> Frame:
        """A frame, (H, W, channels) uint8, as the view shows it.

        Args:
            frame: as decoded.
            index: its place in the video, by which its noise is chosen. A frame that is seen as a
                picture and again as part of a motion image is the same in both.
        """
        painted: NDArray[np.uint8] = frame
        if self._look.is_flipped:
            painted = np.ascontiguousarray(painted[:, ::-1])
        if self._warp is not None:
            size = (self._size, self._size)
            # What comes into view from beyond the border mirrors what is inside it.
            painted = np.asarray(
                cv2.warpAffine(painted, self._warp, size, borderMode=cv2.BORDER_REFLECT_101),
                np.uint8,
            )
        if self._look.blur > 0:
            painted = np.asarray(cv2.GaussianBlur(painted, (0, 0), self._look.blur), np.uint8)
        if self._colour is not None:
            colour = self._colour if frame.shape[2] == 3 else _grey_of(self._colour)
            painted = np.asarray(cv2.transform(painted, colour), np.uint8)
        painted = painted.reshape(frame.shape)  # OpenCV drops the axis of a single channel
        if self._noise is not None:
            painted = self._add_noise(painted, index)
        return painted

    def _add_noise(self, frame: Frame, index: int) -> Frame:
        assert self._noise is not None
        random = np.random.default_rng((self._look.seed, index))
        top, left = random.integers(0, _NOISE_MARGIN, 2).tolist()
        field = self._noise[top : top + self._size, left : left + self._size]
        noise = np.ascontiguousarray(field[..., : frame.shape[2]])
        noisy = np.asarray(cv2.add(frame, noise, dtype=cv2.CV_8U), np.uint8)
        return noisy.reshape(frame.shape)


def _warp_matrix(look: Look, size: int) -> NDArray[np.float64] | None:
    """(2, 3) from places in the frame to places in the view; None where they are the same."""
    if (look.rotation_degrees, look.zoom, look.shift_x, look.shift_y) == (0, 1, 0, 0):
        return None
    centre = (size - 1) / 2
    matrix = np.asarray(
        cv2.getRotationMatrix2D((centre, centre), look.rotation_degrees, look.zoom), np.float64
    )
    matrix[:, 2] += np.array([look.shift_x, look.shift_y]) * size
    return matrix


def _colour_matrix(look: Look) -> NDArray[np.float64] | None:
    """(3, 4) from RGB to RGB: saturation, then contrast around mid-grey, then brightness."""
    if (look.brightness, look.contrast, look.saturation) == (0, 1, 1):
        return None
    grey = np.tile(_GREY_OF_RGB, (3, 1))  # every channel becomes the pixel's brightness
    mixed = look.contrast * (look.saturation * np.eye(3) + (1 - look.saturation) * grey)
    offset = 127.5 * (1 - look.contrast) + 255 * look.brightness
    return np.column_stack([mixed, np.full(3, offset)])


def _grey_of(colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1, 2) from grey to grey, of a matrix from RGB to RGB: its factor and its offset."""
    return np.array([[colour[0, :3].sum(), colour[0, 3]]])


def _noise_field(look: Look, size: int) -> NDArray[np.int16] | None:
    if look.noise == 0:
        return None
    random = np.random.default_rng(look.seed)
    side = size + _NOISE_MARGIN
    field: NDArray[np.float32] = random.standard_normal((side, side, 3), np.float32)
    return np.asarray(np.rint(field * (255 * look.noise)), np.int16)
