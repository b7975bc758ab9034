"""The network that learns jointly: a CNN's last stages on every frame, the classifier behind them.

B clips; S, T, D, C as in `network`; N pictures; A the shape of what the CNN's last stages read of
one picture.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from activity_cli.model.network import SequenceClassifier

IMAGES_AT_ONCE = 32
_LARGE_INPUT = 2**14
"""Numbers per picture. What follows them takes about a hundred times their memory."""


class JointNetwork(nn.Module):
    """The part of the CNN that learns, applied to every frame, and the classifier behind it."""

    def __init__(
        self, cnn: nn.Module, classifier: SequenceClassifier, *, keeps_statistics: bool
    ) -> None:
        """Put the two together.

        Args:
            cnn: what it reads of (N, *A) -> (N, D).
            classifier: of the features.
            keeps_statistics: whether batch norm uses the statistics that it has, and leaves them.
        """
        super().__init__()
        self.cnn = cnn
        self.classifier = classifier
        self.keeps_statistics = keeps_statistics

    def train(self, mode: bool = True) -> "JointNetwork":
        """Let dropout work, or not; in a pretrained CNN nothing changes its way of working."""
        super().train(mode)
        if self.keeps_statistics:
            self.cnn.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        """(B, S, T, *A) -> (B, S, T, D)."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._is_reduced(images)):
            features = self._run_cnn(images.flatten(0, 2))
        shaped: Tensor = features.float().view(*images.shape[:3], -1)
        return shaped

    def forward(self, images: Tensor) -> Tensor:
        """(B, S, T, *A) -> (B, C)."""
        features = self.features(images)
        with torch.autocast(images.device.type, enabled=False):  # small, and sums over time
            logits: Tensor = self.classifier(features)
        return logits

    def _run_cnn(self, rows: Tensor) -> Tensor:
        """In parts that are computed again for their gradients, where memory would not do."""
        is_large = rows[0].numel() > _LARGE_INPUT
        if not (is_large and self.keeps_statistics and torch.is_grad_enabled()):
            features: Tensor = self.cnn(_as_images(rows))
            return features
        parts = (_as_images(part) for part in torch.split(rows, IMAGES_AT_ONCE))
        return torch.cat([checkpoint(self.cnn, part, use_reentrant=False) for part in parts])

    def _is_reduced(self, images: Tensor) -> bool:
        return self.keeps_statistics and images.device.type == "cpu" and has_fast_bf16()


def has_fast_bf16() -> bool:
    """Whether the CPU computes convolutions in bf16 faster than in fp32."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def as_rows(activations: Tensor) -> Tensor:
    """Maps (N, channels, H, W) as (N, H, W, channels), which is how they are fastest read back."""
    if activations.dtype == torch.uint8:
        return activations.cpu()
    if activations.dim() == 4:
        activations = activations.permute(0, 2, 3, 1)
    return activations.clamp(-65504, 65504).half().cpu()


def _as_images(rows: Tensor) -> Tensor:
    """What `as_rows` made of maps, as they were. Frames (uint8) stay as they are."""
    if rows.dtype == torch.uint8:
        return rows
    rows = rows.float()
    return rows.permute(0, 3, 1, 2) if rows.dim() == 4 else rows
