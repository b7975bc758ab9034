"""`activity train`: learn the actions in a folder of labelled clips."""

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from activity_cli.cli import options
from activity_cli.cli.augment_options import AugmentOptions
from activity_cli.cli.command_line import this_command
from activity_cli.cli.progress import progress_report
from activity_cli.cli.settings_option import SettingsFile, settings_text
from activity_cli.cli.train_options import (
    ClipOptions,
    LabelOptions,
    NetworkOptions,
    SplitOptions,
    TrainOptions,
)

EXAMPLE = "activity train clips --name gym"


@options.with_option_groups
def train(
    context: typer.Context,
    data: options.Data,
    *,
    machine: options.MachineOptions,
    clip: ClipOptions,
    augmentation: AugmentOptions,
    network: NetworkOptions,
    training: TrainOptions,
    labels: LabelOptions,
    split: SplitOptions,
    settings: SettingsFile = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the run.", show_default="the data's name")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
    preview: Annotated[
        Path | None,
        typer.Option(
            help="Only write a picture, .png, of what the network would see.", metavar="FILE"
        ),
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Learn actions from your own labelled clips.

    DATA is a folder such as clips/wave/1.mp4, clips/run/2.mp4, or a CSV with the columns
    path,label and, if you like, group (person, camera: never split apart), split (train, val,
    test), start and end (seconds).
    """
    del settings  # its values are in the options by now
    from activity_cli.rendering.contact_sheet import save_preview
    from activity_cli.report.console import results_console
    from activity_cli.report.figures import show_training
    from activity_cli.report.run_folder import training_metrics, write_training_run
    from activity_cli.runs import run_folder, train_model

    if preview is not None:
        with progress_report(quiet=quiet) as report:
            reading = clip.reading(machine, report, augmentation.settings())
            count = save_preview(data, reading, preview)
        typer.echo(jsonlib.dumps({"preview": str(preview), "clips": count}) if json else preview)
        return
    with (
        run_folder(output, name or data.resolve().stem) as folder,
        progress_report(quiet=quiet) as report,
    ):
        run = train_model(
            data,
            clip.reading(machine, report, augmentation.settings()),
            folder,
            network=network.settings(),
            settings=training.settings(),
            val_fraction=split.val_fraction,
            test_fraction=split.test_fraction,
            background=labels.background_label,
        )
        command = this_command()
        write_training_run(run, command=command, settings=settings_text(context))
    if json:
        typer.echo(jsonlib.dumps(training_metrics(run, command=command), indent=2))
    else:
        results_console().print(show_training(run))
