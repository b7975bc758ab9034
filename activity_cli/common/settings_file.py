"""Settings as a TOML file: read with errors that name the key, written with help above each key."""

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import groupby
from pathlib import Path
from textwrap import wrap
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from activity_cli.common.files import is_folder
from activity_cli.common.tables import read_text
from activity_cli.errors import DataError, SettingsError
from activity_cli.setting_fields import Option

SETTINGS_FILE = "settings.toml"
"""Its name in a run folder."""

REMOVED_SETTINGS: Mapping[str, tuple[Any, ...]] = {
    "average": ("none",),
    "ema_decay": (0.99,),
    "loss": ("cross-entropy",),
    "focal_gamma": (2.0,),
    "sampler": ("shuffled",),
    "mixup": (0.0, 0),
    "amp": ("off",),
}
"""Settings of training in earlier versions, with the values that changed nothing. Settings files
and run folders that hold these values stay readable."""

_WIDTH = 96
_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: 'text in quotes, such as "this"',
    Path: 'a path in quotes, such as "here/it"',
}


def read_settings(path: Path, keys: Sequence[Option]) -> dict[str, Any]:
    """Return the values of a settings file by the names of their keys.

    Raises:
        SettingsError: it is not TOML, or a key or a value in it is wrong.
    """
    path = path / SETTINGS_FILE if is_folder(path) else path
    try:
        content = tomllib.loads(read_text(path))
    except DataError as error:
        hint = "`activity settings > settings.toml` writes one to start from."
        raise SettingsError(error.message, hint=hint) from error
    except (ValueError, RecursionError) as error:  # ValueError: a number of thousands of digits
        hint = (
            'TOML has tables such as [training], and lines such as epochs = 40 or streams = "rgb"'
        )
        raise SettingsError(f"{path}: {error}.", hint=hint) from error
    known = {(key.table, name): key for key in keys for name in _names(key)}
    values: dict[str, Any] = {}
    for table, name, value in _entries(content, {key.table for key in keys}):
        key = known.get((table, name))
        if key is None and value in REMOVED_SETTINGS.get(name, ()):
            continue  # every run of an earlier version has written it
        if key is None:
            raise _unknown(path, table, name, keys)
        if problem := _problem(key, value):
            raise SettingsError(f"{path}, {_place(table, name)}: {problem}", hint=key.text)
        values[key.name] = float(value) if float in _kinds(key) else value
    return values


def write_settings(keys: Sequence[Option], values: Mapping[str, Any], *, header: str = "") -> str:
    """Return the text of a settings file, with the help of each key above it."""
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    for table, members in groupby(keys, key=lambda key: key.table):
        lines += ["", f"[{table}]"]
        for key in members:
            lines += [f"# {line}" for line in wrap(_help(key), _WIDTH - 2)]
            value = values.get(key.name)
            lines.append(
                f"# {key.name} =" if value in (None, []) else f"{key.name} = {_toml(value)}"
            )
    return "\n".join(lines).lstrip("\n") + "\n"


def _entries(content: Mapping[str, Any], tables: set[str]) -> list[tuple[str, str, Any]]:
    """Return (table, key, value) of everything in a file; the table of loose keys is empty."""
    found = []
    for name, value in content.items():
        if isinstance(value, dict) and (name in tables or value):
            found += [(name, key, inner) for key, inner in value.items()]
        else:
            found.append(("", name, value))
    return found


def _unknown(path: Path, table: str, name: str, keys: Sequence[Option]) -> SettingsError:
    """Return the error for an unknown key, with the key that was probably meant."""
    if name in REMOVED_SETTINGS:
        return SettingsError(
            f"{path}: {_place(table, name)} is not supported any more.",
            hint="Remove the line and train again; it did not improve accuracy on real clips.",
        )
    plain = name.replace("-", "_").lower()
    close = get_close_matches(plain, [key.name for key in keys], n=1, cutoff=0.6)
    message = f"{path}: there is no setting {_place(table, name)}"
    if not close:
        return SettingsError(f"{message}.", hint="`activity settings` prints all settings.")
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


def _names(key: Option) -> tuple[str, ...]:
    """Its name, and the one that files of earlier versions have."""
    return (key.name, key.setting.formerly) if key.setting.formerly else (key.name,)


def _kinds(key: Option) -> tuple[Any, ...]:
    """Types of its value without None: TOML has no null, the key is left out."""
    union = get_origin(key.kind) in {Union, UnionType}
    return tuple(k for k in (get_args(key.kind) if union else [key.kind]) if k is not NoneType)


def _problem(key: Option, value: Any) -> str:
    """Return why the key cannot have this value; empty when it can."""
    if isinstance(value, int) and abs(value) >= 2**63:  # as in TOML's specification
        return "the number is too large."
    if any(_is_of(value, kind) for kind in _kinds(key)):
        return f"it {problem}." if (problem := key.setting.problem(value)) else ""
    return f"{_toml(value)} is not {' or '.join(map(_describe, _kinds(key)))}."


def _help(key: Option) -> str:
    """Return the help of a key, with its choices and what happens without it."""
    literals = [kind for kind in _kinds(key) if get_origin(kind) is Literal]
    choices = f" One of {', '.join(get_args(literals[0]))}." if literals else ""
    derived = key.setting.derived if key.default is None else ""
    return f"{key.text}{choices}{f' Default: {derived}.' if derived else ''}"


def _toml(value: Any) -> str:
    """Return a value as TOML, which is JSON but for nan, tables and the character DEL."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k} = {_toml(v)}' for k, v in value.items())}}}"
    return json.dumps(value, ensure_ascii=False, default=str).replace("\x7f", "\\u007f")
