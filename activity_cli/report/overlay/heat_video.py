"""A clip and its explanation -> the clip with the heat map drawn in, and what each moment says.

T is frames of the explanation, h and w the cells of its heat maps; between the times of two
frames their heat is blended. Frames pass through one at a time.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import VideoError
from activity_cli.evaluation.explanation.values import Explanation, Floats
from activity_cli.report.overlay.encoder import SoundSource, new_video
from activity_cli.report.overlay.ffmpeg import sound_of
from activity_cli.report.overlay.heat import lay_heat
from activity_cli.report.overlay.layer import Layer, area_below, line_along, rounded
from activity_cli.report.overlay.scores import clock
from activity_cli.report.overlay.text import fit_text, text_mask
from activity_cli.report.overlay.timing import Pacer, read_frame_rate, shown_frames
from activity_cli.report.overlay.video import (
    RenderedVideo,
    check_output,
    copy_enlarged,
    enlarged_size,
)
from activity_cli.report.palette import label_colours
from activity_cli.types import OnProgress, no_progress
from activity_cli.video.capture import Frame
from activity_cli.video.reader import VideoReader

_INK = "#0b0f17"
_SHADE = 0.76
_TIE_SECONDS = 0.001  # as in sampling: times that differ by less are equal


def save_heat_video(
    explanation: Explanation,
    output: Path,
    *,
    overwrite: bool = False,
    on_progress: OnProgress = no_progress,
) -> RenderedVideo:
    """Write the explained clip with the heat of all streams over every frame.

    Args:
        explanation: of the clip.
        output: the .mp4 to write.
        overwrite: replace a file that exists; the video itself never.
        on_progress: told of stage "overlay", in frames.

    Raises:
        VideoError: no frame can be decoded.
        OutputError: not an .mp4, the file exists, is the video itself, or cannot be written.
    """
    video, start, end = explanation.video, explanation.start_seconds, explanation.end_seconds
    check_output(output, ".mp4", video, overwrite=overwrite)

    def is_inside(seconds: float) -> bool:
        return start - _TIE_SECONDS <= seconds < end - _TIE_SECONDS

    with VideoReader(video) as reader:
        rate, sound = read_frame_rate(reader.info), sound_of(video)
        pacer, painter, num_frames = Pacer(rate), None, 0
        piece = SoundSource(video=video, start_seconds=start, duration_seconds=end - start)
        total = round((end - start) * rate.fps)
        with new_video(output, fps=rate.fps, sound=piece if sound.is_kept else None) as written:
            for shown, until, frame in shown_frames(reader, is_inside):
                if painter is None:
                    painter = HeatPainter(explanation, enlarged_size(frame))
                for seconds in pacer.ticks(shown, until):
                    written.write(painter.paint(copy_enlarged(frame, painter.size), seconds))
                    num_frames += 1
                on_progress("overlay", num_frames, max(total, num_frames))
                if until >= end - _TIE_SECONDS:
                    break
            if painter is None:
                raise VideoError(f"{video} has no frame in the clip any more.")
    return RenderedVideo(path=output, num_frames=num_frames, sound=sound)


class HeatPainter:
    """Draws into the frames of one clip.

    Args:
        explanation: of the clip.
        size: width and height of the frames, in pixels.
    """

    def __init__(self, explanation: Explanation, size: tuple[int, int]) -> None:
        self._explanation, self.size = explanation, size
        heat = np.maximum(sum_of_streams(explanation), 0)  # (T, h, w)
        hottest = max(float(heat.max()), 1e-9)
        self._heat = np.asarray(heat / hottest, np.float32)
        width, height = size
        short_side = min(height, round(0.8 * width))
        self._text = max(11, round(0.045 * short_side))
        self._pad = max(3, round(0.45 * self._text))
        self._colour = label_colours(explanation.prediction.labels)[explanation.label]
        self._panel = self._draw_panel()
        self._strip = self._draw_strip()

    def paint(self, frame: Frame, seconds: float) -> Frame:
        """The frame, of the painter's size, with what belongs to a time."""
        painted = lay_heat(frame, heat_at(self._heat, self._explanation.seconds, seconds))
        top = self.size[1] - self._strip.size[0]
        self._strip.lay_over(painted, x=0, y=max(top, 0))
        self._panel.lay_over(painted, x=self._pad, y=self._pad)
        self._paint_head(painted, seconds, max(top, 0))
        return painted

    def _draw_panel(self) -> Layer:
        """The label and its score."""
        e, pad, room = self._explanation, self._pad, self.size[0] - 8 * self._pad
        text = fit_text(f"{e.label}  {e.score:.2f}", self._text, max(room, 1), bold=True)
        height, width = text.shape[0] + pad, text.shape[1] + 4 * pad
        layer = Layer(height, width)
        layer.fill(rounded(height, width, pad), _INK, opacity=_SHADE)
        layer.fill(rounded(height - pad, max(2, pad // 2), pad), self._colour, x=pad, y=pad // 2)
        layer.fill(text, "#ffffff", x=5 * pad // 2, y=pad // 2)
        return layer

    def _draw_strip(self) -> Layer:
        """How much each moment says for the label, above the times of start and end."""
        e, pad, width = self._explanation, self._pad, self.size[0]
        small = max(10, round(0.7 * self._text))
        curve = round(2.2 * small)
        height = curve + round(1.6 * small) + 2 * pad
        layer = Layer(min(height, self.size[1]), width)
        layer.fill(np.full((height, width), 255, np.uint8), _INK, opacity=_SHADE)
        inner = width - 2 * pad
        if inner < 8:
            return layer
        says = np.maximum(e.importance.per_frame, 0)
        seconds = np.linspace(e.start_seconds, e.end_seconds, inner)
        heights = np.interp(seconds, e.seconds, says / max(float(says.max()), 1e-9)) * curve
        layer.fill(area_below(heights, curve), self._colour, x=pad, y=pad, opacity=0.3)
        line = line_along(heights, curve, max(1.5, small / 8))
        layer.fill(line, self._colour, x=pad, y=pad)
        below = pad + curve + pad // 2
        first, last = (text_mask(clock(t, decimals=1), small) for t in (seconds[0], seconds[-1]))
        title = fit_text(f"what speaks for {e.label}", small, max(inner // 2, 1))
        layer.fill(first, "#cbd5e1", x=pad, y=below)
        layer.fill(title, "#ffffff", x=(width - title.shape[1]) // 2, y=below)
        layer.fill(last, "#cbd5e1", x=width - pad - last.shape[1], y=below)
        return layer

    def _paint_head(self, frame: Frame, seconds: float, top: int) -> None:
        """A white line where the clip is."""
        e, pad = self._explanation, self._pad
        share = (seconds - e.start_seconds) / e.decoded.duration_seconds
        x = round(pad + (self.size[0] - 2 * pad) * min(max(share, 0.0), 1.0))
        thick = max(2, round(self._text / 8))
        bottom = top + pad + round(2.2 * max(10, round(0.7 * self._text)))
        frame[top + pad // 2 : bottom, max(x - thick // 2, 0) : x - thick // 2 + thick] = 255


def sum_of_streams(explanation: Explanation) -> Floats:
    """(T, h, w) heat of all streams."""
    total: Floats = np.sum(list(explanation.heat.values()), axis=0)
    return total


def heat_at(heat: Floats, frame_seconds: NDArray[np.float64], seconds: float) -> Floats:
    """(h, w) heat at a time, from (T, h, w) at the times (T,) of the frames."""
    place = float(np.interp(seconds, frame_seconds, np.arange(len(heat))))
    before = int(place)
    after = min(before + 1, len(heat) - 1)
    blended: Floats = heat[before] + (place - before) * (heat[after] - heat[before])
    return blended
