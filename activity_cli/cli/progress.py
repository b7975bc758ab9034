"""Progress on stderr, as bars in a terminal or as plain lines, and Ctrl-C while a command runs."""

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from activity_cli.cli.verbosity import Style, progress_style

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_JSON_LINES = 0.5


class ProgressReport:
    """Shows progress: call it with (stage, done, total).

    `quiet` 1 shows warnings only, 2 nothing. The style is that of --progress.
    """

    def __init__(
        self,
        console: "Console",
        bars: "Progress | None" = None,
        *,
        quiet: int = 0,
        style: Style = "auto",
    ) -> None:
        self._console, self._bars, self._quiet, self._style = console, bars, quiet, style
        self._tasks: dict[str, TaskID] = {}
        self._detail = ""
        self._last_line = time.monotonic()
        self._started: dict[str, float] = {}  # of each stage

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` steps of a stage are over."""
        if self._quiet or self._style == "none":
            return
        from activity_cli.report.terminal import STAGE_NAMES

        name = STAGE_NAMES.get(stage, stage)
        started = self._started.setdefault(stage, time.monotonic())
        now = time.monotonic()
        if self._bars is not None:
            if stage not in self._tasks:
                if done == total:  # nothing to show, or said before
                    return
                self._started[stage] = now
                self._tasks[stage] = self._bars.add_task(name, detail=self._detail)
            self._bars.update(self._tasks[stage], completed=done, total=total or None)
            if done == total:
                self._finish(stage)
        elif self._style == "json":
            if done == total or now - self._last_line > _SECONDS_BETWEEN_JSON_LINES:
                self._last_line = now
                self._print_json(stage=stage, done=done, total=total or None, detail=self._detail)
        elif done and now - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = now
            passed = now - started
            times = _describe_times(passed, passed * (total - done) / done if total else None)
            detail = f", {self._detail}" if self._detail else ""
            print(f"{name}: {done} of {total}, {times}{detail}", file=sys.stderr, flush=True)

    def _finish(self, stage: str) -> None:
        """Replace the bar of a stage by one line."""
        from rich.text import Text

        from activity_cli.report.terminal import clock

        assert self._bars is not None
        number = self._tasks.pop(stage)
        task = next(task for task in self._bars.tasks if task.id == number)
        took = clock(time.monotonic() - self._started[stage], tenths=False)
        count = f"{task.completed:.0f} in {took}"
        self._bars.remove_task(number)
        line = Text.assemble(("✓ ", "green"), f"{task.description:<18} ", (count, "dim"))
        self._console.print(line)

    def finish(self) -> None:
        """End all stages that are still shown: the command has come to its end."""
        for stage in list(self._tasks):
            self._finish(stage)

    def detail(self, text: str) -> None:
        """Show a text beside the progress, such as how many files failed so far."""
        self._detail = text
        for task in self._tasks.values():
            if self._bars is not None:
                self._bars.update(task, detail=text)

    def note(self, line: str) -> None:
        """Print a line about what is going on."""
        if not self._quiet:
            self._print("note", line, "dim")

    def warn(self, line: str) -> None:
        """Print a line that the user should read."""
        if self._quiet < 2:
            self._print("warning", line, "yellow")

    def _print(self, kind: str, line: str, style: str) -> None:
        if self._style == "json":
            self._print_json(**{kind: line})
        else:
            pipe = not self._console.is_terminal  # keeps each line whole
            self._console.print(line, style=style, markup=False, highlight=False, soft_wrap=pipe)

    def _print_json(self, **values: str | int | None) -> None:
        print(json.dumps(values), file=sys.stderr, flush=True)


def _describe_times(passed_seconds: float, left_seconds: float | None) -> str:
    """Return elapsed and remaining time: 0:43 elapsed, 1 s left."""
    from activity_cli.report.terminal import clock, describe_seconds

    left = f", {describe_seconds(left_seconds)} left" if left_seconds else ""
    return f"{clock(passed_seconds, tenths=False)} elapsed{left}"


@contextmanager
def progress_report(*, quiet: int, style: Style | None = None) -> Iterator[ProgressReport]:
    """Yield what shows the progress of a command; the style is that of --progress."""
    from activity_cli.report.terminal import new_console

    console, style = new_console(stderr=True), style or progress_style()
    if quiet or style != "auto" or not console.is_terminal:
        yield ProgressReport(console, quiet=quiet, style=style)
        return
    from rich import progress as bar
    from rich.text import Text

    class _TimesColumn(bar.ProgressColumn):
        """Elapsed and remaining time."""

        def render(self, task: bar.Task) -> Text:
            return Text(_describe_times(task.elapsed or 0.0, task.time_remaining), "dim")

    columns = (
        bar.TextColumn("{task.description:<18}", markup=False),
        bar.BarColumn(bar_width=20),
        bar.MofNCompleteColumn(),
        _TimesColumn(),
        bar.TextColumn("{task.fields[detail]}", style="yellow", markup=False),
    )
    with bar.Progress(*columns, console=console) as bars:
        report = ProgressReport(console, bars)
        yield report
        report.finish()


@contextmanager
def stop_on_signals(
    *numbers: signal.Signals,
    note: Callable[[str], None] | None = None,
    text: str = "Finishing the files in progress. Press Ctrl-C again to stop at once.",
) -> Iterator[threading.Event]:
    """Yield an event that the first of these signals sets; the second one ends the program."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in numbers}

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        stop.set()
        signal.signal(number, before[signal.Signals(number)])
        if note is not None:
            note(text)

    for number, handler in before.items():
        if handler in (signal.default_int_handler, signal.SIG_DFL):  # not handled elsewhere
            signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
