"""Live source + model -> scores of windows as they end, events, and the state of the source.

The loop: take the newest timesteps, compute their features, score the window that is due, report.
A machine that is too slow drops timesteps (load shedding) and scores fewer windows; nothing queues.
"""

import random
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from activity_cli.common import count_of
from activity_cli.errors import ActivityError, NoVideoError, UnsupportedVideoError, VideoError
from activity_cli.model.calibration import RejectRule
from activity_cli.model.folder import ModelDescription, load_model
from activity_cli.predict.exported import is_exported, open_exported, read_exported
from activity_cli.predict.file_results import Scan
from activity_cli.predict.label_selection import select_labels
from activity_cli.predict.live.events import (
    ActionEvent,
    Connected,
    EventFinder,
    EventFound,
    Late,
    LiveStatus,
    Lost,
    Message,
    Moment,
    Scored,
    Tick,
    WatchSummary,
)
from activity_cli.predict.live.reader import LiveChunk, LiveConnection
from activity_cli.predict.live.settings import WatchSettings
from activity_cli.predict.live.source import LiveRequest, LiveSource
from activity_cli.predict.live.timesteps import LoadShedder, WindowBuffer
from activity_cli.predict.local_predictor import export_scan, load_networks, model_scan
from activity_cli.predict.predictor import PredictConfig
from activity_cli.predict.rejection import decide, is_event
from activity_cli.settings import check_labels
from activity_cli.types import UNKNOWN, Prediction, frame_roles


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveModel:
    """A model that is ready to watch. Use it from one thread at a time."""

    description: ModelDescription
    scan: Scan
    rule: RejectRule | None = None  # when a window is unknown; None: never

    @property
    def gives_ood_score(self) -> bool:
        """Whether it can tell how unlike the training clips a window is."""
        return self.scan.ood_score is not None

    def warm_up(self) -> float:
        """Run once, because the first run is slow; return the seconds that T timesteps take."""
        clip = self.description.clip
        grey = np.full((clip.num_frames, *clip.picture_shape), 128, np.uint8)
        names = clip.streams if self.scan.as_streams else frame_roles(clip)
        times = np.zeros(clip.num_frames)
        blank = LiveChunk(
            status=LiveStatus(),
            images=dict.fromkeys(names, grey),
            indices=times.astype(np.intp),
            seconds=times,
            arrived=times,
        )
        self.scan.score(self.scan.complete(self.scan.see(blank)[None]))
        began = time.perf_counter()
        self.scan.complete(self.scan.see(blank)[None])
        return time.perf_counter() - began


def load_live_model(name: str | Path, config: PredictConfig) -> LiveModel:
    """Load a model for live video. Names and errors are those of `load_predictor`."""
    if is_exported(Path(name)):
        exported = read_exported(Path(name))
        config.check_export(Path(name), exported.format)
        description, select = select_labels(exported.description, config.labels)
        scan = export_scan(open_exported(exported), exported.description)
        return LiveModel(description=description, scan=scan.selecting(select))
    model = load_model(name)
    description, select = select_labels(model.description, config.labels)
    extractor, classifier = load_networks(model, config)
    extractor.prefetch()
    scan = model_scan(extractor, classifier, model.ood_detector())
    return LiveModel(description=description, scan=scan.selecting(select))


_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 1.0, 30.0
_IDLE_GRACE_SECONDS = 2.0  # the reader of a file notices the end first, and returns what is left
_SECONDS_BETWEEN_WARNINGS = 10.0
_UNREACHABLE = "Check that it is on and can be reached."


class Watch:
    """A model that watches a live source until `stop` is set or the source ends.

    Raises a DataError or SettingsError if there is no such source, or no such label for an alert.
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
        check_labels(settings.events.alert, model.description.labels)
        self.summary = WatchSummary()
        self._source = source
        self._model = model
        self._settings = settings
        step, as_streams = settings.windows.step_seconds, model.scan.as_streams
        self._request = LiveRequest(
            source,
            settings.source,
            model.description.clip,
            step,
            as_streams,
            settings.picture_width,
        )
        self._stop = stop or threading.Event()
        self._shedder = LoadShedder(settings.windows)
        self._smoothed: tuple[float, NDArray[np.float32]] | None = None
        labels, thresholds = model.description.labels, model.description.thresholds
        own = {} if thresholds is None else dict(zip(labels, thresholds.tolist(), strict=True))
        self._finder = EventFinder(settings.events, own)
        self._started = self._last_news = time.monotonic()
        self._last_warning = float("-inf")
        self._seconds = 0.0  # of the last window
        self._has_opened = False

    def run(self) -> Iterator[Message]:
        """Yield messages as they come; raise an ActivityError if the source is given up."""
        self._shedder.measured(self._model.warm_up(), self._settings.windows.num_frames)
        self._started = self._last_news = time.monotonic()
        num_failures = 0
        while True:
            before = self.summary.num_windows
            error = yield from self._watch_connection()
            if error is None or self._is_over():
                break
            num_failures = 1 if self.summary.num_windows > before else num_failures + 1
            if reason := self._reason_to_give_up(error, num_failures):
                yield from self._report_events(self._finder.finish())
                raise reason
            wait_seconds = backoff_seconds(num_failures)
            yield Lost(at=self._now(), error=error, retry_seconds=wait_seconds)
            end = time.monotonic() + wait_seconds
            while (left := end - time.monotonic()) > 0 and not self._is_over():
                self._stop.wait(min(left, 0.1))
            if self._is_over():
                break
            self.summary.num_reconnects += 1
        yield from self._report_events(self._finder.finish())
        if not self._has_opened and self._is_idle():
            growing = "A growing file can be read if it is .mkv or .ts."
            raise ActivityError(
                f"{self._source.name}: no frame in {self._settings.source.idle_seconds:g} s.",
                hint=_UNREACHABLE if self._source.is_live else growing,
            )

    def _watch_connection(self) -> Generator[Message, None, VideoError | None]:
        """Watch one connection until it ends; return the error that ended it, if one did."""
        buffer = WindowBuffer(self._settings.windows)
        is_live, is_open = self._source.is_live, False
        self._smoothed = None
        self._finder.gap()
        try:
            with LiveConnection(self._request) as connection:
                while not self._is_over():
                    # A file waits, so every window gets all its timesteps.
                    limit = self._shedder.max_timesteps if is_live else buffer.timesteps_to_go
                    chunk = connection.take(limit)
                    status = chunk.status
                    if status.num_frames and not is_open:
                        is_open = self._has_opened = True
                        reconnects = self.summary.num_reconnects
                        yield Connected(at=self._now(), size=status.size, num_reconnects=reconnects)
                    if chunk.num_timesteps or not is_live:
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
        values = self._model.scan.complete(window.values[None])
        scores = self._model.scan.score(values)[0]
        arrived = float(chunk.arrived[-1])
        self._seconds = float(chunk.seconds[-1]) - (self._started if self._source.is_live else 0)
        delay = time.monotonic() - arrived
        if self._source.is_live and delay > self._settings.delay_limit_seconds:
            self.summary.num_late += 1
            if time.monotonic() - self._last_warning > _SECONDS_BETWEEN_WARNINGS:
                self._last_warning = time.monotonic()
                yield Late(at=self._now(), delay_seconds=delay, num_late=self.summary.num_late)
            return
        self.summary.count(delay, self._settings.windows.num_frames, window.num_missing)
        scores = self._smooth(scores)
        description = self._model.description
        prediction = Prediction(
            labels=description.labels, scores=scores, thresholds=description.thresholds
        )
        find = self._model.scan.ood_score
        ood_score = None if find is None else float(find(values)[0])
        label = decide(prediction, ood_score, self._model.rule)
        at = Moment(_utc(arrived), self._seconds)
        yield Scored(at, prediction, label, delay_seconds=delay, num_missing=window.num_missing)
        by_label = dict(zip(prediction.labels, scores.tolist(), strict=True))
        if label == UNKNOWN:
            by_label = dict.fromkeys(by_label, 0.0) | {UNKNOWN: 1.0}
        yield from self._report_events(self._finder.update(self._seconds, by_label))

    def _smooth(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the exponential average (C,) over windows that includes these scores."""
        if self._smoothed is not None and self._settings.smooth_seconds:
            before, average = self._smoothed
            passed = (self._seconds - before) / self._settings.smooth_seconds
            weight = np.exp(-passed, dtype=np.float32)
            scores = weight * average + (1 - weight) * scores
        self._smoothed = self._seconds, scores
        return scores

    def _report_events(self, events: Iterable[ActionEvent]) -> Iterator[EventFound]:
        """Report events; unknown actions and the background label are none."""
        for event in events:
            if is_event(event.label, self._model.description):
                self.summary.num_events += event.kind == "start"
                at = _utc(self._started + event.seconds)
                when = at if self._source.is_live else datetime.now(UTC)
                yield EventFound(at=Moment(when, event.seconds), event=event)

    def _now(self) -> Moment:
        watched = time.monotonic() - self._started
        return Moment(datetime.now(UTC), watched if self._source.is_live else self._seconds)

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
        text = f"given up after {count_of(num_failures, 'attempt')}: {error.message}"
        return ActivityError(f"{self._source.name}: {text}", hint=error.hint or _UNREACHABLE)


def backoff_seconds(num_failures: int) -> float:
    """Return how long to wait after this many failures: exponential, with jitter."""
    longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** min(num_failures, 10))
    return random.uniform(longest / 2, longest)


def _utc(monotonic_seconds: float) -> datetime:
    """Return the wall-clock time of a monotonic time."""
    return datetime.fromtimestamp(time.time() - time.monotonic() + monotonic_seconds, UTC)
