"""How a live source is watched. Times are seconds."""

import math
from dataclasses import dataclass, field

from activity_cli.errors import SettingsError
from activity_cli.predict.live.events import EventSettings
from activity_cli.predict.live.frames import LiveReading
from activity_cli.settings import ClipSettings
from activity_cli.video.sampling import Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """What is said, and when the watch ends."""

    windows: Windows
    events: EventSettings = field(default_factory=EventSettings)
    smooth_seconds: float = 0.0
    """Time constant of the average over windows; 0 for none."""
    max_delay_seconds: float | None = None
    """Scores that are later than this are not given; None: 3 strides, and at least 2 s."""
    for_seconds: float = math.inf
    """How long to watch."""
    idle_seconds: float = math.inf
    """How long nothing new may come."""
    max_reconnects: int | None = None
    """Attempts in a row without a window, after which it gives up; None: never."""
    open_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 5.0
    num_threads: int = 1
    """Decoder threads."""
    picture_width: int = 0
    """Of the pictures that come with each tick; 0 for none."""

    def __post_init__(self) -> None:
        for name, seconds in (
            ("--for", self.for_seconds),
            ("--until-idle", self.idle_seconds),
            ("--max-delay", self.max_delay_seconds or 1),
            ("--open-timeout", self.open_timeout_seconds),
            ("--read-timeout", self.read_timeout_seconds),
        ):
            if not seconds > 0:
                raise SettingsError(f"{name} must be more than 0 s, got {seconds:g}.")
        if not 0 <= self.smooth_seconds < math.inf:
            raise SettingsError(f"--smooth cannot be {self.smooth_seconds:g} s.")

    @property
    def delay_limit_seconds(self) -> float:
        """No score that is given is later than this."""
        return self.max_delay_seconds or max(3 * self.windows.stride_seconds, 2.0)

    def reading(self, clip: ClipSettings, *, as_streams: bool) -> LiveReading:
        """How the source is read for a model's clips."""
        return LiveReading(
            settings=clip,
            step_seconds=self.windows.step_seconds,
            as_streams=as_streams,
            num_threads=self.num_threads,
            open_timeout_seconds=self.open_timeout_seconds,
            read_timeout_seconds=self.read_timeout_seconds,
            idle_seconds=self.idle_seconds,
            picture_width=self.picture_width,
        )
