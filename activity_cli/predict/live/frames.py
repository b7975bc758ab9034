"""A live source -> its frames, each with the moment at which it arrived. Times are seconds."""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from activity_cli.errors import NoVideoError, VideoError
from activity_cli.predict.live.source import LiveSource
from activity_cli.settings import ClipSettings
from activity_cli.video.capture import Frame, LiveCapture
from activity_cli.video.reader import VideoReader, frame_interval_seconds

_LATE_SECONDS = 1.0
"""A recording that comes so much slower than it plays is not caught up with."""

_SHARE_OF_TIMEOUT = 0.9
"""A wait of so much of the timeout is one: OpenCV says neither how long it waited, nor why not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveReading:
    """How a live source is read."""

    settings: ClipSettings
    step_seconds: float
    """Time between two points of the grid."""
    as_streams: bool
    """Whether to give what the CNN sees, or the frames that it is made of."""
    num_threads: int = 1
    """Decoder threads. Each but the first holds a frame back."""
    open_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 5.0
    """How long a stream may send nothing before it counts as lost."""
    idle_seconds: float = float("inf")
    """How long a file may not grow before it counts as ended."""
    picture_width: int = 0
    """Of the pictures to show, in pixels; 0 for none."""


@dataclass(frozen=True, slots=True)
class RawFrame:
    """A frame as it was decoded."""

    seconds: float
    """Its place in time: when it arrived, or its time stamp in a file."""
    arrived: float
    """When it was read, by `time.monotonic()`, which all processes share."""
    bgr: Frame
    """(H, W, 3) in the decoder's channel order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What is known of a source once it is open."""

    width: int
    height: int
    interval_seconds: float
    """Time per frame by the header, or a guess."""


OnOpen = Callable[[Opened], None]


def read_live(
    source: LiveSource, reading: LiveReading, on_open: OnOpen
) -> Generator[RawFrame, None, None]:
    """Frames until the source ends, which a camera never does.

    Args:
        source: a camera, a stream or a file.
        reading: timeouts and decoder threads.
        on_open: called once, before the first frame.

    Raises:
        VideoError: it cannot be opened, or is lost.
        NoVideoError: it cannot be watched, now or later.
    """
    if source.kind == "file":
        yield from _read_file(source, reading, on_open)
    else:
        yield from _read_stream(source, reading, on_open)


def _read_file(source: LiveSource, reading: LiveReading, on_open: OnOpen) -> Iterator[RawFrame]:
    with VideoReader(
        str(source.address), num_threads=reading.num_threads, wait_seconds=reading.idle_seconds
    ) as reader:
        info = reader.info
        if info.fps_from_header > 1000:  # the clock of a raw stream, such as .mjpeg
            raise NoVideoError(
                "It holds pictures without their times.",
                hint="Record to .mkv or .ts, which can be watched while they grow.",
            )
        interval = frame_interval_seconds(info)
        on_open(Opened(width=info.width, height=info.height, interval_seconds=interval))
        while (seconds := reader.grab()) is not None:
            yield RawFrame(seconds, time.monotonic(), reader.retrieve_bgr())


def _read_stream(source: LiveSource, reading: LiveReading, on_open: OnOpen) -> Iterator[RawFrame]:
    with LiveCapture(
        source.address,
        num_threads=reading.num_threads,
        open_timeout_seconds=reading.open_timeout_seconds,
        read_timeout_seconds=reading.read_timeout_seconds,
    ) as capture:
        on_open(Opened(width=capture.width, height=capture.height, interval_seconds=1 / 25))
        is_recording = capture.is_finite and source.kind == "stream"
        pace = _Pace() if is_recording or source.is_playlist else None
        asked = time.monotonic()
        while capture.grab():
            if pace:
                pace.wait(capture.stamp_seconds())
            arrived = time.monotonic()
            yield RawFrame(arrived, arrived, capture.retrieve_bgr())
            asked = time.monotonic()
    waited = time.monotonic() - asked
    if waited > _SHARE_OF_TIMEOUT * reading.read_timeout_seconds:
        raise VideoError(f"It sent nothing for {waited:.0f} s.")
    if not is_recording:
        raise VideoError("It ended.")


class _Pace:
    """Holds back what comes faster than it plays: recordings, and live video in pieces."""

    def __init__(self) -> None:
        self._start: float | None = None
        """When the frame with time stamp 0 would have come."""

    def wait(self, stamp_seconds: float) -> None:
        """Wait until a frame is due."""
        now = time.monotonic()
        if self._start is None or now - self._start - stamp_seconds > _LATE_SECONDS:
            self._start = now - stamp_seconds
        time.sleep(max(0.0, self._start + stamp_seconds - now))
