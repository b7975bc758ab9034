"""`activity train`: train a model on a folder of labelled clips."""

import json as jsonlib
import math
import shlex
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from activity_cli.cli import StoppedError, options
from activity_cli.cli.options import this_command
from activity_cli.cli.progress import progress_report
from activity_cli.cli.settings import SettingsFile, read_below, settings_text
from activity_cli.cli.train_options import AugmentOptions, ClipOptions, LabelOptions, SplitOptions
from activity_cli.settings import AuditSettings, CnnSettings, NetworkSettings, TrainSettings

if TYPE_CHECKING:
    from rich.console import RenderableType

    from activity_cli.training.loop.log import TrainingLog

EXAMPLE = "activity train clips --name gym"

_RUN = "Run"


def _read_run(context: typer.Context, folder: Path | None) -> Path | None:
    """Take the options that are not given from the run that is resumed."""
    if folder is not None:
        from activity_cli.training.resuming import require_checkpoint

        require_checkpoint(folder)
        read_below(context, folder)
    return folder


@options.with_option_groups
def train(
    context: typer.Context,
    data: options.Data,
    *,
    machine: options.MachineOptions,
    clip: ClipOptions,
    augmentation: AugmentOptions,
    network: NetworkSettings,
    training: TrainSettings,
    cnn: CnnSettings,
    labels: LabelOptions,
    audit: AuditSettings,
    split: SplitOptions,
    settings: SettingsFile = None,
    name: Annotated[
        str | None,
        typer.Option(rich_help_panel=_RUN, help="Name of the run.", show_default="the data's name"),
    ] = None,
    output: Annotated[
        Path, typer.Option(rich_help_panel=_RUN, help="Folder that holds the runs.")
    ] = Path("runs"),
    resume: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_RUN,
            help="Resume this run with its options. --epochs, --patience and --time-limit may be"
            " higher than before.",
            callback=_read_run,
            is_eager=True,
            metavar="RUN",
        ),
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=_RUN,
            help="Minutes after which no further epoch starts; --resume continues.",
            min=0,
        ),
    ] = None,
    preview: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_RUN,
            help="Write a picture, .png, of what the network would see, and stop.",
            metavar="FILE",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            rich_help_panel=_RUN,
            help="Run one batch through all steps, estimate the time, and stop.",
        ),
    ] = False,
    tensorboard: Annotated[
        bool,
        typer.Option(
            rich_help_panel=_RUN,
            help="Write TensorBoard files into the run folder, if it is installed.",
        ),
    ] = True,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a model on your own labelled clips.

    DATA is a folder such as clips/wave/1.mp4, clips/run/2.mp4, or a CSV with the columns
    path,label and optionally group (person, camera: never split), split (train, val, test), start
    and end (seconds).
    """
    del settings  # the options have its values by now
    from activity_cli.report.assembly import training_report
    from activity_cli.report.figures.contact_sheet import save_preview
    from activity_cli.report.html.page import write_report
    from activity_cli.report.run_folder import begin_run, training_metrics, write_training_run
    from activity_cli.report.terminal.evaluation import REPORT_FILE, show_dry_run, show_training
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
            data_config=clip.data_config(machine, report, cnn, augmentation.chosen()),
            network=network,
            settings=training,
            cnn=cnn,
            val_fraction=split.val_fraction,
            test_fraction=split.test_fraction,
            background=labels.background_label,
            audit=audit,
        )
        if preview is not None:
            if team.is_main:
                num_clips = save_preview(data, plan.data_config, preview)
                _print({"preview": str(preview), "clips": num_clips} if json else str(preview))
            return
        if dry_run:
            if team.is_main:
                trial = run_dry(plan)
                _print(trial.to_json() if json else show_dry_run(trial))
            return
        with (
            run_folder(output, name or data.resolve().stem, old=resume, team=team) as folder,
            TrainingLog(folder, tensorboard=tensorboard, quiet=not team.is_main) as log,
            _explain_how_to_resume(data, folder, log),
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
            text = settings_text(context)
            content = training_report(run, command=this_command(), settings=tomllib.loads(text))
            metrics = training_metrics(run, content)
            write_training_run(run, content, metrics, text)
            write_report(content, folder / REPORT_FILE, decoders=machine.decoders())
    _print(metrics if json else show_training(run, content))


@contextmanager
def _explain_how_to_resume(data: Path, folder: Path, log: "TrainingLog") -> Iterator[None]:
    """End Ctrl-C with the command that resumes the run, once there is an epoch to resume from."""
    try:
        yield
    except KeyboardInterrupt:
        if log.last is None:
            raise
        command = shlex.join(["activity", "train", str(data), "--resume", str(folder)])
        raise StoppedError(
            f"Interrupted after epoch {log.last.epoch}. Resume with:  {command}"
        ) from None


def _print(result: "dict[str, Any] | RenderableType") -> None:
    """Print JSON or a Rich renderable; a path stays on one line."""
    from activity_cli.report.terminal.console import results_console

    if isinstance(result, str):
        typer.echo(result)
    elif isinstance(result, dict):
        typer.echo(jsonlib.dumps(result, indent=2))
    else:
        results_console().print(result)
