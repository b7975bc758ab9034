"""A watch in the terminal: a few lines that change in place, and lines that stay for events."""

import time
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from activity_cli.common.wording import count_of
from activity_cli.predict.live.messages import (
    Connected,
    Happened,
    Late,
    Lost,
    Message,
    Scored,
    Tick,
    WatchSummary,
)
from activity_cli.predict.live.reader import LiveStatus
from activity_cli.report.terminal.elements import SCORE_STYLE, bar
from activity_cli.types import UNKNOWN

_MOST_LABELS = 4
_STILL_SECONDS = 2.0  # without a frame, and it is worth a word
_BESIDE_BAR_CELLS = 34  # of a line: label, figure and margins


@dataclass(slots=True)
class LivePanel:
    """What is known now, drawn anew several times a second."""

    source: str
    has_alerts: bool
    summary: WatchSummary
    _scored: Scored | None = None
    _status: LiveStatus = field(default_factory=LiveStatus)
    _lost: Lost | None = None
    _lost_since: float = 0.0
    _began: float = field(default_factory=time.monotonic)
    _going_on: dict[str, Happened] = field(default_factory=dict)

    def update(self, message: Message) -> None:
        """Take in what the watch says."""
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
            case Happened():
                if message.event.kind == "start":
                    self._going_on[message.event.label] = message
                else:
                    self._going_on.pop(message.event.label, None)
            case Late():
                pass

    def render(self, width: int) -> RenderableType:
        """The lines as they are now."""
        return Group(self._head(), self._scores(width), self._figures())

    def _head(self) -> Text:
        facts = _clock(time.monotonic() - self._began)
        if self._lost is None and self._status.state == "open":
            across, down = self._status.size
            still = time.monotonic() - (self._status.last_arrived or time.monotonic())
            rate = f"{self._status.frame_rate:.1f} frames/s"
            news = rate if still < _STILL_SECONDS else f"nothing new for {still:.0f} s"
            facts = f"{across} x {down}, {news}, {facts}"
        return Text.assemble((self.source, "bold"), ("  " + facts, "dim"))

    def _scores(self, width: int) -> RenderableType:
        if self._lost is not None:
            left = self._lost.retry_seconds - (time.monotonic() - self._lost_since)
            soon = f"Next attempt in {left:.0f} s." if left > 0.5 else "Connecting ..."
            return Text.assemble(
                ("  " + self._lost.error.message, "yellow"), (f" {soon}", "dim"), overflow="fold"
            )
        if self._scored is None:
            is_open = self._status.state == "open"
            return Text("  The first window fills ..." if is_open else "  Connecting ...", "dim")
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, max_width=20)
        table.add_column(style=SCORE_STYLE, no_wrap=True)
        table.add_column(justify="right", width=6)
        cells = max(8, min(48, width - _BESIDE_BAR_CELLS))
        for rank, (label, score) in enumerate(self._scored.prediction.top(_MOST_LABELS)):
            is_said = rank == 0 and label == self._scored.label
            style = "bold" if is_said else "dim"
            if self.has_alerts and label in self._going_on:
                style = "bold red"
            table.add_row(Text("  " + label, style), bar(score, cells), Text(f"{score:.1%}", style))
        if self._scored.label == UNKNOWN:
            table.add_row(Text("  " + UNKNOWN, "bold yellow"), "", "")
        return table

    def _figures(self) -> Text:
        summary = self.summary
        parts = [count_of(summary.num_windows, "window"), count_of(summary.num_events, "event")]
        if self._scored is not None:
            worst = summary.max_delay_seconds
            parts.insert(0, f"delay {self._scored.delay_seconds:.2f} s (worst {worst:.2f} s)")
        if summary.num_missing:
            parts.append(f"{summary.dropped_share:.1%} dropped")
        if summary.num_late:
            parts.append(f"{summary.num_late} too late")
        if summary.num_reconnects:
            parts.append(count_of(summary.num_reconnects, "reconnect"))
        return Text("  " + " · ".join(parts), "dim")


def event_line(message: Happened) -> Text:
    """An event in one line, by the clock on the wall."""
    event = message.event
    clock = message.at.time.astimezone().strftime("%H:%M:%S")
    if event.kind == "start":
        what = (f" starts ({event.score:.0%})", "")
        return Text.assemble((clock, "dim"), ("  ▶ ", "green"), (event.label, "bold"), what)
    lasted = event.seconds - event.since_seconds
    what = (f" ended after {lasted:.1f} s, at most {event.score:.0%}", "dim")
    return Text.assemble((clock, "dim"), ("  ■ ", "dim"), event.label, what)


def note_of(message: Message, source: str) -> str:
    """What is said about the source in one line; nothing for most messages."""
    match message:
        case Connected():
            again = "again " if message.num_reconnects else ""
            return f"Connected {again}to {source}: {message.size[0]} x {message.size[1]}."
        case Lost():
            error = message.error
            hint = f" {error.hint}" if error.hint else ""
            return f"{source}: {error.message}{hint} Next attempt in {message.retry_seconds:.0f} s."
        case Late():
            return (
                f"This machine is too slow: a score came {message.delay_seconds:.1f} s late and is "
                "not given. A longer --stride helps, or --streams rgb in training."
            )
        case _:
            return ""


def show_summary(summary: WatchSummary) -> Text:
    """The closing lines."""
    watched = f"Watched {_clock(summary.watched_seconds)}"
    counts = [
        count_of(summary.num_windows, "window"),
        count_of(summary.num_events, "event"),
        count_of(summary.num_reconnects, "reconnect"),
    ]
    lines = [f"{watched}: {', '.join(counts)}."]
    if summary.num_windows:
        mean, worst = summary.mean_delay_seconds, summary.max_delay_seconds
        dropped = f", {summary.dropped_share:.1%} of points dropped" * bool(summary.num_missing)
        late = f", {summary.num_late} too late to be given" * bool(summary.num_late)
        lines.append(f"Delay {mean:.2f} s on average, {worst:.2f} s at worst{dropped}{late}.")
    return Text("\n".join(lines), "dim")


def _clock(seconds: float) -> str:
    minutes, whole = divmod(int(seconds), 60)
    return (
        f"{minutes // 60}:{minutes % 60:02}:{whole:02}"
        if minutes >= 60
        else (f"{minutes}:{whole:02}")
    )
