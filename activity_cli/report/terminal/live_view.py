"""Where a watch is shown: JSON lines on a pipe, lines that change in a terminal."""

import json
import os
import stat
import sys
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live

from activity_cli.predict.live.messages import Happened, Message, WatchSummary
from activity_cli.report.terminal.live_json import summary_json, to_json
from activity_cli.report.terminal.live_panel import LivePanel, event_line, note_of, show_summary

_REFRESHES_PER_SECOND = 8


class LiveView:
    """Shows what a watch says. A context manager.

    Results go to stdout: JSON lines, or in a terminal a line per event. The panel and all notes go
    to stderr.

    Args:
        source: its name.
        summary: of the watch; it is shown at the end.
        has_alerts: whether events are alerts.
        as_json: JSON lines even in a terminal.
        quiet: neither panel nor notes.
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
        # What reads from a pipe may write to the same terminal: no panel beside it.
        has_panel = not quiet and self._notes.is_terminal and not _is_pipe() and not as_json
        self._live = (
            Live(
                _Drawn(self._panel),
                console=self._notes,
                refresh_per_second=_REFRESHES_PER_SECOND,
                transient=True,
            )
            if has_panel
            else None
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
            self._print_json(summary_json(self._summary, datetime.now(UTC)))
        if not self._quiet:
            self._notes.print(show_summary(self._summary))

    def show(self, message: Message) -> None:
        """Show what the watch says.

        Raises:
            BrokenPipeError: nobody reads stdout any more.
        """
        self._panel.update(message)
        if self._is_json:
            self._print_json(to_json(message))
        elif isinstance(message, Happened):
            # While the panel is up, only its console knows where on the screen there is room.
            console = self._notes if self._live else Console(highlight=False)
            console.print(event_line(message))
        if note := note_of(message, self._source):
            self.note(note)

    def note(self, line: str) -> None:
        """Say something in one line; any thread may."""
        if not self._quiet:
            self._notes.print(line, style="dim", markup=False, soft_wrap=True)

    def _print_json(self, content: dict[str, Any] | None) -> None:
        if content is not None:
            print(json.dumps(content, ensure_ascii=False), flush=True)


class _Drawn:
    """A panel as Rich draws it, anew each time."""

    def __init__(self, panel: LivePanel) -> None:
        self._panel = panel

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._panel.render(options.max_width)


def _is_pipe() -> bool:
    """Whether stdout goes to another program, not to the terminal or into a file."""
    try:
        mode = os.fstat(sys.stdout.fileno()).st_mode
    except (OSError, ValueError):
        return True
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
