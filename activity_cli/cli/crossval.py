"""`activity crossval`: how well would a model do on clips, people or places it has not seen?"""

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from activity_cli.cli import options
from activity_cli.cli.command_line import this_command
from activity_cli.cli.progress import progress_report
from activity_cli.cli.train_options import ClipOptions, NetworkOptions, TrainOptions

EXAMPLE = "activity crossval clips --folds 5 --compare"


@options.with_option_groups
def crossval(
    data: options.Data,
    *,
    machine: options.MachineOptions,
    clip: ClipOptions,
    network: NetworkOptions,
    training: TrainOptions,
    folds: Annotated[int, typer.Option(help="How many folds to draw.", min=2)] = 5,
    fold_column: Annotated[
        str | None, typer.Option(help="Column of the CSV that says each clip's fold.")
    ] = None,
    group_column: Annotated[
        str | None,
        typer.Option(
            help="Column whose values stay together, such as camera.",
            show_default="group, where the data has it",
        ),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Also run majority, single-frame and mean-pool heads."),
    ] = False,
    background_label: options.Background = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for metrics.json, predictions.csv and pictures.")
    ] = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure by k-fold cross-validation: every clip is scored by a model that never saw it.

    Folds are drawn by label, and by group where the data has groups, so that no person, camera
    or source is in training and held out at once.
    """
    from activity_cli.crossval import run_crossval
    from activity_cli.files import new_folder
    from activity_cli.report.console import results_console
    from activity_cli.report.figures import show_crossval
    from activity_cli.report.run_folder import crossval_metrics, write_crossval
    from activity_cli.splits import make_folds

    if output is not None:
        new_folder(output, overwrite=overwrite)
    with progress_report(quiet=quiet) as report:
        run = run_crossval(
            data,
            clip.reading(machine, report),
            deal=lambda dataset: make_folds(
                dataset,
                num_folds=folds,
                fold_column=fold_column,
                group_column=group_column,
                seed=training.seed,
            ),
            network=network.settings(),
            settings=training.settings(),
            compare=compare,
            background=background_label,
        )
    metrics = crossval_metrics(run, command=this_command())
    if output is not None:
        write_crossval(run, output, metrics)
    if json:
        typer.echo(jsonlib.dumps(metrics, indent=2))
    else:
        results_console().print(show_crossval(run, output))
