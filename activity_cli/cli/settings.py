"""`activity settings`, and `--settings FILE`: options of train and crossval from a file.

Every setting of the dataclasses in `TABLES` is an option and a key of the file. Options of one call
(where results go, what is printed) are in no file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from activity_cli.cli.options import MachineOptions
from activity_cli.cli.train_options import (
    AugmentOptions,
    ClipOptions,
    CrossvalOptions,
    LabelOptions,
    SplitOptions,
)
from activity_cli.common.settings_file import read_settings, write_settings
from activity_cli.errors import SettingsError
from activity_cli.setting_fields import Option, build, options_of
from activity_cli.settings import AuditSettings, CnnSettings, NetworkSettings, TrainSettings

TABLES: Mapping[str, type] = {
    "machine": MachineOptions,
    "clip": ClipOptions,
    "augmentation": AugmentOptions,
    "network": NetworkSettings,
    "training": TrainSettings,
    "cnn": CnnSettings,
    "labels": LabelOptions,
    "audit": AuditSettings,
    "split": SplitOptions,
    "folds": CrossvalOptions,
}
"""Tables of the file; train, crossval and tune have them as parameters of these names."""
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
    """Return all keys of a settings file, but those that the environment sets for this machine."""
    keys = [key for table, group in TABLES.items() for key in options_of(group, table=table)]
    return [key for key in keys if key.setting.envvar is None]


def settings_text(context: typer.Context) -> str:
    """Return the settings file of this call: the values of its options, wherever they come from."""
    keys = [key for key in settings_keys() if key.name in context.params]
    # An empty list means the default, and arrives as None when it is read from a file.
    values = {name: None if value in ([], ()) else value for name, value in context.params.items()}
    return write_settings(keys, values, header=_HEADER)


def read_below(context: typer.Context, path: Path | None) -> Path | None:
    """Make the values of a settings file, or of a run, the defaults of the command line."""
    if path is not None:
        values = read_settings(path, settings_keys())
        for group in TABLES.values():  # checks the values of a table together
            try:
                build(group, values)
            except SettingsError as error:
                raise SettingsError(f"{path}: {error.message}", hint=error.hint) from error
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
