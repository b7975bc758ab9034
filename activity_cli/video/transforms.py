"""Transforms of a clip's frames: one geometry, colour and blur for all of them.

They apply to the decoded frames, before motion images are made. So a frame and its motion image
agree, and where nothing moves there is still no motion. H = W is the frame's side.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from activity_cli.video.capture import Frame

_GREY_OF_RGB = np.array([0.299, 0.587, 0.114])
_NOISE_MARGIN = 32
"""One field of noise serves a whole view, shifted by up to so many pixels for each frame: as good
as new noise for the CNN, at a tenth of the cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """Changes to the pixels of a view, the same in all of its frames. By default none."""

    is_flipped: bool = False
    rotation_degrees: float = 0.0
    """Anticlockwise, in the square that the CNN sees."""
    zoom: float = 1.0
    """2 shows things twice as large."""
    shift_x: float = 0.0
    """To the right, as a share of the side."""
    shift_y: float = 0.0
    """Down."""
    brightness: float = 0.0
    """Added, as a share of white."""
    contrast: float = 1.0
    """Factor, around mid-grey."""
    saturation: float = 1.0
    """Factor; 0 is grey."""
    blur: float = 0.0
    """Sigma in pixels."""
    noise: float = 0.0
    """Standard deviation, as a share of white."""
    seed: int = 0
    """Of the noise, which differs from frame to frame."""

    def describe(self) -> list[str]:
        """Describe each change in a few words."""
        shifted = round(100 * self.shift_x), round(100 * self.shift_y)
        parts = {
            "mirrored": self.is_flipped,
            f"turned {self.rotation_degrees:+.0f}°": abs(self.rotation_degrees) >= 0.5,
            f"zoom {self.zoom:.2f}": abs(self.zoom - 1) >= 0.005,
            f"shifted {shifted[0]:+d}, {shifted[1]:+d}%": any(shifted),
            f"brightness {100 * self.brightness:+.0f}%": abs(self.brightness) >= 0.005,
            f"contrast {self.contrast:.2f}": abs(self.contrast - 1) >= 0.005,
            f"colour {self.saturation:.2f}": abs(self.saturation - 1) >= 0.005,
            f"blur {self.blur:.1f} px": self.blur >= 0.05,
            f"noise {100 * self.noise:.1f}%": self.noise >= 0.0005,
        }
        return [text for text, applies in parts.items() if applies]


class Transformer:
    """Applies one transform to the frames of a clip, of `frame_size` pixels each side."""

    def __init__(self, transform: Transform, frame_size: int) -> None:
        self._transform = transform
        self._size = frame_size
        self._warp = _warp_matrix(transform, frame_size)
        self._colour = _colour_matrix(transform)
        self._noise = _noise_field(transform, frame_size)

    def apply(self, frame: Frame, index: int) -> Frame:
        """Transform a decoded frame, (H, W, channels) uint8.

        Its index in the video chooses its noise: a frame that is used as a picture and again in a
        motion image is the same in both.
        """
        result: NDArray[np.uint8] = frame
        if self._transform.is_flipped:
            result = np.ascontiguousarray(result[:, ::-1])
        if self._warp is not None:
            size = (self._size, self._size)
            # Beyond the border the inside is mirrored.
            result = np.asarray(
                cv2.warpAffine(result, self._warp, size, borderMode=cv2.BORDER_REFLECT_101),
                np.uint8,
            )
        if self._transform.blur > 0:
            result = np.asarray(cv2.GaussianBlur(result, (0, 0), self._transform.blur), np.uint8)
        if self._colour is not None:
            colour = self._colour if frame.shape[2] == 3 else _grey_of(self._colour)
            result = np.asarray(cv2.transform(result, colour), np.uint8)
        result = result.reshape(frame.shape)  # OpenCV drops the axis of a single channel
        return result if self._noise is None else self._add_noise(result, self._noise, index)

    def _add_noise(self, frame: Frame, field: NDArray[np.int16], index: int) -> Frame:
        random = np.random.default_rng((self._transform.seed, index))
        top, left = random.integers(0, _NOISE_MARGIN, 2).tolist()
        part = field[top : top + self._size, left : left + self._size, : frame.shape[2]]
        noisy = np.asarray(cv2.add(frame, np.ascontiguousarray(part), dtype=cv2.CV_8U), np.uint8)
        return noisy.reshape(frame.shape)


def _warp_matrix(transform: Transform, size: int) -> NDArray[np.float64] | None:
    """Return the (2, 3) matrix from places in the frame to the view; None where they are equal."""
    shift = np.array([transform.shift_x, transform.shift_y])
    if (transform.rotation_degrees, transform.zoom) == (0, 1) and not shift.any():
        return None
    centre = ((size - 1) / 2, (size - 1) / 2)
    rotation = cv2.getRotationMatrix2D(centre, transform.rotation_degrees, transform.zoom)
    matrix = np.asarray(rotation, np.float64)
    matrix[:, 2] += shift * size
    return matrix


def _colour_matrix(transform: Transform) -> NDArray[np.float64] | None:
    """Return (3, 4) from RGB to RGB: saturation, then contrast around mid-grey, then brightness."""
    if (transform.brightness, transform.contrast, transform.saturation) == (0, 1, 1):
        return None
    grey = np.tile(_GREY_OF_RGB, (3, 1))  # every channel becomes the pixel's brightness
    saturation = transform.saturation
    mixed = transform.contrast * (saturation * np.eye(3) + (1 - saturation) * grey)
    offset = 127.5 * (1 - transform.contrast) + 255 * transform.brightness
    return np.column_stack([mixed, np.full(3, offset)])


def _grey_of(colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (1, 2) from grey to grey, factor and offset, of a matrix from RGB to RGB."""
    return np.array([[colour[0, :3].sum(), colour[0, 3]]])


def _noise_field(transform: Transform, size: int) -> NDArray[np.int16] | None:
    if transform.noise == 0:
        return None
    random = np.random.default_rng(transform.seed)
    side = size + _NOISE_MARGIN
    field: NDArray[np.float32] = random.standard_normal((side, side, 3), np.float32)
    return np.asarray(np.rint(field * (255 * transform.noise)), np.int16)
