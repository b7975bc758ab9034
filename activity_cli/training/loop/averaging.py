"""Averages of the weights along a training: often better on new clips than any one of them.

EMA: an exponential moving average over steps (Polyak & Juditsky, 1992), whose decay begins low so
that the first weights, which know nothing, are forgotten. SWA: the plain mean over the last
epochs (Izmailov et al., "Averaging Weights Leads to Wider Optima", 2018). Statistics of
batch-norm layers are not averaged: the networks here have none, or frozen ones.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from activity_cli.settings import TrainSettings
from activity_cli.training.loop.schedules import SWA_START


class WeightAverage:
    """The average of a module's weights, if the settings ask for one."""

    def __init__(self, module: nn.Module, settings: TrainSettings) -> None:
        self._module = module
        self._settings = settings
        self.count = 0
        """How many weights are in it."""
        averages = settings.average != "none"
        self.weights = _copy(module.state_dict()) if averages else {}

    def after_step(self) -> None:
        """Take in the weights that a step has left."""
        if self._settings.average == "ema":
            decay = min(self._settings.ema_decay, (1 + self.count) / (10 + self.count))
            self._take(1 - decay)

    def after_epoch(self, epoch: int) -> None:
        """Take in the weights that an epoch has left."""
        if self._settings.average == "swa" and epoch > SWA_START * self._settings.most_epochs:
            self._take(1 / (self.count + 1))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The module has the average for a while, if there is one yet."""
        if not self.count:
            yield
            return
        own = _copy(self._module.state_dict())
        self._module.load_state_dict(self.weights)
        try:
            yield
        finally:
            self._module.load_state_dict(own)

    @torch.no_grad()
    def _take(self, share: float) -> None:
        for name, new in self._module.state_dict().items():
            if new.is_floating_point():
                self.weights[name].lerp_(new, share)
            else:
                self.weights[name].copy_(new)
        self.count += 1


def _copy(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in weights.items()}
