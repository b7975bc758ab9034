"""Shell completion of values: models, labels and columns. Nothing is completed where an error is.

`activity --install-completion` installs it for the shell in use.
"""

import csv
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import typer

from activity_cli.errors import ActivityError

_FAILURES = (ActivityError, OSError, ValueError, LookupError)


def complete_model(incomplete: str) -> list[str]:
    """Complete shipped models and the runs below runs/."""
    from activity_cli.model.folder import shipped_models
    from activity_cli.settings import KINETICS600

    runs = sorted(file.parents[1].as_posix() for file in Path().glob("runs/*/model/model.json"))
    return _matching(
        [*(folder.name for folder in shipped_models()), KINETICS600, *runs], incomplete
    )


def complete_label(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the labels of the data, where the command has some, or else of the model."""
    with suppress(*_FAILURES):
        return _matching(_labels(context), incomplete)
    return []


def complete_column(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the columns of the CSV that is the data."""
    with suppress(*_FAILURES):
        return _matching(_rows(_data(context))[0], incomplete)
    return []


COMPLETIONS: dict[str, Callable[..., list[str]]] = {
    "model": complete_model,
    **dict.fromkeys(("label", "only", "alert", "background_label"), complete_label),
    **dict.fromkeys(("fold_column", "group_column"), complete_column),
}
"""How the value of an option is completed, by the option's name in Python."""


def _matching(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in dict.fromkeys(words) if word.startswith(incomplete)]


def _labels(context: typer.Context) -> list[str]:
    if not any(param.name == "data" for param in context.command.params):
        from activity_cli.model.folder import load_model
        from activity_cli.model.kinetics600 import default_model

        return list(load_model(context.params.get("model") or default_model()).description.labels)
    data = _data(context)
    if data.is_dir():
        folders = sorted(path.name for path in data.iterdir() if path.is_dir())
        return [name for name in folders if not name.startswith(".")]
    header, *rows = _rows(data)
    column = header.index("label")
    return sorted({row[column] for row in rows if len(row) > column})


def _data(context: typer.Context) -> Path:
    """Return the data on the command line; an IndexError if it is not there yet."""
    # While an option lacks its value, the parser leaves arguments in `args`.
    return Path(context.params.get("data") or context.args[0])


def _rows(path: Path) -> list[list[str]]:
    """Read a table: its header and all rows."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.reader(file))
