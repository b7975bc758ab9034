"""A live source + a model -> scores of windows as they end, events, and how the source is doing.

The loop: take the newest points, let the CNN see them, score the window that is due, say so. When
the machine is too slow, points are dropped and windows come less often; nothing queues up, so what
is said is always about now.
"""

import math
import random
import threading
import time
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import (
    ActivityError,
    NoVideoError,
    UnsupportedVideoError,
    VideoError,
)
from activity_cli.predict.live.events import ActionEvent, make_event_finder
from activity_cli.predict.live.messages import (
    Connected,
    Happened,
    Late,
    Lost,
    Message,
    Moment,
    Scored,
    Tick,
    WatchSummary,
)
from activity_cli.predict.live.model import LiveModel, warm_up
from activity_cli.predict.live.reader import LiveChunk
from activity_cli.predict.live.session import LiveSession
from activity_cli.predict.live.settings import WatchSettings
from activity_cli.predict.live.source import LiveSource
from activity_cli.predict.live.window_buffer import Budget, WindowMemory
from activity_cli.predict.rejection import decide, is_event
from activity_cli.types import UNKNOWN, Prediction

_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 1.0, 30.0
_IDLE_GRACE_SECONDS = 2.0
"""The reader of a file notices the end first, and gives what is left."""
_SECONDS_BETWEEN_COMPLAINTS = 10.0


class Watch:
    """A live source that is watched with a model.

    Args:
        source: what to watch.
        model: what looks at it.
        settings: windows, events, and when to end.
        stop: once it is set, the watch ends.

    Raises:
        DataError: there is no such source.
        SettingsError: an alert is for a label that the model does not know.
    """

    def __init__(
        self,
        source: LiveSource,
        model: LiveModel,
        settings: WatchSettings,
        *,
        stop: threading.Event | None = None,
    ) -> None:
        source.check_exists()
        settings.events.check_labels(model.description.labels)
        self.summary = WatchSummary()
        self._source = source
        self._model = model
        self._settings = settings
        self._stop = stop or threading.Event()
        self._budget = Budget(settings.windows)
        self._smoother = Smoother(settings.smooth_seconds)
        self._finder = make_event_finder(settings.events)
        self._reading = settings.reading(model.description.clip, as_streams=model.scan.as_streams)
        self._started = self._last_news = time.monotonic()
        self._seconds = 0.0  # of the last window
        self._complained = -math.inf
        self._has_opened = False

    def run(self) -> Iterator[Message]:
        """Messages as they come, until the watch is to end.

        Raises:
            ActivityError: the source is none, or is given up.
        """
        self._budget.spent(warm_up(self._model), self._settings.windows.num_frames)
        self._started = self._last_news = time.monotonic()
        num_failures = 0
        while True:
            before = self.summary.num_windows
            error = yield from self._connection()
            if error is None or self._is_over():
                break
            num_failures = 1 if self.summary.num_windows > before else num_failures + 1
            if reason := self._why_give_up(error, num_failures):
                yield from self._end_events()
                raise reason
            wait_seconds = backoff_seconds(num_failures)
            yield Lost(at=self._now(), error=error, retry_seconds=wait_seconds)
            self._wait(wait_seconds)
            if self._is_over():
                break
            self.summary.num_reconnects += 1
        yield from self._end_events()
        if not self._has_opened and self._is_idle():
            raise ActivityError(
                f"{self._source.name}: no frame came in {self._settings.idle_seconds:g} s.",
                hint="A file that grows can be read if it is .mkv or .ts."
                if self._source.kind == "file"
                else "Check that it is on and can be reached.",
            )

    def _connection(self) -> Generator[Message, None, VideoError | None]:
        """One connection, from its opening to its end: the error that ended it, if one did."""
        memory = WindowMemory(self._settings.windows)
        is_open = False
        self._smoother.reset()
        self._finder.gap()
        try:
            with LiveSession(self._source, self._reading) as session:
                while not self._is_over():
                    chunk = session.take(self._max_timesteps(memory))
                    status = chunk.status
                    if status.num_frames and not is_open:
                        is_open = self._has_opened = True
                        yield Connected(
                            at=self._now(),
                            size=status.size,
                            num_reconnects=self.summary.num_reconnects,
                        )
                    self._note_news(chunk)
                    if chunk.num_timesteps:
                        yield from self._look(chunk, memory)
                    yield Tick(at=self._now(), status=status, picture=chunk.picture)
                    if status.state == "ended":
                        return None
                    if status.state == "lost":
                        return status.error
        except VideoError as error:
            return error
        return None

    def _max_timesteps(self, memory: WindowMemory) -> int:
        if self._source.is_live:
            return self._budget.max_timesteps
        return memory.points_to_go  # a file waits, so every window gets its own points

    def _look(self, chunk: LiveChunk, memory: WindowMemory) -> Iterator[Message]:
        """See the points; score the window that is due, if one is."""
        began = time.monotonic()
        memory.add(chunk.indices.tolist(), self._model.scan.see(chunk))
        self._budget.spent(time.monotonic() - began, chunk.num_timesteps)
        window = memory.take_window()
        if window is None:
            return
        scores = self._model.scan.score(window.values[None])[0]
        arrived = float(chunk.arrived[-1])
        self._seconds = float(chunk.seconds[-1]) - (self._started if self._source.is_live else 0)
        delay = time.monotonic() - arrived
        if self._source.is_live and delay > self._settings.delay_limit_seconds:
            yield from self._late(delay)
            return
        self._count(delay, window.num_missing)
        scores = self._smoother.update(self._seconds, scores)
        prediction = Prediction(labels=self._model.description.labels, scores=scores)
        label = decide(prediction, self._novelty(window.values), self._model.rule)
        yield Scored(
            at=Moment(time=_utc(arrived), seconds=self._seconds),
            prediction=prediction,
            label=label,
            delay_seconds=delay,
            num_missing=window.num_missing,
        )
        named = dict(zip(prediction.labels, scores.tolist(), strict=True))
        if label == UNKNOWN:
            named = dict.fromkeys(named, 0.0) | {UNKNOWN: 1.0}
        for event in self._finder.update(self._seconds, named):
            yield from self._happened(event)

    def _novelty(self, window: NDArray[Any]) -> float | None:
        find = self._model.scan.novelty
        return None if find is None else float(find(window[None])[0])

    def _late(self, delay: float) -> Iterator[Message]:
        """Scores that come too late are worth less than none; that must not go unsaid."""
        self.summary.num_late += 1
        now = time.monotonic()
        if now - self._complained > _SECONDS_BETWEEN_COMPLAINTS:
            self._complained = now
            yield Late(at=self._now(), delay_seconds=delay, num_late=self.summary.num_late)

    def _count(self, delay: float, num_missing: int) -> None:
        summary = self.summary
        summary.num_windows += 1
        summary.num_timesteps += self._settings.windows.num_frames
        summary.num_missing += num_missing
        summary.total_delay_seconds += delay
        summary.max_delay_seconds = max(summary.max_delay_seconds, delay)

    def _happened(self, event: ActionEvent) -> Iterator[Happened]:
        """The event, unless it is that nothing happens."""
        if not is_event(event.label, self._model.description):
            return
        self.summary.num_events += event.kind == "start"
        when = _utc(self._started + event.seconds) if self._source.is_live else datetime.now(UTC)
        yield Happened(at=Moment(time=when, seconds=event.seconds), event=event)

    def _now(self) -> Moment:
        seconds = time.monotonic() - self._started if self._source.is_live else self._seconds
        return Moment(time=datetime.now(UTC), seconds=seconds)

    def _note_news(self, chunk: LiveChunk) -> None:
        if chunk.num_timesteps or not self._source.is_live:
            self._last_news = max(self._last_news, chunk.status.last_arrived or 0)

    def _is_over(self) -> bool:
        watched = self.summary.watched_seconds = time.monotonic() - self._started
        is_enough = watched >= self._settings.for_seconds
        return is_enough or self._stop.is_set() or self._is_idle()

    def _is_idle(self) -> bool:
        grace = 0 if self._source.is_live else _IDLE_GRACE_SECONDS
        return time.monotonic() - self._last_news >= self._settings.idle_seconds + grace

    def _wait(self, seconds: float) -> None:
        """Until the next attempt, or the end of the watch."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._is_over():
            self._stop.wait(min(left, 0.1))

    def _why_give_up(self, error: VideoError, num_failures: int) -> ActivityError | None:
        """What speaks against another attempt, if anything does."""
        never = not self.summary.num_windows
        if never and isinstance(error, NoVideoError | UnsupportedVideoError):
            return ActivityError(f"{self._source.name}: {error.message}", hint=error.hint)
        most = self._settings.max_reconnects
        if most is None or num_failures <= most:
            return None
        attempts = f"{num_failures} attempt{'s' * (num_failures > 1)}"
        return ActivityError(
            f"{self._source.name} is given up after {attempts}: {error.message}",
            hint=error.hint or "Check that it is on and can be reached.",
        )

    def _end_events(self) -> Iterator[Happened]:
        for event in self._finder.finish():
            yield from self._happened(event)


class Smoother:
    """An exponential average over windows. It begins anew after a gap.

    Args:
        time_constant_seconds: how long a score is remembered; 0 for not at all.
    """

    def __init__(self, time_constant_seconds: float) -> None:
        self._time_constant = time_constant_seconds
        self._last: tuple[float, NDArray[np.float32]] | None = None

    def reset(self) -> None:
        """Forget what was."""
        self._last = None

    def update(self, seconds: float, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """The average (C,) with these scores in it."""
        if self._last is not None and self._time_constant:
            before, average = self._last
            weight = np.exp((before - seconds) / self._time_constant, dtype=np.float32)
            scores = weight * average + (1 - weight) * scores
        self._last = seconds, scores
        return scores


def backoff_seconds(num_failures: int) -> float:
    """How long to wait after so many failures: twice as long each time, and never quite equal."""
    longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** min(num_failures, 10))
    return random.uniform(longest / 2, longest)


def _utc(monotonic_seconds: float) -> datetime:
    """When that was, by the clock on the wall."""
    return datetime.fromtimestamp(time.time() - time.monotonic() + monotonic_seconds, UTC)
