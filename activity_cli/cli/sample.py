"""`activity sample`: draw labelled clips."""

from pathlib import Path
from typing import Annotated

import typer

from activity_cli.cli import options
from activity_cli.cli.progress import progress_report


def sample(
    output: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder for the clips.")],
    *,
    clips_per_label: Annotated[int, typer.Option(help="Clips of each action.", min=1)] = 12,
    seed: Annotated[int, typer.Option(help="The same seed draws the same clips.", min=0)] = 0,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Draw only this action; can be given several times."),
    ] = None,
    captions: Annotated[
        bool, typer.Option("--captions", help="Write captions.csv: two sentences about each clip.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw labelled clips of a moving figure, to try training with.

    Example:  activity sample clips --clips-per-label 12
    """
    from activity_cli.data.captions import CAPTIONS_FILE
    from activity_cli.sampledata import ACTIONS, draw_dataset

    labels = tuple(label) if label else ACTIONS
    with progress_report(quiet=quiet) as report:
        table = draw_dataset(
            output,
            clips_per_label=clips_per_label,
            seed=seed,
            labels=labels,
            captions=captions,
            on_progress=report,
        )
    typer.echo(f"{clips_per_label * len(labels)} clips of {len(labels)} actions in {output}")
    typer.echo(f"Labels and persons: {table}", err=True)
    what = f"{output / CAPTIONS_FILE} --task describe" if captions else str(output)
    typer.echo(f"Next:  activity train {what}", err=True)
