"""Options of one training run: where it is kept, how long it may take, whether it goes on."""

from pathlib import Path
from typing import Annotated

import typer

from activity_cli.cli.option_groups import option
from activity_cli.cli.settings_option import read_below

_RUN = "Run"


def _read_run(context: typer.Context, folder: Path | None) -> Path | None:
    """Take the options that are not given from the run that goes on."""
    if folder is not None:
        from activity_cli.training.resuming import require_checkpoint

        require_checkpoint(folder)
        read_below(context, folder)
    return folder


Name = Annotated[
    str | None, option(panel=_RUN, text="Name of the run.", show_default="the data's name")
]
Output = Annotated[Path, option(panel=_RUN, text="Folder that holds the runs.")]
Resume = Annotated[
    Path | None,
    option(
        panel=_RUN,
        text="Go on with this run and its options; more --epochs, --patience, time are welcome.",
        callback=_read_run,
        is_eager=True,
        metavar="RUN",
    ),
]
TimeLimit = Annotated[
    float | None,
    option(panel=_RUN, text="Minutes after which no other epoch begins; --resume goes on.", min=0),
]
DryRun = Annotated[
    bool,
    option("--dry-run", panel=_RUN, text="Try one batch of everything, say how long it will take."),
]
Preview = Annotated[
    Path | None,
    option(
        panel=_RUN,
        text="Only draw a picture, .png, of what the network would see.",
        metavar="FILE",
    ),
]
TensorBoard = Annotated[
    bool,
    option(
        "--tensorboard/--no-tensorboard",
        panel=_RUN,
        text="Event files in the run folder, if it is installed.",
    ),
]
