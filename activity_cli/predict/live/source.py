"""A live source (camera, address or growing file) and its frames. Times are seconds."""

import re
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from activity_cli.common.files import is_file, is_folder
from activity_cli.errors import DataError, NoVideoError, VideoError
from activity_cli.predict.live.settings import SourceSettings
from activity_cli.settings import ClipSettings
from activity_cli.video.capture import Frame, LiveCapture
from activity_cli.video.reader import VideoReader, frame_interval_seconds

_SCHEMES = ("http", "https", "rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "tcp", "udp")
_CAMERA_FILE = re.compile(r"/dev/video(\d+)")
_PLAYLIST_SUFFIXES = (".m3u8", ".mpd")  # of short pieces, which arrive faster than they play


@dataclass(frozen=True, slots=True)
class LiveSource:
    """Where frames come from."""

    kind: Literal["camera", "stream", "file"]
    address: int | str  # a camera's number, or the address or path

    @property
    def name(self) -> str:
        """Name for messages, without the password of an address."""
        if self.kind == "camera":
            return f"camera {self.address}"
        return _without_password(str(self.address)) if self.kind == "stream" else str(self.address)

    @property
    def is_live(self) -> bool:
        """Whether frames that are not read in time are lost; those of a file are not."""
        return self.kind != "file"

    def check_exists(self) -> None:
        """Raise a DataError if there is no such file or camera."""
        path = Path(str(self.address))
        if self.kind == "file" and is_folder(path):
            raise DataError(
                f"{path} is a folder; activity watch reads one source.",
                hint=f"To score the videos in it: activity predict {path}",
            )
        if self.kind == "file" and not is_file(path):
            raise DataError(
                f"There is no file {path}.",
                hint="A source is a camera's number such as 0, an address, or a file.",
            )
        device = Path(f"/dev/video{self.address}")
        if self.kind == "camera" and sys.platform == "linux" and not device.exists():
            found = map(_CAMERA_FILE.fullmatch, map(str, sorted(Path("/dev").glob("video*"))))
            numbers = ", ".join(match[1] for match in found if match)
            raise DataError(
                f"There is no {self.name}: {device} does not exist.",
                hint=f"Cameras here: {numbers or 'none'}.",
            )


def parse_source(text: str) -> LiveSource:
    """Return the source of this name; an existing file wins. Raise a DataError if there is none."""
    if not text.strip():
        raise DataError("The source is empty.", hint="Name a camera (0), an address or a file.")
    if is_file(Path(text)):
        return LiveSource("file", text)
    camera = _CAMERA_FILE.fullmatch(text)
    if camera or (text.isdecimal() and text.isascii()):
        return LiveSource("camera", int(camera[1] if camera else text))
    scheme, colon, _ = text.partition("://")
    if not colon:
        return LiveSource("file", text)
    if scheme.lower() not in _SCHEMES:
        raise DataError(
            f"{_without_password(text)} cannot be watched.",
            hint=f"Addresses begin with {', '.join(f'{known}://' for known in _SCHEMES)}.",
        )
    return LiveSource("stream", text)


def _without_password(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:  # no valid address: hide all that may be a user and a password
        return re.sub(r"//[^/]*@", "//", address)
    user, _, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    return urlunsplit(parts._replace(netloc=f"{name}:***@{host}")) if colon else address


_MAX_LAG_SECONDS = 1.0  # a recording that lags further behind its own pace does not catch up
# A wait of this share of the timeout counts as one: OpenCV reports neither the wait nor its reason.
_SHARE_OF_TIMEOUT = 0.9


class LiveRequest(NamedTuple):
    """What to read, and in which form."""

    source: LiveSource
    settings: SourceSettings
    clip: ClipSettings
    step_seconds: float  # between two timesteps
    as_streams: bool  # whether to return the CNN's inputs, or the frames they are made of
    picture_width: int = 0  # of the pictures to show; 0 for none


class LiveFrame(NamedTuple):
    """A frame of a live source."""

    seconds: float  # its position in time: its arrival, or the time stamp in a file
    arrived: float  # when it was read, by `time.monotonic()`, which all processes share
    image: Frame  # (H, W, channels)


OnOpen = Callable[[tuple[int, int], float], None]
"""Called with (width, height) and the seconds per frame once a source is open."""


def read_live(request: LiveRequest, on_open: OnOpen) -> Generator[LiveFrame, None, None]:
    """Yield BGR frames until the source ends, which a camera never does.

    Raises a VideoError if the source is lost, a NoVideoError if it can never be watched.
    """
    read = _read_file if request.source.kind == "file" else _read_stream
    yield from read(request, on_open)


def _read_file(request: LiveRequest, on_open: OnOpen) -> Iterator[LiveFrame]:
    settings = request.settings
    path, threads = str(request.source.address), settings.decoder_threads
    with VideoReader(path, num_threads=threads, wait_seconds=settings.idle_seconds) as reader:
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
        is_playlist = source.kind == "stream" and urlsplit(str(source.address)).path.endswith(
            _PLAYLIST_SUFFIXES
        )
        due_at: float | None = None  # when the frame with time stamp 0 was due
        asked = time.monotonic()
        while capture.grab():
            if is_recording or is_playlist:  # hold back frames that come faster than they play
                stamp, now = capture.stamp_seconds(), time.monotonic()
                if due_at is None or now - due_at - stamp > _MAX_LAG_SECONDS:
                    due_at = now - stamp
                time.sleep(max(0.0, due_at + stamp - now))
            arrived = time.monotonic()
            yield LiveFrame(arrived, arrived, capture.retrieve_bgr())
            asked = time.monotonic()
    waited = time.monotonic() - asked
    if waited > _SHARE_OF_TIMEOUT * settings.read_timeout:
        raise VideoError(f"It sent nothing for {waited:.0f} s.")
    if not is_recording:
        raise VideoError("It ended.")
