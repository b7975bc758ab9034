"""A matplotlib figure with positions in inches from the left upper corner.

Text may be in any script: characters that matplotlib's font lacks are drawn by `overlay.layer` and
placed as a picture. No text is read as a formula.
"""

from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from activity_cli.report.figures.plots import DPI, new_figure
from activity_cli.report.overlay.layer import printable, text_mask
from activity_cli.report.palette import rgb

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg

_POINTS_PER_INCH = 72

Align = Literal["left", "center", "right"]

INK, GREY, LINES = "#111827", "#6b7280", "#e5e7eb"
"""Colours of text, of secondary text and of thin lines."""


class _Ink(NamedTuple):
    size: float
    colour: str
    bold: bool
    align: Align


class Sheet:
    """An empty figure of a size in inches."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = new_figure(width, height)
        self.figure.set_layout_engine("none")
        self.figure.set_dpi(DPI)
        self._measure = _measuring_renderer()

    def axes(self, left: float, top: float, width: float, height: float) -> "Axes":
        """Return new axes."""
        bottom = self.height - top - height
        place = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(place)

    def box(self, left: float, top: float, width: float, height: float, colour: str) -> None:
        """Draw a filled rectangle."""
        from matplotlib.patches import Rectangle

        corner = self._place(left, top + height)
        size = (width / self.width, height / self.height)
        patch = Rectangle(
            corner, *size, facecolor=colour, linewidth=0, transform=self.figure.transFigure
        )
        self.figure.add_artist(patch)

    def line(self, points: list[tuple[float, float]], colour: str) -> None:
        """Draw a thin line through points."""
        from matplotlib.lines import Line2D

        xs, ys = zip(*(self._place(*point) for point in points), strict=True)
        self.figure.add_artist(
            Line2D(
                xs, ys, color=colour, linewidth=0.9, zorder=0.5, transform=self.figure.transFigure
            )
        )

    def write(
        self,
        left: float,
        middle: float,
        text: str,
        *,
        size: float,
        colour: str,
        bold: bool = False,
        align: Align = "left",
        room: float | None = None,
        clear: bool = False,
    ) -> float:
        """Write text.

        Args:
            left: of the text's left end, centre or right end, depending on `align`.
            middle: of its height.
            text: in any script.
            size: in points.
            colour: #rrggbb.
            bold: whether letters are heavier.
            align: which part of the text is at `left`.
            room: width to shorten it to; where hardly a letter fits, it is left out.
            clear: whether to draw a white box behind it.

        Returns:
            The width in inches; 0 if it was left out.
        """
        text, at = printable(text), self._place(left, middle)
        ink = _Ink(size, colour, bold, align)
        while True:
            draw = self._draw_text if is_covered(text) else self._draw_mask
            artist = draw(at, text, ink)
            width = float(artist.get_window_extent(self._measure).width) / DPI
            if room is None or width <= room:
                break
            artist.remove()
            kept = min(int(len(text) * room / width), len(text) - 1) - 1
            if kept < 4:
                return 0.0
            text = f"{text[:kept].rstrip()}…"
        if clear:
            self.box(left - width / 2 - 0.03, middle - 0.07, width + 0.06, 0.14, "#ffffff")
        return width

    def _place(self, left: float, top: float) -> tuple[float, float]:
        return left / self.width, 1 - top / self.height

    def _draw_text(self, at: tuple[float, float], text: str, ink: "_Ink") -> "Artist":
        return self.figure.text(
            *at,
            text,
            fontsize=ink.size,
            color=ink.colour,
            weight="bold" if ink.bold else "normal",
            ha=ink.align,
            va="center_baseline",
            parse_math=False,
        )

    def _draw_mask(self, at: tuple[float, float], text: str, ink: "_Ink") -> "Artist":
        from matplotlib.offsetbox import AnnotationBbox, OffsetImage

        mask = text_mask(text, round(ink.size * DPI / _POINTS_PER_INCH), bold=ink.bold)
        picture = np.dstack([np.full((*mask.shape, 3), rgb(ink.colour), np.uint8), mask])
        artist = AnnotationBbox(
            OffsetImage(picture, zoom=_POINTS_PER_INCH / DPI),
            at,
            xycoords="figure fraction",
            box_alignment=({"left": 0.0, "center": 0.5, "right": 1.0}[ink.align], 0.5),
            frameon=False,
            pad=0,
        )
        self.figure.add_artist(artist)
        return artist


@cache
def _measuring_renderer() -> "RendererAgg":
    """Return one renderer for all measuring; by default each text gets one of the figure's size."""
    from matplotlib.backends.backend_agg import RendererAgg

    return RendererAgg(1, 1, DPI)  # type: ignore[no-untyped-call]


def is_covered(text: str) -> bool:
    """Return whether matplotlib's font has all characters of a text."""
    return all(ord(c) in _covered_codes() for c in text)


@cache
def _covered_codes() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())
