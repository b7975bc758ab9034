"""What a step does with the gradients, and the course of the learning rate."""

import math
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from activity_cli.settings import TrainSettings

ParameterGroups = list[dict[str, Any]]
LearningRate = LambdaLR | ReduceLROnPlateau


def make_optimizer(groups: ParameterGroups, settings: TrainSettings) -> torch.optim.Optimizer:
    """Adam or AdamW over groups of parameters, each with its own `lr` if it says one."""
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)


def make_schedule(
    optimizer: torch.optim.Optimizer, settings: TrainSettings, steps_per_epoch: int
) -> LearningRate:
    """Course of the learning rate: stepped after every step, or with `plateau` after every epoch.

    Every group of parameters keeps its own height and follows the same course.
    """
    if settings.schedule == "plateau":
        return ReduceLROnPlateau(
            optimizer, factor=0.3, patience=max(1, settings.most_patience // 3)
        )
    total = settings.most_epochs * steps_per_epoch

    def share_of_peak(step: int) -> float:
        match settings.schedule:
            case "constant":
                return 1.0
            case "one-cycle":
                return _one_cycle(step / total)
            case _:
                cosine = 0.5 * (1 + math.cos(math.pi * min(step / total, 1.0)))
                return cosine * min(1.0, (step + 1) / (0.1 * total))

    return LambdaLR(optimizer, share_of_peak)


def _one_cycle(done: float) -> float:
    """Up to the peak and down to almost nothing: Smith, "Super-Convergence" (2018)."""
    lowest, rise = 0.04, 0.3
    if done < rise:
        return lowest + (1 - lowest) * 0.5 * (1 - math.cos(math.pi * done / rise))
    fall = min((done - rise) / (1 - rise), 1.0)
    return 1e-4 + (1 - 1e-4) * 0.5 * (1 + math.cos(math.pi * fall))
