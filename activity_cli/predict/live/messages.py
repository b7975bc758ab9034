"""What a watch says, in the order in which it happens. Times are seconds."""

from dataclasses import dataclass
from datetime import datetime

from activity_cli.errors import VideoError
from activity_cli.predict.live.events import ActionEvent
from activity_cli.predict.live.reader import LiveStatus
from activity_cli.types import Prediction
from activity_cli.video.capture import Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When something was."""

    time: datetime
    """UTC."""
    seconds: float
    """Since the watch began; in a file, its time stamp."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """The source is open."""

    at: Moment
    size: tuple[int, int]
    """Width and height."""
    num_reconnects: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The source is gone, or could not be opened."""

    at: Moment
    error: VideoError
    retry_seconds: float
    """When the next attempt is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A window's scores, smoothed. The moment is that of its last frame."""

    at: Moment
    prediction: Prediction
    label: str
    """The best label, or `unknown`."""
    delay_seconds: float
    """From the arrival of the window's last frame until now."""
    num_missing: int
    """Points of the window that were dropped; the one before stood for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """An event."""

    at: Moment
    event: ActionEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """Scores came too late to be given."""

    at: Moment
    delay_seconds: float
    num_late: int
    """So far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """How the source is doing, several times a second."""

    at: Moment
    status: LiveStatus
    picture: Frame | None


Message = Connected | Lost | Scored | Happened | Late | Tick


@dataclass(slots=True)
class WatchSummary:
    """What came of a watch, so far."""

    num_windows: int = 0
    num_late: int = 0
    num_events: int = 0
    num_reconnects: int = 0
    num_timesteps: int = 0
    """Points of all windows, T each."""
    num_missing: int = 0
    """Of these, dropped."""
    watched_seconds: float = 0.0
    total_delay_seconds: float = 0.0
    max_delay_seconds: float = 0.0

    @property
    def mean_delay_seconds(self) -> float:
        """Over all windows."""
        return self.total_delay_seconds / max(self.num_windows, 1)

    @property
    def dropped_share(self) -> float:
        """Of all windows' points."""
        return self.num_missing / max(self.num_timesteps, 1)
