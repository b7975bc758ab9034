"""Scores over time -> events: an action starts, and ends. Pure; times are seconds.

An event starts once a score has been high for long enough, and ends once it has been low for as
long. Between high and low nothing changes, so a score that trembles around one limit starts one
event, not many.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from activity_cli.errors import SettingsError

_LOW = 0.75
"""A score is low below so much of what it takes to be high."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSettings:
    """When an event starts."""

    alerts: tuple[str, ...] = ()
    """Labels to look out for; with none, events are the changes of the best label."""
    min_score: float | None = None
    """What counts as high; by default 0.8 for alerts, and any score for a change of label."""
    min_seconds: float = 1.0
    """How long a score has to be high to start an event, and low to end it."""
    cool_down_seconds: float = 5.0
    """How long after the end of an alert the same label starts none."""

    def __post_init__(self) -> None:
        if self.min_score is not None and not 0 < self.min_score <= 1:
            raise SettingsError(f"--min-score must be above 0 and at most 1, got {self.min_score}.")
        for name, seconds in (
            ("--min-seconds", self.min_seconds),
            ("--cool-down", self.cool_down_seconds),
        ):
            if not seconds >= 0:
                raise SettingsError(f"{name} cannot be {seconds:g} s.")

    def check_labels(self, labels: Sequence[str]) -> None:
        """Refuse alerts for what the model cannot say.

        Raises:
            SettingsError: a label is unknown to it.
        """
        for label in self.alerts:
            if label not in labels:
                raise SettingsError(
                    f"The model does not know {label!r}, so --alert {label} would never come.",
                    hint=f"It knows: {', '.join(labels)}.",
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionEvent:
    """An action starts or ends."""

    kind: Literal["start", "end"]
    label: str
    score: float
    """At a start the score then, at an end the highest of the event."""
    seconds: float
    """When it was certain; for an end, when the action was last seen."""
    since_seconds: float
    """When the action was first seen."""


class EventFinder(Protocol):
    """Finds events in scores that come one after the other. Made by `make_event_finder`."""

    def update(self, seconds: float, scores: Mapping[str, float]) -> list[ActionEvent]:
        """What starts and ends now."""
        ...

    def gap(self) -> None:
        """Nothing was seen for a while: what had not lasted long enough begins anew."""
        ...

    def finish(self) -> list[ActionEvent]:
        """The ends of what goes on at the end of the watch."""
        ...


def make_event_finder(settings: EventSettings) -> EventFinder:
    """Alerts where there are any, else the changes of the best label."""
    return Alerts(settings) if settings.alerts else LabelChanges(settings)


class Alerts:
    """Events of chosen labels, each on its own."""

    def __init__(self, settings: EventSettings) -> None:
        self._alerts = [_Alert(label, settings) for label in dict.fromkeys(settings.alerts)]

    def update(self, seconds: float, scores: Mapping[str, float]) -> list[ActionEvent]:
        """What starts and ends now."""
        events = (alert.update(seconds, scores[alert.label]) for alert in self._alerts)
        return [event for event in events if event]

    def gap(self) -> None:
        """Nothing was seen for a while."""
        for alert in self._alerts:
            alert.gap()

    def finish(self) -> list[ActionEvent]:
        """The ends of what goes on at the end of the watch."""
        return [event for alert in self._alerts if (event := alert.finish())]


class _Alert:
    """One label: waiting, or going on."""

    def __init__(self, label: str, settings: EventSettings) -> None:
        self.label = label
        self._high = 0.8 if settings.min_score is None else settings.min_score
        self._min_seconds = settings.min_seconds
        self._cool_down = settings.cool_down_seconds
        self._start: float | None = None  # of the event that goes on
        self._high_since: float | None = None  # while none goes on
        self._low_since: float | None = None  # while one goes on
        self._seen = 0.0  # when the score was last not low
        self._peak = 0.0
        self._quiet_until = float("-inf")

    def update(self, seconds: float, score: float) -> ActionEvent | None:
        if self._start is None:
            return self._wait(seconds, score)
        self._peak = max(self._peak, score)
        if score >= self._high * _LOW:
            self._low_since, self._seen = None, seconds
            return None
        if self._low_since is None:
            self._low_since = seconds
        return self.finish() if seconds - self._low_since >= self._min_seconds else None

    def gap(self) -> None:
        self._high_since = self._low_since = None

    def finish(self) -> ActionEvent | None:
        """The end of the event, if one goes on."""
        if self._start is None:
            return None
        event = ActionEvent(
            kind="end",
            label=self.label,
            score=self._peak,
            seconds=self._seen,
            since_seconds=self._start,
        )
        self._quiet_until = self._seen + self._cool_down
        self._start = self._high_since = self._low_since = None
        return event

    def _wait(self, seconds: float, score: float) -> ActionEvent | None:
        if score < self._high or seconds < self._quiet_until:
            self._high_since = None
            return None
        if self._high_since is None:
            self._high_since = seconds
        if seconds - self._high_since < self._min_seconds:
            return None
        self._start, self._peak, self._seen = self._high_since, score, seconds
        return ActionEvent(
            kind="start",
            label=self.label,
            score=score,
            seconds=seconds,
            since_seconds=self._start,
        )


class LabelChanges:
    """Events of whatever label is best: one ends when another has been best for long enough."""

    def __init__(self, settings: EventSettings) -> None:
        self._min_score = settings.min_score or 0.0
        self._min_seconds = settings.min_seconds
        self._current: str | None = None
        self._start = self._seen = self._peak = 0.0  # of the current label
        self._next: str | None = None
        self._next_since = 0.0

    def update(self, seconds: float, scores: Mapping[str, float]) -> list[ActionEvent]:
        """What starts and ends now."""
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
        start = ActionEvent(
            kind="start",
            label=best,
            score=scores[best],
            seconds=seconds,
            since_seconds=self._start,
        )
        return [*events, start]

    def gap(self) -> None:
        """Nothing was seen for a while."""
        self._next = None

    def finish(self) -> list[ActionEvent]:
        """The end of the current label."""
        if self._current is None:
            return []
        label, self._current = self._current, None
        return [
            ActionEvent(
                kind="end",
                label=label,
                score=self._peak,
                seconds=self._seen,
                since_seconds=self._start,
            )
        ]
