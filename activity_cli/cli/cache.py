"""`activity cache`: show or clear the cache."""

from pathlib import Path
from typing import Annotated

import typer

from activity_cli.cli import options
from activity_cli.common.cache import default_cache_dir


def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove all of it. It is made again when needed.")
    ] = False,
    cache_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            envvar="ACTIVITY_CACHE_DIR",
            help="Cache folder.",
            show_default="the user's",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Show the size of the cache of features and prepared CNNs, or clear it.

    Example:  activity cache --clear
    """
    from activity_cli.common.cache import cache_sizes, clear_cache
    from activity_cli.report.terminal.console import show_cache

    folder = cache_dir or default_cache_dir()
    sizes = clear_cache(folder) if clear else cache_sizes(folder)
    values = {"folder": str(folder), "cleared": clear, **sizes}
    options.print_result(values, lambda: show_cache(folder, sizes, cleared=clear), json=json)
