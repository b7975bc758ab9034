"""The command line: each command parses, delegates and prints.

Nothing heavy is imported until a command runs, so `activity --help` answers at once.
Results go to stdout, progress and messages to stderr. Exit codes: 0 all asked-for files were
scored; 1 usage, model or environment error; 3 finished, but some files have no score.
"""

import os
import sys
from typing import Annotated, NoReturn

import typer

from activity_cli import __version__
from activity_cli.cli import (
    benchmark,
    cache,
    check,
    compare,
    crossval,
    evaluate,
    explain,
    export,
    merge,
    models,
    predict,
    sample,
    settings,
    train,
    tune,
    watch,
)
from activity_cli.cli.interrupts import StoppedError
from activity_cli.errors import ActivityError

EXIT_ERROR = 1
EXIT_USAGE_OF_TYPER = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="activity",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with:  activity predict video.mp4",
)


def _unwrap(docstring: str) -> str:
    """Paragraphs on one line each: the terminal's width breaks them, not the source's."""
    return "\n\n".join(" ".join(part.split()) for part in docstring.split("\n\n"))


for panel, commands in {
    "Use a model": (predict, explain, watch, merge),
    "Make a model": (sample, tune, train, settings),
    "Measure": (crossval, evaluate, compare, benchmark),
    "Ship a model": (export,),
    "Look around": (check, models, cache),
}.items():
    for module in commands:
        name = module.__name__.rpartition(".")[2]
        command = getattr(module, name)
        app.command(
            name,
            help=_unwrap(command.__doc__),
            rich_help_panel=panel,
            epilog=f"Example:  {module.EXAMPLE}",
        )(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"activity {__version__}")
        raise typer.Exit


@app.callback()
def activity(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and stop."
        ),
    ] = False,
) -> None:
    """Name what people do in video: OpenCV frames, a pretrained CNN, an LSTM.

    Offline and on a plain CPU.
    """
    del version  # its callback has acted


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    sys.exit(_run())


def _run() -> int:
    try:
        app()
    except ActivityError as error:
        if os.environ.get("ACTIVITY_DEBUG"):
            raise
        _print_error(error)
        return EXIT_ERROR
    except StoppedError as stop:
        return _interrupted(str(stop))
    except KeyboardInterrupt:
        return _interrupted()
    except SystemExit as stop:
        if stop.code == EXIT_INTERRUPTED:
            return _interrupted()
        return EXIT_ERROR if stop.code == EXIT_USAGE_OF_TYPER else int(stop.code or 0)
    return 0


def _interrupted(
    message: str = "Interrupted. What was finished is kept: features come from the cache the next "
    "time, rows from the file. The same command goes on.",
) -> int:
    typer.echo(message, err=True)
    return EXIT_INTERRUPTED


def _print_error(error: ActivityError) -> None:
    """One line that says what, one that says how on; never markup, never a traceback."""
    typer.secho("Error: ", fg="red", bold=True, nl=False, err=True)
    typer.echo(_printable(error.message), err=True)
    if error.hint:
        typer.echo(f"  {_printable(error.hint)}", err=True)


def _printable(text: str) -> str:
    """Names on disk may hold bytes that are no text; show them instead of failing on them."""
    return " ".join(text.encode("utf-8", "backslashreplace").decode("utf-8").split("\n"))
