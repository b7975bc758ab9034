"""Progress on stderr: bars with ETA in a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_SECONDS_BETWEEN_LINES = 5.0

STAGE_NAMES = {
    "draw": "Drawing clips",
    "features": "Decoding and CNN",
    "epochs": "Training",
    "predict": "Scoring",
    "train": "Training folds",
}


class ProgressReport:
    """Listens to the library: call it with (stage, done, total); `note` says a line."""

    def __init__(self, console: Console, bars: "Progress | None") -> None:
        self._console = console
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._last_line = time.monotonic()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` steps of a stage are over."""
        name = STAGE_NAMES.get(stage, stage)
        if self._bars is not None:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(name, total=total or None)
            self._bars.update(self._tasks[stage], completed=done, total=total or None)
        elif done and (time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES):
            self._last_line = time.monotonic()
            print(f"{name}: {done} of {total}", file=sys.stderr, flush=True)

    def note(self, line: str) -> None:
        """Say what is going on in one line."""
        self._console.print(line, style="dim", markup=False, highlight=False)


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
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<18}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("·", style="dim"),
        TimeElapsedColumn(),
        TextColumn("left", style="dim"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        yield ProgressReport(console, bars)
