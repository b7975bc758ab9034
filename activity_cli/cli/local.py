"""`activity models` and `activity cache`: what this machine has."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from activity_cli.cli import options
from activity_cli.common.cache import default_cache_dir


def models(json: options.Json = False) -> None:
    """List the shipped models and the pretrained CNNs (backbones).

    Example:  activity models
    """
    from activity_cli.features.backbones import list_backbones
    from activity_cli.model.folder import load_model, shipped_models
    from activity_cli.report.terminal.console import messages_console, show_models

    with messages_console().status("Reading the catalogue of CNNs"):
        shipped = [load_model(folder).description for folder in shipped_models()]
        backbones = list_backbones()
    values = {
        "models": [{"name": m.name, **m.to_json()} for m in shipped],
        "backbones": [asdict(backbone) for backbone in backbones],
    }
    options.print_result(values, lambda: show_models(shipped, backbones), json=json)


def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove all of it. It is made again when needed.")
    ] = False,
    cache_dir: Annotated[
        Path | None,
        typer.Option(envvar="ACTIVITY_CACHE_DIR", help="Cache folder.", show_default="the user's"),
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
