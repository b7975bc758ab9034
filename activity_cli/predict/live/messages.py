"""The messages of a watch, in the order of what happens. Times are seconds."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from activity_cli.errors import VideoError
from activity_cli.predict.live.events import ActionEvent
from activity_cli.types import Prediction
from activity_cli.video.capture import Frame


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
