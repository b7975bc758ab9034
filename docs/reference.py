"""Write docs/commands.md, the reference of all commands, from the options of the program.

    python docs/reference.py

`make docs` runs it, and a test compares the page with the program.
"""

from pathlib import Path
from typing import Any

import typer

from activity_cli.cli.app import COMMANDS, app, load_command
from activity_cli.cli.help import TOPICS
from activity_cli.cli.help_text import describe

PAGE = Path(__file__).with_name("commands.md")
_HEAD = """\
# Commands

<!-- Written by docs/reference.py: change the options in the code, then run it. -->

`activity COMMAND --help` shows the common options, `--help-all` all of them.
"""


def reference() -> str:
    """Return the page as Markdown."""
    group = typer.Context(typer.main.get_command(app), info_name="activity")
    parts = [_HEAD]
    for title, commands in COMMANDS.items():
        listed = "\n".join(f"| [`{name}`](#{name}) | {text} |" for name, text in commands.items())
        parts.append(f"**{title}**\n\n| command | what it does |\n|---|---|\n{listed}\n")
    parts += [_command(name, group) for names in COMMANDS.values() for name in names]
    topics = (
        f"### {name}\n\n{text}\n\n```\n{body}\n```\n" for name, (text, body) in TOPICS.items()
    )
    return "\n".join([*parts, "## Topics\n", *topics])


def _command(name: str, group: typer.Context) -> str:
    command: Any = load_command(name)
    context = typer.Context(command, info_name=name, parent=group)
    text, _, example = command.help.partition("Example:")
    usage = " ".join(["activity", name, *command.collect_usage_pieces(context)])
    parts = [f"## {name}\n", _escape(text.strip()), f"\n```\n{usage}\n```\n"]
    parts.append(f"```sh\n{example.strip()}\n```\n")
    panels: dict[str, list[str]] = {}
    for param in command.get_params(context):
        is_argument = param.param_type_name == "argument"
        is_rare = param.name in command.rare
        panel = "Arguments" if is_argument else "Further options" if is_rare else "Options"
        flag, words = describe(param, context)
        if param.name not in {"help", "help_all"}:
            code = flag.replace("|", "\\|")
            panels.setdefault(panel, []).append(f"| `{code}` | {_escape(words)} |")
    for panel in ("Arguments", "Options", "Further options"):
        if rows := panels.get(panel):
            parts.append("\n".join([f"| {panel} | |", "|---|---|", *rows, ""]))
    return "\n".join(parts)


def _escape(text: str) -> str:
    for character in "|*_":
        text = text.replace(character, f"\\{character}")
    return text.replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
