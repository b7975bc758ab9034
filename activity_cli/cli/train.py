"""`activity train`: learn the actions in a folder of labelled clips."""

import json as jsonlib
import math
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from activity_cli.cli import options, run_options
from activity_cli.cli.augment_options import AugmentOptions
from activity_cli.cli.cnn_options import CnnOptions
from activity_cli.cli.command_line import go_on_command, this_command
from activity_cli.cli.interrupts import StoppedError
from activity_cli.cli.progress import progress_report
from activity_cli.cli.settings_option import SettingsFile, settings_text
from activity_cli.cli.train_options import (
    AuditOptions,
    ClipOptions,
    LabelOptions,
    NetworkOptions,
    SplitOptions,
    TrainOptions,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from activity_cli.training.loop.log import TrainingLog

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
    cnn: CnnOptions,
    labels: LabelOptions,
    audit: AuditOptions,
    split: SplitOptions,
    settings: SettingsFile = None,
    name: run_options.Name = None,
    output: run_options.Output = Path("runs"),
    resume: run_options.Resume = None,
    time_limit: run_options.TimeLimit = None,
    preview: run_options.Preview = None,
    dry_run: run_options.DryRun = False,
    tensorboard: run_options.TensorBoard = True,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Learn actions from your own labelled clips.

    DATA is a folder such as clips/wave/1.mp4, clips/run/2.mp4, or a CSV with the columns
    path,label and, if you like, group (person, camera: never split apart), split (train, val,
    test), start and end (seconds).
    """
    del settings  # its values are in the options by now
    from activity_cli.report.assembly import training_evidence
    from activity_cli.report.figures.contact_sheet import save_preview
    from activity_cli.report.html.page import write_report
    from activity_cli.report.run_folder import begin_run, training_metrics, write_training_run
    from activity_cli.report.terminal.dry_run import show_rehearsal
    from activity_cli.report.terminal.evaluation import REPORT_FILE, show_training
    from activity_cli.training.dry_run import run_dry
    from activity_cli.training.fitting import Plan, learn
    from activity_cli.training.loop.distributed import init_distributed
    from activity_cli.training.loop.log import TrainingLog
    from activity_cli.training.loop.loop import Session
    from activity_cli.training.resuming import CHECKPOINT_FOLDER
    from activity_cli.training.run import keep, run_folder

    deadline = math.inf if time_limit is None else time.monotonic() + 60 * time_limit
    with init_distributed() as team, progress_report(quiet=quiet or not team.is_main) as report:
        plan = Plan(
            data=data,
            data_config=clip.data_config(machine, report, cnn.settings(), augmentation.settings()),
            network=network.settings(),
            settings=training.settings(),
            cnn=cnn.settings(),
            val_fraction=split.val_fraction,
            test_fraction=split.test_fraction,
            background=labels.background_label,
            audit=audit.settings(),
        )
        if preview is not None:
            if team.is_main:
                num_clips = save_preview(data, plan.data_config, preview)
                _print({"preview": str(preview), "clips": num_clips} if json else str(preview))
            return
        if dry_run:
            if team.is_main:
                rehearsal = run_dry(plan)
                _print(rehearsal.to_json() if json else show_rehearsal(rehearsal))
            return
        with (
            run_folder(output, name or data.resolve().stem, old=resume, team=team) as folder,
            TrainingLog(folder, tensorboard=tensorboard, quiet=not team.is_main) as log,
            _saying_how_to_go_on(data, folder, log),
        ):
            session = Session(
                on_epoch=log,
                on_note=report.note,
                folder=folder / CHECKPOINT_FOLDER,
                deadline=deadline,
                team=team,
            )
            learned = learn(
                plan, session, on_begin=lambda: begin_run(folder, settings_text(context))
            )
            if not team.is_main:
                return
            run = keep(learned, folder)
            command = this_command()
            text = settings_text(context)
            evidence = training_evidence(run, command=command, settings=tomllib.loads(text))
            metrics = {
                **training_metrics(run, command=command),
                **evidence.findings.to_json(),
            }
            write_training_run(run, metrics, command=command, settings=text)
            write_report(evidence, folder / REPORT_FILE, decoders=machine.decoders())
    _print(metrics if json else show_training(run))


@contextmanager
def _saying_how_to_go_on(data: Path, folder: Path, log: "TrainingLog") -> Iterator[None]:
    """After Ctrl-C, once there is something to go on with."""
    try:
        yield
    except KeyboardInterrupt:
        if log.last is None:
            raise
        raise StoppedError(
            f"Interrupted after epoch {log.last.epoch}. Go on with:  {go_on_command(data, folder)}"
        ) from None


def _print(result: "dict[str, Any] | RenderableType") -> None:
    """As JSON, or for people; a path stays in one line."""
    from activity_cli.report.terminal.console import results_console

    if isinstance(result, str):
        typer.echo(result)
    elif isinstance(result, dict):
        typer.echo(jsonlib.dumps(result, indent=2))
    else:
        results_console().print(result)
