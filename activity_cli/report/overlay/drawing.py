"""What is drawn into every frame: a panel with label and score, and a timeline with play head.

Everything is sized by the shorter side of the frame, so that it reads the same in all of them.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from activity_cli.report.overlay.layer import Layer, area_below, line_along, rounded
from activity_cli.report.overlay.scores import clock, leading_labels, scores_at, segment_at
from activity_cli.report.overlay.text import fit_text, text_mask
from activity_cli.report.palette import UNKNOWN_COLOUR, text_colour_on, timeline_colours
from activity_cli.types import Segment, Timeline
from activity_cli.video.capture import Frame

_INK, _TRACK, _MUTED = "#0b0f17", "#ffffff", "#cbd5e1"
_SHADE = 0.76
_MOST_CURVES = 12
_MOST_STRIP = 0.45  # of the frame's height
_SAMPLES = 8  # of the scores, per column of pixels
_LEAST_NAME = 3.5  # text sizes: less of a longer name says nothing


class OverlayPainter:
    """Draws into the frames of one video.

    Args:
        timeline: scores of the video's windows.
        segments: what was found in it, in order.
        size: width and height of the frames, in pixels.
    """

    def __init__(
        self,
        timeline: Timeline,
        segments: Sequence[Segment],
        size: tuple[int, int],
    ) -> None:
        self._timeline, self._segments = timeline, segments
        self._end_seconds = timeline.end_seconds
        self.size = size
        self._width, self._height = size
        self._colours = timeline_colours(timeline.labels, [s.label for s in segments])
        short_side = min(self._height, round(0.8 * self._width))
        self._text = max(11, round(0.045 * short_side))
        self._small = max(10, round(0.032 * short_side))
        self._pad = max(3, round(0.45 * self._text))
        self._strip = self._draw_strip()
        self._panel: tuple[object, Layer] | None = None

    def paint(self, frame: Frame, seconds: float) -> None:
        """Draw what belongs to a time, in place."""
        if self._strip.size[0] > _MOST_STRIP * self._height:
            return  # too low a frame for letters
        strip_top = self._height - self._strip.size[0]
        self._strip.lay_over(frame, x=0, y=strip_top)
        self._paint_clock(frame, seconds, strip_top)
        self._paint_head(frame, seconds, strip_top)
        self._panel_at(seconds).lay_over(frame, x=self._pad, y=self._pad)

    def _x_at(self, seconds: float) -> float:
        """The column of a time in the timeline."""
        inner = self._width - 2 * self._pad
        return self._pad + inner * min(max(seconds / self._end_seconds, 0.0), 1.0)

    # The panel: label, score bar.

    def _panel_at(self, seconds: float) -> Layer:
        scores = scores_at(self._timeline, np.array([seconds]))[0]
        segment = segment_at(self._segments, seconds)
        label = segment.label if segment else self._timeline.labels[int(scores.argmax())]
        score = segment.mean_score if segment else 0.0
        if label in self._timeline.labels:
            score = float(scores[self._timeline.labels.index(label)])
        key = (label, segment is None, round(score, 2))
        if self._panel is None or self._panel[0] != key:
            self._panel = key, self._draw_panel(*key)
        return self._panel[1]

    def _draw_panel(self, label: str, is_guess: bool, score: float) -> Layer:
        text, pad = self._text, self._pad
        shown = f"{label}?" if is_guess else label
        width = min(max(9 * text, self._width // 5), self._width - 2 * pad)
        name = text_mask(shown, text, bold=True)
        width = min(max(width, name.shape[1] + 4 * pad), self._width - 2 * pad)
        if width <= 4 * pad:
            return Layer(0, 0)
        bar = max(3, round(0.3 * text))
        height = round(1.7 * pad) + name.shape[0] + text_mask("0", self._small).shape[0]
        layer = Layer(min(height, self._height), width)
        layer.fill(rounded(height, width, pad), _INK, opacity=_SHADE)
        colour = UNKNOWN_COLOUR if is_guess else self._colours[label]
        layer.fill(rounded(height - 2 * pad, max(2, pad // 2), pad), colour, x=pad // 2, y=pad)
        left, right = 2 * pad, width - pad
        name = fit_text(shown, text, right - left, bold=True)
        layer.fill(name, _MUTED if is_guess else "#ffffff", x=left, y=pad // 2)
        number = text_mask(f"{score:.2f}", self._small, bold=True)
        middle = pad // 2 + name.shape[0] + pad // 2 + number.shape[0] // 2
        layer.fill(number, "#ffffff", x=right - number.shape[1], y=middle - number.shape[0] // 2)
        room = right - left - text_mask("0.00", self._small, bold=True).shape[1] - pad
        if room > bar:
            layer.fill(rounded(bar, room, bar), _TRACK, x=left, y=middle - bar // 2, opacity=0.25)
            filled = round(score * room)
            if filled >= 1:
                layer.fill(rounded(bar, filled, bar), colour, x=left, y=middle - bar // 2)
        return layer

    # The strip at the bottom: curves of the scores, segments, play head.

    def _draw_strip(self) -> Layer:
        pad, small = self._pad, self._small
        band, curves = round(1.5 * small), round(2.0 * small)
        self._curves_top = round(1.4 * small) + pad
        self._band_top = self._curves_top + curves + 2
        height = self._band_top + band + pad
        layer = Layer(height, self._width)
        shade = np.full((height, self._width), 255, np.uint8)
        layer.fill(shade, _INK, opacity=_SHADE)
        inner = self._width - 2 * pad
        if inner < 8:
            return layer
        # A column stands for many windows of a long video: it shows their mean.
        seconds = (np.arange(inner * _SAMPLES) + 0.5) / (inner * _SAMPLES) * self._end_seconds
        scores = scores_at(self._timeline, seconds).reshape(inner, _SAMPLES, -1).mean(axis=1)
        for label in leading_labels(self._timeline, self._segments, _MOST_CURVES):
            heights = scores[:, self._timeline.labels.index(label)] * curves
            colour, y = self._colours[label], self._curves_top
            layer.fill(area_below(heights, curves), colour, x=pad, y=y, opacity=0.22)
            layer.fill(line_along(heights, curves, max(1.5, small / 9)), colour, x=pad, y=y)
        layer.fill(rounded(band, inner, small / 3), _TRACK, x=pad, y=self._band_top, opacity=0.16)
        for segment in self._segments:
            self._draw_segment(layer, segment, band)
        return layer

    def _draw_segment(self, layer: Layer, segment: Segment, band: int) -> None:
        left, right = (round(self._x_at(t)) for t in (segment.start_seconds, segment.end_seconds))
        gap = 1 if right - left > 4 else 0  # so that neighbours of one label are two
        width = max(right - left - gap, 1)
        colour = self._colours[segment.label]
        layer.fill(rounded(band, width, self._small / 3), colour, x=left, y=self._band_top)
        room = width - self._small // 2
        name = text_mask(segment.label, self._small, bold=True)
        if name.shape[1] > room:
            if room < _LEAST_NAME * self._small:
                return
            name = fit_text(segment.label, self._small, room, bold=True)
        top = self._band_top + (band - name.shape[0]) // 2
        layer.fill(name, text_colour_on(colour), x=left + (width - name.shape[1]) // 2, y=top)

    def _paint_clock(self, frame: Frame, seconds: float, strip_top: int) -> None:
        text = f"{clock(seconds, decimals=1)} / {clock(self._end_seconds, decimals=1)}"
        mask = fit_text(text, self._small, self._width - 2 * self._pad)
        layer = Layer(*mask.shape)
        layer.fill(mask, "#ffffff")
        layer.lay_over(frame, x=self._pad, y=strip_top + self._pad // 2)

    def _paint_head(self, frame: Frame, seconds: float, strip_top: int) -> None:
        """A white line through curves and band, with a dark rim and a knob on top."""
        thick = max(2, round(self._small / 7))
        knob = max(3, round(self._small / 3.2))
        centre = self._x_at(seconds)
        top, bottom = self._curves_top - knob, self._strip.size[0] - self._pad + thick
        for colour, rim in ((11, 15, 23), 1.0), ((255, 255, 255), 0.0):
            half = thick / 2 + rim
            first, last = round(centre - half), max(round(centre + half), round(centre - half) + 1)
            frame[strip_top + top : strip_top + bottom, max(first, 0) : max(last, 0)] = colour
            where = (round(16 * (centre - 0.5)), round(16 * (strip_top + top)))
            cv2.circle(frame, where, round(16 * (knob + rim)), colour, -1, cv2.LINE_AA, shift=4)
