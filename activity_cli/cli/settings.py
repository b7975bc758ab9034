"""`activity settings`, and `--settings FILE`: options of train and crossval from a file.

Each dataclass that a command takes is a table of the file, with the name of the parameter, so every
setting is an option and a key. Options of one call (where results go, what is printed) are in no
file.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from activity_cli.cli.option_groups import groups_of
from activity_cli.common.settings_file import read_settings, write_settings
from activity_cli.errors import SettingsError
from activity_cli.setting_fields import Option, build, options_of

_ONE_CALL = ("own", "run")
"""Parameters of commands that are no tables."""
_HEADER = """\
Settings of activity: `activity train DATA --settings FILE`, and the same for crossval.
Options of the command line override the file; the file overrides the defaults."""


def settings() -> None:
    """Print a settings file with all defaults, for train and crossval.

    Change what you like, leave out what you do not, and give it to `activity train DATA
    --settings run.toml`. The settings.toml of a run folder is such a file as well.

    Example:  activity settings > run.toml
    """
    keys = settings_keys()
    text = write_settings(keys, {key.name: key.default for key in keys}, header=_HEADER)
    typer.echo(text, nl=False)


def settings_keys() -> list[Option]:
    """Return all keys of a settings file: the options of train, and more of crossval."""
    keys: dict[str, Option] = {}
    for command in _commands():
        for table, group in groups_of(command).items():
            for key in options_of(group, table=table) if table not in _ONE_CALL else ():
                if key.setting.envvar is None:  # what the environment sets holds here only
                    keys.setdefault(key.name, key)
    return list(keys.values())


def settings_text(context: typer.Context) -> str:
    """Return the settings file of this call: the values of its options, wherever they come from."""
    keys = [key for key in settings_keys() if key.name in context.params]
    return write_settings(keys, context.params, header=_HEADER)


def _commands() -> tuple[Callable[..., None], ...]:
    """The commands that take a settings file; they import this module."""
    from activity_cli.cli.crossval import crossval
    from activity_cli.cli.train import train

    return train, crossval


def _check_groups(path: Path, values: Mapping[str, Any]) -> None:
    """Check the values of the file together, so that errors name the file."""
    for command in _commands():
        for group in groups_of(command).values():
            try:
                build(group, values)
            except SettingsError as error:
                raise SettingsError(f"{path}: {error.message}", hint=error.hint) from error


def read_below(context: typer.Context, path: Path | None) -> Path | None:
    """Make the values of a settings file, or of a run, the defaults of the command line."""
    if path is not None:
        values = read_settings(path, settings_keys())
        _check_groups(path, values)
        context.default_map = {**(context.default_map or {}), **values}
    return path


SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        callback=read_below,
        is_eager=True,
        metavar="FILE",
        help="TOML file with options, such as a run's settings.toml; flags override it.",
    ),
]
