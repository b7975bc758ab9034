"""Options in groups: a command takes a group as one parameter, such as `network: NetworkOptions`.

`with_option_groups` shows each of the group's fields to Typer as an option of its own.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import is_dataclass
from functools import wraps
from typing import Any

import typer


def option(*names: str, panel: str, text: str, **details: Any) -> Any:
    """An option in a panel of the help."""
    return typer.Option(*names, rich_help_panel=panel, help=text, **details)


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter whose type is an option group by the group's options.

    Typer reads a command's signature; this gives it one in which every field of a group is a
    parameter of its own, and puts the values back together when the command is called.
    """
    signature = inspect.signature(command, eval_str=True)
    groups = groups_of(command)

    @wraps(command)
    def expanded(**values: Any) -> None:
        for name, group in groups.items():
            options = {field: values.pop(field) for field in fields_of(group)}
            values[name] = group(**options)
        command(**values)

    parameters = list(_expand(signature.parameters.values()))
    expanded.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {p.name: p.annotation for p in parameters}
    return expanded


def groups_of(command: Callable[..., None]) -> dict[str, type]:
    """The option groups of a command, by the names of its parameters."""
    signature = inspect.signature(inspect.unwrap(command), eval_str=True)
    return {p.name: p.annotation for p in signature.parameters.values() if _is_group(p)}


def fields_of(group: type) -> dict[str, inspect.Parameter]:
    """The options of a group by name, as parameters of a function."""
    return dict(inspect.signature(group, eval_str=True).parameters)


def _is_group(parameter: inspect.Parameter) -> bool:
    return is_dataclass(parameter.annotation)


def _expand(parameters: Iterable[inspect.Parameter]) -> Iterable[inspect.Parameter]:
    for parameter in parameters:
        inner = fields_of(parameter.annotation).values() if _is_group(parameter) else (parameter,)
        for one in inner:
            yield one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
