"""`--settings FILE`: the options of train and crossval from a file, below the command line's own.

Each group of options is a table of the file, named as the commands name the group, so an option
that is added to a group is known to the file as well. Options that stand alone say what one call
is to do (where results go, what is printed) and are in no file.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from activity_cli.cli.option_groups import fields_of, groups_of
from activity_cli.common.settings_file import Key, read_settings, write_settings
from activity_cli.errors import SettingsError

_HEADER = """\
Settings of activity: `activity train DATA --settings FILE`, and the same for crossval.
What the command line says wins over the file; what neither says has its default."""


def settings_keys() -> list[Key]:
    """All that a settings file can say: the options of train, then those of crossval besides."""
    keys: dict[str, Key] = {}
    for command in _commands():
        for key in _keys_of(command):
            keys.setdefault(key.name, key)
    return list(keys.values())


def settings_text(context: typer.Context) -> str:
    """The settings file of this call: all values that its options have, wherever they come from."""
    names = context.params
    keys = [key for key in settings_keys() if key.name in names]
    return write_settings(keys, context.params, header=_HEADER)


def default_settings_text() -> str:
    """A settings file that says all defaults."""
    keys = settings_keys()
    return write_settings(keys, {key.name: key.default for key in keys}, header=_HEADER)


def _keys_of(command: Callable[..., None]) -> Iterator[Key]:
    for table, group in groups_of(command).items():
        for name, parameter in fields_of(group).items():
            kind, option = get_args(parameter.annotation)[:2]
            if option.envvar is None:  # what the environment says is of this machine only
                yield Key(
                    table=table,
                    name=name,
                    kind=kind,
                    text=option.help,
                    default=parameter.default,
                    without=option.show_default if isinstance(option.show_default, str) else "",
                    minimum=option.min,
                    maximum=option.max,
                )


def _commands() -> tuple[Callable[..., None], ...]:
    """Those that take a settings file; they import this module."""
    from activity_cli.cli.crossval import crossval
    from activity_cli.cli.train import train

    return train, crossval


def _check_groups(path: Path, values: Mapping[str, Any]) -> None:
    """Let settings check the values of the file, so that what they say names the file."""
    for command in _commands():
        for group in groups_of(command).values():
            options = group(**{name: values[name] for name in fields_of(group) if name in values})
            try:
                if hasattr(options, "settings"):
                    options.settings()
            except SettingsError as error:
                raise SettingsError(f"{path}: {error.message}", hint=error.hint) from error


def read_below(context: typer.Context, path: Path | None) -> Path | None:
    """Put what a settings file, or a run's, says below what the command line says."""
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
        help="TOML file with options, such as a run's settings.toml; flags win over it.",
    ),
]
