"""What a training needs to know of what it trains, and what it says of every epoch."""

import time
from dataclasses import asdict, astuple, dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from activity_cli.training.loop.losses import EpochMetrics
from activity_cli.training.loop.schedules import ParameterGroups


class TrainingTask(Protocol):
    """What is trained, on what, and how it is judged.

    Its chance (dropout, augmentation) has to come from torch's global generator: its state is
    what a checkpoint keeps, so that a resumed training ends with the same numbers.
    """

    @property
    def module(self) -> nn.Module:
        """What holds the weights; the loop sets its mode and leaves the best weights in it."""

    @property
    def labels(self) -> Tensor:
        """(N,) label of each training clip, on the CPU."""

    @property
    def clip_weights(self) -> Tensor:
        """(N,) how much each training clip counts in the loss, see `ClipLoss.clip_weights`."""

    def parameter_groups(self) -> ParameterGroups:
        """What to train, as torch's optimizers take it: `params`, and `lr` if wanted."""

    def batch_loss(self, rows: Tensor) -> Tensor:
        """The mean loss of some training clips, weighted by `clip_weights`: what is descended.

        It is called with parts of a batch where that is larger than memory, and in each of
        several processes with another part.
        """

    def evaluate(self) -> EpochMetrics:
        """How the weights do on both parts. The module is in eval mode, gradients are on."""


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
    def of(
        cls, epoch: int, learning_rate: float, standing: EpochMetrics, started: float
    ) -> "Epoch":
        """The row of an epoch that began at a time of `time.perf_counter`."""
        seconds = time.perf_counter() - started
        return cls(epoch=epoch, learning_rate=learning_rate, **asdict(standing), seconds=seconds)

    def figures(self) -> Tensor:
        """(6,) all but its number, exact, as processes tell each other; `from_figures` reads it."""
        return torch.tensor(astuple(self)[1:], dtype=torch.float64)

    @classmethod
    def from_figures(cls, epoch: int, figures: Tensor) -> "Epoch":
        """The row of an epoch whose figures these are."""
        rate, train_loss, train_accuracy, val_loss, val_accuracy, seconds = figures.tolist()
        return cls(
            epoch=epoch,
            learning_rate=rate,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            seconds=seconds,
        )
