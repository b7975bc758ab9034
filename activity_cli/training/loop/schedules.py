"""What a step does with the gradients, and the course of the learning rate."""

import math
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from activity_cli.settings import TrainSettings

ParameterGroups = list[dict[str, Any]]


def make_optimizer(groups: ParameterGroups, settings: TrainSettings) -> torch.optim.Optimizer:
    """Adam or AdamW over groups of parameters, each with its own `lr` if it says one."""
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)


def make_schedule(
    optimizer: torch.optim.Optimizer, settings: TrainSettings, steps_per_epoch: int
) -> LambdaLR:
    """Return the learning rate schedule, which advances with every step.

    Cosine: a linear warm-up over the first tenth, then a cosine to 0 (Loshchilov and Hutter,
    2017). Every group of parameters keeps its own peak and follows the same schedule.
    """
    total = settings.most_epochs * steps_per_epoch

    def share_of_peak(step: int) -> float:
        if settings.schedule == "constant":
            return 1.0
        cosine = 0.5 * (1 + math.cos(math.pi * min(step / total, 1.0)))
        return cosine * min(1.0, (step + 1) / (0.1 * total))

    return LambdaLR(optimizer, share_of_peak)
