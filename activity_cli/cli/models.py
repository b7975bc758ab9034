"""`activity models`: the shipped models and the networks, and to fetch one."""

from contextlib import suppress
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
    backbones: Annotated[
        bool, typer.Option("--backbones", help="List the CNNs that a model can be trained with.")
    ] = False,
    *,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """List the shipped models and the pretrained networks, or fetch one.

    Example:  activity models pull movinet_a0
    """
    if action == "pull":
        file = _pull(name, source, quiet=quiet)
        options.print_result({"name": name, "file": str(file)}, lambda: str(file), json=json)
    elif backbones:
        _list_backbones(json=json)
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
    """List the shipped models and the runs in `runs`; imports no torch."""
    from activity_cli.errors import ActivityError
    from activity_cli.features.action_weights import list_action_networks
    from activity_cli.model.folder import load_model, own_models, shipped_models
    from activity_cli.model.kinetics600 import describe_kinetics600
    from activity_cli.report.terminal.console import show_models

    listed = [describe_kinetics600()]
    listed += [load_model(folder).description for folder in shipped_models()]
    own = {}
    for folder in own_models():
        with suppress(ActivityError):  # a damaged one: the command that uses it reports it
            own[str(folder)] = load_model(folder).description
    networks = list_action_networks()
    values = {
        "models": [{"name": m.name, **m.to_json()} for m in listed],
        "runs": [{"folder": folder, **m.to_json()} for folder, m in own.items()],
        "action_networks": [asdict(network) for network in networks],
    }
    options.print_result(values, lambda: show_models(listed, own, networks), json=json)


def _list_backbones(*, json: bool) -> None:
    from activity_cli.features.backbones import list_backbones
    from activity_cli.report.terminal.console import messages_console, show_backbones

    with messages_console().status("Reading the catalogue of CNNs"):
        found = list_backbones()
    values = {"backbones": [asdict(backbone) for backbone in found]}
    options.print_result(values, lambda: show_backbones(found), json=json)
