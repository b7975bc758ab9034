"""`activity cache`: what is kept on disk to be fast the next time."""

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from activity_cli.cli import options
from activity_cli.common.paths import default_cache_dir

EXAMPLE = "activity cache --clear"


def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove all of it; it is made anew when needed.")
    ] = False,
    cache_dir: Annotated[
        Path | None,
        typer.Option(
            help="The cache folder.",
            envvar="ACTIVITY_CACHE_DIR",
            show_default="the user's cache folder",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Show how large the cache of features and prepared CNNs is, or clear it."""
    from activity_cli.common.paths import cache_sizes, clear_cache
    from activity_cli.report.terminal.console import results_console, show_cache

    folder = cache_dir or default_cache_dir()
    sizes = clear_cache(folder) if clear else cache_sizes(folder)
    if json:
        typer.echo(jsonlib.dumps({"folder": str(folder), "cleared": clear, **sizes}, indent=2))
    else:
        results_console().print(show_cache(folder, sizes, cleared=clear))
