"""`activity demo`: all that the program does, on drawn clips."""

import shlex
import sys
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

_LABELS = ("walk", "wave", "jump")


def demo(
    output: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")] = Path(
        "activity-demo"
    ),
    open_report: Annotated[
        bool, typer.Option("--open", help="Open the report in the browser at the end.")
    ] = False,
) -> None:
    """Show everything on drawn clips: predict, train, report, storyboard.

    It takes about a minute, prints each command before it runs it, and writes only to the folder
    OUT and the cache.

    Example:  activity demo --open
    """
    from activity_cli.common.files import new_folder
    from activity_cli.sampledata import draw_video

    new_folder(output)
    clips, new, video = output / "clips", output / "new", output / "video.mp4"
    report = output / "runs" / "actions" / "report.html"
    storyboard, overlay = output / "storyboard.png", output / "overlay.mp4"
    labels = [word for label in _LABELS for word in ("--label", label)]

    _run("Labelled clips to train with", "sample", clips, "--clips-per-label", 6, *labels)
    # Another seed draws other persons.
    _run("Clips of other persons", "sample", new, "--clips-per-label", 2, "--seed", 1, *labels)
    draw_video(video, [label for label in _LABELS for _ in range(2)], seed=2)
    clip = next((new / _LABELS[0]).iterdir())
    _run("Without training: the default model", "predict", clip)
    training = ("--name", "actions", "--output", output / "runs")
    _run("Your own model", "train", clips, *training)
    model = ("--model", output / "runs" / "actions")
    _run("Its answers for persons that it was not trained on", "predict", new, *model)
    pictures = ("--storyboard", storyboard, "--save-video", overlay)
    _run("When it happens in a longer video", "predict", video, *model, *pictures)
    _title("Look at")
    for what, path in (
        ("report", report),
        ("storyboard", storyboard),
        ("video with labels", overlay),
        ("trained model", output / "runs" / "actions"),
    ):
        typer.echo(f"  {what:<18} {path}")
    if open_report:
        webbrowser.open(report.absolute().as_uri())


def _title(text: str) -> None:
    typer.secho(f"\n{text}", bold=True, err=True)


def _run(title: str, *arguments: object) -> None:
    """Print a command and run it."""
    from activity_cli.cli.app import app

    words = [str(argument) for argument in arguments]
    _title(title)
    typer.secho(f"$ activity {shlex.join(words)}", fg="cyan", err=True)
    with _arguments_of_process(words):
        code = app(words, prog_name="activity", standalone_mode=False)
    if code:  # Ctrl-C, for one
        raise typer.Exit(code)


@contextmanager
def _arguments_of_process(words: Sequence[str]) -> Iterator[None]:
    """Show the command to code that reads it from sys.argv, such as reports."""
    before = sys.argv
    sys.argv = [before[0], *words]
    try:
        yield
    finally:
        sys.argv = before
