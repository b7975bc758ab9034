"""Open files, streams and cameras with OpenCV and FFmpeg, silently.

Reasons in errors do not repeat the path: result rows and messages carry it beside them.
"""

import math
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import VideoError

if TYPE_CHECKING:
    from activity_cli.video.pictures import PictureCapture
    from activity_cli.video.pyav import PyAvCapture

Frame = NDArray[np.uint8]  # (H, W, 3) RGB; BGR where a name says so

# Of a frame: 16384 x 8192. 8K video has a quarter of that.
MOST_PIXELS = 2**27

# FFmpeg's option for files that grow, in OpenCV's spelling, and the longest wait for their first
# frames: FFmpeg reads some containers up to their end before it opens them.
_WAIT_AT_THE_END = "follow;1"
_OPEN_GROWING_SECONDS = 10.0


class LiveCapture(AbstractContextManager["LiveCapture"]):
    """Read frames of a camera or a network stream as they come. A context manager.

    A source is a camera's number, or an address that FFmpeg opens. Each decoder thread but the
    first delays frames by one. The read timeout is how long a stream may send nothing. A source
    that cannot be opened is a VideoError; OpenCV gives no reason.
    """

    def __init__(
        self,
        source: int | str,
        *,
        num_threads: int = 1,
        open_timeout_seconds: float,
        read_timeout_seconds: float,
    ) -> None:
        parameters = [cv2.CAP_PROP_N_THREADS, num_threads]
        parameters += _timeouts(open_timeout_seconds, read_timeout_seconds)
        with ExitStack() as resources:
            resources.enter_context(quiet_opencv())
            self._capture = _open(source, parameters, problem="It cannot be opened.")
            resources.callback(self._capture.release)
            self._resources = resources.pop_all()
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.is_finite = self._capture.get(cv2.CAP_PROP_FRAME_COUNT) >= 1
        """Whether it is a recording, which has a length."""

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the decoder."""
        self._resources.close()

    def grab(self) -> bool:
        """Wait for the next frame; False when there is none, at the end or after a timeout."""
        return self._capture.grab()

    def stamp_seconds(self) -> float:
        """Return the frame's time as the stream gives it, which may be wrong."""
        return self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000

    def retrieve_bgr(self) -> Frame:
        """Return the frame, (H, W, 3) BGR."""
        return retrieve_bgr(self._capture, "A frame")


def retrieve_bgr(capture: "cv2.VideoCapture | PyAvCapture | PictureCapture", name: str) -> Frame:
    """Return a capture's current frame, (H, W, 3) BGR; `name` is for the VideoError."""
    ok, bgr = capture.retrieve()
    if not ok:
        raise VideoError(f"{name} cannot be converted to a picture.")
    return cast(Frame, bgr)


class _LogLevel:
    """OpenCV's log level, which is one for the whole process, and how many silence it."""

    lock = threading.RLock()
    num_silenced = 0
    before = 0


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keep OpenCV and FFmpeg from writing to stderr while a video is open.

    The last block that ends restores OpenCV's log level. FFmpeg stays quiet for the rest of the
    process: OpenCV sets its level only once, from the environment, which is restored. The variables
    OPENCV_LOG_LEVEL and OPENCV_FFMPEG_LOGLEVEL, where they are set, keep their effect.
    """
    _silence_ffmpeg()
    with _LogLevel.lock:
        if _LogLevel.num_silenced == 0 and "OPENCV_LOG_LEVEL" not in os.environ:
            silent = cv2.utils.logging.LOG_LEVEL_SILENT
            _LogLevel.before = cv2.utils.logging.setLogLevel(silent)
        _LogLevel.num_silenced += 1
    try:
        yield
    finally:
        with _LogLevel.lock:
            _LogLevel.num_silenced -= 1
            if _LogLevel.num_silenced == 0 and "OPENCV_LOG_LEVEL" not in os.environ:
                cv2.utils.logging.setLogLevel(_LogLevel.before)


@cache
def _silence_ffmpeg() -> None:
    """Make OpenCV read FFmpeg's log level: it does so when it first opens something."""
    if "OPENCV_FFMPEG_LOGLEVEL" in os.environ:
        return
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"  # AV_LOG_QUIET
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        cv2.VideoCapture(os.devnull, cv2.CAP_FFMPEG)
    finally:
        cv2.utils.logging.setLogLevel(level)
        del os.environ["OPENCV_FFMPEG_LOGLEVEL"]


def open_file(
    path: Path,
    num_threads: int = 0,
    *,
    raw_packets: bool = False,
    wait_seconds: float | None = None,
) -> cv2.VideoCapture:
    """Open a video file; `raw_packets` reads its packets and decodes none."""
    # Absolute, because FFmpeg reads "a:b.mp4" as protocol a. As bytes where the name is not valid
    # Unicode, because OpenCV crashes on the surrogates that Python puts there.
    name = str(path.absolute())
    try:
        name.encode()
    except UnicodeEncodeError:
        name = cast(str, os.fsencode(name))
    parameters = [cv2.CAP_PROP_N_THREADS, num_threads] if num_threads else []
    parameters += [cv2.CAP_PROP_FORMAT, -1] if raw_packets else []
    if wait_seconds is not None:
        os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = _WAIT_AT_THE_END
        parameters += _timeouts(_OPEN_GROWING_SECONDS, wait_seconds)
    return _open(name, parameters, problem="It is not a video, or it is too damaged to be opened.")


def _open(source: int | str, parameters: list[int], *, problem: str) -> cv2.VideoCapture:
    try:
        if isinstance(source, int):
            capture = cv2.VideoCapture(source)
        else:
            capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, parameters)
    except cv2.error as error:
        raise VideoError(f"OpenCV cannot open it: {error.err}.") from None
    if not capture.isOpened():
        raise VideoError(problem)
    return capture


def _timeouts(open_seconds: float, read_seconds: float) -> list[int]:
    """Return parameters for a capture. FFmpeg takes 0 as no timeout."""
    opening, reading = (
        int(min(1000 * seconds, 2**31 - 1)) if math.isfinite(seconds) else 0
        for seconds in (open_seconds, read_seconds)
    )
    return [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, opening, cv2.CAP_PROP_READ_TIMEOUT_MSEC, reading]
