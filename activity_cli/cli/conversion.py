"""Values of options that need no conversion, or only that to a path, pass by Typer's.

Typer imports Pydantic for it, and makes an adapter for each option: a third of the start of
`activity predict`.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_PLAIN = (bool, int, float, str)
_OTHER = object()


def skip_conversions(parameters: Iterable[Any]) -> None:
    """Let these parameters of Typer convert only the values that need it."""
    for one in parameters:
        if "process_value" not in vars(one):
            one.process_value = _processor(one)


def _processor(parameter: Any) -> Any:
    convert = parameter.process_value

    def process_value(context: Any, value: Any) -> Any:
        """Do what Typer's method of this name does."""
        converted = _converted(parameter, value)
        if converted is _OTHER or (parameter.required and value in (None, ())):
            return convert(context, value)
        callback = parameter.callback
        return callback(context, parameter, converted) if callback else converted

    return process_value


def _converted(parameter: Any, value: Any) -> Any:
    """Return the option's value; `_OTHER` where it is for Typer to convert or to refuse."""
    kind = parameter.type_descriptor.annotation
    if value is None:
        return () if parameter.multiple or parameter.nargs == -1 else None
    if kind == list[str] or (not value and isinstance(value, tuple)):
        return list(value)
    if kind in _PLAIN and isinstance(value, kind):
        return kind(value)  # a count that is not given is False
    if isinstance(value, str) and value == parameter.default:  # of a choice
        return value
    if kind is Path and (os.access(value, os.R_OK) or not os.path.lexists(value)):
        return Path(value)
    return _OTHER
