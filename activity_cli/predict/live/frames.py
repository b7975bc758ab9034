"""Live source -> frames, each with the time at which it arrived. Times are seconds."""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from activity_cli.errors import NoVideoError, VideoError
from activity_cli.predict.live.settings import SourceSettings
from activity_cli.predict.live.source import LiveSource
from activity_cli.settings import ClipSettings
from activity_cli.video.capture import Frame, LiveCapture
from activity_cli.video.reader import VideoReader, frame_interval_seconds

_MAX_LAG_SECONDS = 1.0  # a recording that lags further behind its own pace does not catch up
# A wait of this share of the timeout counts as one: OpenCV reports neither the wait nor its reason.
_SHARE_OF_TIMEOUT = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRequest:
    """What to read, and in which form."""

    source: LiveSource
    settings: SourceSettings
    clip: ClipSettings
    step_seconds: float
    """Time between two timesteps."""
    as_streams: bool
    """Whether to return the CNN's inputs, or the frames that they are made of."""
    picture_width: int = 0
    """Width in pixels of the pictures to show; 0 for none."""


class LiveFrame(NamedTuple):
    """A frame of a live source."""

    seconds: float  # its position in time: its arrival, or the time stamp in a file
    arrived: float  # when it was read, by `time.monotonic()`, which all processes share
    image: Frame  # (H, W, channels)


OnOpen = Callable[[tuple[int, int], float], None]
"""Called with (width, height) and the seconds per frame once a source is open."""


def read_live(request: LiveRequest, on_open: OnOpen) -> Generator[LiveFrame, None, None]:
    """Yield BGR frames until the source ends, which a camera never does.

    Raises:
        VideoError: the source cannot be opened, or is lost.
        NoVideoError: it can never be watched.
    """
    read = _read_file if request.source.kind == "file" else _read_stream
    yield from read(request, on_open)


def _read_file(request: LiveRequest, on_open: OnOpen) -> Iterator[LiveFrame]:
    settings = request.settings
    with VideoReader(
        str(request.source.address),
        num_threads=settings.decoder_threads,
        wait_seconds=settings.idle_seconds,
    ) as reader:
        info = reader.info
        if info.fps_from_header > 1000:  # the clock of a raw stream, such as .mjpeg
            raise NoVideoError(
                "It holds pictures without their times.",
                hint="Record to .mkv or .ts, which can be watched while they grow.",
            )
        on_open((info.width, info.height), frame_interval_seconds(info))
        while (seconds := reader.grab()) is not None:
            yield LiveFrame(seconds, time.monotonic(), reader.retrieve_bgr())


def _read_stream(request: LiveRequest, on_open: OnOpen) -> Iterator[LiveFrame]:
    source, settings = request.source, request.settings
    with LiveCapture(
        source.address,
        num_threads=settings.decoder_threads,
        open_timeout_seconds=settings.open_timeout,
        read_timeout_seconds=settings.read_timeout,
    ) as capture:
        on_open((capture.width, capture.height), 1 / 25)
        is_recording = capture.is_finite and source.kind == "stream"
        is_paced = is_recording or source.is_playlist
        start: float | None = None  # arrival of the frame with time stamp 0, in real time
        asked = time.monotonic()
        while capture.grab():
            if is_paced:
                start = _wait_until_due(capture.stamp_seconds(), start)
            arrived = time.monotonic()
            yield LiveFrame(arrived, arrived, capture.retrieve_bgr())
            asked = time.monotonic()
    waited = time.monotonic() - asked
    if waited > _SHARE_OF_TIMEOUT * settings.read_timeout:
        raise VideoError(f"It sent nothing for {waited:.0f} s.")
    if not is_recording:
        raise VideoError("It ended.")


def _wait_until_due(stamp_seconds: float, start: float | None) -> float:
    """Hold back frames that come faster than they play; return when time stamp 0 was due."""
    now = time.monotonic()
    if start is None or now - start - stamp_seconds > _MAX_LAG_SECONDS:
        start = now - stamp_seconds
    time.sleep(max(0.0, start + stamp_seconds - now))
    return start
