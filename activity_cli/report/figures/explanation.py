"""An explanation as one picture.

From the top: a summary, the most important frames with heat maps in each stream, the contribution
of each frame over time, and the LSTM's gates and cells, if it is used.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from activity_cli.common.files import write_json
from activity_cli.evaluation.explanation.summary import (
    describe_agreement,
    describe_attention,
    find_span,
    span_seconds,
    summarise,
)
from activity_cli.evaluation.explanation.values import Direction, Explanation, Floats, GateTrace
from activity_cli.report.figures.sheet import GREY, INK, LINES, Sheet
from activity_cli.report.overlay.heat_video import blend_heat
from activity_cli.report.overlay.thumbnails import read_thumbnails
from activity_cli.report.palette import label_colours
from activity_cli.report.terminal.explanation import explanation_values
from activity_cli.settings import Stream
from activity_cli.video.capture import Frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.ticker import Locator

PICTURE_FILE, VALUES_FILE = "explanation.png", "explanation.json"

_PALE = "#f3f4f6"
STREAM_COLOURS: dict[Stream, str] = {"rgb": "#56b4e9", "motion": "#e69f00", "flow": "#009e73"}
STREAM_NAMES: dict[Stream, str] = {"rgb": "picture", "motion": "motion", "flow": "flow"}

# Inches.
_WIDTH, _LEFT, _RIGHT, _GAP = 12.0, 0.75, 0.3, 0.14
_INNER = _WIDTH - _LEFT - _RIGHT
_COLUMNS = 5
_COLUMN = (_INNER - _GAP * (_COLUMNS - 1)) / _COLUMNS
_TITLE, _CAPTION, _HEADING, _AXIS = 0.5, 0.36, 0.5, 0.34
_SUBTITLE = 0.24
_PLOT, _GATES_HEIGHT, _BOX = 1.75, 1.25, 0.35
_MAX_PICTURE = 1.9  # of the height of a picture
_LINE = 0.21
_LETTERS_PER_LINE = 130
_GATES = {"input": "#0072b2", "forget": "#d55e00", "output": "#009e73"}
_CELL = "#9ca3af"
_PICTURE_PIXELS = 320


def write_explanation(explanation: Explanation, folder: Path) -> None:
    """Write explanation.png and explanation.json.

    Raises:
        VideoError: the video's frames cannot be read again.
        OutputError: the files cannot be written.
    """
    draw_explanation(explanation, folder / PICTURE_FILE)
    write_json(folder / VALUES_FILE, explanation_values(explanation))


def draw_explanation(explanation: Explanation, path: Path) -> None:
    """Draw an explanation as PNG.

    Raises:
        VideoError: the video's frames cannot be read again.
        OutputError: the picture cannot be written.
    """
    chosen = explanation.most_important(_COLUMNS)
    pictures = read_thumbnails(
        explanation.video, explanation.seconds[chosen].tolist(), height=_PICTURE_PIXELS
    )
    board = _Board(explanation, pictures)
    board.draw_head()
    board.draw_pictures(chosen, pictures)
    board.draw_importance(chosen)
    board.draw_lstm()
    board.sheet.save(path)


class _Board:
    """Draws from top to bottom."""

    def __init__(self, explanation: Explanation, pictures: Sequence[Frame]) -> None:
        self._explanation = explanation
        self._lines = textwrap.wrap(_sentence(explanation), _LETTERS_PER_LINE)
        height, width = pictures[0].shape[:2]
        self._picture = min(_COLUMN * height / width, _MAX_PICTURE)
        self._picture_width = self._picture * width / height
        self._notes = textwrap.wrap(_notes(explanation), _LETTERS_PER_LINE + 40)
        bottom = _SUBTITLE + _GATES_HEIGHT + _AXIS if explanation.lstm else _BOX
        rows = len(explanation.heat)
        total = _TITLE + _LINE * len(self._lines) + 0.12 + _CAPTION + rows * (self._picture + 0.08)
        total += _HEADING + _PLOT + _AXIS + 0.19 * len(self._notes) + _HEADING + bottom + 0.15
        self.sheet = Sheet(_WIDTH, total)
        self._top = 0.0

    def draw_head(self) -> None:
        """Draw label, score and summary."""
        e, sheet = self._explanation, self.sheet
        colour = label_colours(e.prediction.labels)[e.label]
        sheet.box(_LEFT, 0.17, 0.2, 0.2, colour)
        width = sheet.write(_LEFT + 0.3, 0.28, e.label, size=16, bold=True, room=5)
        sheet.write(_LEFT + 0.42 + width, 0.28, f"{e.score:.2f}", size=16)
        about = f"{e.video.name} · {e.model}"
        right = _WIDTH - _RIGHT
        sheet.write(right, 0.28, about, size=9, colour=GREY, align="right", room=4.5)
        self._top = _TITLE + 0.06
        for line in self._lines:
            sheet.write(_LEFT, self._top + _LINE / 2, line, size=10.5, colour="#374151")
            self._top += _LINE
        self._top += 0.06

    def draw_pictures(self, chosen: Sequence[int], pictures: Sequence[Frame]) -> None:
        """Draw the most important frames in every stream, with heat maps."""
        e, sheet = self._explanation, self.sheet
        per_frame, scale = e.importance.per_frame, e.heat_scale
        middle = self._top + _CAPTION / 2
        for column, frame in enumerate(chosen):
            left = self._left(column)
            caption = f"{e.seconds[frame]:.2f} s"
            width = sheet.write(left, middle, caption, size=10, bold=True)
            evidence = f"evidence {per_frame[frame]:+.2f}"
            sheet.write(left + width + 0.15, middle, evidence, size=9, colour=GREY)
        self._top += _CAPTION
        for stream, heat in e.heat.items():
            self._write_stream(stream)
            for column, frame in enumerate(chosen):
                shown = pictures[column]
                if stream != "rgb":
                    height, width = shown.shape[:2]
                    shown = cv2.resize(e.images[stream][frame], (width, height))
                    if shown.ndim == 2:  # grey frames
                        shown = cv2.cvtColor(shown, cv2.COLOR_GRAY2RGB)
                shown = blend_heat(shown, np.maximum(heat[frame], 0) / scale)
                left, width = self._left(column), self._picture_width
                sheet.picture(left, self._top, width, self._picture, shown)
            self._top += self._picture + 0.08

    def draw_importance(self, chosen: Sequence[int]) -> None:
        """Draw the contribution of each frame by stream, with occlusion and attention."""
        e = self._explanation
        self._head_plot("Contribution of each frame", "evidence for the label")
        axes = self._time_axes(_LEFT, _INNER, _PLOT)
        width = 0.8 * e.decoded.duration_seconds / len(e.seconds)
        if (span := find_span(e.importance)) and span.is_short:
            axes.axvspan(*span_seconds(e, span), color=_PALE, zorder=0)
        up = down = np.zeros(len(e.seconds), np.float32)
        for stream, values in zip(e.heat, e.importance.contributions, strict=True):
            base = np.where(values >= 0, up, down)
            axes.bar(
                self._middles(),
                values,
                width,
                bottom=base,
                color=STREAM_COLOURS[stream],
                label=STREAM_NAMES[stream],
            )
            up, down = up + np.maximum(values, 0), down + np.minimum(values, 0)
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.plot(
            self._middles(),
            e.importance.occlusion,
            "o-",
            color=INK,
            markersize=3.5,
            linewidth=1,
            label="occlusion: evidence lost without the frame",
        )
        self._mark(axes, chosen, up)
        self._draw_attention(axes)
        self._add_legend(axes, 1.0, 1.0)
        self._top += _PLOT + _AXIS
        for line in self._notes:
            self.sheet.write(_LEFT, self._top + 0.1, line, size=8.5, colour=GREY)
            self._top += 0.19

    def _draw_attention(self, axes: "Axes") -> None:
        """Draw attention on a scale of its own, if it has an effect."""
        attention = self._explanation.importance.attention
        if attention is None or not self._explanation.importance.attention_matters:
            return
        second = axes.twinx()
        second.plot(self._middles(), attention, ":", color="#cc79a7", linewidth=2)
        low, high = axes.get_ylim()
        top = 1.25 * float(attention.max())
        second.set_ylim(top * low / high if high > 0 else 0, top)  # zeros at one height
        second.axis("off")
        axes.plot([], [], ":", color="#cc79a7", linewidth=2, label="attention (own scale)")

    def _mark(self, axes: "Axes", chosen: Sequence[int], up: Floats) -> None:
        """Mark the frames that are shown above with triangles."""
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.12 * (high - low))
        tops = np.maximum(up, self._explanation.importance.occlusion)[list(chosen)]
        places = self._middles()[list(chosen)]
        axes.plot(places, tops + 0.07 * (high - low), "v", color=INK, markersize=5, linewidth=0)

    def draw_lstm(self) -> None:
        """Draw gates and cells of the LSTM, or write why it is not used."""
        e = self._explanation
        if e.lstm is None:
            self._head_plot("The LSTM is not used" if e.has_lstm else "No LSTM", "")
            text = f"{e.lstm_unused[0].upper()}{e.lstm_unused[1:]}."
            for number, line in enumerate(textwrap.wrap(text, _LETTERS_PER_LINE + 40)):
                middle = self._top + 0.1 + 0.19 * number
                self.sheet.write(_LEFT, middle, line, size=8.5, colour=GREY)
            return
        share = f"{e.importance.lstm_share:.1%} of the evidence; gates: 0 is closed, 1 open"
        self._head_plot("LSTM", share)
        self._top += _SUBTITLE
        column = 0
        directions: tuple[Direction, ...] = ("forward", "backward")
        for direction in directions:
            if trace := e.lstm.last(direction):
                self._draw_gates(column, trace, None, f"all units, {direction} in time")
                column += 1
        for unit in e.lstm.top_units[: _COLUMNS - column]:
            trace = e.lstm.last(unit.direction)
            assert trace is not None
            arrow = "→" if unit.direction == "forward" else "←"
            title = f"unit {unit.index} {arrow}, evidence {unit.effect:+.2f}"
            self._draw_gates(column, trace, unit.index, title)
            column += 1

    def _draw_gates(self, column: int, trace: GateTrace, unit: int | None, title: str) -> None:
        """Draw the gates of a unit, or their means over all, with the cell as an area behind."""
        axes = self._time_axes(_LEFT + column * (_COLUMN + _GAP), _COLUMN, _GATES_HEIGHT)
        axes.set_ylim(-0.02, 1.02)
        axes.set_yticks([0, 0.5, 1], ["0", "", "1"] if column == 0 else [""] * 3)
        axes.set_title(title, fontsize=8.5, color=INK, loc="left", pad=3)
        for gate, colour in _GATES.items():
            values = getattr(trace, gate)
            values = values.mean(axis=1) if unit is None else values[:, unit]
            axes.plot(self._middles(), values, color=colour, linewidth=1.6, label=f"{gate} gate")
        cell = np.abs(trace.cell).mean(axis=1) if unit is None else trace.cell[:, unit]
        behind = axes.twinx()
        behind.fill_between(self._middles(), cell, color=_CELL, alpha=0.35, linewidth=0)
        size = 1.1 * max(float(np.abs(cell).max()), 1e-6)
        behind.set_ylim(0 if unit is None else -size, size)
        behind.axis("off")
        axes.set_zorder(behind.get_zorder() + 1)
        axes.patch.set_visible(False)
        axes.fill_between([], [], color=_CELL, alpha=0.35, label="cell state")
        if column == 0:
            self._add_legend(axes, _INNER / _COLUMN, 1 + (_SUBTITLE + 0.1) / _GATES_HEIGHT)

    def _add_legend(self, axes: "Axes", right: float, bottom: float) -> None:
        """Add a legend in a row above a plot, at the right; places are shares of the axes' size."""
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(right, bottom),
            ncols=4,
            frameon=False,
            fontsize=8.5,
            borderaxespad=0.1,
        )

    # Layout.

    def _left(self, column: int) -> float:
        """Return where a column starts; slim pictures are spread over the whole width."""
        step = (_INNER - self._picture_width) / (_COLUMNS - 1)
        return float(_LEFT + column * step)

    def _middles(self) -> Floats:
        """Return (T,) the middle of the part of the clip that each frame stands for, in seconds."""
        e, count = self._explanation, len(self._explanation.seconds)
        step = e.decoded.duration_seconds / count
        return np.asarray(e.start_seconds + step * (np.arange(count) + 0.5), np.float32)

    def _head_plot(self, heading: str, unit: str) -> None:
        middle = self._top + _HEADING - 0.24
        width = self.sheet.write(_LEFT, middle, heading, size=10.5, bold=True)
        self.sheet.write(_LEFT + width + 0.1, middle, unit, size=9, colour=GREY)
        self._top += _HEADING

    def _time_axes(self, left: float, width: float, height: float) -> "Axes":
        axes = self.sheet.axes(left, self._top, width, height)
        axes.set_xlim(self._explanation.start_seconds, self._explanation.end_seconds)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(LINES)
        axes.tick_params(labelsize=8, colors=GREY, length=0)
        axes.grid(axis="y", color=LINES, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.xaxis.set_major_formatter("{x:g} s")
        axes.xaxis.set_major_locator(_time_locator(width))
        return axes

    def _write_stream(self, stream: Stream) -> None:
        self.sheet.box(_LEFT - 0.1, self._top, 0.03, self._picture, STREAM_COLOURS[stream])
        middle, name = self._top + self._picture / 2, STREAM_NAMES[stream]
        self.sheet.write(_LEFT - 0.16, middle, name, size=8.5, align="right")


def _time_locator(width: float) -> "Locator":
    from matplotlib.ticker import MaxNLocator

    # In narrow axes side by side, the last label would touch the first one of the next axes.
    prune = "upper" if width < _INNER else None
    return MaxNLocator(nbins=max(3, round(1.2 * width)), steps=[1, 2, 5, 10], prune=prune)


def _sentence(explanation: Explanation) -> str:
    sentence = summarise(explanation)
    if explanation.num_members > 1:
        sentence += f" The mean of {explanation.num_members} networks is explained."
    return sentence


_HEAT = "Heat maps (Grad-CAM) show the regions that contribute, on one scale for all pictures."


def _notes(explanation: Explanation) -> str:
    importance = explanation.importance
    parts = (describe_agreement(importance), describe_attention(importance), _HEAT)
    return " ".join(part for part in parts if part)
