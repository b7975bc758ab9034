"""What commands print. Here: tables, bars, times and printable text."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import (
    Console,
    ConsoleOptions,
    ConsoleRenderable,
    RenderableType,
    RenderHook,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

SCORE_STYLE = "cyan"
_BAR_CELLS = 24
# Control characters but line ends, and those that reverse the direction of text.
_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
STAGE_NAMES = {
    "download": "Downloading (kB)",
    "draw": "Drawing clips",
    "import": "Reading annotations",
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
    "folds": "Folds",
    "random folds": "Random folds",
    "folds by group": "Folds by group",
    "train": "Training folds",
    "benchmark": "Measuring",
    "export": "Exporting",
}
"""Names of the stages of commands, as people read them."""
_EIGHTHS = " ▏▎▍▌▋▊▉"


def bar(share: float, cells: int = _BAR_CELLS) -> str:
    """Return a horizontal bar for a share between 0 and 1, to an eighth of a cell."""
    eighths = round(min(max(share, 0.0), 1.0) * cells * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()).ljust(cells)


def new_table(*columns: str, right: slice | None = None) -> Table:
    """Return a table without lines; the columns of `right` hold numbers and are right-aligned."""
    table = Table(box=None, header_style="bold dim", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(Text(column))
    for numbers in table.columns[right] if right else ():
        numbers.justify, numbers.no_wrap = "right", True
    return table


def clock(seconds: float, *, tenths: bool = True) -> str:
    """Return a time in a video: 0:12.4, and from one hour on 1:02:03."""
    if round(seconds, 1) >= 3600:
        minutes, whole = divmod(round(seconds), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{whole:02}"
    if not tenths:
        return f"{round(seconds) // 60}:{round(seconds) % 60:02}"
    in_tenths = round(seconds * 10)
    return f"{in_tenths // 600}:{in_tenths % 600 // 10:02}.{in_tenths % 10}"


def common_folder(paths: Sequence[str]) -> str:
    """Return the common folder of all paths, or an empty string."""
    try:
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120
    except ValueError:  # some are absolute, some are not
        return ""
    return folder if folder not in {"", ".", "/"} else ""


def printable(text: str) -> str:
    """Return a path or label with characters escaped that are not printable."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass(frozen=True, slots=True)
class _Harmless:
    """Renders what it wraps with control characters escaped: names may hold what moves a cursor."""

    shown: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self.shown, options):
            text = segment.text
            if not segment.control:
                text = _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)
            yield Segment(text, segment.style, segment.control)


class _HarmlessHook(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Wrap all that is printed."""
        return [_Harmless(one) for one in renderables]


def new_console(*, stderr: bool = False, width: int | None = None) -> Console:
    """Return a console that prints no control characters but its own."""
    console = Console(stderr=stderr, width=width, highlight=False)
    console.push_render_hook(_HarmlessHook())
    return console


def describe_seconds(seconds: float) -> str:
    """Return a duration for people: 40 s, 12 min, 3 h 5 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
