"""A watch in the terminal: a panel that is drawn in place, and lines that stay."""

import time
from dataclasses import dataclass, field
from datetime import timedelta

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from activity_cli.common import count_of
from activity_cli.predict.live.messages import (
    Connected,
    EventFound,
    Late,
    LiveStatus,
    Lost,
    Message,
    Scored,
    Tick,
    WatchSummary,
)
from activity_cli.report.terminal import SCORE_STYLE, bar
from activity_cli.types import UNKNOWN

_MAX_LABELS = 4
_SILENT_SECONDS = 2.0  # without a frame for this long, the panel says so
_BESIDE_BAR_CELLS = 34  # of a line: label, figure and margins


@dataclass(slots=True)
class LivePanel:
    """The current state of a watch; Rich draws it several times a second."""

    source: str
    has_alerts: bool
    summary: WatchSummary
    _scored: Scored | None = None
    _status: LiveStatus = field(default_factory=LiveStatus)
    _lost: Lost | None = None
    _lost_since: float = 0.0
    _began: float = field(default_factory=time.monotonic)
    _current: set[str] = field(default_factory=set)  # labels of events that have not ended

    def update(self, message: Message) -> None:
        """Take over what a message reports."""
        match message:
            case Scored():
                self._scored = message
            case Tick():
                self._status = message.status
            case Connected():
                self._lost = None
            case Lost():
                self._lost, self._lost_since = message, time.monotonic()
                self._scored = None
            case EventFound(event=event) if event.kind == "start":
                self._current.add(event.label)
            case EventFound(event=event):
                self._current.discard(event.label)
            case Late():
                pass

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._head()
        yield self._scores(options.max_width)
        yield Text("  " + _counts(self.summary), "dim")

    def _head(self) -> Text:
        parts = [_clock(time.monotonic() - self._began)]
        if self._lost is None and self._status.state == "open":
            silent = time.monotonic() - (self._status.last_arrived or time.monotonic())
            rate = f"{self._status.frame_rate:.1f} frames/s"
            is_silent = silent >= _SILENT_SECONDS
            parts.insert(0, f"no frame for {silent:.0f} s" if is_silent else rate)
            parts.insert(0, "{} x {}".format(*self._status.size))
        return Text.assemble((self.source, "bold"), ("  " + ", ".join(parts), "dim"))

    def _scores(self, width: int) -> RenderableType:
        if self._lost is not None:
            left = self._lost.retry_seconds - (time.monotonic() - self._lost_since)
            soon = f"Next attempt in {left:.0f} s." if left > 0.5 else "Connecting ..."
            return Text.assemble(
                ("  " + self._lost.error.message, "yellow"), (f" {soon}", "dim"), overflow="fold"
            )
        if self._scored is None:
            is_open = self._status.state == "open"
            return Text("  Filling the first window ..." if is_open else "  Connecting ...", "dim")
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, max_width=20)
        table.add_column(style=SCORE_STYLE, no_wrap=True)
        table.add_column(justify="right", width=6)
        cells = max(8, min(48, width - _BESIDE_BAR_CELLS))
        for label, score in self._scored.prediction.top(_MAX_LABELS):
            style = "bold" if label == self._scored.label else "dim"
            if self.has_alerts and label in self._current:
                style = "bold red"
            table.add_row(Text("  " + label, style), bar(score, cells), Text(f"{score:.1%}", style))
        if self._scored.label == UNKNOWN:
            table.add_row(Text("  " + UNKNOWN, "bold yellow"), "", "")
        return table


def event_line(message: EventFound) -> Text:
    """Return an event as one line, with the time of day."""
    event = message.event
    clock = message.at.time.astimezone().strftime("%H:%M:%S")
    if event.kind == "start":
        score = (f" starts ({event.score:.0%})", "")
        return Text.assemble((clock, "dim"), ("  ▶ ", "green"), (event.label, "bold"), score)
    lasted = event.seconds - event.since_seconds
    end = (f" ended after {lasted:.1f} s, at most {event.score:.0%}", "dim")
    return Text.assemble((clock, "dim"), ("  ■ ", "dim"), event.label, end)


def note_of(message: Message, source: str) -> str:
    """Return a line about the source; empty for most messages."""
    match message:
        case Connected():
            again = "again " if message.num_reconnects else ""
            return f"Connected {again}to {source}: {message.size[0]} x {message.size[1]}."
        case Lost(error=error):
            hint = f" {error.hint}" if error.hint else ""
            return f"{source}: {error.message}{hint} Next attempt in {message.retry_seconds:.0f} s."
        case Late():
            return (
                f"This machine is too slow: a score came {message.delay_seconds:.1f} s late and is "
                "not reported. A longer --stride helps, or --streams rgb in training."
            )
        case _:
            return ""


def summary_text(summary: WatchSummary) -> Text:
    """Return the closing line."""
    return Text(f"Watched {_clock(summary.watched_seconds)}: {_counts(summary)}", "dim")


def _counts(summary: WatchSummary) -> str:
    parts = [
        count_of(summary.num_windows, "window"),
        count_of(summary.num_events, "event"),
        count_of(summary.num_reconnects, "reconnect"),
    ]
    if summary.num_windows:
        mean, worst = summary.mean_delay_seconds, summary.max_delay_seconds
        parts.append(f"delay {mean:.2f} s on average, {worst:.2f} s at worst")
    if summary.num_missing:
        parts.append(f"{summary.dropped_share:.1%} of timesteps dropped")
    if summary.num_late:
        parts.append(f"{summary.num_late} too late to be reported")
    return " · ".join(parts)


def _clock(seconds: float) -> str:
    """Return hours, minutes and seconds, such as 1:02:03 or 2:03."""
    text = str(timedelta(seconds=int(seconds)))
    return text.removeprefix("0:").removeprefix("0") if seconds < 3600 else text
