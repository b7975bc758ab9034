"""CNN classifiers of ImageNet as torch modules that turn frames into features.

N is frames, H and W pixels, D the size of the features.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from activity_cli.guarded_imports import import_torchvision
from activity_cli.lite0 import EfficientNetLite0


class FrameFeatures(nn.Module):
    """uint8 RGB frames (N, H, W, 3) to float32 features (N, D), normalisation included."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, *, mean: Sequence[float], std: Sequence[float]) -> None:
        """Wrap a CNN classifier; its classifier is cut off.

        Args:
            network: takes normalised pixels (N, 3, H, W).
            mean: of the pixels, from 0 to 255, per channel.
            std: of the pixels, likewise.
        """
        super().__init__()
        self.feature_size = _cut_classifier(network)
        self.network = network
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, frames: Tensor) -> Tensor:  # noqa: D102  # see the class
        pixels = (frames.float() - self.mean) / self.std
        # Only the strides change: this is what torch calls channels_last, its faster layout.
        features: Tensor = self.network(pixels.permute(0, 3, 1, 2))
        return features


def lite0_features(weights_file: Path) -> FrameFeatures:
    """EfficientNet-Lite0, normalised as where its weights come from."""
    network = EfficientNetLite0()
    network.load_state_dict(torch.load(weights_file, map_location="cpu", weights_only=True))
    return FrameFeatures(network.eval(), mean=(127.0,) * 3, std=(128.0,) * 3)


def torchvision_features(name: str, weights_file: Path) -> FrameFeatures:
    """A CNN of torchvision with the weights that lie where torchvision looks for them.

    Raises:
        pickle.UnpicklingError, RuntimeError, EOFError: the file does not hold these weights.
    """
    # torchvision would also run code that a file carries; this pass lets only tensors through.
    torch.load(weights_file, map_location="cpu", weights_only=True)
    torchvision = import_torchvision()
    weights = torchvision.models.get_model_weights(name).DEFAULT
    network: nn.Module = torchvision.models.get_model(name, weights=weights, progress=False)
    expected: Any = weights.transforms()
    return FrameFeatures(
        network.eval(),
        mean=[255 * value for value in expected.mean],
        std=[255 * value for value in expected.std],
    )


def _cut_classifier(network: nn.Module) -> int:
    """Replace the layer that scores ImageNet's classes by nothing; return its input size.

    It is the last linear layer or, in SqueezeNet, which has none, the last convolution.
    """
    layers = list(network.named_modules())
    for kind in (nn.Linear, nn.Conv2d):
        for name, layer in reversed(layers):
            if isinstance(layer, kind):
                network.set_submodule(name, nn.Identity())
                return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    raise ValueError(f"{type(network).__name__} has no classifier to cut off")
