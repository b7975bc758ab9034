"""Video frames -> a fingerprint, small enough to keep, by which copies are found.

A fingerprint is a grey picture of 16 x 16 for every tenth of a second. P is its pixels, 256; K is
the number of pictures. Two clips of one camera have the same pictures, but only copies of one
recording *move* alike, so what is compared is the movement: the difference of pictures 0.4 s
apart, which leaves out all that stands still.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from activity_cli.common.files import output_error, temporary_file
from activity_cli.video.capture import Frame

Pictures = NDArray[np.uint16]  # (K, P), in 1/256 of a grey level
Movement = NDArray[np.float32]  # (K - LAG, P), in grey levels

STEP_SECONDS = 0.1
LAG = 4  # pictures between the two that a movement is the difference of
MAX_PICTURES = 36_000  # an hour, 18 MB; the rest of a longer video is not compared

_SIDE = 16
_SIDE_FIRST = 64  # OpenCV rounds to whole grey levels: shrunk in two steps, still clips keep detail
_NUM_PIXELS = _SIDE * _SIDE


class Fingerprinter:
    """Collect the fingerprint of a video from its frames, one by one."""

    def __init__(self) -> None:
        self._pictures: list[Pictures] = []
        self._counts: list[int] = []
        self._num_pictures = 0
        self._start_seconds = math.nan

    def add(self, seconds: float, retrieve: Callable[[], Frame]) -> None:
        """Add the frame at a time, (H, W, 3) BGR, which is retrieved only if it is needed.

        It stands for all tenths of a second since the frame before, so that fingerprints of one
        video at different frame rates agree.
        """
        if not self._counts:
            self._start_seconds = seconds
        # Times come with rounding errors, and in some files in whole milliseconds.
        reached = min((seconds - self._start_seconds + 0.001) / STEP_SECONDS, MAX_PICTURES - 1)
        if (count := int(reached) + 1 - self._num_pictures) > 0:
            self._pictures.append(_shrink(retrieve()))
            self._counts.append(count)
            self._num_pictures += count

    def pictures(self) -> Pictures:
        """Return the fingerprint, (K, P), of a video that has frames."""
        return np.repeat(np.stack(self._pictures), self._counts, axis=0)


class FingerprintStore(AbstractContextManager["FingerprintStore"]):
    """Keep fingerprints, numbered as they come, in an unnamed file in a folder. A context manager.

    An OutputError means that nothing can be written there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._context = ExitStack()
        self._file = self._context.enter_context(temporary_file(folder))
        self._starts = [0]  # in pictures

    def __exit__(self, *error: object) -> None:
        self._context.close()

    def add(self, pictures: Pictures) -> int:
        """Keep a fingerprint and return its number."""
        try:
            self._file.seek(2 * _NUM_PIXELS * self._starts[-1])
            self._file.write(pictures.tobytes())
        except OSError as error:
            raise output_error(self._folder, error) from error
        self._starts.append(self._starts[-1] + len(pictures))
        return len(self._starts) - 2

    def num_pictures(self, number: int) -> int:
        """Return the number of pictures of a fingerprint, K."""
        return self._starts[number + 1] - self._starts[number]

    def pictures(self, number: int) -> NDArray[np.float32]:
        """Return a fingerprint in grey levels, (K, P)."""
        self._file.seek(2 * _NUM_PIXELS * self._starts[number])
        content = self._file.read(2 * _NUM_PIXELS * self.num_pictures(number))
        whole = np.frombuffer(content, np.uint16).reshape(-1, _NUM_PIXELS)
        return cast(NDArray[np.float32], whole.astype(np.float32) / 256)


def movement_of(pictures: NDArray[np.float32]) -> Movement:
    """Return the change from each picture to the one `LAG` later, without changes of the light."""
    if len(pictures) <= LAG:
        return np.zeros((0, _NUM_PIXELS), np.float32)
    change = pictures[LAG:] - pictures[:-LAG]
    return cast(Movement, change - change.mean(axis=1, keepdims=True))


def _shrink(bgr: Frame) -> Pictures:
    """Shrink a frame to 256 grey values, row by row."""
    first = cv2.resize(bgr, (_SIDE_FIRST, _SIDE_FIRST), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(first, cv2.COLOR_BGR2GRAY).astype(np.float32)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return np.rint(small * 256).astype(np.uint16).reshape(-1)  # 255 * 256 fits
