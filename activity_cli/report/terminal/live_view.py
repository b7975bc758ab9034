"""Output of `activity watch`: JSON lines on a pipe; in a terminal a panel and lines of events."""

import json
import os
import stat
import sys
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live

from activity_cli.predict.live.messages import (
    Connected,
    EventFound,
    Late,
    Lost,
    Message,
    Moment,
    Scored,
    Tick,
    WatchSummary,
)
from activity_cli.report.terminal.live_panel import LivePanel, event_line, note_of, summary_text

_REFRESHES_PER_SECOND = 8


class LiveView:
    """Shows the messages of a watch. A context manager.

    Results go to stdout: JSON lines, or in a terminal a line per event. Panel and notes go to
    stderr.

    Args:
        source: Its name.
        summary: Of the watch; shown at the end.
        has_alerts: Whether events are alerts.
        as_json: JSON lines even in a terminal.
        quiet: Neither panel nor notes.
    """

    def __init__(
        self, source: str, summary: WatchSummary, *, has_alerts: bool, as_json: bool, quiet: bool
    ) -> None:
        self._source = source
        self._summary = summary
        self._is_json = as_json or not sys.stdout.isatty()
        self._quiet = quiet
        self._notes = Console(stderr=True, highlight=False)
        self._panel = LivePanel(source, has_alerts, summary)
        # The program that reads from a pipe may write to the same terminal: no panel beside it.
        has_panel = not quiet and self._notes.is_terminal and not _is_pipe() and not as_json
        self._live: Live | None = None
        if has_panel:
            rate = _REFRESHES_PER_SECOND
            self._live = Live(
                self._panel, console=self._notes, refresh_per_second=rate, transient=True
            )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()
        has_begun = self._summary.num_windows or self._summary.num_reconnects
        if isinstance(error, BrokenPipeError) or (error and not has_begun):
            return
        if self._is_json:
            self._print_json(summary_json(self._summary))
        if not self._quiet:
            self._notes.print(summary_text(self._summary))

    def show(self, message: Message) -> None:
        """Show a message.

        Raises:
            BrokenPipeError: nothing reads stdout any more.
        """
        self._panel.update(message)
        if self._is_json:
            self._print_json(to_json(message))
        elif isinstance(message, EventFound):
            # While the panel is shown, only its console may print.
            console = self._notes if self._live else Console(highlight=False)
            console.print(event_line(message))
        if note := note_of(message, self._source):
            self.note(note)

    def note(self, line: str) -> None:
        """Print a line to stderr; any thread may."""
        if not self._quiet:
            self._notes.print(line, style="dim", markup=False, soft_wrap=True)

    def _print_json(self, content: dict[str, Any] | None) -> None:
        if content is not None:
            print(json.dumps(content, ensure_ascii=False), flush=True)


def to_json(message: Message) -> dict[str, Any] | None:
    """Return the JSON object of a message; None for ticks."""
    match message:
        case Scored(at=at, prediction=prediction):
            named = zip(prediction.labels, prediction.scores.tolist(), strict=True)
            return _at(at) | {
                "label": message.label,
                "score": round(prediction.score, 4),
                "scores": {label: round(score, 4) for label, score in named},
                "delay_seconds": round(message.delay_seconds, 3),
                "dropped": message.num_missing,
            }
        case EventFound(event=event):
            score_name = "score" if event.kind == "start" else "peak_score"
            values = {"label": event.label, score_name: round(event.score, 4)}
            name: str = event.kind
            values["since_seconds"] = round(event.since_seconds, 3)
        case Connected():
            name = "connected"
            values = {"size": list(message.size), "reconnects": message.num_reconnects}
        case Lost():
            retry = round(message.retry_seconds, 1)
            name, values = "lost", {"reason": message.error.message, "retry_seconds": retry}
        case Late():
            delay = round(message.delay_seconds, 3)
            name, values = "late", {"delay_seconds": delay, "late": message.num_late}
        case Tick():
            return None
    return {"event": name} | _at(message.at) | values


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


def _at(moment: Moment) -> dict[str, Any]:
    return {"time": _iso(moment.time), "seconds": round(moment.seconds, 3)}


def _iso(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_pipe() -> bool:
    """Return whether stdout goes to another program, not to the terminal or into a file."""
    try:
        mode = os.fstat(sys.stdout.fileno()).st_mode
    except (OSError, ValueError):
        return True
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
