"""A clip -> a few small pictures of it as JPEG files, for pages. Runs in a decoder's worker."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from activity_cli.report.overlay.thumbnails import read_thumbnails

_QUALITY = 72


def read_jpegs(
    video: Path, moments: Sequence[float], *, height: int
) -> tuple[list[NDArray[np.uint8]], tuple[int, int]]:
    """The frame on screen at each of some times as JPEG, and (width, height) of the pictures.

    Raises:
        VideoError: no frame can be decoded.
    """
    frames = read_thumbnails(video, moments, height=height)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    files = []
    for frame in frames:
        _, file = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), quality)
        files.append(cast(NDArray[np.uint8], file))
    return files, (frames[0].shape[1], frames[0].shape[0])
