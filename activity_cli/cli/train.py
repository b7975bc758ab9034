"""`activity train`: train a model on a folder of labelled clips."""

import math
import shlex
import signal
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from activity_cli.cli import StoppedError, describing, options
from activity_cli.cli.options import this_command
from activity_cli.cli.progress import ProgressReport, progress_report, stop_on_signals
from activity_cli.cli.settings import (
    AugmentOptions,
    ClipOptions,
    LabelOptions,
    SettingsFile,
    SplitOptions,
    read_below,
    settings_text,
)
from activity_cli.errors import SettingsError
from activity_cli.setting_fields import setting
from activity_cli.settings import (
    AuditSettings,
    CaptionSettings,
    CnnSettings,
    NetworkSettings,
    TrainSettings,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from activity_cli.training.fitting import Plan
    from activity_cli.training.loop.checkpoint import TrainingLog
    from activity_cli.training.loop.distributed import DistributedContext
    from activity_cli.training.loop.trainer import EpochMetrics


def _read_run(context: typer.Context, folder: Path | None) -> Path | None:
    """Take the options that are not given from the run that is resumed."""
    if folder is not None:
        from activity_cli.training.resuming import require_checkpoint

        require_checkpoint(folder)
        read_below(context, folder)
    return folder


Resume = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel="Run",
        help="Resume this run with its options, or more --epochs, --patience, --time-limit.",
        callback=_read_run,
        is_eager=True,
        metavar="RUN",
    ),
]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where one training run is kept, and how far it goes."""

    name: str | None = setting(None, derived="the data's name")
    """Name of the run."""
    output: Path = setting(Path("runs"), metavar="FOLDER")
    """Folder that holds the runs."""
    time_limit: float | None = setting(None, at_least=0, metavar="MINUTES")
    """Minutes after which no further epoch starts; --resume continues."""
    preview: Path | None = setting(None, metavar="FILE", rare=True)
    """Write a picture, .png, of what the network would see, and stop."""
    dry_run: bool = setting(False)
    """Try all steps on one batch, estimate the time, and stop."""
    tensorboard: bool = setting(True, rare=True)
    """Write TensorBoard files into the run folder, if it is installed."""

    def check_describes(self) -> None:
        """Raise a SettingsError for what only a classifier does."""
        if self.preview or self.dry_run:
            raise SettingsError(
                "--preview and --dry-run are not for --task describe.",
                hint="Leave them out; --epochs 1 is a quick trial.",
            )


def train(
    context: typer.Context,
    data: options.Data,
    *,
    run: RunOptions,
    resume: Resume = None,
    settings: SettingsFile = None,
    audit: AuditSettings,
    split: SplitOptions,
    labels: LabelOptions,
    clip: ClipOptions,
    captions: CaptionSettings,
    training: TrainSettings,
    network: NetworkSettings,
    augmentation: AugmentOptions,
    cnn: CnnSettings,
    machine: options.MachineOptions,
    open_report: options.Open = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a model on your own labelled clips.

    DATA is a folder such as clips/wave/1.mp4, clips/run/2.mp4, or a CSV with the columns
    path,label and optionally group (person, camera: never split), split (train, val, test), start,
    end (seconds); path,caption for sentences.

    Example:  activity train clips --name gym
    """
    del settings  # the options have its values by now
    if captions.task == "describe":
        describing.check_captions(data, clip.videos)
        run.check_describes()
    else:
        options.check_data(
            data,
            background=labels.background_label,
            videos=clip.videos,
            multi_label=labels.multi_label,
        )
    clip.check_backbone(cnn)
    from activity_cli.training.fitting import Plan
    from activity_cli.training.head import HeadConfig
    from activity_cli.training.loop.distributed import init_distributed

    deadline = math.inf if run.time_limit is None else time.monotonic() + 60 * run.time_limit
    with (
        init_distributed() as processes,
        progress_report(quiet=quiet or not processes.is_main) as report,
    ):
        plan = Plan(
            data=data,
            data_config=clip.data_config(machine, report, cnn, augmentation.chosen(), action=True),
            head=HeadConfig(network=network, training=training),
            cnn=cnn,
            val_fraction=split.val_fraction,
            test_fraction=split.test_fraction,
            background=labels.background_label,
            captions=captions,
            audit=audit,
            multi_label=labels.multi_label,
        )
        if run.preview or run.dry_run:
            done = _try_out(plan, run) if processes.is_main else None
        else:
            done = _train(plan, run, context, processes, report, resume=resume, deadline=deadline)
    if done is not None:
        options.print_result(*done, json=json)
        folder = done[0].get("run")
        options.open_report(folder and Path(folder), wanted=open_report)


_STOPPING = "Stopping after this epoch: the best model so far is kept."
_Result = tuple[dict[str, Any], Callable[[], "RenderableType"]]
"""Values for `--json`, and what shows them to people."""


def _try_out(plan: "Plan", run: RunOptions) -> _Result:
    """Draw what the network would see, or run one batch through all steps."""
    from activity_cli.report.figures.contact_sheet import save_preview
    from activity_cli.report.terminal.evaluation import show_dry_run
    from activity_cli.training.dry_run import run_dry

    if preview := run.preview:
        num_clips = save_preview(plan.data, plan.data_config, preview)
        return {"preview": str(preview), "clips": num_clips}, lambda: str(preview)
    trial = run_dry(plan)
    return trial.to_json(), lambda: show_dry_run(trial)


def _train(
    plan: "Plan",
    run: RunOptions,
    context: typer.Context,
    processes: "DistributedContext",
    report: ProgressReport,
    *,
    resume: Path | None,
    deadline: float,
) -> _Result | None:
    """Train, and write the run folder; None in all processes but the main one."""
    from activity_cli.common.files import write_text_atomically
    from activity_cli.common.settings_file import SETTINGS_FILE
    from activity_cli.report.assembly import training_report
    from activity_cli.report.figures import DrawingProcess, import_matplotlib
    from activity_cli.report.html import write_report
    from activity_cli.report.run_folder import training_metrics, write_training_run
    from activity_cli.report.terminal.evaluation import REPORT_FILE, show_training
    from activity_cli.training.fitting import fit_plan
    from activity_cli.training.loop.checkpoint import TrainingLog
    from activity_cli.training.loop.loop import Session
    from activity_cli.training.resuming import CHECKPOINT_FOLDER
    from activity_cli.training.run import run_folder, save_run

    name, config = run.name or plan.data.resolve().stem, plan.data_config
    with (
        run_folder(
            run.output, name, old=resume, context=processes, on_note=config.on_warning
        ) as folder,
        TrainingLog(folder, tensorboard=run.tensorboard, quiet=not processes.is_main) as log,
        _explain_how_to_resume(plan.data, folder, log),
        stop_on_signals(signal.SIGTERM, note=report.note, text=_STOPPING) as stop,
        DrawingProcess() as drawing,
    ):

        def on_epoch(epoch: "EpochMetrics") -> None:
            log(epoch)
            report.detail(f"loss {epoch.val_loss:.2f}, accuracy {epoch.val_accuracy:.1%}")

        session = Session(
            on_epoch=on_epoch,
            on_note=config.on_prepare,
            folder=folder / CHECKPOINT_FOLDER,
            deadline=deadline,
            stop=stop,
            context=processes,
        )
        text = settings_text(context, config.clip.streams)
        # They are written as training begins, so that it can be resumed.
        begin = partial(write_text_atomically, folder / SETTINGS_FILE, text)
        if plan.captions.task == "describe":
            return describing.train_captions(plan, session, folder, text, begin)

        def begin_fit() -> None:
            begin()
            drawing.draw(import_matplotlib)

        fit = fit_plan(plan, session, on_begin=begin_fit)
        report.detail("")
        if not processes.is_main:
            return None
        trained = save_run(fit, folder)
        content = training_report(
            trained,
            command=this_command(),
            settings=tomllib.loads(text),
            source=str(plan.data),
        )
        metrics = training_metrics(trained, content)
        write_training_run(trained, content, metrics, text, drawing.draw)
        write_report(content, folder / REPORT_FILE, decoders=config.decoders, draw=drawing.draw)
    return metrics, lambda: show_training(trained, content)


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
