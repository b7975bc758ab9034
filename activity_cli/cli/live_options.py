"""The options of `activity watch`, in groups."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from activity_cli.setting_fields import setting

if TYPE_CHECKING:
    from activity_cli.predict.live.events import EventSettings


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How the source is read, and when the watch ends."""

    for_: float | None = setting(None, metavar="SECONDS")
    """Stop after this many seconds."""
    until_idle: float | None = setting(None, metavar="SECONDS")
    """Stop when nothing new has come for this many seconds."""
    max_reconnects: int | None = setting(None, at_least=0, metavar="COUNT")
    """Give up after this many failed attempts in a row."""
    open_timeout: float = setting(10.0)
    """Seconds that a stream may take to open."""
    read_timeout: float = setting(5.0)
    """Seconds without a frame after which the source counts as lost."""
    decoder_threads: int = setting(1, at_least=1)
    """Decoder threads; each one after the first delays the picture by a frame."""

    @property
    def for_seconds(self) -> float:
        """How long to watch."""
        return math.inf if self.for_ is None else self.for_

    @property
    def idle_seconds(self) -> float:
        """How long nothing new may come."""
        return math.inf if self.until_idle is None else self.until_idle


@dataclass(frozen=True, kw_only=True)
class EventOptions:
    """When an event starts, and what is done about it."""

    alert: tuple[str, ...] = setting((), metavar="LABEL")
    """Label that starts an alert; can be given several times. Without it every change of label that
    lasts is an event."""
    min_score: float | None = setting(None, derived="0.8 for alerts")
    """Score that starts an event; it ends below three quarters of that."""
    min_seconds: float = setting(1.0)
    """Seconds that a score has to last to start or end an event."""
    cool_down: float = setting(5.0)
    """Seconds after an alert in which the same label starts no other one."""
    run: str | None = setting(None, metavar="COMMAND")
    """Program to run when an event starts. It gets the event as JSON on stdin, and ACTIVITY_LABEL,
    ACTIVITY_SCORE and ACTIVITY_TIME in its environment."""

    def settings(self) -> "EventSettings":
        """The settings that these options say.

        Raises:
            SettingsError: one is out of range.
        """
        from activity_cli.predict.live.events import EventSettings

        return EventSettings(
            alerts=self.alert,
            min_score=self.min_score,
            min_seconds=self.min_seconds,
            cool_down_seconds=self.cool_down,
        )
