"""Pictures as videos: a picture file is a clip of one frame, a folder of numbered ones a clip."""

import warnings
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np

from activity_cli.video.capture import MOST_PIXELS, Frame, quiet_opencv

FRAMES_PER_SECOND = 25.0
"""Of a folder of frames, which does not state its rate."""
CODEC = "pictures"  # in place of a fourcc


class PictureCapture:
    """Picture files behind those methods of cv2.VideoCapture that a VideoReader calls.

    Pictures of another size than the first are scaled to it. One that is damaged ends the clip, as
    a damaged frame ends a video.
    """

    def __init__(self, files: list[Path]) -> None:
        self._files = files
        self._number = -1
        content = _content(files[0])
        self._picture = _decode(content)
        if self._picture is None:  # too large, or 0 x 0 for a damaged picture
            self.width, self.height = _size_from_header(content)
        else:  # not as in the header: it may be turned, as its camera noted
            self.height, self.width = self._picture.shape[:2]

    def grab(self) -> bool:
        """Go to the next picture; False at the end or at damage."""
        self._number += 1
        if self._number:  # the first one is there already
            rest = self._files[self._number :]
            self._picture = _decode(_content(rest[0])) if rest else None
        return self._picture is not None

    def retrieve(self) -> tuple[bool, Frame | None]:
        """Return whether there is a picture, and the picture, (H, W, 3) BGR."""
        picture, size = self._picture, (self.width, self.height)
        if picture is not None and picture.shape[1::-1] != size:
            picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        return picture is not None, picture

    def get(self, what: int) -> float:
        """Return CAP_PROP_POS_MSEC or CAP_PROP_FRAME_TYPE of the current picture."""
        if what == cv2.CAP_PROP_FRAME_TYPE:
            return float(ord("I"))
        return 1000 * max(self._number, 0) / FRAMES_PER_SECOND

    def release(self) -> None:
        """Forget the picture."""
        self._picture = None


def _decode(content: bytes) -> Frame | None:
    width, height = _size_from_header(content)
    if not 0 < width * height <= MOST_PIXELS:
        return None
    with quiet_opencv():
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return None if decoded is None else np.asarray(decoded, np.uint8)


def _content(path: Path) -> bytes:
    # Bytes: OpenCV reads no file whose name is not valid text.
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _size_from_header(content: bytes) -> tuple[int, int]:
    """Return width and height in pixels before anything is decoded; 0, 0 for no picture."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the size is what is asked
        try:
            with Image.open(BytesIO(content)) as picture:
                return picture.size
        except (OSError, Image.DecompressionBombError):
            return 0, 0
