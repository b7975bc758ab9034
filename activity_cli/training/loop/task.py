"""The interface of what the training loop trains, its loss, and the metrics of an epoch.

B is clips of a batch, N all clips, C labels.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ParameterGroups = list[dict[str, Any]]
"""As torch's optimizers take them: `params`, and `lr` where a group has its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipLoss:
    """Cross-entropy of a batch, weighted by label."""

    label_weights: Tensor | None = None
    """(C,) weight of a clip of each label; None for equal weights."""
    label_smoothing: float = 0.0

    def clip_weights(self, labels: Tensor) -> Tensor:
        """Return the weight of each clip: (N,) labels -> (N,)."""
        return torch.ones(len(labels)) if self.label_weights is None else self.label_weights[labels]

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the weighted mean over a batch of (B, C) logits and (B,) labels."""
        weights, device = self.label_weights, logits.device
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
        """Compute the metrics of (N, C) logits and (N,) labels, those of training clips first.

        The loss is plain cross-entropy, whatever the training minimises.
        """
        correct = (logits.argmax(dim=1) == targets).float()
        losses = F.cross_entropy(logits, targets, reduction="none")
        return cls(
            train_loss=float(losses[:num_train].mean()),
            train_accuracy=float(correct[:num_train].mean()),
            val_loss=float(losses[num_train:].mean()),
            val_accuracy=float(correct[num_train:].mean()),
        )


class TrainingTask(Protocol):
    """What is trained: a module, its training clips and its loss.

    All randomness (dropout, choice of views) must come from torch's global generator. A checkpoint
    stores the generator's state, so that a resumed training ends with the same numbers.
    """

    @property
    def module(self) -> nn.Module:
        """The module that is trained. The loop switches its mode and leaves the best weights."""

    @property
    def labels(self) -> Tensor:
        """(N,) label of each training clip, on the CPU."""

    @property
    def loss(self) -> ClipLoss:
        """The loss that `batch_loss` minimises."""

    def parameter_groups(self) -> ParameterGroups:
        """Return the parameters to train."""

    def batch_loss(self, rows: Tensor) -> Tensor:
        """Return the mean loss of training clips (B,), weighted by `loss.clip_weights`.

        The loop may pass parts of a batch: where memory is short, and in each of several processes.
        """
