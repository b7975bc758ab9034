"""The options of `activity watch`, in groups."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from activity_cli.cli.option_groups import option

if TYPE_CHECKING:
    from activity_cli.predict.live.events import EventSettings

_SOURCE, _EVENTS = "Source", "Events"


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How the source is read, and when the watch ends."""

    for_: Annotated[
        float | None,
        option("--for", panel=_SOURCE, text="Stop after so many seconds.", metavar="SECONDS"),
    ] = None
    until_idle: Annotated[
        float | None,
        option(
            panel=_SOURCE,
            text="Stop when nothing new has come for so many seconds.",
            metavar="SECONDS",
        ),
    ] = None
    max_reconnects: Annotated[
        int | None,
        option(
            panel=_SOURCE, text="Give up after so many attempts in a row.", min=0, metavar="COUNT"
        ),
    ] = None
    open_timeout: Annotated[
        float, option(panel=_SOURCE, text="Seconds that a stream may take to open.")
    ] = 10.0
    read_timeout: Annotated[
        float, option(panel=_SOURCE, text="Seconds without a frame after which it counts as lost.")
    ] = 5.0
    decoder_threads: Annotated[
        int, option(panel=_SOURCE, text="Each but the first holds a frame back.", min=1)
    ] = 1

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

    alert: Annotated[
        list[str] | None,
        option(
            panel=_EVENTS,
            text="Label to look out for; several may be given. Without it every change of label "
            "that lasts is an event.",
            metavar="LABEL",
        ),
    ] = None
    min_score: Annotated[
        float | None,
        option(
            panel=_EVENTS,
            text="Score that starts an event; below three quarters of it ends.",
            show_default="0.8 for alerts",
        ),
    ] = None
    min_seconds: Annotated[
        float,
        option(panel=_EVENTS, text="How long it has to last to start or end an event."),
    ] = 1.0
    cool_down: Annotated[
        float,
        option(panel=_EVENTS, text="Seconds after an alert in which its label starts none."),
    ] = 5.0
    run: Annotated[
        str | None,
        option(
            panel=_EVENTS,
            text="Program to run when an event starts, with ACTIVITY_LABEL, ACTIVITY_SCORE and "
            "ACTIVITY_TIME in its environment.",
            metavar="COMMAND",
        ),
    ] = None
    post: Annotated[
        str | None,
        option(panel=_EVENTS, text="Address to post starting events to, as JSON.", metavar="URL"),
    ] = None

    def settings(self) -> "EventSettings":
        """The settings that these options say.

        Raises:
            SettingsError: one is out of range.
        """
        from activity_cli.predict.live.events import EventSettings

        return EventSettings(
            alerts=tuple(self.alert or ()),
            min_score=self.min_score,
            min_seconds=self.min_seconds,
            cool_down_seconds=self.cool_down,
        )
