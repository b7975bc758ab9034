"""The command line: each command parses, delegates and prints.

Results go to stdout, progress and messages to stderr. Exit codes: 0 done; 1 an error stopped the
run; 2 usage error; 3 finished, but some files have no score; 130 interrupted by Ctrl-C. Nothing is
imported at the top of this module that takes time: Ctrl-C works from here on.
"""

import gc
import io
import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from activity_cli.errors import ActivityError, SettingsError

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_MOST_CHARACTERS = 2000  # of a message: names and labels of others may be long
EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_SOME_WITHOUT_SCORE = 3
EXIT_INTERRUPTED = 130

_INTERRUPTED = "Interrupted. Finished work is kept. Run the same command again to resume."


class StoppedError(Exception):
    """The user stopped a command; the message tells what was kept and how to resume."""


def main() -> NoReturn:
    """Run the command line as a program: also its imports and its exit end quietly on Ctrl-C."""
    sys.unraisablehook = _end_on_lost_interrupt
    for stream in (sys.stdout, sys.stderr):  # consoles of Windows may lack signs such as bars
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")
    code = run()
    # From here on nothing is left to be kept: results are written, worker processes stopped.
    signal.signal(signal.SIGINT, _end_at_once)
    if code == EXIT_INTERRUPTED:
        _end_at_once()  # sys.exit would end in signal 2 where Ctrl-C came while Python ran exec
    # Python would search all modules for garbage several times: a sixth of a short command.
    gc.freeze()
    sys.exit(code)


def run() -> int:
    """Run the command line and return its exit code."""
    try:
        from activity_cli.cli.app import app

        code = _exit_code_of(app)
        sys.stdout.flush()
    except BrokenPipeError:
        return _pipe_closed()
    except ActivityError as error:
        if os.environ.get("ACTIVITY_DEBUG"):
            raise
        _print_error(error)
        return EXIT_USAGE if isinstance(error, SettingsError) else EXIT_ERROR
    except StoppedError as stop:
        return _interrupted(str(stop))
    except KeyboardInterrupt:
        return _interrupted()
    return _interrupted() if code == EXIT_INTERRUPTED else code


def _exit_code_of(app: Any) -> int:
    """Run Typer's app, which ends with SystemExit."""
    try:
        app(prog_name="activity")
    except SystemExit as stop:
        # Rich and Typer turn the error of a closed pipe into exit code 1.
        if isinstance(stop.__context__, BrokenPipeError):
            raise stop.__context__ from None
        return int(stop.code or 0)
    return 0


def _pipe_closed() -> int:
    """End quietly when nobody reads stdout any more, as `| head -1` does."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    os.dup2(sys.stdout.fileno(), 1)  # what is still buffered goes there when Python ends
    return EXIT_ERROR


def _interrupted(message: str = _INTERRUPTED) -> int:
    print(message, file=sys.stderr)
    return EXIT_INTERRUPTED


def _end_at_once(number: int = signal.SIGINT, frame: FrameType | None = None) -> NoReturn:
    del number, frame
    sys.stderr.flush()
    os._exit(EXIT_INTERRUPTED)


def _end_on_lost_interrupt(lost: "UnraisableHookArgs") -> None:
    """End the program where Python cannot raise Ctrl-C, as in callbacks of the import system."""
    if lost.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(lost)
        return
    print(_INTERRUPTED, file=sys.stderr)
    _end_at_once()


def _print_error(error: ActivityError) -> None:
    """Print what is wrong in one line, and what to do in another; never markup or a traceback."""
    label = "\033[1;31mError: \033[0m" if sys.stderr.isatty() else "Error: "
    print(f"{label}{_printable(error.message)}", file=sys.stderr)
    if error.hint:
        print(f"  {_printable(error.hint)}", file=sys.stderr)


def _printable(text: str) -> str:
    """Return one line, with escapes for bytes that are not text and for control characters."""
    text = text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]} ..."
    text = " ".join(text.encode("utf-8", "backslashreplace").decode("utf-8").split("\n"))
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
