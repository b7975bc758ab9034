"""The training loop: epochs over tasks, early stopping, the best weights kept.

Several tasks are independent fits that share the choice of the epoch (inner folds).
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from activity_cli.settings import TrainSettings
from activity_cli.training.loop.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from activity_cli.training.loop.distributed import SINGLE_PROCESS, DistributedContext
from activity_cli.training.loop.trainer import (
    EpochMetrics,
    Trainer,
    TrainingTask,
    is_out_of_memory,
    out_of_memory_error,
)
from activity_cli.types import OnProgress

Ending = Literal["epochs", "patience", "time limit", "stopped", "nothing to train"]
"""Why a training ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The surroundings of a training: callbacks, checkpoint folder, time limit, processes."""

    on_epoch: Callable[[EpochMetrics], None] = lambda _: None
    """Called after each epoch; a resumed training repeats the earlier ones."""
    on_note: Callable[[str], None] = lambda _: None
    """Called with messages for the user, in one line each."""
    folder: Path | None = None
    """Where a checkpoint is written, once a second at most. A checkpoint in it is resumed."""
    deadline: float = math.inf  # time of `time.monotonic` after which no further epoch begins
    stop: threading.Event = field(default_factory=threading.Event)
    """Once it is set, no further epoch begins."""
    context: DistributedContext = SINGLE_PROCESS

    def reporting(self, on_progress: OnProgress, num_epochs: int) -> "Session":
        """Return a copy that reports the progress of its epochs too."""

        def on_epoch(epoch: EpochMetrics) -> None:
            self.on_epoch(epoch)
            on_progress("epochs", epoch.epoch, num_epochs)

        return replace(self, on_epoch=on_epoch)


NO_SESSION = Session()  # no callbacks, no checkpoint, no limit
SECONDS_PER_CHECKPOINT = 1.0  # epochs since the last one are computed again, to the same result


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """The epochs of a training. The module holds the weights of the best epoch."""

    history: tuple[EpochMetrics, ...]
    best_epoch: int  # epoch of the lowest validation loss; 0 where no epoch improved on the start
    ending: Ending
    notes: tuple[str, ...] = ()  # messages that belong in the report


def train(
    tasks: Sequence[TrainingTask],
    evaluate: Callable[[], EpochMetrics],
    settings: TrainSettings,
    session: Session = NO_SESSION,
    *,
    name: str = "training",
    num_clips: int | None = None,
    num_epochs: int | None = None,
) -> TrainResult:
    """Train until the epochs or the time are over, or the validation loss stops improving.

    An epoch trains each task in turn. `evaluate` computes the metrics that choose the best epoch,
    while all modules are in eval mode. `name` is that of the checkpoint file. `num_clips` sets the
    schedule, by default the clips of the largest task. With `num_epochs`, training ends after that
    part of the schedule, and the last epoch is kept.

    Raises:
        TrainingError: the loss became NaN, or memory ran out twice.
        CheckpointError: the checkpoint is damaged, or of another network.
        OutputError: the checkpoint cannot be written.
    """
    num_clips = num_clips or max(len(task.labels) for task in tasks)
    settings = settings.for_clips(num_clips)
    num_steps = math.ceil(num_clips / (settings.batch_size * settings.accumulate))
    trainers = [
        Trainer(task, settings, session.context, num_steps=num_steps, on_note=session.on_note)
        for task in tasks
    ]
    file = session.folder / f"{name}.safetensors" if session.folder else None
    checkpoint = load_checkpoint(file, trainers, session.context) if file else None
    if checkpoint is None:
        if not session.context.is_main:  # each process drops out other units
            torch.manual_seed(settings.seed + session.context.rank)
        started = time.perf_counter()
        first = _evaluate(trainers, evaluate, started)
        checkpoint = Checkpoint(history=[first], best=first, best_weights=_weights_of(trainers))
        if file:
            save_checkpoint(file, trainers, checkpoint, session.context)
    saved = time.monotonic()
    for epoch in checkpoint.history:
        session.on_epoch(epoch)
    num_done = len(checkpoint.history)
    last = num_epochs or settings.most_epochs
    while (ending := _ending(checkpoint, settings, session, num_done, last)) is None:
        started = time.perf_counter()
        for trainer in trainers:
            trainer.run_epoch()
        epoch = _evaluate(trainers, evaluate, started)
        checkpoint.history.append(epoch)
        if num_epochs or epoch.val_loss < checkpoint.best.val_loss:
            checkpoint.best, checkpoint.best_weights = epoch, _weights_of(trainers)
        is_due = time.monotonic() - saved >= SECONDS_PER_CHECKPOINT
        if file and session.context.broadcast(is_due):
            save_checkpoint(file, trainers, checkpoint, session.context)
            saved = time.monotonic()
        session.on_epoch(epoch)
    if file and len(checkpoint.history) > num_done:
        save_checkpoint(file, trainers, checkpoint, session.context)
    for trainer, weights in zip(trainers, checkpoint.best_weights, strict=True):
        trainer.task.module.load_state_dict(weights)
    return TrainResult(
        history=tuple(checkpoint.history),
        best_epoch=checkpoint.best.epoch,
        ending=ending,
        notes=tuple(note for trainer in trainers for note in trainer.notes),
    )


def _evaluate(
    trainers: Sequence[Trainer], evaluate: Callable[[], EpochMetrics], started: float
) -> EpochMetrics:
    """Return the metrics of the epoch that ended, as the main process computed them."""
    first = trainers[0]
    for trainer in trainers:
        trainer.task.module.eval()
    try:
        metrics = evaluate()
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise out_of_memory_error(first.epoch) from error
        raise
    seconds = time.perf_counter() - started
    rate = first.optimizer.param_groups[0]["lr"] if first.epoch else 0.0
    epoch = replace(metrics, epoch=first.epoch, learning_rate=rate, seconds=seconds)
    epoch = first.context.broadcast(epoch)
    first.check_finite(epoch.train_loss + epoch.val_loss, "loss")
    return epoch


def _ending(
    checkpoint: Checkpoint, settings: TrainSettings, session: Session, num_done: int, last: int
) -> Ending | None:
    """Return why the training ends here, or None; the same in every process.

    At least one epoch is trained, so that a training that is resumed again and again ends.
    """
    done = checkpoint.history[-1].epoch
    if done >= last:
        return "epochs"
    if done - checkpoint.best.epoch >= settings.most_patience:
        return "patience"
    ending: Ending | None = "time limit" if time.monotonic() >= session.deadline else None
    if session.stop.is_set():
        ending = "stopped"
    return session.context.broadcast(ending if len(checkpoint.history) > num_done else None)


def _weights_of(trainers: Sequence[Trainer]) -> list[dict[str, Tensor]]:
    return [
        {name: tensor.detach().clone() for name, tensor in t.task.module.state_dict().items()}
        for t in trainers
    ]
