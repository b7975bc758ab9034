"""A setting is a dataclass field with a docstring; options and keys of files are derived from it.

`setting` adds to a field what its name, type, default and docstring do not tell. `options_of` lists
the options of a dataclass, and `build` makes the dataclass from the values of these options.
"""

import ast
import operator
import re
import sys
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields, is_dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, cast, get_args, get_origin

from activity_cli.errors import SettingsError

Group = TypeVar("Group")

_LARGEST = 10**18  # of whole numbers that are compared and shown as floats
_BOUNDS = {
    "at_least": (operator.ge, "at least"),
    "at_most": (operator.le, "at most"),
    "above": (operator.gt, "above"),
    "below": (operator.lt, "below"),
}


@dataclass(frozen=True, slots=True)
class SearchRange:
    """Bounds between which `activity tune` searches a number; `log` searches by factors."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a field's name, type, default and docstring do not tell."""

    option: str | None = ""
    """Name of the option: "" is the field's name, None is no option, "on/off" names two flags."""
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    choices: Mapping[str, Any] | None = None
    """Values of the option, and the field's value that each stands for."""
    derived: str = ""  # what a default of None amounts to, for the help text
    search: tuple[Any, ...] | SearchRange | None = None  # values that `activity tune` tries
    formerly: str = ""  # name in files, which earlier versions wrote as well
    metavar: str | None = None
    rare: bool = False
    """Whether only `--help-all` shows the option."""
    envvar: str | None = None
    """Environment variable that sets it."""
    is_local: bool = False  # of one machine: settings files do not have it

    def problem(self, value: Any) -> str:
        """Return why a value is out of bounds; empty where it is not."""
        if isinstance(value, tuple):
            return next(filter(None, map(self.problem, value)), "")
        if isinstance(value, int | float):
            value = max(-_LARGEST, min(value, _LARGEST)) if isinstance(value, int) else value
            for name, (is_within, words) in _BOUNDS.items():
                bound = getattr(self, name)
                if bound is not None and not is_within(value, bound):  # NaN is within nothing
                    return f"must be {words} {bound:g}, got {value:g}"
        return ""


def setting(default: Any, **details: Any) -> Any:
    """Return a dataclass field that is also an option."""
    return field(default=default, metadata={"setting": Setting(**details)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all settings share: to and from plain JSON, and checks that name the setting."""

    def __post_init__(self) -> None:
        for one in fields(self):
            value, choices = getattr(self, one.name), get_args(one.type)
            if get_origin(one.type) is Literal and value not in choices:
                raise SettingsError(
                    f"{one.name} must be one of {', '.join(choices)}, got {value!r}."
                )
            if "setting" in one.metadata and (problem := one.metadata["setting"].problem(value)):
                raise SettingsError(f"{one.name} {problem}.")
        self._check()

    def _check(self) -> None:
        """Check what the bounds of single fields do not cover."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain values, under the names that files have always had."""
        names = _names_in_files(type(self))
        return {names.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild settings that `to_json` wrote.

        Raises:
            SettingsError: a value is out of range, or this version has no such setting.
        """
        names = {written: name for name, written in _names_in_files(cls).items()}
        values = {names.get(name, name): value for name, value in values.items()}
        if unknown := sorted(set(values) - {one.name for one in fields(cls)}):
            raise SettingsError(
                f"{cls.__name__} has no {', '.join(unknown)}.",
                hint="Another version of activity wrote them; install that one or a newer one.",
            )
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def _names_in_files(cls: type[Settings]) -> dict[str, str]:
    described = {one.name: one.metadata["setting"] for one in fields(cls) if one.metadata}
    return {name: one.formerly for name, one in described.items() if one.formerly}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A setting as the command line and settings files show it."""

    name: str  # as in Python; flags have dashes, and none at the end (`for_` is `--for`)
    kind: Any
    """bool, int, float, str, Path, a Literal of strings, a list of these, or one of them | None."""
    default: Any = None
    text: str = ""  # help, one sentence
    table: str = ""  # table of the settings file that holds it
    setting: Setting = field(default_factory=Setting)
    is_numbers: bool = False  # whether its text is a list of numbers, such as 16,32,64

    @property
    def flag(self) -> str:
        """Its name on the command line; both names of a switch."""
        names = (self.setting.option or self.name).split("/")
        return "/".join(f"--{name.strip('_').replace('_', '-')}" for name in names)

    def parse(self, value: Any) -> Any:
        """Return the field's value for a value of the option.

        Raises:
            SettingsError: it is not a list of numbers.
        """
        if self.setting.choices is not None:
            return self.setting.choices[value]
        if self.is_numbers:
            try:
                return tuple(int(part) for part in value.split(","))
            except ValueError:
                raise SettingsError(
                    f"{self.flag} {value!r} is not a list of numbers.", hint="Write it like 8,16."
                ) from None
        is_list = any(get_origin(one) is list for one in get_args(self.kind))
        return tuple(value or ()) if is_list else value


def options_of(group: type, *, table: str = "") -> list[Option]:
    """Return the options of a dataclass, those of the dataclasses in its fields among them."""
    found: list[Option] = []
    for one in fields(group):
        if isinstance(one.type, type) and is_dataclass(one.type):
            found += options_of(one.type, table=table)
        elif (option := _option(group, one, table)) is not None:
            found.append(option)
    return found


def build(group: type[Group], values: Mapping[str, Any]) -> Group:
    """Return the dataclass with these values of its options, and defaults for the others.

    Raises:
        SettingsError: a value cannot work.
    """
    arguments: dict[str, Any] = {}
    for one in fields(group):  # type: ignore[arg-type]
        if isinstance(one.type, type) and is_dataclass(one.type):
            arguments[one.name] = build(one.type, values)
        elif (option := _option(group, one)) is not None and option.name in values:
            arguments[one.name] = option.parse(values[option.name])
    return group(**arguments)


def _option(group: type, one: Field[Any], table: str = "") -> Option | None:
    """The option of a field; None where it has none."""
    extra: Setting | None = one.metadata.get("setting")
    if extra is None or extra.option is None:
        return None
    kind, default, is_numbers = one.type, one.default, False
    if extra.choices is not None:
        kind = Literal[tuple(extra.choices)]
        default = next(name for name, value in extra.choices.items() if value == default)
    elif get_origin(kind) is tuple and get_args(kind)[0] is int:
        kind, default, is_numbers = str, ",".join(map(str, cast(Any, default))), True
    elif get_origin(kind) is tuple:
        kind, default = list[get_args(kind)[0]] | None, list(cast(Any, default)) or None  # type: ignore[misc]
    return Option(
        name=(extra.option or one.name).partition("/")[0],
        kind=kind,
        default=default,
        text=_help(group, one.name),
        table=table,
        setting=extra,
        is_numbers=is_numbers,
    )


def _help(group: type, name: str) -> str:
    """The first sentence of a field's docstring."""
    texts = (_docstrings(cls.__module__).get((cls.__name__, name)) for cls in group.__mro__)
    text = next(filter(None, texts), "")
    return re.split(r"(?<=\.)\s+(?=[A-Z`])", " ".join(text.split()))[0]


@cache
def _docstrings(module: str) -> dict[tuple[str, str], str]:
    """Docstrings of all fields in a module, by class and field: Python itself drops them."""
    path = getattr(sys.modules[module], "__file__", None)
    tree = ast.parse(Path(path).read_text(encoding="utf-8") if path else "")
    found: dict[tuple[str, str], str] = {}
    for cls in tree.body:
        for pair in pairwise(cls.body) if isinstance(cls, ast.ClassDef) else ():
            match pair:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(docstring))),
                ):
                    found[cls.name, name] = docstring  # type: ignore[attr-defined]
    return found
