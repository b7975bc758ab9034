"""The training loop: epochs over a task, the best weights kept. It reads top to bottom.

A `TrainingTask` gives the weights, the loss of a batch and the metrics on the clips that choose the
best epoch.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from activity_cli.settings import TrainSettings
from activity_cli.training.loop.checkpoint import load_checkpoint, save_checkpoint
from activity_cli.training.loop.distributed import SINGLE_PROCESS, DistributedContext
from activity_cli.training.loop.losses import EpochMetrics
from activity_cli.training.loop.memory import is_out_of_memory, no_memory_left
from activity_cli.training.loop.progress import Ending, Progress
from activity_cli.training.loop.task import Epoch, TrainingTask
from activity_cli.training.loop.trainer import Trainer, runaway

__all__ = ["ALONE", "Epoch", "Session", "TrainResult", "TrainingTask", "train"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What is around a training: who hears of it, where its state is kept, who shares the work."""

    on_epoch: Callable[[Epoch], None] = lambda _: None
    """Called after each epoch, the ones before the beginning of a resumed training included."""
    on_note: Callable[[str], None] = lambda _: None
    """Called with what the user should know, in a line."""
    folder: Path | None = None
    """Where the state is kept after each epoch; if there is one, the training goes on from it."""
    deadline: float = math.inf
    """Time of `time.monotonic` after which no other epoch begins."""
    team: DistributedContext = SINGLE_PROCESS


ALONE = Session()
"""A training that nobody watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """How a training went. The module holds the weights of the best epoch."""

    history: tuple[Epoch, ...]
    best_epoch: int
    """Of the lowest validation loss; 0 where no epoch is better than the beginning."""
    ending: Ending
    notes: tuple[str, ...] = ()
    """What happened that whoever reads the figures should know."""

    @classmethod
    def without_training(cls, standing: EpochMetrics) -> "TrainResult":
        """Where there is nothing to train by epochs."""
        epoch = Epoch.of(0, 0.0, standing, time.perf_counter())
        return cls(history=(epoch,), best_epoch=0, ending="nothing to train")


def train(
    lesson: TrainingTask,
    settings: TrainSettings,
    session: Session = ALONE,
    *,
    name: str = "training",
) -> TrainResult:
    """Train until the epochs or the time are over, or nothing gets better for `patience` epochs.

    Args:
        lesson: what is trained.
        settings: how.
        session: what is around it.
        name: of the training's state in the session's folder, if it has several trainings.

    Raises:
        TrainingError: the loss is no number any more, or memory runs out twice.
        CheckpointError: the state that the folder holds is damaged, or of another network.
        OutputError: the state cannot be written.
    """
    team, module = session.team, lesson.module
    settings = settings.for_clips(len(lesson.labels))
    learner = Trainer(lesson, settings, team, session.on_note)
    file = session.folder / f"{name}.safetensors" if session.folder else None
    progress = load_checkpoint(file, learner) if file else None
    if progress is None:
        team.part_ways(settings.seed)
        progress = Progress.begin(_judge(learner, time.perf_counter()), module)
        if file:
            save_checkpoint(file, learner, progress)
    for epoch in progress.history:
        session.on_epoch(epoch)
    begun_at = learner.epoch
    while (ending := _ending(learner, progress, session, begun_at)) is None:
        started = time.perf_counter()
        learner.epoch += 1
        module.train()
        rows = team.agree(torch.randperm(len(lesson.labels)))
        for batch in torch.split(rows, learner.clips_per_step):
            learner.step(batch)
        epoch = _judge(learner, started)
        progress.add(epoch, module)
        if file:
            save_checkpoint(file, learner, progress)
        session.on_epoch(epoch)
    module.load_state_dict(progress.best_weights)
    return TrainResult(
        history=tuple(progress.history),
        best_epoch=progress.best.epoch,
        ending=ending,
        notes=tuple(learner.notes),
    )


def _judge(learner: Trainer, started: float) -> Epoch:
    """The row of the epoch that is over, as the main process sees it.

    Raises:
        TrainingError: the losses are no numbers, or memory runs out.
    """
    learner.lesson.module.eval()
    rate = learner.learning_rate if learner.epoch else 0.0
    try:
        epoch = Epoch.of(learner.epoch, rate, learner.lesson.evaluate(), started)
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise no_memory_left(learner.epoch) from error
        raise
    epoch = Epoch.from_figures(epoch.epoch, learner.team.agree(epoch.figures()))
    if not math.isfinite(epoch.train_loss + epoch.val_loss):
        raise runaway("loss", learner.epoch, epoch.train_loss + epoch.val_loss, learner.settings)
    return epoch


def _ending(learner: Trainer, progress: Progress, session: Session, begun_at: int) -> Ending | None:
    """Why no other epoch is to follow, or None; every process comes to the same end.

    However short the time, an epoch is trained each time: so a training that is resumed again and
    again gets done.
    """
    ending = progress.ending(learner.settings)
    overdue = learner.epoch > begun_at and time.monotonic() >= session.deadline
    if ending is None and bool(session.team.agree(torch.tensor(overdue))):
        return "time limit"
    return ending
