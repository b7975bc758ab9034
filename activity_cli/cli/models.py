"""`activity models`: the shipped models and the networks, and to fetch one."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from activity_cli.cli import options


def models(
    action: Annotated[
        Literal["pull"] | None,
        typer.Argument(metavar="pull", help="Download the weights of the network NAME."),
    ] = None,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="movinet_a0.")] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Take the weights from this file instead."),
    ] = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """List the shipped models and the pretrained networks, or fetch one.

    Example:  activity models pull movinet_a0
    """
    if action == "pull":
        file = _pull(name, source, quiet=quiet)
        options.print_result({"name": name, "file": str(file)}, lambda: str(file), json=json)
    else:
        _list_models(json=json)


def _pull(name: str | None, source: Path | None, *, quiet: int) -> Path:
    """Fetch the weights of the action network unless they are on this machine."""
    from activity_cli.cli.progress import progress_report
    from activity_cli.errors import SettingsError
    from activity_cli.features import action_weights as weights

    if name != weights.NAME:
        problem = f"There is no network {name!r} to pull." if name else "Which network?"
        hint = f"activity models pull {weights.NAME}. CNNs are downloaded when they are first used."
        raise SettingsError(problem, hint=hint)
    size = f"{weights.FILE_BYTES / 1e6:.1f} MB"
    options.print_note(f"{name}: {weights.SOURCE}, {size}, {weights.LICENCE}", quiet=quiet)
    if source is not None:
        return weights.copy_action_weights(source)
    if weights.find_action_weights() is not None:
        return weights.action_weights_file()
    with progress_report(quiet=quiet) as report:
        return weights.fetch_action_weights(
            weights.ADDRESSES, on_progress=report, on_failure=report.warn
        )


def _list_models(*, json: bool) -> None:
    from activity_cli.features.action_weights import list_action_networks
    from activity_cli.features.backbones import list_backbones
    from activity_cli.model.folder import load_model, shipped_models
    from activity_cli.model.kinetics600 import describe_kinetics600
    from activity_cli.report.terminal.console import messages_console, show_models

    with messages_console().status("Reading the catalogue of CNNs"):
        listed = [describe_kinetics600()]
        listed += [load_model(folder).description for folder in shipped_models()]
        backbones = list_backbones()
    networks = list_action_networks()
    values = {
        "models": [{"name": m.name, **m.to_json()} for m in listed],
        "action_networks": [asdict(network) for network in networks],
        "backbones": [asdict(backbone) for backbone in backbones],
    }
    options.print_result(values, lambda: show_models(listed, networks, backbones), json=json)
