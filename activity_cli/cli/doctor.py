"""`activity doctor`: examine this installation and machine."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from activity_cli.cli import EXIT_ERROR, options
from activity_cli.common import count_of
from activity_cli.common.cache import default_cache_dir

if TYPE_CHECKING:
    from activity_cli.diagnosis import Finding

_MARKS = {"ok": ("✓", "green"), "note": ("-", "dim"), "error": ("✗", "red")}


def doctor(*, json: options.Json = False) -> None:
    """Examine this installation: engines, codecs, weights, folders; give fixes.

    Tries what it lists: it imports each engine, decodes a frame of each codec and writes to each
    folder. The exit code is 1 if something is broken. Attach its output to a bug report.

    Example:  activity doctor
    """
    from activity_cli.diagnosis import diagnose

    findings = list(diagnose(default_cache_dir()))
    num_errors = sum(one.level == "error" for one in findings)
    values = {"num_errors": num_errors, "findings": [asdict(one) for one in findings]}
    options.print_result(values, lambda: _show(findings), json=json)
    if num_errors:
        raise typer.Exit(EXIT_ERROR)


def _show(findings: "list[Finding]") -> RenderableType:
    """Show a line for each finding, with the fix below it."""
    table = Table.grid(padding=(0, 1))
    topic = ""
    for one in findings:
        if one.topic != topic:
            topic = one.topic
            table.add_row("", Text(topic, "bold"))
        table.add_row(Text(*_MARKS[one.level]), Text(one.name), Text(one.value))
        if one.fix:
            table.add_row("", "", Text(one.fix, "cyan" if one.level == "error" else "dim"))
    num_errors = sum(one.level == "error" for one in findings)
    found = f"{count_of(num_errors, 'problem')} to fix." if num_errors else "No problems found."
    return Group(table, Text(found, "bold"))
