"""Settings as options: a command has a parameter such as `network: NetworkSettings`.

`with_option_groups` shows each setting of the dataclass to Typer as an option of its own.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import is_dataclass
from functools import wraps
from typing import Annotated, Any

import typer

from activity_cli.setting_fields import Option, build, options_of

_PANELS = {
    "machine": "Reading videos",
    "engine": "Reading videos",
    "reading": "Source",
    "clip": "Reading videos",
    "cnn": "CNN",
    "lengths": "Windows",
    "windows": "Long videos",
    "batch": "Many files",
    **dict.fromkeys(("labels", "audit", "split", "folds"), "Data"),
    "own": "Options",
}
"""Panel of the help for a group, by the name of the parameter; for others that name itself."""


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter whose type is a dataclass by the options of that dataclass.

    Typer reads a command's signature. This gives it one in which every setting is a parameter, and
    builds the dataclasses from their values when the command is called.
    """
    signature = inspect.signature(command, eval_str=True)
    groups = {p.name: p.annotation for p in signature.parameters.values() if _is_group(p)}

    @wraps(command)
    def expanded(**values: Any) -> None:
        for table, group in groups.items():
            names = [option.name for option in options_of(group)]
            values[table] = build(group, {name: values.pop(name) for name in names})
        command(**values)

    parameters = list(_expand(signature.parameters.values()))
    expanded.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {p.name: p.annotation for p in parameters}
    return expanded


def _is_group(parameter: inspect.Parameter) -> bool:
    return isinstance(parameter.annotation, type) and is_dataclass(parameter.annotation)


def _expand(parameters: Iterable[inspect.Parameter]) -> Iterable[inspect.Parameter]:
    for parameter in parameters:
        if _is_group(parameter):
            for option in options_of(parameter.annotation, table=parameter.name):
                yield _parameter(option)
        else:
            yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)


def _parameter(option: Option) -> inspect.Parameter:
    """An option as Typer reads it from a signature."""
    extra = option.setting
    switch = option.flag
    if option.kind is bool and option.default and "/" not in switch:
        switch = f"{switch}/--no-{switch.removeprefix('--')}"
    details = typer.Option(
        switch,
        help=option.text,
        rich_help_panel=_PANELS.get(option.table, option.table.capitalize()),
        min=extra.at_least if option.kind is not str else None,
        max=extra.at_most if option.kind is not str else None,
        metavar=extra.metavar,
        envvar=extra.envvar,
        show_default=extra.derived or True,
    )
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=option.default,
        annotation=Annotated[option.kind, details],
    )
