"""Segments -> a coloured bar with time marks, and a table, for the terminal.

Without colours (NO_COLOR, a pipe) the bar is filled with the letters of the labels.
"""

from collections.abc import Sequence
from string import ascii_letters, ascii_uppercase, digits
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.columns import Columns
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment as Cells
from rich.style import Style
from rich.text import Text

from activity_cli.predict.segments import CellScores, cell_scores
from activity_cli.report.figures import text_colour_on, timeline_colours
from activity_cli.report.terminal import clock, new_table
from activity_cli.types import NONE, UNKNOWN, Segment, Timeline

_HEIGHTS = "▁▂▃▄▅▆▇█"
_UNKNOWN_MARK = "·"
_TICK_SECONDS = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400),
)
_COLUMNS_PER_TICK = 10


class _Badge(NamedTuple):
    letter: str
    colour: str

    def text(self) -> Text:
        """Return the letter on the colour."""
        return Text(f" {self.letter} ", f"bold {text_colour_on(self.colour)} on {self.colour}")


def show_timeline(timeline: Timeline, segments: Sequence[Segment]) -> RenderableType:
    """Show a bar with its legend, then a row per segment."""
    badges = _badges_of(timeline.labels, segments)
    draw = _Bar if timeline.thresholds is None else _Lanes
    bar = draw(cell_scores(timeline), timeline.labels, segments, badges)
    legend = _legend(timeline, segments, badges)
    if not segments:
        return Group(bar, legend, Text("No segments.", "dim"))
    return Group(bar, legend, Text(), _segment_table(segments, badges))


class _Bar(NamedTuple):
    """Three lines of the terminal's width: scores, labels, times."""

    cells: CellScores
    labels: Sequence[str]
    segments: Sequence[Segment]
    badges: dict[str, _Badge]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw in the available width: per column a block as high as the score, and a letter."""
        width, times = options.max_width, self.cells.edges_seconds
        edges = np.linspace(times[0], times[-1], width + 1)
        rows = np.searchsorted(times, (edges[1:] + edges[:-1]) / 2) - 1
        is_plain = console.no_color or console.color_system is None
        blocks, letters = [], []
        before: int | None = None
        for owner, row in zip(_column_owners(self.segments, edges), rows.tolist(), strict=True):
            if owner is None:
                blocks.append(Cells(" "))
                letters.append(Cells(_UNKNOWN_MARK, Style(dim=True)))
            else:
                label = self.segments[owner].label
                badge = self.badges[label]
                score = float(self.cells.scores[row, self.labels.index(label)])
                block = _HEIGHTS[min(int(score * len(_HEIGHTS)), len(_HEIGHTS) - 1)]
                blocks.append(Cells(block, Style(color=badge.colour)))
                letter = badge.letter if is_plain or owner != before else " "
                on_colour = Style(color="black", bgcolor=badge.colour, bold=True)
                letters.append(Cells(letter, on_colour))
            before = owner
        marks = _time_marks(float(times[0]), float(times[-1]), width)
        for line in (blocks, letters, [Cells(marks, Style(dim=True))]):
            yield from line
            yield Cells.line()


class _Lanes(NamedTuple):
    """A line for each label of a multi-label model, of the terminal's width, and the times."""

    cells: CellScores
    labels: Sequence[str]
    segments: Sequence[Segment]
    badges: dict[str, _Badge]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw in the available width: a block as high as the score, without colours a letter."""
        width, times = options.max_width, self.cells.edges_seconds
        edges = np.linspace(times[0], times[-1], width + 1)
        scores = self.cells.at((edges[1:] + edges[:-1]) / 2)
        is_plain = console.no_color or console.color_system is None
        for label, badge in self.badges.items():
            owners = _column_owners([s for s in self.segments if s.label == label], edges)
            for owner, score in zip(owners, scores[:, self.labels.index(label)], strict=True):
                if owner is None:
                    yield Cells(_UNKNOWN_MARK, Style(dim=True))
                else:
                    block = _HEIGHTS[min(int(score * len(_HEIGHTS)), len(_HEIGHTS) - 1)]
                    yield Cells(badge.letter if is_plain else block, Style(color=badge.colour))
            yield Cells.line()
        yield Cells(_time_marks(float(times[0]), float(times[-1]), width), Style(dim=True))
        yield Cells.line()


def _column_owners(segments: Sequence[Segment], edges: NDArray[np.float64]) -> list[int | None]:
    """Return the segment that each column shows: the one that covers its middle.

    A segment too short for that takes the column it is in, unless another segment has only this.
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
    """Return times under their columns: |0:00     |0:10 ..."""
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


def _badges_of(labels: Sequence[str], segments: Sequence[Segment]) -> dict[str, _Badge]:
    """Choose a letter and a colour for each label, a letter of its name where one is free."""
    shown = list(dict.fromkeys(segment.label for segment in segments))
    colours = timeline_colours(labels, shown)
    badges: dict[str, _Badge] = {}
    for label in shown:
        own = [letter for letter in label.upper() if letter in ascii_uppercase + digits]
        taken = {badge.letter for badge in badges.values()}
        free = (c for c in [*own, *ascii_letters.swapcase(), *digits] if c not in taken)
        badges[label] = _Badge(next(free, "#"), colours[label])
    return badges


def _legend(
    timeline: Timeline, segments: Sequence[Segment], badges: dict[str, _Badge]
) -> RenderableType:
    """Show each label with its letter and total duration."""
    parts = []
    for label, badge in badges.items():
        seconds = sum(s.end_seconds - s.start_seconds for s in segments if s.label == label)
        name, length = f" {_printable(label)} ", (clock(seconds), "dim")
        parts.append(Text.assemble(badge.text(), name, length))
    span = timeline.end_seconds - float(timeline.starts_seconds[0])
    rest, until = span, 0.0
    for segment in segments:  # in order of their starts; they may overlap
        rest -= max(0.0, segment.end_seconds - max(segment.start_seconds, until))
        until = max(until, segment.end_seconds)
    if rest > 0.05 or not segments:
        name = UNKNOWN if timeline.thresholds is None else NONE
        parts.append(Text(f" {_UNKNOWN_MARK}  {name} {clock(rest)}", "dim"))
    return Columns(parts, padding=(0, 3))


def _segment_table(segments: Sequence[Segment], badges: dict[str, _Badge]) -> RenderableType:
    table = new_table("start", "end", "length", "", "label", "mean", "peak", right=slice(None))
    for column in table.columns[3:5]:
        column.justify, column.no_wrap, column.overflow = "left", False, "fold"
    for segment in segments:
        length = segment.end_seconds - segment.start_seconds
        table.add_row(
            clock(segment.start_seconds),
            clock(segment.end_seconds),
            Text(clock(length), "dim"),
            badges[segment.label].text(),
            Text(_printable(segment.label), "bold"),
            f"{segment.mean_score:.1%}",
            Text(f"{segment.peak_score:.1%}", "dim"),
        )
    return table


def _printable(text: str) -> str:
    """Return a label that fits in a line; bytes that are not text become escapes."""
    return " ".join(text.encode("utf-8", "backslashreplace").decode().split())
