"""Text in any script -> a mask of how much of each pixel it covers, antialiased.

OpenCV 5 carries fonts for Latin, Greek, Cyrillic, Arabic, Chinese, Japanese and Korean; with an
older one the text is drawn in DejaVu Sans, which comes with matplotlib and lacks the last four.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]  # (H, W), 255 is covered

_REGULAR, _BOLD = 400, 600  # weights, as fonts count them
_LINE_HEIGHT = 1.3  # times the size
_BASELINE = 0.98  # times the size, from the top of the line


@lru_cache(maxsize=128)
def text_mask(text: str, size: int, *, bold: bool = False) -> Mask:
    """One line of text, as high as any other of its size, cut to its width.

    Args:
        text: in any script; what no font has becomes a question mark or a box.
        size: of the font, in pixels.
        bold: whether the letters are heavier.
    """
    text = printable(text)
    mask = _with_opencv(text, size, bold) if hasattr(cv2, "FontFace") else with_pillow(text, size)
    covered = np.flatnonzero(mask.any(axis=0))
    return mask[:, : covered[-1] + 1] if covered.size else mask[:, :0]


@lru_cache(maxsize=128)
def fit_text(text: str, size: int, width: int, *, bold: bool = False) -> Mask:
    """As `text_mask`, with the end of the text left out where it is wider than that."""
    text = printable(text)
    mask = text_mask(text, size, bold=bold)
    while mask.shape[1] > width and text:
        share = min(width / mask.shape[1], 0.95)
        text = text[: int(len(text) * share)].rstrip()
        mask = text_mask(f"{text}…" if text else "", size, bold=bold)
    return mask


def printable(text: str) -> str:
    """The text without what has no picture: line breaks, control codes, parts of broken names."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def with_pillow(text: str, size: int) -> Mask:
    """The text in DejaVu Sans."""
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
    weight = _BOLD if bold else _REGULAR
    height, baseline = round(_LINE_HEIGHT * size), round(_BASELINE * size)
    # No measure first: getTextSize cuts at the picture's width. No script is wider than 2 sizes.
    canvas = np.zeros((height, size * (2 * len(text) + 1)), np.uint8)
    cv2.putText(canvas, text, (0, baseline), (255,), font, size, weight)
    return cast(Mask, canvas)
