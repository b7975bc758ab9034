"""Decode with PyAV what OpenCV has no decoder for, AV1 above all: the same frames and times.

PyAV's wheels bring an FFmpeg with more decoders than the one in OpenCV's. On files that both decode
(8 and 10 bit H.264, H.265, VP9; rotated; with variable rate) both give equal frames and times.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2

from activity_cli.common.optional_dependencies import import_av
from activity_cli.errors import VideoError
from activity_cli.video.capture import Frame

_ROTATIONS = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
_INTRA = 1  # AV_PICTURE_TYPE_I: coded by itself


class PyAvCapture:
    """The frames of a file, behind those methods of cv2.VideoCapture that a VideoReader calls.

    Frames are turned by `rotation_degrees`. A frame that is damaged ends the file.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: its FFmpeg cannot open the file, or has no decoder for it either.
    """

    def __init__(self, path: Path, *, num_threads: int, rotation_degrees: int) -> None:
        av = import_av()
        self._failures = (av.FFmpegError, EOFError)
        self._rotation = _ROTATIONS.get(rotation_degrees)
        with ExitStack() as resources:
            file = resources.enter_context(path.open("rb"))  # never an address or a pattern
            try:
                self._container = resources.enter_context(av.open(file))
                stream = self._container.streams.video[0]
                stream.codec_context.thread_count = num_threads  # 0: FFmpeg chooses
                stream.thread_type = "AUTO"
            except (av.FFmpegError, IndexError) as error:
                raise VideoError("PyAV cannot decode it either.") from error
            self._resources = resources.pop_all()
        self._start = stream.start_time or 0
        self._frames: Iterator[Any] = self._container.decode(stream)
        self._frame: Any = None
        self._size: tuple[int, int] | None = None  # width and height of the first frame
        self._reformatter = av.video.reformatter.VideoReformatter()

    def grab(self) -> bool:
        """Go to the next frame; False at the end or at damage."""
        try:
            self._frame = next(self._frames, None)
        except self._failures:
            self._frame = None
        if self._frame is not None and self._size is None:
            self._size = (self._frame.width, self._frame.height)
        return self._frame is not None

    def retrieve(self) -> tuple[bool, Frame | None]:
        """Return whether there is a frame, and the frame, (H, W, 3) BGR."""
        if self._frame is None or self._size is None:
            return False, None
        width, height = self._size  # FFmpeg's scaler keeps it, also where the stream changes it
        picture = self._reformatter.reformat(
            self._frame, width, height, "bgr24", interpolation="BICUBIC"
        )
        image = picture.to_ndarray()
        return True, image if self._rotation is None else cv2.rotate(image, self._rotation)

    def get(self, what: int) -> float:
        """Return CAP_PROP_POS_MSEC or CAP_PROP_FRAME_TYPE of the current frame."""
        frame = self._frame
        if what == cv2.CAP_PROP_FRAME_TYPE:
            return float(ord("I" if frame.pict_type == _INTRA else "P"))
        if frame.pts is None:
            return 0.0
        base = frame.time_base
        # In OpenCV's order, so that not even the last bit differs.
        seconds: float = (frame.pts - self._start) * (base.numerator / base.denominator)
        return 1000.0 * seconds

    def release(self) -> None:
        """Free the decoder."""
        self._frame = None
        self._resources.close()
