"""CNN and classifier as one network, trained together: the network and its training task.

N clips, B clips of a batch, K views; S, T, D, C as in `network`; A is the shape of what the trained
stages of the CNN read of one frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from activity_cli.features.labelled import FeatureDataset
from activity_cli.model.encoding import Rows
from activity_cli.model.network import SequenceClassifier
from activity_cli.training.loop.trainer import ClipLoss, EpochMetrics, ParameterGroups

IMAGES_AT_ONCE = 32
CLIPS_AT_ONCE = 4
"""Without gradients: they are many frames each."""
_LARGE_INPUT = 2**14
"""Numbers per frame. The activations behind them take about a hundred times their memory."""


class JointNetwork(nn.Module):
    """The trained stages of the CNN, applied to every frame, and the classifier behind them."""

    def __init__(
        self, cnn: nn.Module, classifier: SequenceClassifier, *, keeps_statistics: bool
    ) -> None:
        """Join the two.

        Args:
            cnn: its input (N, *A) -> (N, D).
            classifier: of the features.
            keeps_statistics: whether batch norm stays in eval mode, as in a pretrained CNN.
        """
        super().__init__()
        self.cnn = cnn
        self.classifier = classifier
        self.keeps_statistics = keeps_statistics

    def train(self, mode: bool = True) -> "JointNetwork":
        """Switch training mode; a pretrained CNN stays in eval mode."""
        super().train(mode)
        if self.keeps_statistics:
            self.cnn.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        """(B, S, T, *A) -> (B, S, T, D)."""
        reduced = self.keeps_statistics and images.device.type == "cpu" and has_fast_bf16()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=reduced):
            features = self._run_cnn(images.flatten(0, 2))
        shaped: Tensor = features.float().view(*images.shape[:3], -1)
        return shaped

    def forward(self, images: Tensor) -> Tensor:
        """(B, S, T, *A) -> (B, C)."""
        logits: Tensor = self.classifier(self.features(images))
        return logits

    def _run_cnn(self, rows: Tensor) -> Tensor:
        """Run the CNN; where memory is short in parts, computed again for their gradients."""
        is_large = rows[0].numel() > _LARGE_INPUT
        if not (is_large and self.keeps_statistics and torch.is_grad_enabled()):
            features: Tensor = self.cnn(_as_images(rows))
            return features
        parts = (_as_images(part) for part in torch.split(rows, IMAGES_AT_ONCE))
        return torch.cat([checkpoint(self.cnn, part, use_reentrant=False) for part in parts])


@dataclass(frozen=True, slots=True, kw_only=True)
class JointTask:
    """CNN and classifier as the loop trains them."""

    module: JointNetwork
    data: FeatureDataset
    """Frames or activations, (N, S, T, *A)."""
    train_rows: Rows
    val_rows: Rows
    loss: ClipLoss
    stages: Sequence[Sequence[nn.Parameter]]
    """The trained parameters of the CNN by stage, the first stage first."""
    penalties: Tensor | None
    """(S * D,) L2 penalties of the pooled linear head's weights."""
    learning_rate: float
    stage_decay: float

    @property
    def labels(self) -> Tensor:
        """Of the training clips."""
        return torch.from_numpy(self.data.targets[self.train_rows])

    def parameter_groups(self) -> ParameterGroups:
        """Return classifier and last stage at the full rate, each stage before at a lower one."""
        groups: ParameterGroups = [{"params": list(self.module.classifier.parameters())}]
        for distance, stage in enumerate(reversed(self.stages)):
            rate = self.learning_rate * self.stage_decay**distance
            groups.append({"params": list(stage), "lr": rate})
        return groups

    def batch_loss(self, rows: Tensor) -> Tensor:
        """Return the loss of a random view of each clip, with the penalties."""
        views = torch.randint(1 + self.data.num_views, rows.shape)
        images = self._read(self.train_rows[rows.numpy()], views.numpy())
        loss = self.loss(self.module(images), self.labels[rows])
        if self.penalties is not None:
            weights = self.module.classifier.pooled_head.weight
            loss = loss + 0.5 * (self.penalties * weights.square()).sum()
        return loss

    def evaluate(self) -> EpochMetrics:
        """Evaluate the validation clips and as many training clips: a pass takes seconds."""
        few = self.train_rows[:: max(1, len(self.train_rows) // len(self.val_rows))]
        rows = np.concatenate([few, self.val_rows])
        targets = torch.from_numpy(self.data.targets[rows])
        return EpochMetrics.of(self.logits(rows), targets, len(few))

    @torch.no_grad()
    def logits(self, rows: Rows) -> Tensor:
        """(len(rows), C), in the mode that the module is in."""
        starts = range(0, len(rows), CLIPS_AT_ONCE)
        return torch.cat(
            [self.module(self._read(rows[i : i + CLIPS_AT_ONCE])).cpu() for i in starts]
        )

    def _read(self, rows: Rows, views: NDArray[np.int64] | None = None) -> Tensor:
        device = next(self.module.classifier.parameters()).device
        return torch.from_numpy(self.data.read(rows, views)).to(device)


def has_fast_bf16() -> bool:
    """Whether the CPU computes convolutions in bf16 faster than in fp32."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def as_rows(activations: Tensor) -> Tensor:
    """Return maps (N, channels, H, W) as (N, H, W, channels), which is fastest to read back."""
    if activations.dtype == torch.uint8:
        return activations.cpu()
    if activations.dim() == 4:
        activations = activations.permute(0, 2, 3, 1)
    return activations.clamp(-65504, 65504).half().cpu()  # the range of float16


def _as_images(rows: Tensor) -> Tensor:
    """Undo `as_rows`. Frames (uint8) stay as they are."""
    if rows.dtype == torch.uint8:
        return rows
    rows = rows.float()
    return rows.permute(0, 3, 1, 2) if rows.dim() == 4 else rows
