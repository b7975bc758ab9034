"""`activity models`: the shipped models and the CNNs."""

from dataclasses import asdict

from activity_cli.cli import options


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
