"""How much commands tell on stderr: -v and --progress, which every command with -q has.

Light to import. Modules of this package log what -v shows with `logging`, below "activity_cli".
"""

import inspect
import logging
import os
import sys
from typing import Annotated, Literal

import typer

Style = Literal["auto", "plain", "json", "none"]


class _Chosen:
    """The style of this process; each command sets it before it runs."""

    style: Style = "auto"


class _StderrHandler(logging.Handler):
    """Writes to what is stderr at the time: bars in a terminal replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


def progress_style() -> Style:
    """Return how progress is shown."""
    return _Chosen.style


def _choose_style(style: Style) -> Style:
    _Chosen.style = style
    return style


def _be_verbose(level: int) -> int:
    """Log what the package does; from 2 on its libraries may write to stderr as well."""
    logger = logging.getLogger("activity_cli")
    logger.handlers = [_StderrHandler()] if level else []
    logger.setLevel(logging.DEBUG if level > 1 else logging.INFO if level else logging.WARNING)
    if level > 1:
        os.environ["ACTIVITY_DEBUG"] = "1"  # also read by worker processes
    return level


_VERBOSE = typer.Option(
    "--verbose",
    "-v",
    count=True,
    hidden=True,
    callback=_be_verbose,
    show_default=False,
    rich_help_panel="Output",
    help="Show which model, engine and cache are used; -vv also each file, tracebacks and messages"
    " of libraries.",
)
_PROGRESS = typer.Option(
    "--progress",
    hidden=True,
    callback=_choose_style,
    envvar="ACTIVITY_PROGRESS",
    rich_help_panel="Output",
    help="Progress on stderr: bars in a terminal and lines elsewhere (auto), lines, JSON lines, or"
    " none.",
)
PARAMETERS = (
    inspect.Parameter(
        "verbose", inspect.Parameter.KEYWORD_ONLY, default=0, annotation=Annotated[int, _VERBOSE]
    ),
    inspect.Parameter(
        "progress",
        inspect.Parameter.KEYWORD_ONLY,
        default="auto",
        annotation=Annotated[Style, _PROGRESS],
    ),
)
"""The options, as Typer reads them from a signature. Their callbacks act, so commands need none."""
