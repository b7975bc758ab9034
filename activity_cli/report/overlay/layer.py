"""Drawings to blend over frames: soft-edged shapes, and text in any script.

OpenCV 5 has fonts for Latin, Greek, Cyrillic, Arabic, Chinese, Japanese and Korean. With an older
OpenCV, text is drawn in DejaVu Sans, which comes with matplotlib and lacks the last four.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from activity_cli.report.figures import rgb
from activity_cli.video.capture import Frame

Mask = NDArray[np.uint8]
"""(H, W), how much of each pixel is covered; 255 is all."""

_REGULAR, _BOLD = 400, 600  # font weights
_LINE_HEIGHT = 1.3  # times the font size
_BASELINE = 0.98  # times the font size, from the top of the line


class Layer:
    """A transparent picture of H x W pixels to draw on and to blend over frames."""

    def __init__(self, height: int, width: int) -> None:
        self._paint = np.zeros((height, width, 3), np.uint8)  # colour times opacity
        self._transparency = np.full((height, width, 3), 255, np.uint8)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self._paint.shape[0], self._paint.shape[1]

    def fill(
        self, mask: Mask, colour: str, *, x: int = 0, y: int = 0, opacity: float = 1.0
    ) -> None:
        """Fill a mask with a colour, #rrggbb. (x, y) is its left upper corner; clipped."""
        top, left = max(y, 0), max(x, 0)
        bottom = max(min(y + mask.shape[0], self.size[0]), top)
        right = max(min(x + mask.shape[1], self.size[1]), left)
        inside = mask[top - y : bottom - y, left - x : right - x]
        if not inside.size:
            return
        area = slice(top, bottom), slice(left, right)
        cover = cv2.cvtColor(cv2.convertScaleAbs(inside, alpha=opacity), cv2.COLOR_GRAY2RGB)
        colours = np.full_like(cover, rgb(colour))
        transparency = cv2.bitwise_not(cover)
        _blend(self._paint[area], cv2.multiply(cover, colours, scale=1 / 255), transparency)
        self._transparency[area] = cv2.multiply(
            self._transparency[area], transparency, scale=1 / 255
        )

    def blend_over(self, frame: Frame, *, x: int, y: int) -> None:
        """Blend over a frame in place; (x, y) is the left upper corner. Clipped at the right."""
        height, width = frame.shape[:2]
        bottom, right = min(y + self.size[0], height), min(x + self.size[1], width)
        area = slice(0, bottom - y), slice(0, right - x)
        if self._paint[area].size:
            _blend(frame[y:bottom, x:right], self._paint[area], self._transparency[area])


def _blend(below: Frame, paint: cv2.typing.MatLike, transparency: cv2.typing.MatLike) -> None:
    below[:] = cv2.add(cv2.multiply(below, transparency, scale=1 / 255), paint)


@lru_cache(maxsize=64)
def rounded(height: int, width: int, radius: float) -> Mask:
    """Return a filled rectangle with round corners."""
    rows, columns = np.ogrid[0.5:height, 0.5:width]
    radius = min(radius, height / 2, width / 2)
    down = np.maximum(np.abs(rows - height / 2) - height / 2 + radius, 0)
    across = np.maximum(np.abs(columns - width / 2) - width / 2 + radius, 0)
    inside = radius + 0.5 - np.hypot(down, across)  # pixels from the outline
    return cast(Mask, (255 * np.clip(inside, 0, 1)).astype(np.uint8))


def area_below(heights: NDArray[np.floating], height: int) -> Mask:
    """Return (height, W) the area below a curve; (W,) heights from the bottom in pixels."""
    rows = np.arange(height, 0, -1)[:, None]  # upper edges of the pixels
    return cast(Mask, (255 * np.clip(heights - rows + 1, 0, 1)).astype(np.uint8))


def line_along(heights: NDArray[np.floating], height: int, thickness: float) -> Mask:
    """Return (height, W) a line along a curve, without gaps where it is steep."""
    around = np.pad(heights, 1, mode="edge")
    lowest = np.minimum(np.minimum(around[:-2], around[2:]), heights) - thickness
    return cast(Mask, area_below(heights, height) - area_below(lowest, height))


@lru_cache(maxsize=128)
def text_mask(text: str, size: int, *, bold: bool = False) -> Mask:
    """Return one line of text, cut to its width; size is of the font in pixels.

    All lines of a size have the same height. Characters that no font has become "?" or a box.
    """
    text = printable(text)
    mask = _with_opencv(text, size, bold) if hasattr(cv2, "FontFace") else with_pillow(text, size)
    covered = np.flatnonzero(mask.any(axis=0))
    return mask[:, : covered[-1] + 1] if covered.size else mask[:, :0]


@lru_cache(maxsize=128)
def fit_text(text: str, size: int, width: int, *, bold: bool = False) -> Mask:
    """Return a line of text as `text_mask` does, shortened to a width in pixels."""
    text = printable(text)
    mask = text_mask(text, size, bold=bold)
    while mask.shape[1] > width and text:
        share = min(width / mask.shape[1], 0.95)
        text = text[: int(len(text) * share)].rstrip()
        mask = text_mask(f"{text}…" if text else "", size, bold=bold)
    return mask


def printable(text: str) -> str:
    """Replace line breaks, control codes and parts of broken names, which have no picture."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def with_pillow(text: str, size: int) -> Mask:
    """Draw text in DejaVu Sans."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    font = ImageFont.truetype(path, size)
    width = int(font.getlength(text)) + size
    image = Image.new("L", (width, round(_LINE_HEIGHT * size)))
    ImageDraw.Draw(image).text((0, _BASELINE * size), text, fill=255, font=font, anchor="ls")
    return np.asarray(image)


def _with_opencv(text: str, size: int, bold: bool) -> Mask:
    font: Any = cv2.FontFace("sans")
    # Not measured before: getTextSize cuts at the picture's width. No letter is wider than 2 sizes.
    canvas = np.zeros((round(_LINE_HEIGHT * size), size * (2 * len(text) + 1)), np.uint8)
    weight, start = _BOLD if bold else _REGULAR, (0, round(_BASELINE * size))
    cv2.putText(canvas, text, start, (255,), font, size, weight)
    return cast(Mask, canvas)
