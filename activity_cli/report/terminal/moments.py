"""Moments of videos -> a table for the terminal, and rows for files."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from activity_cli.predict.moments import Moment
from activity_cli.predict.results import SCORE_DIGITS, SECONDS_DIGITS
from activity_cli.report.terminal import clock, new_table, printable


def show_moments(moments: Sequence[Moment], *, title: str, value: str) -> RenderableType:
    """Show a row per moment, best first."""
    table = new_table("", "video", "start", "end", value, "label", "score")
    for column in (0, 2, 3, 4, 6):
        table.columns[column].justify, table.columns[column].no_wrap = "right", True
    table.columns[1].overflow = "fold"
    for number, moment in enumerate(moments, 1):
        table.add_row(
            str(number),
            Text(printable(str(moment.path))),
            *(clock(moment.start_seconds), clock(moment.end_seconds), f"{moment.value:.2f}"),
            Text(printable(moment.label), "bold"),
            f"{moment.score:.1%}",
        )
    return Group(Text(title), table)


def moment_rows(moments: Sequence[Moment]) -> Iterator[dict[str, Any]]:
    """Give the rows of `COLUMNS`."""
    for number, moment in enumerate(moments, 1):
        yield {
            "rank": number,
            "path": str(moment.path),
            "start": round(moment.start_seconds, SECONDS_DIGITS),
            "end": round(moment.end_seconds, SECONDS_DIGITS),
            "value": round(moment.value, SCORE_DIGITS),
            "label": moment.label,
            "score": round(moment.score, SCORE_DIGITS),
        }
