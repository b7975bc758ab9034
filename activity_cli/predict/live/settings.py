"""Settings of a live watch. Times are seconds."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from activity_cli.setting_fields import Settings, setting

if TYPE_CHECKING:
    from activity_cli.video.sampling import Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings(Settings):
    """How the source is read, and when the watch ends."""

    for_seconds: float = setting(
        math.inf, option="for_", above=0, derived="no limit", metavar="SECONDS"
    )
    """Stop after this many seconds."""
    idle_seconds: float = setting(
        math.inf, option="until_idle", above=0, derived="no limit", metavar="SECONDS"
    )
    """Stop when nothing new has come for this many seconds."""
    max_reconnects: int | None = setting(
        None, at_least=0, metavar="COUNT", derived="no limit", rare=True
    )
    """Give up after this many failed attempts in a row."""
    open_timeout: float = setting(10.0, above=0, metavar="SECONDS", rare=True)
    """Seconds that a stream may take to open."""
    read_timeout: float = setting(5.0, above=0, metavar="SECONDS", rare=True)
    """Seconds without a frame after which the source counts as lost."""
    decoder_threads: int = setting(1, at_least=1, rare=True)
    """Decoder threads; each one after the first delays the picture by a frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSettings(Settings):
    """When an event starts and ends, and what is done about it."""

    alert: tuple[str, ...] = setting((), metavar="LABEL")
    """Label that starts an alert, can be given several times; without it every change of label that
    lasts is an event."""
    min_score: float | None = setting(
        None, above=0, at_most=1, derived="0.8 for alerts", metavar="SCORE"
    )
    """Score that starts an event; it ends below three quarters of that."""
    min_seconds: float = setting(1.0, at_least=0, metavar="SECONDS")
    """Seconds that a score has to last to start or end an event."""
    cool_down: float = setting(5.0, at_least=0, metavar="SECONDS", rare=True)
    """Seconds after an alert in which the same label starts no other one."""
    run: str | None = setting(None, metavar="COMMAND")
    """Program to run when an event starts, with the event as JSON on stdin and ACTIVITY_LABEL,
    ACTIVITY_SCORE and ACTIVITY_TIME in its environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings(Settings):
    """All settings of a watch."""

    windows: "Windows"
    source: SourceSettings = field(default_factory=SourceSettings)
    events: EventSettings = field(default_factory=EventSettings)
    smooth_seconds: float = setting(0.0, at_least=0, below=math.inf)
    """Time constant of the exponential average over windows; 0 for none."""
    max_delay_seconds: float | None = setting(None, above=0)
    """Later scores are not reported; None: 3 strides, and at least 2 s."""
    picture_width: int = 0
    """Width in pixels of the pictures that come with each tick; 0 for none."""

    @property
    def delay_limit_seconds(self) -> float:
        """The longest delay of a reported score."""
        return self.max_delay_seconds or max(3 * self.windows.stride_seconds, 2.0)
