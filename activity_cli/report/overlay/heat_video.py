"""A clip and its explanation -> the clip with heat maps and the evidence over time drawn in.

T is frames of the explanation, h and w the cells of its heat maps. Between the times of two frames
their heat is interpolated.
"""

from functools import partial
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from activity_cli.evaluation.explanation.values import Explanation, Floats
from activity_cli.report.figures.plots import label_colours
from activity_cli.report.overlay.painter import FramePainter, StripContent
from activity_cli.report.overlay.video import Paint, RenderedVideo, render_video
from activity_cli.types import OnProgress, no_progress
from activity_cli.video.capture import Frame

_COLOURS = cv2.COLORMAP_INFERNO
_DARKEST = 60  # of 255: darker colours would hide the picture
_MAX_COVER = 0.75  # of the picture, where it is hottest
_GREYED = 0.6  # of the picture's colour, so that only heat has strong colours


def save_heat_video(
    explanation: Explanation,
    output: Path,
    *,
    overwrite: bool = False,
    on_progress: OnProgress = no_progress,
) -> RenderedVideo:
    """Write the explained clip with the heat of all streams over every frame.

    Arguments and errors are those of `render_video`.
    """
    return render_video(
        explanation.video,
        output,
        partial(heat_painter, explanation),
        start_seconds=explanation.start_seconds,
        end_seconds=explanation.end_seconds,
        is_piece=True,
        overwrite=overwrite,
        on_progress=on_progress,
    )


def heat_painter(explanation: Explanation, size: tuple[int, int]) -> Paint:
    """Return what draws heat maps into frames of (width, height) pixels."""
    e = explanation
    total = np.maximum(np.sum(list(e.heat.values()), axis=0), 0)  # (T, h, w)
    heat = np.asarray(total / max(float(total.max()), 1e-9), np.float32)
    evidence = np.maximum(e.importance.per_frame, 0)
    heights = evidence / max(float(evidence.max()), 1e-9)
    content = StripContent(
        start_seconds=e.start_seconds,
        end_seconds=e.end_seconds,
        curves={e.label: lambda t: np.interp(t, e.seconds, heights)},
        colours=label_colours(e.prediction.labels),
        caption=f"evidence for {e.label}",
    )
    painter = FramePainter(content, size)

    def paint(frame: Frame, seconds: float) -> Frame:
        painted = blend_heat(frame, heat_at(heat, e.seconds, seconds))
        painter.paint(painted, seconds, label=e.label, score=e.score)
        return painted

    return paint


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
    smooth = cv2.resize(heat, (width, height), interpolation=cv2.INTER_CUBIC)
    smooth = np.clip(smooth, 0, 1)
    levels = np.rint(_DARKEST + (255 - _DARKEST) * smooth).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, _COLOURS), cv2.COLOR_BGR2RGB)
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    base = cv2.addWeighted(picture, 1 - _GREYED, grey, _GREYED, 0)
    cover = _MAX_COVER * smooth**0.8
    blended = cv2.blendLinear(base, colours, 1 - cover, cover)
    return cast(Frame, np.asarray(blended, np.uint8))
