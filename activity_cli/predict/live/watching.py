"""Live source + model -> scores of windows as they end, events, and the state of the source.

The loop: take the newest timesteps, compute their features, score the window that is due, report.
A machine that is too slow drops timesteps (load shedding) and scores fewer windows; nothing queues.
"""

import random
import threading
import time
from collections.abc import Generator, Iterator
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import ActivityError, NoVideoError, UnsupportedVideoError, VideoError
from activity_cli.predict.live.events import ActionEvent, EventFinder
from activity_cli.predict.live.messages import (
    Connected,
    EventFound,
    Late,
    Lost,
    Message,
    Moment,
    Scored,
    Tick,
    WatchSummary,
)
from activity_cli.predict.live.model import LiveModel, warm_up
from activity_cli.predict.live.reader import LiveChunk, LiveConnection
from activity_cli.predict.live.settings import WatchSettings
from activity_cli.predict.live.source import LiveRequest, LiveSource
from activity_cli.predict.live.timesteps import LoadShedder, WindowBuffer
from activity_cli.predict.rejection import decide, is_event
from activity_cli.types import UNKNOWN, Prediction

_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 1.0, 30.0
_IDLE_GRACE_SECONDS = 2.0  # the reader of a file notices the end first, and returns what is left
_SECONDS_BETWEEN_WARNINGS = 10.0


class Watch:
    """A model that watches a live source.

    Args:
        source: What to watch.
        model: The model.
        settings: Windows, events, and when to end.
        stop: Ends the watch once it is set.

    Raises:
        DataError: there is no such source.
        SettingsError: an alert is for a label that the model does not have.
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
        self._request = LiveRequest(
            source=source,
            settings=settings.source,
            clip=model.description.clip,
            step_seconds=settings.windows.step_seconds,
            as_streams=model.scan.as_streams,
            picture_width=settings.picture_width,
        )
        self._stop = stop or threading.Event()
        self._shedder = LoadShedder(settings.windows)
        self._smoothed: tuple[float, NDArray[np.float32]] | None = None
        self._finder = EventFinder(settings.events)
        self._started = self._last_news = time.monotonic()
        self._last_warning = float("-inf")
        self._seconds = 0.0  # of the last window
        self._has_opened = False

    def run(self) -> Iterator[Message]:
        """Yield messages as they come, until the watch ends.

        Raises:
            ActivityError: the source cannot be watched, or is given up.
        """
        self._shedder.measured(warm_up(self._model), self._settings.windows.num_frames)
        self._started = self._last_news = time.monotonic()
        num_failures = 0
        while True:
            before = self.summary.num_windows
            error = yield from self._watch_connection()
            if error is None or self._is_over():
                break
            num_failures = 1 if self.summary.num_windows > before else num_failures + 1
            if reason := self._reason_to_give_up(error, num_failures):
                yield from self._end_events()
                raise reason
            wait_seconds = backoff_seconds(num_failures)
            yield Lost(at=self._now(), error=error, retry_seconds=wait_seconds)
            end = time.monotonic() + wait_seconds
            while (left := end - time.monotonic()) > 0 and not self._is_over():
                self._stop.wait(min(left, 0.1))
            if self._is_over():
                break
            self.summary.num_reconnects += 1
        yield from self._end_events()
        if not self._has_opened and self._is_idle():
            raise ActivityError(
                f"{self._source.name}: no frame in {self._settings.source.idle_seconds:g} s.",
                hint="A growing file can be read if it is .mkv or .ts."
                if self._source.kind == "file"
                else "Check that it is on and can be reached.",
            )

    def _watch_connection(self) -> Generator[Message, None, VideoError | None]:
        """Watch one connection until it ends; return the error that ended it, if one did."""
        buffer = WindowBuffer(self._settings.windows)
        is_open = False
        self._smoothed = None
        self._finder.gap()
        try:
            with LiveConnection(self._request) as connection:
                while not self._is_over():
                    # A file waits, so every window gets all its timesteps.
                    chunk = connection.take(
                        self._shedder.max_timesteps
                        if self._source.is_live
                        else buffer.timesteps_to_go
                    )
                    status = chunk.status
                    if status.num_frames and not is_open:
                        is_open = self._has_opened = True
                        reconnects = self.summary.num_reconnects
                        yield Connected(at=self._now(), size=status.size, num_reconnects=reconnects)
                    if chunk.num_timesteps or not self._source.is_live:
                        self._last_news = max(self._last_news, status.last_arrived or 0)
                    if chunk.num_timesteps:
                        yield from self._process(chunk, buffer)
                    yield Tick(at=self._now(), status=status, picture=chunk.picture)
                    if status.state in ("ended", "lost"):
                        return status.error
        except VideoError as error:
            return error
        return None

    def _process(self, chunk: LiveChunk, buffer: WindowBuffer) -> Iterator[Message]:
        """Compute the features of timesteps; score the window that is due, if one is."""
        began = time.monotonic()
        buffer.add(chunk.indices.tolist(), self._model.scan.see(chunk))
        self._shedder.measured(time.monotonic() - began, chunk.num_timesteps)
        window = buffer.take_window()
        if window is None:
            return
        scores = self._model.scan.score(window.values[None])[0]
        arrived = float(chunk.arrived[-1])
        self._seconds = float(chunk.seconds[-1]) - (self._started if self._source.is_live else 0)
        delay = time.monotonic() - arrived
        if self._source.is_live and delay > self._settings.delay_limit_seconds:
            yield from self._report_late(delay)
            return
        self.summary.count(delay, self._settings.windows.num_frames, window.num_missing)
        scores = self._smooth(scores)
        prediction = Prediction(labels=self._model.description.labels, scores=scores)
        find = self._model.scan.ood_score
        ood_score = None if find is None else float(find(window.values[None])[0])
        label = decide(prediction, ood_score, self._model.rule)
        yield Scored(
            at=Moment(_utc(arrived), self._seconds),
            prediction=prediction,
            label=label,
            delay_seconds=delay,
            num_missing=window.num_missing,
        )
        by_label = dict(zip(prediction.labels, scores.tolist(), strict=True))
        if label == UNKNOWN:
            by_label = dict.fromkeys(by_label, 0.0) | {UNKNOWN: 1.0}
        for event in self._finder.update(self._seconds, by_label):
            yield from self._report_event(event)

    def _smooth(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the exponential average (C,) over windows that includes these scores."""
        if self._smoothed is not None and self._settings.smooth_seconds:
            before, average = self._smoothed
            passed = (self._seconds - before) / self._settings.smooth_seconds
            weight = np.exp(-passed, dtype=np.float32)
            scores = weight * average + (1 - weight) * scores
        self._smoothed = self._seconds, scores
        return scores

    def _report_late(self, delay: float) -> Iterator[Message]:
        """Count scores that came too late to be of use, and say so now and then."""
        self.summary.num_late += 1
        now = time.monotonic()
        if now - self._last_warning > _SECONDS_BETWEEN_WARNINGS:
            self._last_warning = now
            yield Late(at=self._now(), delay_seconds=delay, num_late=self.summary.num_late)

    def _report_event(self, event: ActionEvent) -> Iterator[EventFound]:
        """Report an event; unknown actions and the background label are none."""
        if not is_event(event.label, self._model.description):
            return
        self.summary.num_events += event.kind == "start"
        when = _utc(self._started + event.seconds) if self._source.is_live else datetime.now(UTC)
        yield EventFound(at=Moment(when, event.seconds), event=event)

    def _end_events(self) -> Iterator[EventFound]:
        for event in self._finder.finish():
            yield from self._report_event(event)

    def _now(self) -> Moment:
        is_live = self._source.is_live
        seconds = time.monotonic() - self._started if is_live else self._seconds
        return Moment(datetime.now(UTC), seconds)

    def _is_over(self) -> bool:
        watched = self.summary.watched_seconds = time.monotonic() - self._started
        is_enough = watched >= self._settings.source.for_seconds
        return is_enough or self._stop.is_set() or self._is_idle()

    def _is_idle(self) -> bool:
        grace = 0 if self._source.is_live else _IDLE_GRACE_SECONDS
        return time.monotonic() - self._last_news >= self._settings.source.idle_seconds + grace

    def _reason_to_give_up(self, error: VideoError, num_failures: int) -> ActivityError | None:
        """Return why another attempt makes no sense; None if it does."""
        if not self.summary.num_windows and isinstance(error, NoVideoError | UnsupportedVideoError):
            return ActivityError(f"{self._source.name}: {error.message}", hint=error.hint)
        limit = self._settings.source.max_reconnects
        if limit is None or num_failures <= limit:
            return None
        attempts = f"{num_failures} attempt{'s' * (num_failures > 1)}"
        return ActivityError(
            f"{self._source.name}: given up after {attempts}: {error.message}",
            hint=error.hint or "Check that it is on and can be reached.",
        )


def backoff_seconds(num_failures: int) -> float:
    """Return how long to wait after this many failures: exponential, with jitter."""
    longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** min(num_failures, 10))
    return random.uniform(longest / 2, longest)


def _utc(monotonic_seconds: float) -> datetime:
    """Return the wall-clock time of a monotonic time."""
    return datetime.fromtimestamp(time.time() - time.monotonic() + monotonic_seconds, UTC)
