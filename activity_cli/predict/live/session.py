"""One connection to a live source, as the parent sees it: a process that reads, and its end.

Whatever the decoder does, crash or hang, it costs this connection and not the watch.
"""

import time
from contextlib import AbstractContextManager

from activity_cli.common.processes.pool import WorkerPool
from activity_cli.errors import VideoError, WorkerCrashError
from activity_cli.predict.live.frames import LiveReading
from activity_cli.predict.live.reader import LiveChunk, start_reading, take_points
from activity_cli.predict.live.source import LiveSource

_WAIT_SECONDS = 0.25
"""How long to wait for points: a watch that is to end hears of it so late."""
_GRACE_SECONDS = 5.0
"""Not every decoder keeps to the timeouts that it is given."""


class LiveSession(AbstractContextManager["LiveSession"]):
    """A connection to a live source. A context manager; opening goes on in the background.

    Args:
        source: what to read.
        reading: how.

    Raises:
        ActivityError: the system starts no more processes.
    """

    def __init__(self, source: LiveSource, reading: LiveReading) -> None:
        self._source = source
        self._reading = reading
        self._started = time.monotonic()
        self._workers = WorkerPool(1, imports=[start_reading.__module__])
        self._is_started = False

    def take(self, max_timesteps: int) -> LiveChunk:
        """The next points: all that came since the last time, thinned out to so many.

        Waits for a moment where there are none. Of a file nothing is left out.

        Raises:
            VideoError: the decoder crashed or hangs. That the source was lost is in the chunk.
        """
        limit = self._reading.read_timeout_seconds + _GRACE_SECONDS
        try:
            if not self._is_started:
                self._workers.call_within(limit, start_reading, self._source, self._reading)
                self._is_started = True
            chunk = self._workers.call_within(limit, take_points, max_timesteps, _WAIT_SECONDS)
        except WorkerCrashError as error:
            raise VideoError(error.message.replace("on this file", "on this source")) from error
        self._check_alive(chunk)
        return chunk

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process that reads, whatever it is doing."""
        self._workers.close()

    def _check_alive(self, chunk: LiveChunk) -> None:
        if not self._source.is_live or chunk.num_timesteps:
            return
        limit = self._reading.read_timeout_seconds
        if chunk.status.state == "opening":
            limit = self._reading.open_timeout_seconds
        since = chunk.status.last_arrived or self._started
        if chunk.status.state in ("opening", "open") and (
            time.monotonic() - since > limit + _GRACE_SECONDS
        ):
            raise VideoError(f"Nothing came for {time.monotonic() - since:.0f} s: it hangs.")
