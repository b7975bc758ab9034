"""How wrong the network is: about a batch, one number to descend; about all clips, its standing.

B is clips of a batch, N all clips, C labels.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from activity_cli.settings import TrainSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipLoss:
    """Cross-entropy of a batch, its clips weighted by their labels."""

    label_weights: Tensor | None = None
    """(C,) how much a clip of each label counts; None for all the same."""
    label_smoothing: float = 0.0

    @classmethod
    def of(cls, settings: TrainSettings, label_weights: Tensor | None) -> "ClipLoss":
        """Return the loss of the settings."""
        return cls(
            label_weights=label_weights,
            label_smoothing=settings.label_smoothing,
        )

    def clip_weights(self, labels: Tensor) -> Tensor:
        """(N,) labels -> (N,) how much each clip counts."""
        if self.label_weights is None:
            return torch.ones(len(labels), device=labels.device)
        return self.label_weights.to(labels.device)[labels]

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the weighted mean over a batch of (B, C) logits and (B,) labels."""
        weights = self.label_weights
        return F.cross_entropy(
            logits,
            labels.to(logits.device),
            weight=None if weights is None else weights.to(logits.device),
            label_smoothing=self.label_smoothing,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochMetrics:
    """How a network does on both parts, without dropout, so that they can be compared."""

    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float

    @classmethod
    def of(cls, logits: Tensor, targets: Tensor, num_train: int) -> "EpochMetrics":
        """By plain cross-entropy, whatever the training descends.

        Args:
            logits: (N, C), those of the training clips first.
            targets: (N,) labels.
            num_train: how many are training clips.
        """
        right = (logits.argmax(dim=1) == targets).float()
        losses = F.cross_entropy(logits, targets, reduction="none")
        return cls(
            train_loss=float(losses[:num_train].mean()),
            train_accuracy=float(right[:num_train].mean()),
            val_loss=float(losses[num_train:].mean()),
            val_accuracy=float(right[num_train:].mean()),
        )
