"""`activity studio`: label videos and train on them, in the browser."""

import socket
import webbrowser
from contextlib import closing, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from activity_cli.errors import MissingExtraError, SettingsError


def studio(
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Folder of your videos.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Draw clips into FOLDER, activity-studio, to try it.")
    ] = False,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    port: Annotated[
        int, typer.Option(help="Port; 0 takes one that is free.", min=0, max=65535)
    ] = 0,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on. Another than this machine shows your videos and labels, "
            "unencrypted, to everybody in that network who has the address with its token.",
            hidden=True,
        ),
    ] = "127.0.0.1",
) -> None:
    """Label videos, train, and correct what the model finds, in the browser.

    Everything is on this machine and in FOLDER: labels.csv is what `activity train` reads, and
    models are in runs/. Nothing is sent anywhere.

    Example:  activity studio clips
    """
    try:
        from activity_cli.studio.security import Guard
        from activity_cli.studio.server import Server
        from activity_cli.studio.studio import Studio
    except ImportError as error:
        if (error.name or "").split(".")[0] not in ("starlette", "uvicorn", "anyio"):
            raise
        raise MissingExtraError(
            "The studio", package="starlette or uvicorn", extra="studio"
        ) from error
    root = _folder(folder, demo=demo)
    with _listen(host, port) as listening, closing(Studio(root, is_demo=demo)) as opened:
        guard = Guard(host, listening.getsockname()[1])
        address = guard.address(host)
        typer.echo(address)
        typer.echo(f"Open this address in the browser to label {opened.project.root}.", err=True)
        if not ip_address(listening.getsockname()[0]).is_loopback:
            typer.echo(_NETWORK, err=True)
        typer.echo("Ctrl-C ends the studio. Everything is saved as you go.", err=True)
        if browser:
            webbrowser.open(address)
        with suppress(KeyboardInterrupt):  # the usual end
            Server(opened, guard).run(sockets=[listening])
    typer.echo("The studio has ended. Everything is saved.", err=True)


def _folder(folder: Path | None, *, demo: bool) -> Path:
    """Return the folder of the videos; with --demo, draw them unless they are there."""
    if not demo:
        if folder is None:
            raise SettingsError(
                "FOLDER is missing.",
                hint="activity studio clips, or try it: activity studio --demo",
            )
        return folder
    from activity_cli.cli.progress import progress_report
    from activity_cli.common.tables import read_table, write_table
    from activity_cli.sampledata import draw_dataset, draw_video

    folder = folder or Path("activity-studio")
    if not (folder / "labels.csv").exists():
        with progress_report(quiet=False) as report:
            table = draw_dataset(folder, clips_per_label=8, labels=_DEMO_LABELS, on_progress=report)
        rows = read_table(table, required=("path", "label")).rows
        kept = [tuple(row.values.values()) for row in rows if row.values["group"] != _NEW_PERSON]
        write_table(table, ("path", "label", "group"), kept)
        draw_video(folder / "video.mp4", 3 * _DEMO_LABELS, seed=2)
    return folder


_DEMO_LABELS = ("walk", "wave", "jump")
_NEW_PERSON = "person03"  # whose clips have no labels in the demo
_NETWORK = (
    "Everybody in this network who has the address can see the videos and change the labels. "
    "The connection is not encrypted."
)


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, or raise a SettingsError."""
    if host in ("0.0.0.0", "::", ""):
        raise SettingsError(
            "--host needs one address of this machine, not all of them.",
            hint="For example --host 192.168.1.5",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()  # from here on nobody is refused
    except OSError as error:
        listening.close()
        raise SettingsError(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}.",
            hint="Choose another with --port, or leave it out.",
        ) from error
    return listening
