"""The commands in panels, and their options.

The module of a command is imported when that command runs. A command takes settings as a parameter,
`network: NetworkSettings`; `with_option_groups` shows each setting to Typer as an option.
"""

import inspect
import json as jsonlib
import platform
from collections.abc import Callable, Iterable
from dataclasses import is_dataclass
from functools import wraps
from importlib import import_module
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from activity_cli.cli import verbosity
from activity_cli.cli.completion import COMPLETIONS
from activity_cli.cli.conversion import skip_conversions
from activity_cli.cli.help_text import Command, show_all, write_options
from activity_cli.errors import SettingsError
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
        for parameter in common:  # their callbacks have acted
            del values[parameter.name]
        command(**values)

    common = (*(verbosity.PARAMETERS if "quiet" in signature.parameters else ()), _HELP_ALL)
    parameters = [*_expand(signature.parameters.values()), *common]
    expanded.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {p.name: p.annotation for p in parameters}
    return expanded


_HELP_ALL = inspect.Parameter(
    "help_all",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool,
        typer.Option(
            "--help-all",
            callback=show_all,
            is_eager=True,
            help="Show all options and exit.",
        ),
    ],
)


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
        hidden=extra.rare,
        autocompletion=COMPLETIONS.get(option.name),
    )
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=option.default,
        annotation=Annotated[option.kind, details],
    )


COMMANDS = {
    "Use a model": {
        "predict": "Recognize the action in a video and when it happens, or score many videos.",
        "watch": "Recognize actions in live video.",
        "explain": "Show why a model predicts a label: when, where, and by which part of it.",
        "find": "Find moments in videos that are like an example.",
        "ethogram": "Show how often and how long actions happen: time budgets, agreement.",
        "merge": "Join files of results into one, with one row per path, sorted by path.",
    },
    "Make a model": {
        "train": "Train a model on your own labelled clips.",
        "tune": "Search for the settings that suit your clips, by cross-validation.",
        "studio": "Label videos, train, and correct what the model finds, in the browser.",
        "demo": "Show everything on drawn clips: predict, train, report, storyboard.",
        "next": "Choose the moments that are worth labelling next.",
        "import": "Convert annotations of other programs into a CSV of labelled pieces of videos.",
        "sample": "Draw labelled clips of a moving figure, to try training with.",
        "settings": "Print a settings file with all defaults, for train and crossval.",
    },
    "Measure": {
        "crossval": "Measure by k-fold cross-validation, on clips held out from training.",
        "evaluate": "Measure a model on labelled clips.",
        "compare": "Compare runs: metrics, cost, settings and the significance of differences.",
        "benchmark": "Measure every engine and precision of this machine on one model.",
    },
    "Ship a model": {
        "export": "Write a model as ONNX, OpenVINO, TorchScript or torch.export files.",
    },
    "Inspect": {
        "check": "Decode every file; report damage, odd properties and duplicates.",
        "doctor": "Examine this installation: engines, codecs, weights, folders; give fixes.",
        "models": "List the shipped models and the pretrained networks, or fetch one.",
        "cache": "Show the size of the cache of features and prepared CNNs, or clear it.",
        "help": "Show the help of a command or a topic, such as exit-codes.",
    },
}
"""The first sentence of each command's help, which is also that of its function."""


class LazyGroup(TyperGroup):
    """Lists commands by their summaries, and imports the one that runs."""

    def __init__(self, **details: Any) -> None:
        super().__init__(**details)
        for commands in COMMANDS.values():
            for name, summary in commands.items():
                self.add_command(Command(name, help=summary))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments."""
        skip_conversions(self.get_params(ctx))
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command to run, imported."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed and load_command(str(listed.name)), rest

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write commands and options into the help."""
        for title, commands in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))
        write_options(self, ctx, formatter)


def load_command(name: str) -> Command:
    """Import the module of a command and return the command."""
    module = "import_annotations" if name == "import" else name  # a word of Python's own
    function = getattr(import_module(f"activity_cli.cli.{module}"), module)
    own = typer.Typer(add_completion=False, **_PLAIN)
    own.command(name, cls=Command, help=_unwrap(function.__doc__))(with_option_groups(function))
    return Command.with_levels(cast(Command, typer.main.get_command(own)))


def _unwrap(docstring: str) -> str:
    """Put each paragraph on one line: the terminal breaks lines, not the source."""
    return "\n\n".join(" ".join(part.split()) for part in docstring.split("\n\n"))


_PLAIN: dict[str, Any] = {
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}

app = typer.Typer(
    name="activity",
    cls=LazyGroup,
    no_args_is_help=True,
    epilog="Start with:  activity demo. Exit codes, data and more:  activity help",
    **_PLAIN,
)


@app.callback(invoke_without_command=True)
def activity(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="With --version: as JSON, with those of the libraries.")
    ] = False,
) -> None:
    """Recognize human actions in video: OpenCV frames, a pretrained CNN and an LSTM.

    Works offline and on a plain CPU.
    """
    if version and json:
        from activity_cli.model.folder import installed_versions

        typer.echo(jsonlib.dumps({"python": platform.python_version()} | installed_versions()))
    elif version:
        from activity_cli.version import __version__

        typer.echo(f"activity {__version__}")
    elif context.invoked_subcommand is None:
        raise SettingsError("Which command?", hint="activity --help lists them.")
    if version:
        raise typer.Exit
