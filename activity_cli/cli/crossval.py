"""`activity crossval`: how well would a model do on clips, people or places it has not seen?"""

import json as jsonlib
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from activity_cli.cli import options
from activity_cli.cli.augment_options import AugmentOptions
from activity_cli.cli.cnn_options import CnnOptions
from activity_cli.cli.command_line import this_command
from activity_cli.cli.progress import progress_report
from activity_cli.cli.settings_option import SettingsFile, settings_text
from activity_cli.cli.train_options import (
    AuditOptions,
    ClipOptions,
    FoldOptions,
    LabelOptions,
    NetworkOptions,
    TrainOptions,
)
from activity_cli.errors import SettingsError

EXAMPLE = "activity crossval clips --folds 5 --compare"


@options.with_option_groups
def crossval(
    context: typer.Context,
    data: options.Data,
    *,
    machine: options.MachineOptions,
    clip: ClipOptions,
    augmentation: AugmentOptions,
    network: NetworkOptions,
    training: TrainOptions,
    cnn: CnnOptions,
    labels: LabelOptions,
    audit: AuditOptions,
    folds: FoldOptions,
    settings: SettingsFile = None,
    ensemble: Annotated[
        bool,
        typer.Option(
            "--ensemble", help="Keep the networks of all folds as one model, in the output folder."
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder for report.html, metrics.json, predictions.csv and pictures."),
    ] = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure by k-fold cross-validation: every clip is scored by a model that never saw it.

    Folds are drawn by label, and by group where the data has groups, so that no person, camera
    or source is in training and held out at once.
    """
    del settings  # its values are in the options by now
    from activity_cli.common.files import new_folder
    from activity_cli.data.splits import make_folds
    from activity_cli.model.folder import MODEL_SUBFOLDER
    from activity_cli.report.assembly import crossval_evidence
    from activity_cli.report.html.page import write_report
    from activity_cli.report.run_folder import crossval_metrics, write_crossval, write_ensemble_card
    from activity_cli.report.terminal.console import results_console
    from activity_cli.report.terminal.evaluation import REPORT_FILE, show_crossval
    from activity_cli.training.crossval import run_crossval
    from activity_cli.training.ensembles import save_ensemble

    if ensemble and output is None:
        raise SettingsError(
            "--ensemble makes a model, which needs a place.", hint="Add --output runs/NAME."
        )
    if ensemble and cnn.settings().mode != "frozen":
        raise SettingsError(
            "--ensemble takes networks on one CNN, so it must not be changed.",
            hint="Use --cnn frozen, or train one model.",
        )
    if output is not None:
        new_folder(output, overwrite=overwrite)
    with progress_report(quiet=quiet) as report:
        run = run_crossval(
            data,
            clip.data_config(machine, report, cnn.settings(), augmentation.settings()),
            deal=lambda dataset: make_folds(
                dataset,
                num_folds=folds.folds,
                fold_column=folds.fold_column,
                group_column=folds.group_column,
                seed=training.seed,
            ),
            network=network.settings(),
            settings=training.settings(),
            cnn=cnn.settings(),
            compare=folds.compare,
            background=labels.background_label,
            audit=audit.settings(),
        )
    text = settings_text(context)
    evidence = crossval_evidence(run, command=this_command(), settings=tomllib.loads(text))
    metrics = {**crossval_metrics(run, command=this_command()), **evidence.findings.to_json()}
    if output is not None:
        write_crossval(run, output, metrics, settings=text)
        write_report(evidence, output / REPORT_FILE, decoders=machine.decoders())
        if ensemble:
            model = save_ensemble(
                run,
                output / MODEL_SUBFOLDER,
                name=output.resolve().name,
                network=network.settings(),
                settings=training.settings(),
            )
            write_ensemble_card(model, run, command=metrics["command"])
    if json:
        typer.echo(jsonlib.dumps(metrics, indent=2))
    else:
        results_console().print(show_crossval(run, evidence.findings, output, has_model=ensemble))
