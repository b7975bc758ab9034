"""`activity models`: the shipped models and the CNNs to train with."""

import json as jsonlib
from dataclasses import asdict

import typer

from activity_cli.cli import options

EXAMPLE = "activity models"


def models(json: options.Json = False) -> None:
    """List the shipped models and the pretrained CNNs (backbones)."""
    from activity_cli.features.backbones import list_backbones
    from activity_cli.model.folder import load_model, shipped_models
    from activity_cli.report.terminal.console import messages_console, results_console, show_models

    with messages_console().status("Reading the catalogue of CNNs"):
        shipped = [load_model(folder).description for folder in shipped_models()]
        backbones = list_backbones()
    if json:
        content = {
            "models": [{"name": m.name, **m.to_json()} for m in shipped],
            "backbones": [asdict(backbone) for backbone in backbones],
        }
        typer.echo(jsonlib.dumps(content, indent=2))
    else:
        results_console().print(show_models(shipped, backbones))
