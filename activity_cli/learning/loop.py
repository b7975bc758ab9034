"""The training loop: epochs over a lesson, the best weights kept. It reads top to bottom.

It does not know what it trains: a `Lesson` says which weights there are, how wrong they are about
a batch, and how they do on the clips that choose the best epoch.
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Protocol

from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from activity_cli.learning.batches import Batch, draw_epoch
from activity_cli.learning.losses import Standing
from activity_cli.learning.schedules import ParameterGroups, make_optimizer, make_schedule
from activity_cli.settings import TrainSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One pass over the training clips: a row of history.csv. Epoch 0 is before the first."""

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float

    @classmethod
    def of(cls, epoch: int, learning_rate: float, standing: Standing, started: float) -> "Epoch":
        """The row of an epoch that began at a time of `time.perf_counter`."""
        seconds = time.perf_counter() - started
        return cls(epoch=epoch, learning_rate=learning_rate, **asdict(standing), seconds=seconds)


class Lesson(Protocol):
    """What is trained, on what, and how it is judged.

    Its chance (dropout, augmentation) has to come from torch's global generator: its state is
    what a checkpoint keeps, so that a resumed training ends with the same numbers.
    """

    @property
    def module(self) -> nn.Module:
        """What holds the weights; the loop sets its mode and leaves the best weights in it."""

    @property
    def labels(self) -> Tensor:
        """(N,) label of each training clip."""

    @property
    def clip_weights(self) -> Tensor:
        """(N,) how much each training clip counts in the loss, see `ClipLoss.clip_weights`."""

    def parameter_groups(self) -> ParameterGroups:
        """What to train, as torch's optimizers take it: `params`, and `lr` if wanted."""

    def batch_loss(self, batch: Batch) -> Tensor:
        """The mean loss of some training clips, weighted by `clip_weights`: what is descended."""

    def evaluate(self) -> Standing:
        """How the weights do on both parts. The module is in eval mode, gradients are on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What is around a training: who hears of it."""

    on_epoch: Callable[[Epoch], None] = lambda _: None


ALONE = Session()
"""A training that nobody watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a training went. The module holds the weights of the best epoch."""

    history: tuple[Epoch, ...]
    best_epoch: int
    """Of the lowest validation loss; 0 where no epoch is better than the beginning."""

    @classmethod
    def without_training(cls, standing: Standing) -> "Course":
        """Where there is nothing to train by epochs."""
        return cls(history=(Epoch.of(0, 0.0, standing, time.perf_counter()),), best_epoch=0)


def train(lesson: Lesson, settings: TrainSettings, session: Session = ALONE) -> Course:
    """Train until the epochs are over or nothing has become better for `patience` epochs."""
    module = lesson.module
    optimizer = make_optimizer(lesson.parameter_groups(), settings)
    steps_per_epoch = math.ceil(len(lesson.labels) / settings.batch_size)
    schedule = make_schedule(optimizer, settings, steps_per_epoch)
    history = [_judge(lesson, 0, 0.0, time.perf_counter())]
    session.on_epoch(history[0])
    best, best_weights = history[0], copy.deepcopy(module.state_dict())
    for epoch in range(1, settings.epochs + 1):
        started = time.perf_counter()
        module.train()
        for batch in draw_epoch(lesson.labels, settings).split(settings.batch_size):
            optimizer.zero_grad(set_to_none=True)
            lesson.batch_loss(batch).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(module.parameters(), settings.gradient_clip)
            optimizer.step()
            if isinstance(schedule, LambdaLR):
                schedule.step()
        record = _judge(lesson, epoch, optimizer.param_groups[0]["lr"], started)
        if isinstance(schedule, ReduceLROnPlateau):
            schedule.step(record.val_loss)
        history.append(record)
        session.on_epoch(record)
        if record.val_loss < best.val_loss:
            best, best_weights = record, copy.deepcopy(module.state_dict())
        elif epoch - best.epoch >= settings.patience:
            break
    module.load_state_dict(best_weights)
    return Course(history=tuple(history), best_epoch=best.epoch)


def _judge(lesson: Lesson, epoch: int, learning_rate: float, started: float) -> Epoch:
    """An epoch's row of the history."""
    lesson.module.eval()
    return Epoch.of(epoch, learning_rate, lesson.evaluate(), started)
