"""Drawings that are laid over frames: soft-edged shapes and text with opacity."""

from functools import lru_cache
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from activity_cli.report.palette import rgb
from activity_cli.video.capture import Frame

Mask = NDArray[np.uint8]  # (H, W), 255 is covered


class Layer:
    """A transparent picture of H x W pixels to paint on, and then to lay over frames."""

    def __init__(self, height: int, width: int) -> None:
        self._paint = np.zeros((height, width, 3), np.uint8)  # colour times opacity
        self._shine = np.full((height, width, 3), 255, np.uint8)  # how much of a frame is seen

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self._paint.shape[0], self._paint.shape[1]

    def fill(
        self, mask: Mask, colour: str, *, x: int = 0, y: int = 0, opacity: float = 1.0
    ) -> None:
        """Paint a colour, #rrggbb, where a mask is, with its left upper corner at (x, y)."""
        area, mask = _overlap(self.size, mask, x, y)
        if not mask.size:
            return
        cover = cv2.cvtColor(cv2.convertScaleAbs(mask, alpha=opacity), cv2.COLOR_GRAY2RGB)
        colours = np.full_like(cover, rgb(colour))
        shine = cv2.bitwise_not(cover)
        _lay(self._paint[area], cv2.multiply(cover, colours, scale=1 / 255), shine)
        self._shine[area] = cv2.multiply(self._shine[area], shine, scale=1 / 255)

    def lay_over(self, frame: Frame, *, x: int, y: int) -> None:
        """Lay it over a frame, in place, with its left upper corner at (x, y)."""
        height, width = frame.shape[:2]
        bottom, right = min(y + self.size[0], height), min(x + self.size[1], width)
        paint, shine = (
            self._paint[: bottom - y, : right - x],
            self._shine[: bottom - y, : right - x],
        )
        if paint.size:
            _lay(frame[y:bottom, x:right], paint, shine)


@lru_cache(maxsize=64)
def rounded(height: int, width: int, radius: float) -> Mask:
    """A filled rectangle with round corners and soft edges there."""
    rows, columns = np.ogrid[0.5:height, 0.5:width]
    radius = min(radius, height / 2, width / 2)
    down = np.maximum(np.abs(rows - height / 2) - height / 2 + radius, 0)
    across = np.maximum(np.abs(columns - width / 2) - width / 2 + radius, 0)
    inside = radius + 0.5 - np.hypot(down, across)  # pixels from the outline
    return cast(Mask, (255 * np.clip(inside, 0, 1)).astype(np.uint8))


def area_below(heights: NDArray[np.floating], height: int) -> Mask:
    """The area below a curve: (W,) heights from the bottom in pixels -> (height, W)."""
    rows = np.arange(height, 0, -1)[:, None]  # of the upper edges of the pixels
    return cast(Mask, (255 * np.clip(heights - rows + 1, 0, 1)).astype(np.uint8))


def line_along(heights: NDArray[np.floating], height: int, thickness: float) -> Mask:
    """A line along a curve, whole where it is steep: (W,) heights in pixels -> (height, W)."""
    around = np.pad(heights, 1, mode="edge")
    lowest = np.minimum(np.minimum(around[:-2], around[2:]), heights) - thickness
    return cast(Mask, area_below(heights, height) - area_below(lowest, height))


def _lay(below: NDArray[np.uint8], paint: cv2.typing.MatLike, shine: cv2.typing.MatLike) -> None:
    below[:] = cv2.add(cv2.multiply(below, shine, scale=1 / 255), paint)


def _overlap(size: tuple[int, int], mask: Mask, x: int, y: int) -> tuple[tuple[slice, slice], Mask]:
    """The part of a mask that lies inside, and where."""
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + mask.shape[0], size[0]), min(x + mask.shape[1], size[1])
    bottom, right = max(bottom, top), max(right, left)
    return (slice(top, bottom), slice(left, right)), mask[
        top - y : bottom - y, left - x : right - x
    ]
