"""Progress on stderr: bars with ETA in a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from activity_cli.report.terminal.elements import describe_seconds

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_SECONDS_BETWEEN_LINES = 5.0

STAGE_NAMES = {
    "draw": "Drawing clips",
    "features": "Decoding and CNN",
    "pictures": "Decoding",
    "front": "CNN's first stages",
    "cnn": "Training with CNN",
    "see": "CNN on all clips",
    "preview": "Reading labels",
    "epochs": "Training",
    "predict": "Scoring",
    "video": "Seconds scored",
    "overlay": "Drawing the video",
    "cut": "Cutting pieces",
    "check": "Checking",
    "compare": "Comparing",
    "train": "Training folds",
    "benchmark": "Measuring",
    "export": "Exporting",
}


class ProgressReport:
    """Listens to the library: call it with (stage, done, total); `note` says a line."""

    def __init__(self, console: Console, bars: "Progress | None") -> None:
        self._console = console
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._detail = ""
        self._last_line = time.monotonic()
        self._started: dict[str, float] = {}  # of each stage

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` steps of a stage are over."""
        name = STAGE_NAMES.get(stage, stage)
        started = self._started.setdefault(stage, time.monotonic())
        if self._bars is not None:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(
                    name, total=total or None, detail=self._detail
                )
            self._bars.update(self._tasks[stage], completed=done, total=total or None)
        elif done and (now := time.monotonic()) - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = now
            rate = done / max(now - started, 1e-3)
            left = f", {describe_seconds((total - done) / rate)} left" if total > done else ""
            detail = f", {self._detail}" if self._detail else ""
            speed = f", {rate:.1f}/s" if rate >= 0.1 else ""
            line = f"{name}: {done} of {total}{speed}{left}{detail}"
            print(line, file=sys.stderr, flush=True)

    def detail(self, text: str) -> None:
        """Say something beside the progress, such as how many failed so far."""
        self._detail = text
        if self._bars is not None:
            for task in self._tasks.values():
                self._bars.update(task, detail=text)

    def note(self, line: str) -> None:
        """Say what is going on in one line."""
        self._console.print(line, style="dim", markup=False, highlight=False)

    def warn(self, line: str) -> None:
        """Say what the user should know, in one line."""
        self._console.print(line, style="yellow", markup=False, highlight=False)


class SilentReport(ProgressReport):
    """What `--quiet` listens with."""

    def __init__(self) -> None:
        super().__init__(Console(stderr=True, quiet=True), None)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Say nothing."""


@contextmanager
def progress_report(*, quiet: bool) -> Iterator[ProgressReport]:
    """A listener for the time of a command."""
    if quiet:
        yield SilentReport()
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield ProgressReport(console, None)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    class _RateColumn(ProgressColumn):
        """Steps per second, as of the last while."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"· {speed:.1f}/s" if speed else "", "dim")

    columns = (
        TextColumn("{task.description:<18}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("·", style="dim"),
        TimeElapsedColumn(),
        TextColumn("left", style="dim"),
        TimeRemainingColumn(),
        _RateColumn(),
        TextColumn("{task.fields[detail]}", style="yellow", markup=False),
    )
    with Progress(*columns, console=console) as bars:
        yield ProgressReport(console, bars)
