"""A video and its timeline -> one picture: scores over time, and thumbnails.

More than eight thumbnails are placed alternately above and below the plot, each near its time.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from activity_cli.common import count_of
from activity_cli.report.figures import UNKNOWN_COLOUR, text_colour_on, tidy, timeline_colours
from activity_cli.report.figures.sheet import GREY, Sheet
from activity_cli.report.overlay.painter import (
    clock,
    lanes_of,
    leading_labels,
    leading_scores,
    segment_at,
)
from activity_cli.report.overlay.thumbnails import choose_moments, read_thumbnails
from activity_cli.report.overlay.video import check_output
from activity_cli.types import JOIN, Segment, Timeline
from activity_cli.video.capture import Frame

_EMPTY = "#f3f4f6"

# Inches.
_WIDTH, _LEFT, _RIGHT = 12.0, 0.65, 0.3
_INNER = _WIDTH - _LEFT - _RIGHT
_TITLE, _PLOT, _BAND, _AXIS, _BOTTOM = 0.95, 1.7, 0.3, 0.3, 0.12
_CAPTION, _GAP, _CONNECTOR = 0.36, 0.12, 0.4
_MAX_HEIGHT = 2.1  # of a thumbnail
_LOWEST_NAME = 0.14  # lane of a band that holds a name

_MAX_IN_ROW = 8
_MANY_WINDOWS = 300  # from here on curves are thinner
_THUMBNAIL_PIXELS = 400
_TICK_STEPS = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 21600),
)


def save_storyboard(
    video: Path,
    timeline: Timeline,
    segments: Sequence[Segment],
    output: Path,
    *,
    model: str = "",
    overwrite: bool = False,
) -> Path:
    """Write a .png of what happens in a video, and when; return its path.

    Raises:
        VideoError: no frame can be decoded.
        OutputError: not a .png, the file exists, or it cannot be written.
    """
    check_output(output, ".png", video, overwrite=overwrite)
    moments = choose_moments(segments, timeline.end_seconds)
    pictures = read_thumbnails(video, moments, height=_THUMBNAIL_PIXELS)
    aspect = pictures[0].shape[1] / pictures[0].shape[0]
    board = _Board(timeline, segments, len(moments), aspect)
    board.draw_title(video.name, model)
    board.draw_thumbnails(moments, pictures)
    board.draw_scores()
    board.draw_band()
    board.sheet.save(output)
    return output


class _Board:
    """The layout, and what draws each part of it."""

    def __init__(
        self, timeline: Timeline, segments: Sequence[Segment], count: int, aspect: float
    ) -> None:
        self._timeline, self._segments = timeline, segments
        self._colours = timeline_colours(timeline.labels, [s.label for s in segments])
        self._decimals = 2 if timeline.end_seconds < 10 else 1
        self._num_rows = 1 if count <= _MAX_IN_ROW else 2
        columns = -(-count // self._num_rows)
        width = (_INNER - _GAP * (columns - 1)) / columns
        self._height = min(width / aspect, _MAX_HEIGHT)
        self._width = self._height * aspect
        # Slim pictures are spread over the whole width.
        self._step = (_INNER - self._width) / max(columns - 1, 1)
        self._indent = self._step / 2 if count % self._num_rows else 0.0  # of the shorter row
        row = self._height + _CAPTION + _CONNECTOR
        self._plot_top = _TITLE + row
        self._band_top = self._plot_top + _PLOT + 0.08
        self._axis_top = self._band_top + _BAND
        self._second_row_top = self._axis_top + _AXIS + _CONNECTOR
        height = self._axis_top + _AXIS + (row if self._num_rows == 2 else 0) + _BOTTOM
        self.sheet = Sheet(_WIDTH, height)

    def draw_title(self, name: str, model: str) -> None:
        """Draw the file's name, length, number of segments, model, and the labels at the right."""
        facts = [
            clock(self._timeline.end_seconds, decimals=self._decimals),
            count_of(len(self._segments), "segment"),
        ]
        if model:
            facts.append(f"model {model}")
        self.sheet.write(_LEFT, 0.36, name, size=15, bold=True, room=_INNER)
        width = self.sheet.write(_LEFT, 0.68, "  ·  ".join(facts), size=10, colour=GREY)
        self._draw_legend(_LEFT + width + 0.3)

    def draw_thumbnails(self, moments: Sequence[float], pictures: Sequence[Frame]) -> None:
        """Draw pictures with time and label below, and a line to their time."""
        for index, (moment, picture) in enumerate(zip(moments, pictures, strict=True)):
            column, row = divmod(index, self._num_rows)
            left = _LEFT + column * self._step + (self._indent if row else 0.0)
            top = self._second_row_top if row else _TITLE
            segment = segment_at(self._segments, moment)
            within = [s for s in self._segments if s.start_seconds <= moment < s.end_seconds]
            label = JOIN.join(one.label for one in within)
            colour = self._colours[segment.label] if segment else UNKNOWN_COLOUR
            centre, at = left + self._width / 2, self._x_at(moment)
            if row:
                ends = [(at, self._axis_top), (at, self._axis_top + _AXIS), (centre, top)]
            else:
                under = top + self._height + _CAPTION
                ends = [(centre, under), (at, self._plot_top - 0.06), (at, self._band_top)]
            self.sheet.line(ends, colour)
            self.sheet.picture(left, top, self._width, self._height, picture)
            below = top + self._height
            self.sheet.box(left, below, self._width, 0.06, colour)
            text = f"{clock(moment, decimals=self._decimals)}  {label}".rstrip()
            self.sheet.write(left, below + 0.2, text, size=9, room=self._width)

    def draw_scores(self) -> None:
        """Draw the scores of the most relevant labels over time."""
        axes = self.sheet.axes(_LEFT, self._plot_top, _INNER, _PLOT)
        seconds = np.linspace(0, self._timeline.end_seconds, 2000)
        thick = 1.6 if len(self._timeline.starts_seconds) < _MANY_WINDOWS else 0.9
        for label, values in leading_scores(self._timeline, self._segments, seconds).items():
            colour = self._colours[label]
            axes.fill_between(seconds, values, color=colour, alpha=0.12, linewidth=0)
            axes.plot(seconds, values, color=colour, linewidth=thick)
        axes.set(xlim=(0, self._timeline.end_seconds), ylim=(0, 1.03), xticks=[])
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"], color=GREY, fontsize=8.5)
        axes.set_ylabel("score", color=GREY, fontsize=9)
        axes.tick_params(length=0)
        tidy(axes)
        axes.spines[:].set_visible(False)

    def draw_band(self) -> None:
        """Draw the segments as coloured blocks with labels where they fit, and the time axis."""
        self.sheet.box(_LEFT, self._band_top, _INNER, _BAND, _EMPTY)
        lanes = lanes_of(self._segments)
        height = _BAND / max(len(lanes), 1)
        for segment in self._segments:
            left, right = self._x_at(segment.start_seconds), self._x_at(segment.end_seconds)
            width = max(right - left - 0.012, 0.012)  # a gap between neighbours
            colour = self._colours[segment.label]
            top = self._band_top + lanes.get(segment.label, 0) * height
            self.sheet.box(left, top, width, height, colour)
            if width > 0.5 and height > _LOWEST_NAME:
                self.sheet.write(
                    (left + left + width) / 2,
                    top + height / 2,
                    segment.label,
                    size=8.5,
                    colour=text_colour_on(colour),
                    bold=True,
                    align="center",
                    room=width - 0.05,
                )
        end = self._timeline.end_seconds
        step = next((step for step in _TICK_STEPS if end / step <= 12), end / 10)
        decimals = 0 if step >= 1 else self._decimals
        for seconds in np.arange(0, end + 1e-9, step).tolist():
            x, text = self._x_at(seconds), clock(seconds, decimals=decimals)
            self.sheet.line([(x, self._axis_top), (x, self._axis_top + 0.05)], GREY)
            middle = self._axis_top + 0.15
            self.sheet.write(x, middle, text, size=8.5, colour=GREY, align="center", clear=True)

    def _draw_legend(self, left: float) -> None:
        """Draw colours and labels from the right; those that do not fit are left out."""
        found = {segment.label for segment in self._segments}
        shown = found.union(leading_labels(self._timeline, self._segments))
        right = _LEFT + _INNER
        for label in reversed([label for label in self._colours if label in shown]):
            room = right - left - 0.2
            width = self.sheet.write(right, 0.68, label, size=10, align="right", room=room)
            if width == 0:
                break
            self.sheet.box(right - width - 0.2, 0.61, 0.14, 0.14, self._colours[label])
            right -= width + 0.42

    def _x_at(self, seconds: float) -> float:
        return _LEFT + _INNER * min(max(seconds / self._timeline.end_seconds, 0.0), 1.0)
