"""Reads a live source without a pause, so that nothing grows old in its buffers.

Runs in a process of its own (`session.py`): a thread drains the source into points, of which a few
are kept; the parent asks for the newest. N is points, H = W the frame size; times are seconds.
"""

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import VideoError
from activity_cli.predict.live.frames import LiveReading, Opened, RawFrame, read_live
from activity_cli.predict.live.source import LiveSource
from activity_cli.predict.live.timesteps import (
    LiveFrame,
    LivePoint,
    PointMaker,
    stack_points,
    streams_of,
    thin_out,
)
from activity_cli.settings import Stream
from activity_cli.types import FrameRole, Images
from activity_cli.video.capture import Frame
from activity_cli.video.clips import to_picture_rgb, to_square
from activity_cli.video.sampling import TIE_SECONDS

_RATE_FRAMES = 30
"""The frame rate is that of so many frames."""
_READ_AHEAD_POINTS = 4
"""So many points of a file may wait: enough to keep both processes busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveStatus:
    """How a source is doing."""

    state: Literal["opening", "open", "ended", "lost"] = "opening"
    error: VideoError | None = None
    """Why it was lost."""
    size: tuple[int, int] = (0, 0)
    """Width and height of the video, once it is open."""
    num_frames: int = 0
    """Frames read so far, used or not."""
    frame_rate: float = 0.0
    """Frames per second, lately."""
    last_arrived: float | None = None
    """When the last frame arrived, by `time.monotonic()`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveChunk:
    """The next points, and how the source is doing."""

    status: LiveStatus
    frames: Mapping[FrameRole, Images] = field(default_factory=dict)
    """(N, H, W, channels) uint8 per role; none where N is 0 or streams were asked for."""
    streams: Mapping[Stream, Images] = field(default_factory=dict)
    """(N, H, W, channels) uint8 per stream; none where N is 0 or frames were asked for."""
    indices: NDArray[np.intp]
    """(N,) of the points in the grid, increasing. What is missing was dropped."""
    seconds: NDArray[np.float64]
    """(N,) times of the points."""
    arrived: NDArray[np.float64]
    """(N,) when their frames arrived, by `time.monotonic()`."""
    picture: Frame | None = None
    """The newest picture, RGB, where it was asked for."""

    @property
    def num_timesteps(self) -> int:
        """N."""
        return len(self.indices)


class LiveReader:
    """Drains a source in a thread of its own, which lives as long as the process.

    Args:
        source: what to read. Of a file nothing is dropped: reading waits while points do.
        reading: how.
    """

    def __init__(self, source: LiveSource, reading: LiveReading) -> None:
        self._source = source
        self._reading = reading
        self._capacity = reading.settings.num_frames  # older points are in no window to come
        self._maker: PointMaker | None = None
        self._changed = threading.Condition()  # guards all below
        self._status = LiveStatus()
        self._waiting: deque[LivePoint] = deque(maxlen=self._capacity if source.is_live else None)
        self._arrivals: deque[float] = deque(maxlen=_RATE_FRAMES)
        self._picture: Frame | None = None
        self._failure: Exception | None = None
        threading.Thread(target=self._read, name="live", daemon=True).start()

    def take(self, max_timesteps: int, wait_seconds: float) -> LiveChunk:
        """Points that have come since the last time: of a stream the newest, of a file the next.

        Args:
            max_timesteps: the most to give. Of a stream the others are dropped, evenly.
            wait_seconds: how long to wait for the first one.

        Raises:
            Exception: whatever the reader died of, other than the source.
        """
        with self._changed:
            before = self._status.state
            self._changed.wait_for(
                lambda: self._waiting or self._status.state != before, wait_seconds
            )
            if self._failure:
                raise self._failure
            points = self._take_points(max_timesteps)
            status = self._status_now()
            picture, self._picture = self._picture, None
        frames = stack_points(points, self._reading.settings)
        as_streams = self._reading.as_streams
        return LiveChunk(
            status=status,
            frames={} if as_streams else frames,
            streams=streams_of(frames, self._reading.settings) if as_streams else {},
            indices=np.array([point.index for point in points], np.intp),
            seconds=np.array([point.seconds for point in points], np.float64),
            arrived=np.array([point.frame.arrived for point in points], np.float64),
            picture=picture,
        )

    def _take_points(self, max_timesteps: int) -> list[LivePoint]:
        if self._source.is_live:
            points = thin_out(list(self._waiting), max_timesteps)
            self._waiting.clear()
            return points
        count = min(max_timesteps, len(self._waiting))
        points = [self._waiting.popleft() for _ in range(count)]
        self._changed.notify_all()
        return points

    def _status_now(self) -> LiveStatus:
        first, last = (self._arrivals[0], self._arrivals[-1]) if self._arrivals else (0.0, None)
        rate = (len(self._arrivals) - 1) / (last - first) if last and last > first else 0.0
        # The end is told with the last points, not before.
        state = "open" if self._waiting else self._status.state
        return replace(self._status, state=state, frame_rate=rate, last_arrived=last)

    def _read(self) -> None:
        """Runs in the reader's thread."""
        try:
            for frame in read_live(self._source, self._reading, self._on_open):
                self._accept(frame)
            self._finish("ended")
        except Exception as error:  # a VideoError is told, anything else raised, in `take`
            self._finish("lost", error)

    def _on_open(self, opened: Opened) -> None:
        self._interval_seconds = opened.interval_seconds
        is_live = self._source.is_live
        self._maker = PointMaker(
            self._reading.settings,
            self._reading.step_seconds,
            tie_seconds=TIE_SECONDS if is_live else min(TIE_SECONDS, opened.interval_seconds / 40),
            most_at_once=self._capacity,
        )
        with self._changed:
            size = (opened.width, opened.height)
            self._status = replace(self._status, state="open", size=size)
            self._changed.notify_all()

    def _accept(self, raw: RawFrame) -> None:
        assert self._maker is not None
        image = to_square(raw.bgr, self._reading.settings)
        points = self._maker.add(LiveFrame(raw.seconds, raw.arrived, image))
        width = self._reading.picture_width
        picture = to_picture_rgb(raw.bgr, width) if width else None
        with self._changed:
            self._arrivals.append(raw.arrived)
            self._status = replace(self._status, num_frames=self._status.num_frames + 1)
            self._picture = picture
            self._waiting += points
            self._changed.notify_all()
            if not self._source.is_live:
                self._changed.wait_for(lambda: len(self._waiting) < _READ_AHEAD_POINTS)

    def _finish(self, state: Literal["ended", "lost"], error: Exception | None = None) -> None:
        points = []
        if state == "ended" and self._maker is not None:
            points = self._maker.end(self._interval_seconds)
        with self._changed:
            self._waiting += points
            self._failure = None if isinstance(error, VideoError) else error
            known = error if isinstance(error, VideoError) else None
            self._status = replace(self._status, state=state, error=known)
            self._changed.notify_all()


def start_reading(source: LiveSource, reading: LiveReading) -> None:
    """Begin to read in this process, and return at once."""
    _readers[:] = [LiveReader(source, reading)]


def take_points(max_timesteps: int, wait_seconds: float) -> LiveChunk:
    """As `LiveReader.take`, of what this process reads.

    Raises:
        VideoError: this process has just taken the place of one that crashed between two calls.
    """
    if not _readers:
        raise VideoError("The decoder crashed on this source.")
    return _readers[0].take(max_timesteps, wait_seconds)


_readers: list[LiveReader] = []
"""What this process reads."""
