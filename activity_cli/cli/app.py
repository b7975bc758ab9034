"""The commands in panels. The module of a command is imported when that command runs."""

from importlib import import_module
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from activity_cli.cli.option_groups import with_option_groups

COMMANDS = {
    "Use a model": {
        "predict": "Recognize the action in a video and when it happens, or score many videos.",
        "explain": "Show why a model predicts a label: when, where, and by which part of it.",
        "watch": "Recognize actions in live video.",
        "merge": "Join files of results into one, with one row per path, sorted by path.",
    },
    "Make a model": {
        "sample": "Draw labelled clips of a moving figure, to try training with.",
        "tune": "Search for the settings that suit your clips, by cross-validation.",
        "train": "Train a model on your own labelled clips.",
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
        "models": "List the shipped models and the pretrained CNNs (backbones).",
        "cache": "Show the size of the cache of features and prepared CNNs, or clear it.",
    },
}
"""The first sentence of each command's help, which is also that of its function."""
_MODULES = {"models": "local", "cache": "local"}
"""Modules that do not have the name of their command."""


def _write_sections(command: Any, context: Any, formatter: Any) -> None:
    """Write arguments and options as plain text, a section per panel.

    Typer draws them with Rich, whose import takes longer than all the rest of `activity --help`.
    """
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
    for param in command.get_params(context):
        if record := param.get_help_record(context):
            kind = "Arguments" if param.param_type_name == "argument" else "Options"
            sections.setdefault(param.rich_help_panel or kind, []).append(record)
    for title, records in sections.items():
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


class Command(TyperCommand):
    """A command with its options in sections."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options into the help."""
        _write_sections(self, ctx, formatter)


class LazyGroup(TyperGroup):
    """Lists commands by their summaries, and imports the one that runs."""

    def __init__(self, **details: Any) -> None:
        super().__init__(**details)
        for commands in COMMANDS.values():
            for name, summary in commands.items():
                self.add_command(Command(name, help=summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command to run, imported."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed and load_command(str(listed.name)), rest

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write options and commands into the help."""
        _write_sections(self, ctx, formatter)
        for title, commands in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))


def load_command(name: str) -> Command:
    """Import the module of a command and return the command."""
    function = getattr(import_module(f"activity_cli.cli.{_MODULES.get(name, name)}"), name)
    own = typer.Typer(add_completion=False, **_PLAIN)
    own.command(name, cls=Command, help=_unwrap(function.__doc__))(with_option_groups(function))
    return cast(Command, typer.main.get_command(own))


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
    epilog="Start with:  activity predict video.mp4",
    **_PLAIN,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from activity_cli.version import __version__

        typer.echo(f"activity {__version__}")
        raise typer.Exit


@app.callback()
def activity(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Recognize human actions in video: OpenCV frames, a pretrained CNN and an LSTM.

    Works offline and on a plain CPU.
    """
    del version  # its callback has acted
