"""Settings as a TOML file: read with the mistakes named, written with the help above each key.

What keys there are is told from outside: the command line derives them from its options.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby
from pathlib import Path
from textwrap import wrap
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from activity_cli.common.files import is_folder
from activity_cli.common.tables import read_text
from activity_cli.errors import DataError, SettingsError
from activity_cli.settings import REMOVED_SETTINGS

SETTINGS_FILE = "settings.toml"
"""Its name in a run folder."""

_WIDTH = 96
_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: 'text in quotes, such as "this"',
    Path: 'a path in quotes, such as "here/it"',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One thing that a settings file can say."""

    table: str
    name: str
    kind: Any
    """bool, int, float, str, Path, a Literal of strings, a list of these, or one of them | None."""
    text: str
    """What it means, in a sentence."""
    default: Any
    without: str = ""
    """What a default of None amounts to."""
    minimum: float | None = None
    maximum: float | None = None

    @property
    def kinds(self) -> tuple[Any, ...]:
        """What its value may be, without None: TOML has none, and leaves the key out."""
        union = get_origin(self.kind) in {Union, UnionType}
        return tuple(
            k for k in (get_args(self.kind) if union else [self.kind]) if k is not NoneType
        )

    def problem(self, value: Any) -> str:
        """Why the key cannot have this value; empty when it can."""
        if not any(_is_of(value, kind) for kind in self.kinds):
            wanted = " or ".join(_describe(kind) for kind in self.kinds)
            return f"{_toml(value)} is not {wanted}."
        if isinstance(value, int | float):
            if self.minimum is not None and value < self.minimum:
                return f"it must be at least {self.minimum:g}, not {value:g}."
            if self.maximum is not None and value > self.maximum:
                return f"it must be at most {self.maximum:g}, not {value:g}."
        return ""


def read_settings(path: Path, keys: Sequence[Key]) -> dict[str, Any]:
    """Values by the names of their keys.

    Args:
        path: the file, or a run folder that holds one.
        keys: what it may say.

    Raises:
        SettingsError: it is no TOML, or a key or a value in it is wrong.
    """
    path = path / SETTINGS_FILE if is_folder(path) else path
    try:
        content = tomllib.loads(read_text(path))
    except DataError as error:
        hint = "`activity settings > settings.toml` writes one to start from."
        raise SettingsError(error.message, hint=hint) from error
    except tomllib.TOMLDecodeError as error:
        hint = (
            'TOML has tables such as [training], then lines such as epochs = 40 or streams = "rgb"'
        )
        raise SettingsError(f"{path}: {error}.", hint=hint) from error
    known = {(key.table, key.name): key for key in keys}
    values: dict[str, Any] = {}
    for table, name, value in _entries(content, {key.table for key in keys}):
        key = known.get((table, name))
        if key is None and name in REMOVED_SETTINGS:
            _check_removed(path, table, name, value)
            continue
        if key is None:
            raise _unknown(path, table, name, keys)
        if problem := key.problem(value):
            raise SettingsError(f"{path}, {_place(table, name)}: {problem}", hint=key.text)
        values[name] = float(value) if float in key.kinds else value
    return values


def write_settings(keys: Sequence[Key], values: Mapping[str, Any], *, header: str = "") -> str:
    """A settings file as text, with what each key means above it.

    Args:
        keys: all that it is to say, in this order, each table in one piece.
        values: by name of the key; what is None or missing becomes a comment.
        header: lines for the top, which become comments.
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    for table, members in groupby(keys, key=lambda key: key.table):
        lines += ["", f"[{table}]"]
        for key in members:
            lines += [f"# {line}" for line in wrap(_help(key), _WIDTH - 2)]
            value = values.get(key.name)
            lines.append(f"# {key.name} =" if value is None else f"{key.name} = {_toml(value)}")
    return "\n".join(lines).lstrip("\n") + "\n"


def _entries(content: Mapping[str, Any], tables: set[str]) -> list[tuple[str, str, Any]]:
    """(table, key, value) of all that a file says; the table of loose keys is empty."""
    found = []
    for name, value in content.items():
        if isinstance(value, dict) and (name in tables or value):
            found += [(name, key, inner) for key, inner in value.items()]
        else:
            found.append(("", name, value))
    return found


def _check_removed(path: Path, table: str, name: str, value: Any) -> None:
    """Accept a setting of an earlier version that was switched off, as every run's file has it.

    Raises:
        SettingsError: it was used.
    """
    if value not in REMOVED_SETTINGS[name]:
        raise SettingsError(
            f"{path}: {_place(table, name)} = {_toml(value)} is not supported any more.",
            hint="Remove the line and train again; it did not improve accuracy on real clips.",
        )


def _unknown(path: Path, table: str, name: str, keys: Sequence[Key]) -> SettingsError:
    """The error for a key that is not known there, with the place or the name that was meant."""
    names = [key.name for key in keys]
    plain = name.replace("-", "_").lower()
    close = get_close_matches(plain, names, n=1, cutoff=0.6)
    message = f"{path}: there is no setting {_place(table, name)}"
    if not close:
        hint = "`activity settings` prints all that there are."
        return SettingsError(f"{message}.", hint=hint)
    key = next(key for key in keys if key.name == close[0])
    return SettingsError(
        f"{message}; did you mean {_place(key.table, key.name)}?", hint=f"{key.name}: {key.text}"
    )


def _place(table: str, name: str) -> str:
    return f"[{table}] {name}" if table else name


def _is_of(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_is_of(v, *get_args(kind)) for v in value)
    if kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and math.isfinite(value)
    if kind is Path:
        return isinstance(value, str | Path)
    return type(value) is kind


def _describe(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    if get_origin(kind) is list:
        return f"a list in brackets, each {_describe(*get_args(kind))}"
    return _KINDS[kind]


def _help(key: Key) -> str:
    """What the key means, what it can be, and what happens without it."""
    literals = [kind for kind in key.kinds if get_origin(kind) is Literal]
    choices = f" One of {', '.join(get_args(literals[0]))}." if literals else ""
    without = f" Without it: {key.without}." if key.default is None and key.without else ""
    return f"{key.text}{choices}{without}"


def _toml(value: Any) -> str:
    """A value as TOML writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case float() | int():
            return repr(value)
        case list() | tuple():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            return f"{{{', '.join(f'{k} = {_toml(v)}' for k, v in value.items())}}}"
    return '"' + "".join(map(_escaped, str(value))) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08x}"
