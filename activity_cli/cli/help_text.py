"""Help in two levels: `--help` shows the options that most people need, `--help-all` shows all.

The level is part of an option's definition: `setting(..., rare=True)`, or `hidden=True` of
`typer.Option`. All is plain text: the import of Rich takes longer than the rest of `--help`.
"""

from typing import Any

import typer
from typer.core import TyperCommand

from activity_cli.cli.conversion import skip_conversions
from activity_cli.errors import SettingsError

_NAME_WIDTH = 24  # characters of names and values; longer ones have a line of their own
_NUMBERS = {int: "N", float: "NUMBER"}
_SHOW_ALL = "activity_cli.help_all"
_EXAMPLE = "Example:"


def show_all(context: typer.Context, wanted: bool) -> None:
    """Print the help with all options and stop: the callback of --help-all."""
    if wanted:
        context.meta[_SHOW_ALL] = True
        typer.echo(context.get_help())
        raise typer.Exit


class Command(TyperCommand):
    """A command with help in two levels, and an example where an argument is missing."""

    rare: frozenset[str] = frozenset()
    """Names of the parameters that only --help-all shows."""

    @classmethod
    def with_levels(cls, command: "Command") -> "Command":
        """Take the level of each option from where Typer keeps it.

        Typer's parser and shell completion then treat all options alike.
        """
        options = [one for one in command.params if getattr(one, "hidden", False)]
        command.rare = frozenset(one.name for one in options)
        for one in options:
            one.hidden = False  # type: ignore[attr-defined]
        return command

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; a SettingsError with an example if one is missing."""
        skip_conversions(self.get_params(ctx))
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            if type(error).__name__ != "MissingParameter":
                raise
            raise SettingsError(error.format_message(), hint=example_of(self)) from None

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line."""
        pieces = super().collect_usage_pieces(ctx)
        return [piece.replace("{", "").replace("}", "") for piece in pieces]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options into the help: in one section, or all of them in their panels."""
        write_options(self, ctx, formatter, is_full=_SHOW_ALL in ctx.meta)


def example_of(command: Any) -> str:
    """Return the example at the end of a command's help."""
    return f"{_EXAMPLE}{(command.help or '').rpartition(_EXAMPLE)[2]}"


def write_options(command: Any, context: Any, formatter: Any, *, is_full: bool = True) -> None:
    """Write arguments and options, a section per panel; rare options only where `is_full`."""
    rare: frozenset[str] = getattr(command, "rare", frozenset())
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
    for param in command.get_params(context):
        is_argument = param.param_type_name == "argument"
        panel = param.rich_help_panel if is_full else None
        is_shown = is_full or param.name not in rare
        if param.name == "help_all" and not rare:
            is_shown = False
        if is_shown and not param.hidden:
            kind = "Arguments" if is_argument else panel or "Options"
            sections.setdefault(kind, []).append(describe(param, context, is_full=is_full))
    # Options of no panel, such as --help, come last.
    sections["Options"] = sections.pop("Options")
    for title, records in sections.items():
        if records:
            with formatter.section(title):
                formatter.write_dl(records, col_max=_NAME_WIDTH)


def describe(param: Any, context: Any, *, is_full: bool = True) -> tuple[str, str]:
    """Return an option as people type it, and what it does, with its default."""
    text = param.help or ""
    notes = [note for note in (_default(param, context), is_full and _variable(param)) if note]
    names = param.display_name_raw if param.param_type_name == "argument" else _names(param)
    return names, f"{text} [{'; '.join(notes)}]" if notes else text


def _names(param: Any) -> str:
    short, long = sorted(param.opts, key=len)[:-1], max(param.opts, key=len)
    if param.secondary_opts:
        negative = param.secondary_opts[0]
        is_no = negative == f"--no-{long.removeprefix('--')}"
        long = f"--[no-]{long.removeprefix('--')}" if is_no else f"{long}/{negative}"
    names = ", ".join([*short, long])
    return names if param.is_flag or param.count else f"{names} {value_name(param)}"


def value_name(param: Any) -> str:
    """Return the word for an option's value: its metavar, its kind, or the end of its name."""
    kind = param.type_descriptor
    if param.metavar:
        return str(param.metavar)
    if kind.is_path:
        return "PATH"
    if not kind.is_choice and kind.annotation in _NUMBERS:
        return _NUMBERS[kind.annotation]
    return str(max(param.opts, key=len)).rpartition("-")[2].upper()


def _default(param: Any, context: Any) -> str:
    """The default and, of a choice, the other values."""
    kind = param.type_descriptor
    choices = [str(getattr(one, "value", one)) for one in kind.choices or ()]
    choices = choices if len(choices) > 1 else []
    shown = _default_text(param, context)
    if shown in choices:
        return f"default: {shown}; or {', '.join(one for one in choices if one != shown)}"
    notes = [", ".join(choices), f"default: {shown}" if shown else ""]
    return "; ".join(note for note in notes if note)


def _default_text(param: Any, context: Any) -> str:
    if isinstance(param.show_default, str):
        return param.show_default
    value = param.get_default(context, call=False)
    if not param.show_default or value is None or value is False or value in ([], (), ""):
        return ""
    if value is True:
        return "on" if param.secondary_opts[0].startswith("--no-") else param.opts[0].strip("-")
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(getattr(value, "value", value))


def _variable(param: Any) -> str:
    return f"env: {param.envvar}" if param.envvar else ""
