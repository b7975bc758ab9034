"""Segments -> a coloured bar with time marks and a table, for the terminal.

Each label has a colour and a letter. Where there are no colours (NO_COLOR, a pipe) the bar is
filled with the letters, so that it says the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_letters, ascii_uppercase, digits

import numpy as np
from numpy.typing import NDArray
from rich.columns import Columns
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment as Cells
from rich.style import Style
from rich.text import Text

from activity_cli.predict.segments import CellScores, cell_scores
from activity_cli.report.palette import text_colour_on, timeline_colours
from activity_cli.report.terminal.elements import clock, new_table
from activity_cli.types import UNKNOWN, Segment, Timeline

_HEIGHTS = "▁▂▃▄▅▆▇█"
_UNKNOWN_MARK = "·"
_TICK_SECONDS = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400),
)
_COLUMNS_PER_TICK = 10


@dataclass(frozen=True, slots=True)
class _Look:
    """How a label is told from the others."""

    letter: str
    colour: str

    @property
    def badge_style(self) -> str:
        """Of the letter on the colour."""
        return f"bold {text_colour_on(self.colour)} on {self.colour}"


def show_timeline(timeline: Timeline, segments: Sequence[Segment]) -> RenderableType:
    """The bar with its legend, then a row per segment."""
    looks = _looks(timeline.labels, segments)
    bar = _Bar(cell_scores(timeline), timeline.labels, tuple(segments), looks)
    legend = _legend(timeline, segments, looks)
    if not segments:
        return Group(bar, legend, Text("No segments.", "dim"))
    return Group(bar, legend, Text(), _segment_table(segments, looks))


class _Bar:
    """Three lines as wide as the terminal: scores, labels, times."""

    def __init__(
        self,
        cells: CellScores,
        labels: tuple[str, ...],
        segments: tuple[Segment, ...],
        looks: dict[str, _Look],
    ) -> None:
        self._cells = cells
        self._labels = labels
        self._segments = segments
        self._looks = looks

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw for the width there is."""
        width = options.max_width
        start, end = float(self._cells.edges_seconds[0]), float(self._cells.edges_seconds[-1])
        edges = np.linspace(start, end, width + 1)
        owners = _column_owners(self._segments, edges)
        heights = self._heights(owners, edges)
        styles = [self._style(owner) for owner in owners]
        yield from (Cells(h, style) for h, style in zip(heights, styles, strict=True))
        yield Cells.line()
        is_plain = console.no_color or console.color_system is None
        before: int | None = None
        for owner, style in zip(owners, styles, strict=True):
            if owner is None:
                yield Cells(_UNKNOWN_MARK, style)
            else:
                letter = self._looks[self._segments[owner].label].letter
                begins = owner != before
                on_colour = Style(color="black", bgcolor=style.color, bold=True)
                yield Cells(letter if is_plain or begins else " ", on_colour)
            before = owner
        yield Cells.line()
        yield Cells(_time_marks(start, end, width), Style(dim=True))
        yield Cells.line()

    def _style(self, owner: int | None) -> Style:
        if owner is None:
            return Style(dim=True)
        return Style(color=self._looks[self._segments[owner].label].colour)

    def _heights(self, owners: Sequence[int | None], edges: NDArray[np.float64]) -> list[str]:
        """A block per column, as high as the score of the label there; nothing where unknown."""
        centres = (edges[1:] + edges[:-1]) / 2
        rows = np.searchsorted(self._cells.edges_seconds, centres) - 1
        heights = []
        for owner, row in zip(owners, rows.tolist(), strict=True):
            if owner is None:
                heights.append(" ")
                continue
            label = self._labels.index(self._segments[owner].label)
            score = float(self._cells.scores[row, label])
            heights.append(_HEIGHTS[min(int(score * len(_HEIGHTS)), len(_HEIGHTS) - 1)])
        return heights


def _column_owners(segments: Sequence[Segment], edges: NDArray[np.float64]) -> list[int | None]:
    """Which segment each column shows: the one that covers its middle.

    One that is too short to cover any takes the column it is in, unless that is all another has.
    """
    width = len(edges) - 1
    centres = (edges[1:] + edges[:-1]) / 2
    owners: list[int | None] = [None] * width
    for number, segment in enumerate(segments):
        low, high = np.searchsorted(centres, [segment.start_seconds, segment.end_seconds])
        owners[low:high] = [number] * int(high - low)
    shown = {owner: owners.count(owner) for owner in set(owners)}
    for number, segment in enumerate(segments):
        if number not in shown:
            middle = (segment.start_seconds + segment.end_seconds) / 2
            column = min(int(np.searchsorted(edges, middle)) - 1, width - 1)
            owner = owners[column]
            if owner is None or shown[owner] > 1:
                owners[column] = number
                shown[number] = 1
                shown[owner] -= 1
    return owners


def _time_marks(start: float, end: float, width: int) -> str:
    """Times under the columns they belong to: |0:00     |0:10 ..."""
    wanted = (end - start) / max(1, width // _COLUMNS_PER_TICK)
    step = next((s for s in _TICK_SECONDS if s >= wanted), _TICK_SECONDS[-1])
    marks = [" "] * width
    tick = np.ceil(start / step - 1e-6) * step
    while tick < end:
        text = "╵" + clock(tick, tenths=step < 1)
        column = int((tick - start) / (end - start) * width)
        if column + len(text) <= width:
            marks[column : column + len(text)] = text
        tick += step
    return "".join(marks)


def _looks(labels: Sequence[str], segments: Sequence[Segment]) -> dict[str, _Look]:
    """A letter and a colour for each label that is shown, the letter out of its name if it can."""
    shown = list(dict.fromkeys(segment.label for segment in segments))
    colours = timeline_colours(labels, shown)
    looks: dict[str, _Look] = {}
    taken: set[str] = set()
    for label in shown:
        own = [letter for letter in label.upper() if letter in ascii_uppercase + digits]
        free = (c for c in [*own, *ascii_letters.swapcase(), *digits] if c not in taken)
        letter = next(free, "#")
        taken.add(letter)
        looks[label] = _Look(letter, colours[label])
    return looks


def _legend(
    timeline: Timeline, segments: Sequence[Segment], looks: dict[str, _Look]
) -> RenderableType:
    """Each label that is shown with its letter and how long it lasts in all."""
    parts = []
    for label, look in looks.items():
        seconds = sum(s.end_seconds - s.start_seconds for s in segments if s.label == label)
        badge = (f" {look.letter} ", look.badge_style)
        parts.append(Text.assemble(badge, f" {_printable(label)} ", (clock(seconds), "dim")))
    span = timeline.end_seconds - float(timeline.starts_seconds[0])
    rest = span - sum(s.end_seconds - s.start_seconds for s in segments)
    if rest > 0.05 or not segments:
        parts.append(Text(f" {_UNKNOWN_MARK}  {UNKNOWN} {clock(rest)}", "dim"))
    return Columns(parts, padding=(0, 3))


def _segment_table(segments: Sequence[Segment], looks: dict[str, _Look]) -> RenderableType:
    table = new_table("start", "end", "length", "", "label", "mean", "peak")
    for column in (0, 1, 2, 5, 6):
        table.columns[column].justify = "right"
        table.columns[column].no_wrap = True
    table.columns[4].overflow = "fold"
    for segment in segments:
        look = looks[segment.label]
        length = segment.end_seconds - segment.start_seconds
        table.add_row(
            clock(segment.start_seconds),
            clock(segment.end_seconds),
            Text(clock(length), "dim"),
            Text(f" {look.letter} ", look.badge_style),
            Text(_printable(segment.label), "bold"),
            f"{segment.mean_score:.1%}",
            Text(f"{segment.peak_score:.1%}", "dim"),
        )
    return table


def _printable(text: str) -> str:
    """A label as it can be printed in a line: bytes that are no text become escapes."""
    return " ".join(text.encode("utf-8", "backslashreplace").decode().split())
