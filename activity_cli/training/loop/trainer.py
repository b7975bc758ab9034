"""What is trained (task, loss, metrics), and the optimisation steps of one task.

Targets of clips are (N,) labels. Those of multi-label clips are (N, C) floats, 1 for each label
that a clip has: each label is a logistic regression by itself.

B clips of a batch, N all clips, C labels. Parts of a batch are computed one after the other, or in
several processes; their gradients are summed, each weighted by its share of the clips.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from activity_cli.errors import TrainingError
from activity_cli.settings import TrainSettings
from activity_cli.training.loop.distributed import DistributedContext

ParameterGroups = list[dict[str, Any]]
"""As torch's optimizers take them: `params`, and `lr` where a group has its own."""


def cross_entropy(
    logits: Tensor, targets: Tensor, weights: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """Return the loss of (N, C) logits: the mean, the sum, or with `none` (N,) that of each clip.

    That of a multi-label clip is the sum over its labels, each with its weight (C,).
    """
    if targets.dim() == 1:
        return F.cross_entropy(logits, targets, reduction=reduction)
    each = F.binary_cross_entropy_with_logits(logits, targets, weight=weights, reduction="none")
    losses = each.sum(dim=1)
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.mean()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipLoss:
    """Cross-entropy of a batch, weighted by label."""

    label_weights: Tensor | None = None
    """(C,) weight of a clip of each label, or of each label of multi-label clips; None for equal
    weights."""
    label_smoothing: float = 0.0

    def clip_weights(self, labels: Tensor) -> Tensor:
        """Return the weight of each clip: (N,) labels -> (N,)."""
        if self.label_weights is None or labels.dim() == 2:
            return torch.ones(len(labels))
        return self.label_weights[labels]

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the weighted mean over a batch of (B, C) logits and (B,) or (B, C) labels."""
        weights, device = self.label_weights, logits.device
        if labels.dim() == 2:
            smooth = labels * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
            own = None if weights is None else weights.to(device)
            return cross_entropy(logits, smooth.to(device), own)
        return F.cross_entropy(
            logits,
            labels.to(device),
            weight=None if weights is None else weights.to(device),
            label_smoothing=self.label_smoothing,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochMetrics:
    """Metrics after an epoch, without dropout: a row of history.csv. Epoch 0 is untrained."""

    epoch: int = 0
    learning_rate: float = 0.0
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float = 0.0

    @classmethod
    def of(cls, logits: Tensor, targets: Tensor, num_train: int) -> "EpochMetrics":
        """Compute metrics, with plain cross-entropy, of (N, C) logits, training clips first.

        The accuracy of multi-label clips is the share of their labels that are right.
        """
        if targets.dim() == 2:
            correct = ((logits > 0) == (targets > 0)).float().mean(dim=1)
        else:
            correct = (logits.argmax(dim=1) == targets).float()
        losses = cross_entropy(logits, targets, reduction="none")
        return cls(
            train_loss=float(losses[:num_train].mean()),
            train_accuracy=float(correct[:num_train].mean()),
            val_loss=float(losses[num_train:].mean()),
            val_accuracy=float(correct[num_train:].mean()),
        )


class TrainingTask(Protocol):
    """What is trained: a module, its training clips and its loss.

    All randomness must come from torch's global generator, whose state is in the checkpoint.
    """

    @property
    def module(self) -> nn.Module:
        """The module that is trained. The loop switches its mode and leaves the best weights."""

    @property
    def labels(self) -> Tensor:
        """(N,) label of each training clip, or (N, C), on the CPU."""

    @property
    def loss(self) -> ClipLoss:
        """The loss that `batch_loss` minimises."""

    def parameter_groups(self) -> ParameterGroups:
        """Return the parameters to train."""

    def batch_loss(self, rows: Tensor) -> Tensor:
        """Return the mean loss of training clips (B,), weighted by `loss.clip_weights`."""


def _without_compiler(kind: type[torch.optim.Adam]) -> type[torch.optim.Adam]:
    """Return the optimizer without what serves `torch.compile`: it takes 2 s to import.

    Its `step` must be called with gradients disabled.
    """
    names = ("add_param_group", "load_state_dict", "state_dict", "step", "zero_grad")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    return type(kind.__name__, (kind,), methods)


Adam, AdamW = map(_without_compiler, (torch.optim.Adam, torch.optim.AdamW))

_CPU_ALLOCATOR = "DefaultCPUAllocator"  # torch reports this one in a plain RuntimeError
_WARMUP = 0.1  # share of the steps in which the learning rate rises


class Trainer:
    """Trains one task, with `num_steps` steps per epoch. A checkpoint stores its state."""

    def __init__(
        self,
        task: TrainingTask,
        settings: TrainSettings,
        context: DistributedContext,
        *,
        num_steps: int,
        on_note: Callable[[str], None],
    ) -> None:
        self.task, self.settings, self.context, self._on_note = task, settings, context, on_note
        self.device = next(task.module.parameters()).device
        self._clip_weights = task.loss.clip_weights(task.labels).cpu()
        self.clips_per_step = settings.batch_size * settings.accumulate
        if math.ceil(len(task.labels) / self.clips_per_step) < num_steps:
            # Fewer clips than another task that is trained with this one: as many, smaller steps.
            self.clips_per_step = math.ceil(len(task.labels) / num_steps)
        adam = AdamW if settings.optimizer == "adamw" else Adam
        self.optimizer = adam(
            task.parameter_groups(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=self.device.type == "cpu" or None,  # of small networks, 4 times as fast
        )
        self.schedule = make_schedule(self.optimizer, settings, num_steps)
        self.epoch = 0
        self.halved = False  # whether memory ran out once: half as many clips at once from then on
        self.notes: list[str] = []

    @property
    def clips_at_once(self) -> int:
        """How many clips go through the network together."""
        share = math.ceil(self.settings.batch_size / self.context.size)
        return max(1, share // 2) if self.halved else share

    def run_epoch(self) -> None:
        """Take a step for every batch of the shuffled training clips.

        Raises:
            TrainingError: the loss became NaN, or half a batch does not fit into memory either.
        """
        self.epoch += 1
        self.task.module.train()
        rows = self.context.broadcast(torch.randperm(len(self.task.labels)))
        for batch in torch.split(rows, self.clips_per_step):
            self._step(batch)

    def _step(self, rows: Tensor) -> None:
        """Change the weights once, by the gradient of a batch that all processes share."""
        share = rows[self.context.rank :: self.context.size]
        self._backward_in_memory(share, total_weight=float(self._clip_weights[rows].sum()))
        parameters = list(self.task.module.parameters())
        self.context.all_reduce_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, self.settings.gradient_clip)
        self.check_finite(float(norm), "gradient")
        with torch.no_grad():
            self.optimizer.step()
        self.schedule.step()

    def _backward_in_memory(self, rows: Tensor, *, total_weight: float) -> None:
        """Compute gradients, with half as many clips at once after memory ran out once."""
        try:
            self._backward(rows, total_weight=total_weight)
            return
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if self.halved or self.clips_at_once == 1:
                raise out_of_memory_error(self.epoch) from error
        # Not in the handler: the error that is handled keeps the memory that is to be freed.
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.halved = True
        note = (
            f"Memory ran out in epoch {self.epoch}: from here on {self.clips_at_once} clips at a "
            "time. Their gradients are summed, so the batch size is the same."
        )
        self.notes.append(note)
        self._on_note(note)
        self._backward_in_memory(rows, total_weight=total_weight)

    def _backward(self, rows: Tensor, *, total_weight: float) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        for part in torch.split(rows, self.clips_at_once):
            if not len(part):  # the share of a process may be empty
                continue
            loss = self.task.batch_loss(part)
            self.check_finite(float(loss.detach()), "loss")
            share = float(self._clip_weights[part].sum()) / total_weight
            (loss * share).backward()  # type: ignore[no-untyped-call]

    def check_finite(self, value: float, what: str) -> None:
        """Raise a TrainingError with advice where a loss or gradient is NaN or infinite."""
        if math.isfinite(value):
            return
        if self.epoch == 0:
            raise TrainingError(
                f"The {what} is {value} before the first step.",
                hint="The CNN's features are not finite: try --precision fp32, or another "
                "--backbone.",
            )
        raise TrainingError(
            f"The {what} became {value} in epoch {self.epoch}.",
            hint=f"Lower --learning-rate (now {self.settings.learning_rate:g}) "
            f"or --gradient-clip (now {self.settings.gradient_clip:g}).",
        )


def make_schedule(
    optimizer: torch.optim.Optimizer, settings: TrainSettings, num_steps: int
) -> LambdaLR:
    """Make the learning rate schedule by step: constant, or a warm-up, then a cosine to 0.

    Loshchilov and Hutter, 2017. The learning rate of every parameter group is its peak.
    """
    total = settings.most_epochs * num_steps

    def share_of_peak(step: int) -> float:
        if settings.schedule == "constant":
            return 1.0
        cosine = 0.5 * (1 + math.cos(math.pi * min(step / total, 1.0)))
        return cosine * min(1.0, (step + 1) / (_WARMUP * total))

    return LambdaLR(optimizer, share_of_peak)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error means that memory ran out, of a GPU or of the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _CPU_ALLOCATOR in str(error)


def out_of_memory_error(epoch: int) -> TrainingError:
    """Return the error for a training that does not fit into memory."""
    return TrainingError(
        f"Memory ran out in epoch {epoch}.",
        hint="Lower --batch-size (--accumulate keeps the effective batch size), or --frames.",
    )
