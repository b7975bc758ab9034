"""Output of `activity watch`: JSON lines on a pipe; in a terminal a panel and lines of events."""

import json
import sys
import time
from datetime import UTC, datetime
from typing import Any, Self

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from activity_cli.common import count_of
from activity_cli.predict.live.events import (
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
from activity_cli.report.terminal import SCORE_STYLE, bar, clock, new_console
from activity_cli.settings import MOST_LABELS_SHOWN
from activity_cli.types import UNKNOWN

_MAX_LABELS = 4
_SILENT_SECONDS = 2.0  # without a frame for this long, the panel says so
_BESIDE_BAR_CELLS = 34  # of a line: label, figure and margins


class LiveView:
    """Shows the messages of a watch, and its summary at the end. A context manager.

    Results go to stdout: JSON lines (with `as_json` also in a terminal), or a line per event. Notes
    and a panel with the current state go to stderr, unless `quiet`. Events of a file have the time
    in the video, others the time of day.
    """

    def __init__(
        self,
        source: str,
        summary: WatchSummary,
        *,
        has_alerts: bool,
        as_json: bool,
        quiet: bool,
        in_video_time: bool = False,
    ) -> None:
        self._in_video_time = in_video_time
        self._source = source
        self._summary = summary
        self._has_alerts = has_alerts
        self._is_json = as_json or not sys.stdout.isatty()
        self._quiet = quiet
        self._notes = new_console(stderr=True)
        self._began = time.monotonic()
        self._status = LiveStatus()
        self._scored: Scored | None = None
        self._lost: Lost | None = None
        self._retry_at = 0.0
        self._current: set[str] = set()  # labels of events that have not ended
        self._live: Live | None = None
        if not quiet and self._notes.is_terminal and not self._is_json:
            self._live = Live(self, console=self._notes, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if self._live:
            self._live.stop()
        has_begun = self._summary.num_windows or self._summary.num_reconnects
        if isinstance(error, BrokenPipeError) or (error and not has_begun):
            return
        if self._is_json:
            _print_json(summary_json(self._summary))
        watched = clock(self._summary.watched_seconds, tenths=False)
        self.note(f"Watched {watched}: {_counts(self._summary)}")
        if self._scored is not None:
            at = clock(self._scored.at.seconds)
            score = f"{self._scored.prediction.score:.1%}"
            self.note(f"Last window, at {at}: {self._scored.label} ({score})")

    def show(self, message: Message) -> None:
        """Show a message. Raises a BrokenPipeError if nothing reads stdout any more."""
        if self._is_json and not isinstance(message, Tick):
            _print_json(to_json(message))
        match message:
            case Tick(status=status):
                self._status = status
            case Scored():
                self._scored = message
            case Connected(size=(width, height)):
                self._lost = None
                again = "again " if message.num_reconnects else ""
                self.note(f"Connected {again}to {self._source}: {width} x {height}.")
            case Lost(error=error, retry_seconds=wait):
                self._lost, self._retry_at, self._scored = message, time.monotonic() + wait, None
                hint = f" {error.hint}" if error.hint else ""
                self.note(f"{self._source}: {error.message}{hint} Next attempt in {wait:.0f} s.")
            case Late(delay_seconds=delay):
                self.note(
                    f"This machine is too slow: a score came {delay:.1f} s late and is not "
                    "reported. A longer --stride helps, or --streams rgb in training."
                )
            case EventFound(event=event):
                change = self._current.add if event.kind == "start" else self._current.discard
                change(event.label)
                if not self._is_json:
                    # While the panel is shown, only its console may print.
                    console = self._notes if self._live else new_console()
                    console.print(event_line(message, in_video_time=self._in_video_time))

    def note(self, line: str) -> None:
        """Print a line to stderr; any thread may."""
        if not self._quiet:
            self._notes.print(line, style="dim", markup=False, soft_wrap=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the panel; Rich calls it several times a second."""
        yield self._head()
        yield self._scores(options.max_width)
        yield Text("  " + _counts(self._summary), "dim")

    def _head(self) -> Text:
        parts = [clock(time.monotonic() - self._began, tenths=False)]
        if self._lost is None and self._status.state == "open":
            silent = time.monotonic() - (self._status.last_arrived or time.monotonic())
            rate = f"{self._status.frame_rate:.1f} frames/s"
            is_silent = silent >= _SILENT_SECONDS
            parts.insert(0, f"no frame for {silent:.0f} s" if is_silent else rate)
            parts.insert(0, "{} x {}".format(*self._status.size))
        return Text.assemble((self._source, "bold"), ("  " + ", ".join(parts), "dim"))

    def _scores(self, width: int) -> RenderableType:
        if self._lost is not None:
            left = self._retry_at - time.monotonic()
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
            if self._has_alerts and label in self._current:
                style = "bold red"
            table.add_row(Text("  " + label, style), bar(score, cells), Text(f"{score:.1%}", style))
        if self._scored.label == UNKNOWN:
            table.add_row(Text("  " + UNKNOWN, "bold yellow"), "", "")
        return table


def _print_json(content: dict[str, Any]) -> None:
    print(json.dumps(content, ensure_ascii=False), flush=True)


def to_json(message: Message) -> dict[str, Any]:
    """Return the JSON object of a message; empty for ticks."""
    at = {"time": _iso(message.at.time), "seconds": round(message.at.seconds, 3)}
    match message:
        case Scored(prediction=prediction):
            best = dict(prediction.top(MOST_LABELS_SHOWN))
            named = ((label, best[label]) for label in prediction.labels if label in best)
            return at | {
                "label": message.label,
                "score": round(prediction.score, 4),
                "scores": {label: round(score, 4) for label, score in named},
                "delay_seconds": round(message.delay_seconds, 3),
                "dropped": message.num_missing,
            }
        case EventFound(event=event):
            score_name = "score" if event.kind == "start" else "peak_score"
            values: dict[str, Any] = {"label": event.label, score_name: round(event.score, 4)}
            values["since_seconds"] = round(event.since_seconds, 3)
            return {"event": event.kind} | at | values
        case Connected(size=size):
            values = {"size": list(size), "reconnects": message.num_reconnects}
            return {"event": "connected"} | at | values
        case Lost(error=error):
            retry = round(message.retry_seconds, 1)
            return {"event": "lost"} | at | {"reason": error.message, "retry_seconds": retry}
        case Late(num_late=late):
            delay = round(message.delay_seconds, 3)
            return {"event": "late"} | at | {"delay_seconds": delay, "late": late}
    return {}


def summary_json(summary: WatchSummary) -> dict[str, Any]:
    """Return the JSON object that ends a watch."""
    return {
        "event": "stopped",
        "time": _iso(datetime.now(UTC)),
        "watched_seconds": round(summary.watched_seconds, 1),
        "windows": summary.num_windows,
        "late": summary.num_late,
        "dropped_share": round(summary.dropped_share, 4),
        "events": summary.num_events,
        "reconnects": summary.num_reconnects,
        "mean_delay_seconds": round(summary.mean_delay_seconds, 3),
        "max_delay_seconds": round(summary.max_delay_seconds, 3),
    }


def _iso(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event_line(message: EventFound, *, in_video_time: bool) -> Text:
    """Return an event as one line, with the time in the video or the time of day."""
    event = message.event
    at = message.at.time.astimezone().strftime("%H:%M:%S")
    if in_video_time:
        at = clock(event.since_seconds if event.kind == "start" else event.seconds)
    if event.kind == "start":
        score = (f" starts ({event.score:.1%})", "")
        return Text.assemble((at, "dim"), ("  ▶ ", "green"), (event.label, "bold"), score)
    lasted = event.seconds - event.since_seconds
    end = (f" ended after {lasted:.1f} s, at most {event.score:.1%}", "dim")
    return Text.assemble((at, "dim"), ("  ■ ", "dim"), event.label, end)


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
