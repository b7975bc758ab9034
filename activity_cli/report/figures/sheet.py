"""A white picture with positions in inches from the left upper corner.

All but axes is drawn into pixels. Axes belong to a transparent figure, blended over them at last.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from activity_cli.common.files import write_bytes_atomically
from activity_cli.report.figures import DPI, new_figure, rgb
from activity_cli.report.overlay.layer import fit_text, text_mask

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, GREY, LINES = "#111827", "#6b7280", "#e5e7eb"
"""Colours of text, of secondary text and of thin lines."""

_POINTS_PER_INCH = 72
_MIN_ROOM = 2.5  # font sizes: shorter names are left out


class Sheet:
    """An empty picture of a size in inches."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self._pixels = np.full((round(height * DPI), round(width * DPI), 3), 255, np.uint8)
        self._figure = new_figure(width, height)
        self._figure.set_layout_engine("none")
        self._figure.patch.set_alpha(0)

    def axes(self, left: float, top: float, width: float, height: float) -> "Axes":
        """Return new axes without a background."""
        across, down = self.width, self.height
        place = (left / across, 1 - (top + height) / down, width / across, height / down)
        axes = self._figure.add_axes(place)
        axes.patch.set_visible(False)
        return axes

    def box(self, left: float, top: float, width: float, height: float, colour: str) -> None:
        """Draw a filled rectangle."""
        self._pixels[_span(top, height), _span(left, width)] = rgb(colour)

    def line(self, points: list[tuple[float, float]], colour: str) -> None:
        """Draw a thin line through points."""
        ends = np.round(np.array(points) * DPI * 16).astype(np.int32)
        cv2.polylines(self._pixels, [ends], False, rgb(colour), 2, cv2.LINE_AA, shift=4)

    def picture(
        self, left: float, top: float, width: float, height: float, image: NDArray[np.uint8]
    ) -> None:
        """Draw a picture, (H, W, 3) or grey, scaled to a rectangle."""
        area = self._pixels[_span(top, height), _span(left, width)]
        method = cv2.INTER_AREA if image.shape[0] > area.shape[0] else cv2.INTER_CUBIC
        scaled = cv2.resize(image, (area.shape[1], area.shape[0]), interpolation=method)
        area[:] = scaled if scaled.ndim == 3 else scaled[..., None]

    def write(
        self,
        left: float,
        middle: float,
        text: str,
        *,
        size: float,
        colour: str = INK,
        bold: bool = False,
        align: Literal["left", "center", "right"] = "left",
        room: float | None = None,
        clear: bool = False,
    ) -> float:
        """Write text in any script; return its width in inches, or 0 if it was left out.

        Left is its left end, centre or right end, by `align`; middle is of its height; size is in
        points. It is shortened to `room`, and left out where hardly a letter fits. `clear` draws a
        white box behind it.
        """
        pixels = round(size * DPI / _POINTS_PER_INCH)
        mask = text_mask(text, pixels, bold=bold)
        if room is not None and mask.shape[1] > room * DPI:
            if room * DPI < _MIN_ROOM * pixels:
                return 0.0
            mask = fit_text(text, pixels, int(room * DPI), bold=bold)
        height, width = mask.shape
        x = round(left * DPI - {"left": 0.0, "center": 0.5, "right": 1.0}[align] * width)
        y = round(middle * DPI - height / 2)
        if clear:
            self.box(x / DPI - 0.03, middle - 0.07, width / DPI + 0.06, 0.14, "#ffffff")
        area = self._pixels[max(y, 0) : y + height, max(x, 0) : x + width]
        shown = mask[max(-y, 0) :, max(-x, 0) :][: area.shape[0], : area.shape[1], None] / 255
        area[:] = np.rint(area * (1 - shown) + np.array(rgb(colour)) * shown)
        return float(width / DPI)

    def save(self, path: Path, *, height: float | None = None) -> None:
        """Write the picture as PNG, cut to a height if one is given, or raise OutputError."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        self._figure.set_dpi(DPI)
        canvas = FigureCanvasAgg(self._figure)
        canvas.draw()  # type: ignore[no-untyped-call]
        rows, columns = self._pixels.shape[:2]
        pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
        above = pixels[:rows, :columns].astype(np.float32)
        opacity = above[..., 3:] / 255
        below = self._pixels[: above.shape[0], : above.shape[1]]
        below[:] = np.rint(below * (1 - opacity) + above[..., :3] * opacity)
        shown = self._pixels[: None if height is None else round(height * DPI)]
        _, file = cv2.imencode(".png", cv2.cvtColor(shown, cv2.COLOR_RGB2BGR))
        write_bytes_atomically(path, file.tobytes())


def _span(start: float, length: float) -> slice:
    """Return the pixels of a span in inches, at least one."""
    first = max(round(start * DPI), 0)
    return slice(first, max(round((start + length) * DPI), first + 1))
