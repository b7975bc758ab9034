"""Heat maps laid over pictures."""

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from activity_cli.video.capture import Frame

_COLOURS = cv2.COLORMAP_INFERNO
_DARKEST = 60  # of 255: what is darker would hide the picture and show nothing
_MOST_COVER = 0.75  # of the picture, where it is hottest
_GREYED = 0.6  # of the picture's colour, so that heat is the only strong one


def lay_heat(picture: Frame, heat: NDArray[np.float32]) -> Frame:
    """A picture (H, W, 3), greyed, with the heat (h, w), 0 to 1, over it; a new one."""
    height, width = picture.shape[:2]
    smooth = cv2.resize(heat, (width, height), interpolation=cv2.INTER_CUBIC)
    smooth = np.clip(smooth, 0, 1)
    levels = np.rint(_DARKEST + (255 - _DARKEST) * smooth).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, _COLOURS), cv2.COLOR_BGR2RGB)
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    base = cv2.addWeighted(picture, 1 - _GREYED, grey, _GREYED, 0)
    cover = _MOST_COVER * smooth**0.8
    laid = cv2.blendLinear(base, colours, 1 - cover, cover)
    return cast(Frame, np.asarray(laid, np.uint8))


def resize_picture(picture: Frame, size: tuple[int, int]) -> Frame:
    """A picture, RGB or grey, as RGB of a size (width, height)."""
    resized = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    if resized.ndim == 2:
        resized = cv2.cvtColor(resized, cv2.COLOR_GRAY2RGB)
    return cast(Frame, np.asarray(resized, np.uint8))
