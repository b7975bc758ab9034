"""Scores over time -> events: an action starts, and ends; `--run` starts a program for them.

An event starts once a score has been high for long enough, and ends once it has been low for as
long (hysteresis): a score that wavers around one limit starts one event, not many.
Below: the messages of a watch, in the order of what happens. Times are seconds.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from activity_cli.errors import SettingsError, VideoError
from activity_cli.predict.live.settings import EventSettings
from activity_cli.types import Prediction
from activity_cli.video.capture import Frame

_LOW = 0.75  # a score is low below this share of the score that starts an event


class ActionEvent(NamedTuple):
    """An action starts or ends."""

    kind: Literal["start", "end"]
    label: str
    score: float  # at a start the current score, at an end the highest of the event
    seconds: float  # when it was certain; for an end, when the action was last seen
    since_seconds: float  # when the action was first seen


class EventFinder:
    """Finds events of each alert's label; without alerts, changes of the best label.

    `thresholds` are those of a multi-label model, by label: without alerts, all of its labels are.
    """

    def __init__(
        self, settings: EventSettings, thresholds: Mapping[str, float] = MappingProxyType({})
    ) -> None:
        alerts = [
            _Alert(label, settings, thresholds.get(label, 0.8))
            for label in dict.fromkeys(settings.alert or thresholds)
        ]
        self._parts: Sequence[_Alert | _LabelChanges] = alerts or [_LabelChanges(settings)]

    def update(self, seconds: float, scores: Mapping[str, float]) -> list[ActionEvent]:
        """Return the events that start or end now."""
        return [event for part in self._parts for event in part.update(seconds, scores)]

    def gap(self) -> None:
        """Start counting anew: nothing was seen for a while."""
        for part in self._parts:
            part.gap()

    def finish(self) -> list[ActionEvent]:
        """Return the ends of all current events."""
        return [event for part in self._parts for event in part.finish()]


class _Alert:
    """Events of one label."""

    def __init__(self, label: str, settings: EventSettings, usual_score: float) -> None:
        self._label = label
        self._high = settings.min_score or usual_score
        self._settings = settings
        self._start: float | None = None  # of the current event
        self._high_since: float | None = None  # while there is no event
        self._low_since: float | None = None  # during an event
        self._seen = 0.0  # when the score was last not low
        self._peak = 0.0
        self._quiet_until = float("-inf")

    def update(self, seconds: float, scores: Mapping[str, float]) -> list[ActionEvent]:
        score = scores[self._label]
        if self._start is None:
            if score < self._high or seconds < self._quiet_until:
                self._high_since = None
                return []
            if self._high_since is None:
                self._high_since = seconds
            if seconds - self._high_since < self._settings.min_seconds:
                return []
            self._start, self._peak, self._seen = self._high_since, score, seconds
            return [ActionEvent("start", self._label, score, seconds, self._start)]
        self._peak = max(self._peak, score)
        if score >= self._high * _LOW:
            self._low_since, self._seen = None, seconds
            return []
        if self._low_since is None:
            self._low_since = seconds
        return self.finish() if seconds - self._low_since >= self._settings.min_seconds else []

    def gap(self) -> None:
        self._high_since = self._low_since = None

    def finish(self) -> list[ActionEvent]:
        if self._start is None:
            return []
        event = ActionEvent("end", self._label, self._peak, self._seen, self._start)
        self._quiet_until = self._seen + self._settings.cool_down
        self._start = self._high_since = self._low_since = None
        return [event]


class _LabelChanges:
    """Events of the best label: one ends when another label has been best for long enough."""

    def __init__(self, settings: EventSettings) -> None:
        self._min_score = settings.min_score or 0.0
        self._min_seconds = settings.min_seconds
        self._current: str | None = None
        self._start = self._seen = self._peak = 0.0  # of the current label
        self._next: str | None = None
        self._next_since = 0.0

    def update(self, seconds: float, scores: Mapping[str, float]) -> list[ActionEvent]:
        best = max(scores, key=lambda label: scores[label])
        if best == self._current:
            self._seen, self._next = seconds, None
            self._peak = max(self._peak, scores[best])
            return []
        if scores[best] < self._min_score:
            self._next = None
            return []
        if best != self._next:
            self._next, self._next_since = best, seconds
        if seconds - self._next_since < self._min_seconds:
            return []
        events = self.finish()
        self._current, self._start = best, self._next_since
        self._seen, self._peak, self._next = seconds, scores[best], None
        return [*events, ActionEvent("start", best, scores[best], seconds, self._start)]

    def gap(self) -> None:
        self._next = None

    def finish(self) -> list[ActionEvent]:
        if self._current is None:
            return []
        event = ActionEvent("end", self._current, self._peak, self._seen, self._start)
        self._current = None
        return [event]


_MAX_RUNNING = 16  # with more than that, something is wrong with the program
_FINISH_SECONDS = 5.0  # how long the end of the watch waits for programs that still run


class EventHook(AbstractContextManager["EventHook"]):
    """Starts a program for each event. A context manager.

    The program gets the event as JSON on stdin, and its label, score and time in the environment.
    `note` is called with one line for each failure, also by other threads.
    """

    def __init__(self, command: Sequence[str], note: Callable[[str], None]) -> None:
        self._command = command
        self._note = note
        self._waiting: list[threading.Thread] = []

    def __exit__(self, *error: object) -> None:
        """Wait a few seconds for programs that run. Longer ones go on by themselves."""
        end = time.monotonic() + _FINISH_SECONDS
        for thread in self._waiting:
            thread.join(max(0.0, end - time.monotonic()))

    def start(self, event: Mapping[str, Any]) -> None:
        """Start the program for an event, and return at once."""
        if not self._command:
            return
        self._waiting = [thread for thread in self._waiting if thread.is_alive()]
        if len(self._waiting) >= _MAX_RUNNING:
            self._note(f"--run: {_MAX_RUNNING} programs still run; none is started for this event.")
            return
        names = ("label", "score", "time")
        try:
            process = subprocess.Popen(
                self._command,
                env=os.environ | {f"ACTIVITY_{name.upper()}": str(event[name]) for name in names},
                stdin=subprocess.PIPE,
                stdout=sys.stderr.fileno(),  # stdout is for JSON lines
                start_new_session=True,  # Ctrl-C ends the watch, not the program
            )
        except OSError as error:
            self._note(f"--run cannot start {self._command[0]}: {error.strerror or error}.")
            return
        thread = threading.Thread(target=self._run, args=(process, event), daemon=True)
        thread.start()
        self._waiting.append(thread)

    def _run(self, process: "subprocess.Popen[bytes]", event: Mapping[str, Any]) -> None:
        with suppress(BrokenPipeError):  # the program does not read its stdin
            process.communicate(json.dumps(event, ensure_ascii=False).encode() + b"\n")
        if code := process.wait():
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            self._note(f"--run: {self._command[0]} ended with {how}.")


def split_command(command: str | None) -> list[str]:
    """Split a program and its arguments as a shell does; raise a SettingsError if it is wrong."""
    if command is None:
        return []
    try:
        parts = shlex.split(command)
    except ValueError as error:
        raise SettingsError(
            f"--run {command}: {error}.", hint="Quote it as in a shell: --run 'play \"a b.wav\"'"
        ) from None
    if not parts or shutil.which(parts[0]) is None:
        raise SettingsError(
            f"--run: there is no program {parts[0] if parts else 'given'}.",
            hint="It runs without a shell; for pipes and the like: --run \"sh -c '...'\"",
        )
    return parts


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveStatus:
    """The state of a source."""

    state: Literal["opening", "open", "ended", "lost"] = "opening"
    error: VideoError | None = None  # why it was lost
    size: tuple[int, int] = (0, 0)  # width and height, once it is open
    num_frames: int = 0  # read so far, used or not
    frame_rate: float = 0.0  # frames per second, recently
    last_arrived: float | None = None  # arrival of the last frame, by `time.monotonic()`


class Moment(NamedTuple):
    """A point in time."""

    time: datetime  # UTC
    seconds: float  # since the watch began; in a file, the time stamp


class Connected(NamedTuple):
    """The source is open."""

    at: Moment
    size: tuple[int, int]  # width and height
    num_reconnects: int


class Lost(NamedTuple):
    """The source is gone, or could not be opened."""

    at: Moment
    error: VideoError
    retry_seconds: float  # until the next attempt


class Scored(NamedTuple):
    """The smoothed scores of a window, at its last frame."""

    at: Moment
    prediction: Prediction
    label: str  # the best label, or `unknown`
    delay_seconds: float  # from the arrival of the window's last frame until now
    num_missing: int  # dropped timesteps of the window; each repeats the one before it


class EventFound(NamedTuple):
    """An event starts or ends."""

    at: Moment
    event: ActionEvent


class Late(NamedTuple):
    """Scores came too late to be reported."""

    at: Moment
    delay_seconds: float
    num_late: int  # so far


class Tick(NamedTuple):
    """The state of the source, several times a second."""

    at: Moment
    status: LiveStatus
    picture: Frame | None


Message = Connected | Lost | Scored | EventFound | Late | Tick


@dataclass(slots=True)
class WatchSummary:
    """Counts of a watch, so far."""

    num_windows: int = 0
    num_late: int = 0
    num_events: int = 0
    num_reconnects: int = 0
    num_timesteps: int = 0  # of all windows, T each
    num_missing: int = 0  # of these, dropped
    watched_seconds: float = 0.0
    total_delay_seconds: float = 0.0
    max_delay_seconds: float = 0.0

    def count(self, delay_seconds: float, num_timesteps: int, num_missing: int) -> None:
        """Count a window."""
        self.num_windows += 1
        self.num_timesteps += num_timesteps
        self.num_missing += num_missing
        self.total_delay_seconds += delay_seconds
        self.max_delay_seconds = max(self.max_delay_seconds, delay_seconds)

    @property
    def mean_delay_seconds(self) -> float:
        """Mean over all windows."""
        return self.total_delay_seconds / max(self.num_windows, 1)

    @property
    def dropped_share(self) -> float:
        """Share of timesteps that were dropped."""
        return self.num_missing / max(self.num_timesteps, 1)
