"""What is drawn into every frame: a panel with label and score, and a strip with curves over time.

Sizes depend on the shorter side of the frame, so that all frames are equally readable.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from activity_cli.report.figures import UNKNOWN_COLOUR, text_colour_on
from activity_cli.report.overlay.layer import (
    Layer,
    area_below,
    fit_text,
    line_along,
    rounded,
    text_mask,
)
from activity_cli.types import JOIN, NONE, Segment, Timeline
from activity_cli.video.capture import Frame

_INK, _TRACK, _MUTED = "#0b0f17", "#ffffff", "#cbd5e1"
_OPACITY = 0.76
_MAX_STRIP = 0.45  # of the frame's height; above, nothing is drawn
_SAMPLES_PER_COLUMN = 8
_MAX_LABELS = 12
_MIN_NAME = 3.5  # font sizes: names that must be shortened below this are left out


@dataclass(kw_only=True)
class FramePainter:
    """Draws a panel, and a strip with curves over time, into the frames of one video."""

    size: tuple[int, int]  # width and height of the frames in pixels
    start_seconds: float
    end_seconds: float
    curves: Callable[[NDArray[np.float64]], Mapping[str, NDArray[np.floating]]]
    """From times (N,) to heights (N,), 0 to 1, of each label."""
    colours: Mapping[str, str]  # #rrggbb of each label
    segments: Sequence[Segment] | None = None
    """Drawn as a band below the curves; None draws no band."""
    caption: str = ""  # written behind the time

    def __post_init__(self) -> None:
        self._width, self._height = self.size
        short_side = min(self._height, round(0.8 * self._width))
        self._text = max(11, round(0.045 * short_side))
        self._small = max(10, round(0.032 * short_side))
        self._pad = max(3, round(0.45 * self._text))
        self._inner = self._width - 2 * self._pad
        self._strip = self._draw_strip()
        self._panel: tuple[object, Layer] | None = None

    def paint(
        self, frame: Frame, seconds: float, *, label: str, score: float, is_guess: bool = False
    ) -> None:
        """Draw into an RGB frame in place; a label is grey if it is a guess outside segments."""
        if self._strip.size[0] > _MAX_STRIP * self._height:
            return  # the frame is too low for letters
        strip_top = self._height - self._strip.size[0]
        self._strip.blend_over(frame, x=0, y=strip_top)
        times = f"{clock(seconds, decimals=1)} / {clock(self.end_seconds, decimals=1)}"
        text = f"{times}  ·  {self.caption}" if self.caption else times
        mask = fit_text(text, self._small, self._inner)
        layer = Layer(*mask.shape)
        layer.fill(mask, "#ffffff")
        layer.blend_over(frame, x=self._pad, y=strip_top + self._pad // 2)
        self._paint_play_head(frame, seconds, strip_top)
        key = (label, round(score, 2), is_guess)
        if self._panel is None or self._panel[0] != key:
            self._panel = key, self._draw_panel(*key)
        self._panel[1].blend_over(frame, x=self._pad, y=self._pad)

    def _draw_panel(self, label: str, score: float, is_guess: bool) -> Layer:
        text, pad = self._text, self._pad
        shown = f"{label}?" if is_guess and label != NONE else label
        name = text_mask(shown, text, bold=True)
        width = max(9 * text, self._width // 5, name.shape[1] + 4 * pad)
        width = min(width, self._inner)
        if width <= 4 * pad:
            return Layer(0, 0)
        bar = max(3, round(0.3 * text))
        height = round(1.7 * pad) + name.shape[0] + text_mask("0", self._small).shape[0]
        layer = Layer(min(height, self._height), width)
        layer.fill(rounded(height, width, pad), _INK, opacity=_OPACITY)
        own = label if label in self.colours else label.partition(JOIN)[0]
        colour = UNKNOWN_COLOUR if is_guess else self.colours[own]
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
            if filled := round(score * room):
                layer.fill(rounded(bar, filled, bar), colour, x=left, y=middle - bar // 2)
        return layer

    def _draw_strip(self) -> Layer:
        """Draw what is the same in all frames: curves and segments."""
        pad, small = self._pad, self._small
        height = round(2.0 * small)
        band = 0 if self.segments is None else round(1.5 * small)
        self._curves_top = round(1.4 * small) + pad
        self._band_top = self._curves_top + height + 2
        layer = Layer(self._band_top + band + pad, self._width)
        layer.fill(np.full(layer.size, 255, np.uint8), _INK, opacity=_OPACITY)
        if self._inner < 8:
            return layer
        # In a long video a column covers many windows: it shows their mean.
        shares = (np.arange(self._inner * _SAMPLES_PER_COLUMN) + 0.5) / _SAMPLES_PER_COLUMN
        length = self.end_seconds - self.start_seconds
        seconds = self.start_seconds + shares / self._inner * length
        for label, heights in self.curves(seconds).items():
            values = heights.reshape(self._inner, _SAMPLES_PER_COLUMN).mean(axis=1) * height
            colour, y = self.colours[label], self._curves_top
            layer.fill(area_below(values, height), colour, x=pad, y=y, opacity=0.22)
            layer.fill(line_along(values, height, max(1.5, small / 9)), colour, x=pad, y=y)
        if self.segments is not None:
            track = rounded(band, self._inner, small / 3)
            layer.fill(track, _TRACK, x=pad, y=self._band_top, opacity=0.16)
            lanes = lanes_of(self.segments)
            for segment in self.segments:
                self._draw_segment(layer, segment, band, lanes)
        return layer

    def _draw_segment(
        self, layer: Layer, segment: Segment, band: int, lanes: Mapping[str, int]
    ) -> None:
        band = max(1, band // max(len(lanes), 1))
        y = self._band_top + lanes.get(segment.label, 0) * band
        left, right = (round(self._x_at(t)) for t in (segment.start_seconds, segment.end_seconds))
        gap = 1 if right - left > 4 else 0  # separates neighbours with one label
        width = max(right - left - gap, 1)
        colour = self.colours[segment.label]
        layer.fill(rounded(band, width, min(self._small, band) / 3), colour, x=left, y=y)
        room = width - self._small // 2
        name = text_mask(segment.label, self._small, bold=True)
        if name.shape[1] > room:
            if room < _MIN_NAME * self._small or lanes:
                return
            name = fit_text(segment.label, self._small, room, bold=True)
        top = y + (band - name.shape[0]) // 2
        if band < name.shape[0]:
            return
        layer.fill(name, text_colour_on(colour), x=left + (width - name.shape[1]) // 2, y=top)

    def _paint_play_head(self, frame: Frame, seconds: float, strip_top: int) -> None:
        """Draw a white line through curves and band, with a dark rim and a knob on top."""
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

    def _x_at(self, seconds: float) -> float:
        """Return the column of a time."""
        start, end = self.start_seconds, self.end_seconds
        return self._pad + self._inner * min(max((seconds - start) / (end - start), 0.0), 1.0)


def scores_at(timeline: Timeline, seconds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return scores (N, C) at times (N,), interpolated between the middles of the windows."""
    starts = timeline.starts_seconds
    ends = np.minimum(starts + timeline.window_seconds, timeline.end_seconds)
    middles = (starts + ends) / 2
    columns = [np.interp(seconds, middles, column) for column in timeline.scores.T]
    return np.stack(columns, axis=1).astype(np.float32)


def lanes_of(segments: Sequence[Segment]) -> dict[str, int]:
    """Return the lane of each label in a band; empty where one lane is enough.

    There are several where segments overlap, which are in the order of their starts.
    """
    if not any(later.start_seconds < one.end_seconds for one, later in pairwise(segments)):
        return {}
    labels = dict.fromkeys(one.label for one in segments)
    return {label: number for number, label in enumerate(labels)}


def segment_at(segments: Sequence[Segment], seconds: float) -> Segment | None:
    """Return the segment at a time, if any; its end is not part of it."""
    return next((s for s in segments if s.start_seconds <= seconds < s.end_seconds), None)


def leading_labels(
    timeline: Timeline, segments: Sequence[Segment], most: int = _MAX_LABELS
) -> list[str]:
    """Return the most relevant labels: those found, then those with high scores."""
    is_found = np.isin(timeline.labels, [segment.label for segment in segments])
    order = np.lexsort([-timeline.scores.max(axis=0), ~is_found])
    # In the model's order, as everywhere.
    return [timeline.labels[number] for number in sorted(order[:most].tolist())]


def leading_scores(
    timeline: Timeline, segments: Sequence[Segment], seconds: NDArray[np.float64]
) -> dict[str, NDArray[np.float32]]:
    """Return the scores (N,) of these labels at times (N,)."""
    scores = dict(zip(timeline.labels, scores_at(timeline, seconds).T, strict=True))
    return {label: scores[label] for label in leading_labels(timeline, segments)}


def clock(seconds: float, *, decimals: int = 0) -> str:
    """Format a time: 0:07, 12:34.5, 1:02:03. Truncated, not rounded, as on clocks."""
    ticks = int(max(seconds, 0) * 10**decimals + 1e-6)
    whole, rest = divmod(ticks, 10**decimals)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    text = f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
    return f"{text}.{rest:0{decimals}}" if decimals else text
