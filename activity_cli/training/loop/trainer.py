"""One step after the other: forward, backward, and everything that a step depends on.

B is clips of a batch. A batch of the settings may be larger than what is computed at once: parts
of it are, one after the other (`accumulate`, or because memory is short) or in several processes,
and their gradients are added up, each weighted by the share of its clips.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from activity_cli.errors import TrainingError
from activity_cli.settings import TrainSettings
from activity_cli.training.loop.distributed import DistributedContext
from activity_cli.training.loop.memory import is_out_of_memory, no_memory_left
from activity_cli.training.loop.schedules import make_optimizer, make_schedule
from activity_cli.training.loop.task import TrainingTask


class Trainer:
    """Changes a lesson's weights by steps. What it holds is what a checkpoint has to keep."""

    def __init__(
        self,
        lesson: TrainingTask,
        settings: TrainSettings,
        team: DistributedContext,
        on_note: Callable[[str], None],
    ) -> None:
        self.lesson, self.settings, self.team, self._on_note = lesson, settings, team, on_note
        self.device = next(lesson.module.parameters()).device
        self.clips_per_step = settings.batch_size * settings.accumulate
        self._clip_weights = lesson.clip_weights.cpu()
        steps_per_epoch = math.ceil(len(lesson.labels) / self.clips_per_step)
        self.optimizer = make_optimizer(lesson.parameter_groups(), settings)
        self.schedule = make_schedule(self.optimizer, settings, steps_per_epoch)
        self.epoch = 0
        self.halved = False
        """Whether memory has run out once, so that half as many clips are computed at once."""
        self.notes: list[str] = []
        """What whoever reads the figures should know."""

    @property
    def clips_at_once(self) -> int:
        """How many clips go through the network together."""
        share = math.ceil(self.settings.batch_size / self.team.size)
        return max(1, share // 2) if self.halved else share

    @property
    def learning_rate(self) -> float:
        """Of the first group of parameters, which has the settings' own."""
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate

    def step(self, rows: Tensor) -> None:
        """Change the weights once, by the gradient of a batch that all processes share.

        Raises:
            TrainingError: the loss is no number, or memory does not even do for half a batch.
        """
        module = self.lesson.module
        total = float(self._clip_weights[rows].sum())
        self._backward_in_memory(self.team.share(rows), total=total)
        self.team.add_gradients(module.parameters())
        norm = self._clip_gradients()
        self._check(norm, "gradient")
        self.optimizer.step()
        self.schedule.step()

    def _clip_gradients(self) -> Tensor:
        """Bound the gradient, of each network alone where several learn side by side."""
        module = self.lesson.module
        networks = module if isinstance(module, nn.ModuleList) else [module]
        norms = [
            nn.utils.clip_grad_norm_(network.parameters(), self.settings.gradient_clip)
            for network in networks
        ]
        return torch.stack(norms).max()

    def _backward_in_memory(self, rows: Tensor, *, total: float) -> None:
        """Backward, with half as many clips at once where memory is short; the second time fails.

        The gradients are those of the whole batch all the same.
        """
        try:
            self._backward(rows, total=total)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if self.halved or self.clips_at_once == 1:
                raise no_memory_left(self.epoch) from error
            self._halve()
        else:
            return
        # Here and not above: while the error was handled it held on to what is to be freed.
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self._backward_in_memory(rows, total=total)

    def _halve(self) -> None:
        self.halved = True
        note = (
            f"Memory ran out in epoch {self.epoch}: {self.clips_at_once} clips at a time from "
            "here on. The gradients of a batch are added up, so that it counts as before."
        )
        self.notes.append(note)
        self._on_note(note)

    def _backward(self, rows: Tensor, *, total: float) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        for part in torch.split(rows, self.clips_at_once):
            if not len(part):  # the share of a process may be empty
                continue
            loss = self.lesson.batch_loss(part)
            self._check(loss, "loss")
            share = float(self._clip_weights[part].sum()) / total
            (loss * share).backward()  # type: ignore[no-untyped-call]

    def _check(self, value: Tensor, what: str) -> None:
        if not math.isfinite(float(value.detach())):
            raise runaway(what, self.epoch, float(value.detach()), self.settings)


def runaway(what: str, epoch: int, value: float, settings: TrainSettings) -> TrainingError:
    """The error for a loss or gradient that is no number, with what to try against it."""
    if epoch == 0:  # no step was taken yet
        return TrainingError(
            f"The {what} is no number before the first step ({value}).",
            hint="The CNN's features are not sound: try --precision fp32, or another --backbone.",
        )
    return TrainingError(
        f"The {what} of epoch {epoch} is no number any more ({value}).",
        hint=f"Lower --learning-rate (now {settings.learning_rate:g}) "
        f"or --gradient-clip (now {settings.gradient_clip:g}).",
    )
