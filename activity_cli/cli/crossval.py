"""`activity crossval`: cross-validation on clips, people or places that were held out."""

import tomllib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from activity_cli.cli import describing, options
from activity_cli.cli.options import this_command
from activity_cli.cli.progress import progress_report
from activity_cli.cli.settings import (
    AugmentOptions,
    ClipOptions,
    CrossvalOptions,
    LabelOptions,
    SettingsFile,
    settings_text,
)
from activity_cli.errors import SettingsError
from activity_cli.settings import (
    AuditSettings,
    CaptionSettings,
    CnnSettings,
    NetworkSettings,
    TrainSettings,
)

if TYPE_CHECKING:
    from activity_cli.report.assembly import ReportData
    from activity_cli.training.crossval import CrossvalRun
    from activity_cli.training.head import HeadConfig

Ensemble = Annotated[
    bool,
    typer.Option(
        "--ensemble", help="Save the networks of all folds as one model, too.", hidden=True
    ),
]


def crossval(
    context: typer.Context,
    data: options.Data,
    *,
    output: options.ReportFolder = None,
    folds: CrossvalOptions,
    audit: AuditSettings,
    labels: LabelOptions,
    settings: SettingsFile = None,
    ensemble: Ensemble = False,
    clip: ClipOptions,
    captions: CaptionSettings,
    training: TrainSettings,
    network: NetworkSettings,
    augmentation: AugmentOptions,
    cnn: CnnSettings,
    machine: options.MachineOptions,
    overwrite: options.Overwrite = False,
    open_report: options.Open = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure by k-fold cross-validation, on clips held out from training.

    Folds are stratified by label. If the data has groups, such as a person, camera or source, no
    group is in training and held out at the same time.

    Example:  activity crossval clips --folds 5 --compare
    """
    del settings  # the options have its values by now
    _prepare(output, cnn, ensemble=ensemble, overwrite=overwrite)
    if captions.task == "describe":
        describing.check_captions(data, clip.videos)
        from activity_cli.training.fitting import Plan
        from activity_cli.training.head import HeadConfig

        with progress_report(quiet=quiet) as report:
            plan = Plan(
                data=data,
                data_config=clip.data_config(
                    machine, report, cnn, augmentation.chosen(), action=True
                ),
                head=HeadConfig(network=network, training=training),
                cnn=cnn,
                background=labels.background_label,
                captions=captions,
                audit=audit,
            )
            text = settings_text(context, plan.data_config.clip.streams)
            done = describing.crossval_captions(plan, folds, output, text, machine.decoders())
        options.print_result(*done, json=json)
        options.open_report(output, wanted=open_report)
        return
    dataset = options.check_data(
        data,
        background=labels.background_label,
        videos=clip.videos,
        multi_label=labels.multi_label,
    )
    folds.deal(dataset, seed=training.seed)
    clip.check_backbone(cnn)
    from activity_cli.report.assembly import crossval_report
    from activity_cli.report.html import write_report
    from activity_cli.report.run_folder import crossval_metrics, write_evaluation
    from activity_cli.report.terminal.evaluation import REPORT_FILE, show_crossval
    from activity_cli.training.crossval import run_crossval
    from activity_cli.training.head import HeadConfig

    head = HeadConfig(network=network, training=training)
    with progress_report(quiet=quiet) as report:
        run = run_crossval(
            data,
            clip.data_config(machine, report, cnn, augmentation.chosen(), action=True),
            deal=partial(folds.deal, seed=training.seed),
            head=head,
            cnn=cnn,
            compare=folds.compare,
            background=labels.background_label,
            audit=audit,
            multi_label=labels.multi_label,
        )
    text = settings_text(context, run.data.clip.streams)
    content = crossval_report(
        run, command=this_command(), settings=tomllib.loads(text), source=str(data)
    )
    metrics = crossval_metrics(run, content)
    if output is not None:
        groups = run.other.groups if run.other else None
        write_evaluation(output, content, metrics, settings=text, folds=run.folds, groups=groups)
        write_report(content, output / REPORT_FILE, decoders=machine.decoders())
        if ensemble:
            _save_ensemble(run, head, content, output)
    options.print_result(
        metrics, lambda: show_crossval(run, content, output, has_model=ensemble), json=json
    )
    options.open_report(output, wanted=open_report)


def _prepare(output: Path | None, cnn: CnnSettings, *, ensemble: bool, overwrite: bool) -> None:
    """Make the output folder; a SettingsError if no ensemble can be saved in it."""
    from activity_cli.common.files import new_folder

    if ensemble and output is None:
        raise SettingsError(
            "--ensemble needs a folder for its model.", hint="Add --output runs/NAME."
        )
    if ensemble and cnn.mode != "frozen":
        raise SettingsError(
            "--ensemble needs the same CNN in every fold, so the CNN cannot be trained.",
            hint="Use --cnn frozen, or train one model.",
        )
    if output is not None:
        new_folder(output, overwrite=overwrite)


def _save_ensemble(
    run: "CrossvalRun", head: "HeadConfig", content: "ReportData", output: Path
) -> None:
    """Save the networks of all folds as one model, with its card."""
    from activity_cli.model.folder import MODEL_SUBFOLDER
    from activity_cli.report.run_folder import write_card
    from activity_cli.training.run import save_ensemble

    name = output.resolve().name
    model = save_ensemble(run, output / MODEL_SUBFOLDER, name=name, head=head)
    write_card(model, content, model.description.metrics["measured_on"])
