"""Read a live source without a pause, so that no buffer holds old frames.

`LiveConnection` reads in another process: if the decoder crashes or hangs, this connection ends and
not the watch. There, a thread turns frames into timesteps and keeps the newest; the parent asks for
them. N is timesteps, H = W the frame size; times are seconds.
"""

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.processes.pool import WorkerPool
from activity_cli.errors import VideoError, WorkerCrashError
from activity_cli.predict.live.events import LiveStatus
from activity_cli.predict.live.source import LiveFrame, LiveRequest, read_live
from activity_cli.predict.live.timesteps import (
    LiveTimestep,
    TimestepSampler,
    stack_timesteps,
    thin_out,
)
from activity_cli.types import Images
from activity_cli.video.capture import Frame
from activity_cli.video.clips import images_by_stream, to_picture_rgb, to_square
from activity_cli.video.sampling import TIE_SECONDS

_RATE_FRAMES = 30  # the frame rate is measured over this many frames
_READ_AHEAD = 4  # timesteps of a file that may wait: enough to keep both processes busy
_WAIT_SECONDS = 0.25  # for timesteps; a watch that is to end notices it this late
_GRACE_SECONDS = 5.0  # not every decoder keeps to its timeouts


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveChunk:
    """The next N timesteps, and the state of the source."""

    status: LiveStatus
    images: Mapping[Any, Images]
    """(N, H, W, channels) uint8 per stream, or per role if frames are wanted; empty if N is 0."""
    indices: NDArray[np.intp]
    """(N,) indices of the timesteps, increasing. Missing ones were dropped."""
    seconds: NDArray[np.float64]  # (N,) times of the timesteps
    arrived: NDArray[np.float64]  # (N,) when their frames arrived, by `time.monotonic()`
    picture: Frame | None = None  # the newest picture, RGB, where pictures are wanted

    @property
    def num_timesteps(self) -> int:
        """N."""
        return len(self.indices)


class LiveConnection(AbstractContextManager["LiveConnection"]):
    """A connection to a live source, seen from the parent. A context manager."""

    def __init__(self, request: LiveRequest) -> None:
        self._request = request
        self._started = time.monotonic()
        self._workers = WorkerPool(1, imports=[start_reading.__module__])
        self._is_started = False

    def __exit__(self, *error: object) -> None:
        self._workers.close()

    def take(self, max_timesteps: int) -> LiveChunk:
        """Return the timesteps since the last call, thinned out; of a file the next ones.

        Raises:
            VideoError: the decoder crashed or hangs. A lost source is in the chunk's status.
        """
        limit = self._request.settings.read_timeout + _GRACE_SECONDS
        try:
            if not self._is_started:
                self._workers.call_within(limit, start_reading, self._request)
                self._is_started = True
            chunk = self._workers.call_within(limit, take_timesteps, max_timesteps)
        except WorkerCrashError as error:
            raise VideoError(error.message.replace("on this file", "on this source")) from error
        state, settings = chunk.status.state, self._request.settings
        is_reading = state in ("opening", "open") and self._request.source.is_live
        limit = settings.open_timeout if state == "opening" else settings.read_timeout
        silent = time.monotonic() - (chunk.status.last_arrived or self._started)
        if is_reading and not chunk.num_timesteps and silent > limit + _GRACE_SECONDS:
            raise VideoError(f"Nothing came for {silent:.0f} s: the decoder hangs.")
        return chunk


class LiveReader:
    """Reads a source in a thread of its own, which lives as long as the process.

    Timesteps of a file are never dropped: reading waits while enough of them wait.
    """

    def __init__(self, request: LiveRequest) -> None:
        self._request = request
        self._is_live = request.source.is_live
        self._capacity = request.clip.num_frames  # no later window needs older timesteps
        self._sampler: TimestepSampler | None = None
        self._interval_seconds = 0.0
        self._changed = threading.Condition()  # guards all below
        self._status = LiveStatus()
        self._incomplete: list[LiveTimestep] = []
        """Timesteps that the stream rgb shows with a later one, which has not come yet."""
        self._waiting: deque[LiveTimestep] = deque(maxlen=self._capacity if self._is_live else None)
        self._arrivals: deque[float] = deque(maxlen=_RATE_FRAMES)
        self._picture: Frame | None = None
        self._failure: Exception | None = None
        threading.Thread(target=self._read, name="live", daemon=True).start()

    def take(self, max_timesteps: int) -> LiveChunk:
        """Return timesteps: of a stream the newest, the others are dropped; of a file the next.

        Waits for a moment where there are none. Raises what ended the reader, but VideoErrors.
        """
        with self._changed:
            before = self._status.state
            self._changed.wait_for(
                lambda: self._waiting or self._status.state != before, _WAIT_SECONDS
            )
            if self._failure:
                raise self._failure
            if self._is_live:
                timesteps = thin_out(list(self._waiting), max_timesteps)
                self._waiting.clear()
            else:
                count = min(max_timesteps, len(self._waiting))
                timesteps = [self._waiting.popleft() for _ in range(count)]
                self._changed.notify_all()
            last = self._arrivals[-1] if self._arrivals else None
            passed = last - self._arrivals[0] if last else 0.0
            rate = (len(self._arrivals) - 1) / passed if passed else 0.0
            # The end is reported with the last timesteps, not before.
            state = "open" if self._waiting else self._status.state
            status = replace(self._status, state=state, frame_rate=rate, last_arrived=last)
            picture, self._picture = self._picture, None
        clip, indices = self._request.clip, np.array([one.index for one in timesteps], np.intp)
        frames = stack_timesteps(timesteps, clip)
        as_streams = self._request.as_streams and frames
        return LiveChunk(
            status=status,
            images=images_by_stream(frames, clip, indices) if as_streams else frames,
            indices=indices,
            seconds=np.array([one.seconds for one in timesteps], np.float64),
            arrived=np.array([one.frame.arrived for one in timesteps], np.float64),
            picture=picture,
        )

    def _read(self) -> None:
        """Run in the reader's thread."""
        try:
            for frame in read_live(self._request, self._on_open):
                self._accept(frame)
            last = self._sampler.end(self._interval_seconds) if self._sampler else []
            self._finish("ended", timesteps=last)
        except Exception as error:  # `take` reports a VideoError in the status and raises others
            self._finish("lost", error)

    def _on_open(self, size: tuple[int, int], interval_seconds: float) -> None:
        self._interval_seconds = interval_seconds
        self._sampler = TimestepSampler(
            self._request.clip,
            self._request.step_seconds,
            tie_seconds=TIE_SECONDS if self._is_live else min(TIE_SECONDS, interval_seconds / 40),
            max_per_frame=self._capacity,
        )
        with self._changed:
            self._status = replace(self._status, state="open", size=size)
            self._changed.notify_all()

    def _accept(self, frame: LiveFrame) -> None:
        assert self._sampler is not None
        square = to_square(frame.image, self._request.clip)
        timesteps = self._sampler.add(frame._replace(image=square))
        width = self._request.picture_width
        picture = to_picture_rgb(frame.image, width) if width else None
        with self._changed:
            self._arrivals.append(frame.arrived)
            self._status = replace(self._status, num_frames=self._status.num_frames + 1)
            self._picture = picture
            self._incomplete += timesteps
            whole = len(self._incomplete)
            while whole and (self._incomplete[whole - 1].index + 1) % self._request.clip.rgb_every:
                whole -= 1
            self._waiting += self._incomplete[:whole]
            del self._incomplete[:whole]
            self._changed.notify_all()
            if not self._is_live:
                self._changed.wait_for(lambda: len(self._waiting) < _READ_AHEAD)

    def _finish(
        self,
        state: Literal["ended", "lost"],
        error: Exception | None = None,
        timesteps: Sequence[LiveTimestep] = (),
    ) -> None:
        reason = error if isinstance(error, VideoError) else None
        with self._changed:
            self._waiting += [*self._incomplete, *timesteps]
            self._incomplete.clear()
            self._failure = None if reason else error
            self._status = replace(self._status, state=state, error=reason)
            self._changed.notify_all()


_readers: list[LiveReader] = []  # of this process


def start_reading(request: LiveRequest) -> None:
    """Start to read in this process, and return at once."""
    _readers[:] = [LiveReader(request)]


def take_timesteps(max_timesteps: int) -> LiveChunk:
    """Return the timesteps of this process's reader."""
    if not _readers:  # this process has replaced one that crashed between two calls
        raise VideoError("The decoder crashed on this source.")
    return _readers[0].take(max_timesteps)
