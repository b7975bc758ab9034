"""An explanation as one picture, and the clip as a video with heat maps."""

import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from activity_cli.common.files import write_json
from activity_cli.evaluation.explanation.summary import (
    describe_agreement,
    describe_attention,
    find_span,
    span_seconds,
    summarise,
)
from activity_cli.evaluation.explanation.values import Direction, Explanation, Floats, GateTrace
from activity_cli.report.figures import label_colours, tidy
from activity_cli.report.figures.sheet import GREY, INK, LINES, Sheet
from activity_cli.report.overlay.encoder import Sound
from activity_cli.report.overlay.painter import FramePainter
from activity_cli.report.overlay.thumbnails import read_thumbnails
from activity_cli.report.overlay.video import Paint, render_video
from activity_cli.report.terminal.explanation import explanation_values
from activity_cli.settings import Stream
from activity_cli.types import OnProgress, no_progress
from activity_cli.video.capture import Frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes


PICTURE_FILE, VALUES_FILE = "explanation.png", "explanation.json"

_STREAMS: dict[Stream, tuple[str, str]] = {
    "rgb": ("picture", "#56b4e9"),
    "motion": ("motion", "#e69f00"),
    "flow": ("flow", "#009e73"),
    "action": ("action", "#0072b2"),
}
_GATES = {"input": "#0072b2", "forget": "#d55e00", "output": "#1f2937"}
_CELL, _ATTENTION, _SPAN = "#9ca3af", "#cc79a7", "#f3f4f6"

# Inches.
_WIDTH, _LEFT, _RIGHT, _GAP = 12.0, 0.75, 0.3, 0.14
_INNER = _WIDTH - _LEFT - _RIGHT
_COLUMNS = 5
_COLUMN = (_INNER - _GAP * (_COLUMNS - 1)) / _COLUMNS
_HEADING, _PLOT, _GATE_PLOT, _AXIS = 0.5, 1.75, 1.25, 0.34
_MAX_PICTURE = 1.9
_LEGEND: dict[str, Any] = {"loc": "lower right", "ncols": 4, "frameon": False, "fontsize": 8.5}
_PICTURE_PIXELS = 320
_MAX_HEIGHT = 14.0  # of the whole picture
_HEAT = "Heat maps (Grad-CAM) show the regions that contribute, on one scale for all pictures."


def write_explanation(explanation: Explanation, folder: Path, *, details: bool = False) -> None:
    """Write explanation.png and explanation.json, or raise VideoError or OutputError.

    With `details` the picture shows the gates of the LSTM as well.
    """
    chosen = explanation.most_important(_COLUMNS)
    moments = explanation.seconds[chosen].tolist()
    pictures = read_thumbnails(explanation.video, moments, height=_PICTURE_PIXELS)
    board = _Board(explanation)
    board.draw_head()
    board.draw_pictures(chosen, pictures)
    board.draw_importance()
    if details:
        board.draw_lstm()
    board.sheet.save(folder / PICTURE_FILE, height=board.top + 0.15)
    write_json(folder / VALUES_FILE, explanation_values(explanation))


class _Board:
    """Draws from top to bottom; `top` is where the next part starts."""

    def __init__(self, explanation: Explanation) -> None:
        self._explanation = explanation
        self.sheet = Sheet(_WIDTH, _MAX_HEIGHT)
        self.top = 0.0
        count = len(explanation.seconds)
        self._step = explanation.decoded.duration_seconds / count
        self._middles = explanation.start_seconds + self._step * (np.arange(count) + 0.5)

    def draw_head(self) -> None:
        """Draw label, score and summary."""
        e, sheet = self._explanation, self.sheet
        sheet.box(_LEFT, 0.17, 0.2, 0.2, label_colours(e.prediction.labels)[e.label])
        width = sheet.write(_LEFT + 0.3, 0.28, e.label, size=16, bold=True, room=5)
        sheet.write(_LEFT + 0.42 + width, 0.28, f"{e.score:.1%}", size=16)
        about = f"{e.video.name} · {e.model}"
        sheet.write(_WIDTH - _RIGHT, 0.28, about, size=9, colour=GREY, align="right", room=4.5)
        self.top = 0.56
        text = summarise(e)
        if e.num_members > 1:
            text += f" The mean of {e.num_members} networks is explained."
        self._write_lines(text, size=10.5)

    def draw_pictures(self, chosen: Sequence[int], pictures: Sequence[Frame]) -> None:
        """Draw the most important frames in every stream, with heat maps."""
        e, sheet = self._explanation, self.sheet
        rows, columns = pictures[0].shape[:2]
        height = min(_COLUMN * rows / columns, _MAX_PICTURE)
        width = height * columns / rows
        step = (_INNER - width) / (_COLUMNS - 1)  # slim pictures are spread over the whole width
        lefts = [_LEFT + number * step for number in range(len(chosen))]
        for left, frame in zip(lefts, chosen, strict=True):
            middle, caption = self.top + 0.2, f"{e.seconds[frame]:.2f} s"
            used = sheet.write(left, middle, caption, size=10, bold=True)
            evidence = f"evidence {e.importance.per_frame[frame]:+.2f}"
            sheet.write(left + used + 0.15, middle, evidence, size=9, colour=GREY)
        self.top += 0.38
        for stream, heat in e.heat.items():
            name, colour = _STREAMS[stream]
            sheet.box(_LEFT - 0.1, self.top, 0.03, height, colour)
            sheet.write(_LEFT - 0.16, self.top + height / 2, name, size=8.5, align="right")
            for left, frame, picture in zip(lefts, chosen, pictures, strict=True):
                shown = picture
                if stream not in {"rgb", "action"}:
                    shown = cv2.resize(e.images[stream][frame], (columns, rows))
                    if shown.ndim == 2:  # grey frames
                        shown = cv2.cvtColor(shown, cv2.COLOR_GRAY2RGB)
                shares = np.maximum(heat[frame], 0) / e.heat_scale
                if stream in {"motion", "flow"}:
                    shares = shares * _moving(shown, shares.shape)
                hot = blend_heat(shown, shares)
                sheet.picture(left, self.top, width, height, hot)
            self.top += height + 0.08
        self._draw_scale()

    def _draw_scale(self) -> None:
        """Draw the colours of the heat from none to the most."""
        ramp = np.linspace(0, 1, 128, dtype=np.float32)[None]
        grey = np.full((8, 128, 3), 160, np.uint8)
        left, middle = _WIDTH - _RIGHT - 1.9, self.top + 0.06
        self.sheet.picture(left, self.top, 1.3, 0.12, blend_heat(grey, np.repeat(ramp, 8, axis=0)))
        self.sheet.write(left - 0.06, middle, "heat: none", size=8, colour=GREY, align="right")
        self.sheet.write(left + 1.36, middle, "most", size=8, colour=GREY)
        self.top += 0.14

    def draw_importance(self) -> None:
        """Draw the contribution of each frame by stream, with occlusion and attention."""
        e, importance = self._explanation, self._explanation.importance
        self._write_heading("Contribution of each frame", "evidence for the label")
        axes = self._time_axes(_LEFT, _INNER, _PLOT)
        if (span := find_span(importance)) and span.is_short:
            axes.axvspan(*span_seconds(e, span), color=_SPAN, zorder=0)
        above = below = np.zeros(len(e.seconds), np.float32)
        width = 0.8 * self._step
        for stream, values in zip(e.heat, importance.contributions, strict=True):
            base, (name, colour) = np.where(values >= 0, above, below), _STREAMS[stream]
            axes.bar(self._middles, values, width, bottom=base, color=colour, label=name)
            above, below = above + np.maximum(values, 0), below + np.minimum(values, 0)
        axes.axhline(0, color=GREY, linewidth=0.8)
        label = "occlusion: evidence lost without the frame"
        axes.plot(self._middles, importance.occlusion, ".-", color=INK, linewidth=1, label=label)
        if (attention := importance.attention) is not None and importance.attention_matters:
            second = axes.twinx()
            second.plot(self._middles, attention, ":", color=_ATTENTION, linewidth=2)
            low, high = axes.get_ylim()
            top = 1.25 * float(attention.max())
            second.set_ylim(top * low / high if high > 0 else 0, top)  # zeros at one height
            second.axis("off")
            axes.plot([], [], ":", color=_ATTENTION, linewidth=2, label="attention (own scale)")
        axes.legend(bbox_to_anchor=(1.0, 1.0), **_LEGEND)
        self.top += _PLOT + _AXIS
        notes = (describe_agreement(importance), describe_attention(importance), _HEAT)
        self._write_lines(" ".join(note for note in notes if note), size=8.5, colour=GREY)

    def draw_lstm(self) -> None:
        """Draw gates and cells of the LSTM, or write why it is not used."""
        e = self._explanation
        if e.lstm is None:
            self._write_heading("The LSTM is not used" if e.has_lstm else "No LSTM")
            text = f"{e.lstm_unused[0].upper()}{e.lstm_unused[1:]}."
            self._write_lines(text, size=8.5, colour=GREY)
            return
        share = f"{e.importance.lstm_share:.1%} of the evidence; gates: 0 is closed, 1 open"
        self._write_heading("LSTM", share)
        self.top += 0.24
        directions: tuple[Direction, ...] = ("forward", "backward")
        plots = [
            (trace, None, f"all units, {direction} in time")
            for direction in directions
            if (trace := e.lstm.last(direction))
        ] + [
            (trace, unit.index, f"unit {unit.index}, {unit.direction}, evidence {unit.effect:+.2f}")
            for unit in e.lstm.top_units
            if (trace := e.lstm.last(unit.direction))
        ]
        for column, (trace, index, title) in enumerate(plots[:_COLUMNS]):
            self._draw_gates(column, trace, index, title)
        self.top += _GATE_PLOT + _AXIS

    def _draw_gates(self, column: int, trace: GateTrace, unit: int | None, title: str) -> None:
        """Draw the gates of a unit, or their means over all, with the cell as an area behind."""
        axes = self._time_axes(_LEFT + column * (_COLUMN + _GAP), _COLUMN, _GATE_PLOT)
        axes.set_ylim(-0.02, 1.02)
        axes.set_yticks([0, 0.5, 1], ["0", "", "1"] if column == 0 else [""] * 3)
        axes.set_title(title, fontsize=8.5, color=INK, loc="left", pad=3)
        for gate, colour in _GATES.items():
            values = getattr(trace, gate)
            values = values.mean(axis=1) if unit is None else values[:, unit]
            axes.plot(self._middles, values, color=colour, linewidth=1.6, label=f"{gate} gate")
        cell = np.abs(trace.cell).mean(axis=1) if unit is None else trace.cell[:, unit]
        behind = axes.twinx()
        behind.fill_between(self._middles, cell, color=_CELL, alpha=0.35, linewidth=0)
        size = 1.1 * max(float(np.abs(cell).max()), 1e-6)
        behind.set_ylim(0 if unit is None else -size, size)
        behind.axis("off")
        axes.set_zorder(behind.get_zorder() + 1)
        axes.fill_between([], [], color=_CELL, alpha=0.35, label="cell state")
        if column == 0:
            axes.legend(bbox_to_anchor=(_INNER / _COLUMN, 1.27), **_LEGEND)

    def _write_heading(self, heading: str, unit: str = "") -> None:
        middle = self.top + _HEADING - 0.24
        width = self.sheet.write(_LEFT, middle, heading, size=10.5, bold=True)
        self.sheet.write(_LEFT + width + 0.1, middle, unit, size=9, colour=GREY)
        self.top += _HEADING

    def _write_lines(self, text: str, *, size: float, colour: str = INK) -> None:
        for line in textwrap.wrap(text, int(1400 / size)):
            self.sheet.write(_LEFT, self.top + 0.01 * size, line, size=size, colour=colour)
            self.top += 0.02 * size

    def _time_axes(self, left: float, width: float, height: float) -> "Axes":
        from matplotlib.ticker import MaxNLocator

        axes = self.sheet.axes(left, self.top, width, height)
        axes.set_xlim(self._explanation.start_seconds, self._explanation.end_seconds)
        tidy(axes)
        axes.spines[["left", "bottom"]].set_color(LINES)
        axes.tick_params(labelsize=8, colors=GREY, length=0)
        axes.xaxis.set_major_formatter("{x:g} s")
        # In narrow axes side by side, the last label would touch the first one of the next axes.
        prune = "upper" if width < _INNER else None
        bins = max(3, round(1.2 * width))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=bins, steps=[1, 2, 5, 10], prune=prune))
        return axes


_COLOURS = cv2.COLORMAP_INFERNO
_DARKEST = 60  # of 255: darker colours would hide the picture
_MAX_COVER = 0.75  # of the picture, where it is hottest
_STILL = 12.0  # grey levels around the middle in which nothing moves
_GREYED = 0.6  # of the picture's colour, so that only heat has strong colours


def save_heat_video(
    explanation: Explanation,
    output: Path,
    *,
    overwrite: bool = False,
    on_progress: OnProgress = no_progress,
) -> Sound:
    """Write the explained clip with the heat of all streams over every frame.

    Arguments and errors are those of `render_video`.
    """
    return render_video(
        explanation.video,
        output,
        partial(_heat_painter, explanation),
        start_seconds=explanation.start_seconds,
        end_seconds=explanation.end_seconds,
        is_piece=True,
        overwrite=overwrite,
        on_progress=on_progress,
    )


def _heat_painter(e: Explanation, size: tuple[int, int]) -> Paint:
    total = np.maximum(np.sum(list(e.heat.values()), axis=0), 0)  # (T, h, w)
    heat = np.asarray(total / max(float(total.max()), 1e-9), np.float32)
    evidence = np.maximum(e.importance.per_frame, 0)
    heights = evidence / max(float(evidence.max()), 1e-9)
    painter = FramePainter(
        size=size,
        start_seconds=e.start_seconds,
        end_seconds=e.end_seconds,
        curves=lambda t: {e.label: np.interp(t, e.seconds, heights)},
        colours=label_colours(e.prediction.labels),
        caption=f"evidence for {e.label}",
    )

    def paint(frame: Frame, seconds: float) -> Frame:
        painted = blend_heat(frame, heat_at(heat, e.seconds, seconds))
        painter.paint(painted, seconds, label=e.label, score=e.score)
        return painted

    return paint


def _moving(picture: Frame, shape: tuple[int, ...]) -> Floats:
    """Return (h, w) 1 where something moves in a motion image, which is mid-grey elsewhere, else 0.

    On plain grey the zero padding of the CNN alone gives a ring of heat at the border.
    """
    change = np.abs(picture.astype(np.float32) - 128).max(axis=2)
    strongest = cv2.dilate(change, np.ones((9, 9), np.uint8))
    moving = (strongest > _STILL).astype(np.float32)
    return cast(Floats, cv2.resize(moving, (shape[1], shape[0]), interpolation=cv2.INTER_AREA))


def heat_at(heat: Floats, frame_seconds: NDArray[np.float64], seconds: float) -> Floats:
    """Return (h, w) heat at a time, from (T, h, w) at the times (T,) of the frames."""
    position = float(np.interp(seconds, frame_seconds, np.arange(len(heat))))
    before = int(position)
    after = min(before + 1, len(heat) - 1)
    between: Floats = heat[before] + (position - before) * (heat[after] - heat[before])
    return between


def blend_heat(picture: Frame, heat: Floats) -> Frame:
    """Return a picture (H, W, 3), greyed, with the heat (h, w), 0 to 1, over it."""
    height, width = picture.shape[:2]
    smooth = np.clip(cv2.resize(heat, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)
    levels = np.rint(_DARKEST + (255 - _DARKEST) * smooth).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, _COLOURS), cv2.COLOR_BGR2RGB)
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    base = cv2.addWeighted(picture, 1 - _GREYED, grey, _GREYED, 0)
    cover = _MAX_COVER * smooth**0.8
    blended = cv2.blendLinear(base, colours, 1 - cover, cover)
    return cast(Frame, np.asarray(blended, np.uint8))
