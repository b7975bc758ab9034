"""CNNs as torch modules that turn frames into features.

N is frames, H and W pixels, D the size of the features.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from activity_cli.common.optional_dependencies import import_torchvision
from activity_cli.errors import BackboneError
from activity_cli.features.backbones import Backbone
from activity_cli.features.convnet import ConvNet
from activity_cli.features.lite0 import EfficientNetLite0
from activity_cli.settings import DEFAULT_BACKBONE


class FrameFeatures(nn.Module):
    """uint8 frames (N, H, W, channels) to float32 features (N, D), normalisation included."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        feature_size: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        """Wrap a CNN without a classifier.

        Args:
            network: takes normalised pixels (N, channels, H, W), gives (N, D).
            feature_size: D.
            mean: of the pixels, from 0 to 255, per channel.
            std: of the pixels, likewise.
        """
        super().__init__()
        self.feature_size = feature_size
        self.network = network
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def normalise(self, frames: Tensor) -> Tensor:
        """uint8 frames (N, H, W, channels) to pixels (N, channels, H, W) as the CNN takes them."""
        pixels = (frames.float() - self.mean) / self.std
        # Only the strides change: this is what torch calls channels_last, its faster layout.
        return pixels.permute(0, 3, 1, 2)

    def forward(self, frames: Tensor) -> Tensor:  # noqa: D102  # see the class
        features: Tensor = self.network(self.normalise(frames))
        return features


def lite0_features(weights_file: Path) -> FrameFeatures:
    """EfficientNet-Lite0, normalised as where its weights come from."""
    network = EfficientNetLite0()
    network.load_state_dict(torch.load(weights_file, map_location="cpu", weights_only=True))
    return without_classifier(network, mean=(127.0,) * 3, std=(128.0,) * 3)


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
    return without_classifier(
        network,
        mean=[255 * value for value in expected.mean],
        std=[255 * value for value in expected.std],
    )


def scratch_features(backbone: Backbone) -> FrameFeatures:
    """The small CNN with random weights."""
    layout: Any = {"memory_format": torch.channels_last}
    network = ConvNet(backbone)
    grey = (127.5,) * backbone.channels
    return FrameFeatures(
        network.eval().to(**layout),
        feature_size=backbone.feature_size,
        mean=grey,
        std=[v / 2 for v in grey],
    )


def changed_features(backbone: Backbone, weights_file: Path) -> FrameFeatures:
    """A CNN that training changed or made, from the file in its model's folder.

    Raises:
        BackboneError: the file does not hold its weights.
    """
    try:
        cnn = _structure(backbone)
        cnn.load_state_dict(load_file(weights_file))
    except (RuntimeError, SafetensorError, OSError) as error:
        raise BackboneError(
            f"{weights_file} does not hold the weights of this {backbone.name}.",
            hint="Restore the model folder from a copy, or train again.",
        ) from error
    return cnn.eval()


def _structure(backbone: Backbone) -> FrameFeatures:
    """A CNN without its weights. Its normalisation is among them, so any will do until then."""
    if backbone.mode == "scratch":
        return scratch_features(backbone)
    blank = (1.0,) * backbone.channels
    if backbone.name == DEFAULT_BACKBONE:
        return without_classifier(EfficientNetLite0(), mean=blank, std=blank)
    network = import_torchvision().models.get_model(
        backbone.name, weights=None, **_AS_PRETRAINED.get(backbone.name, {})
    )
    return without_classifier(network, mean=blank, std=blank)


_AS_PRETRAINED: dict[str, dict[str, bool]] = {
    "googlenet": {"transform_input": True, "aux_logits": False, "init_weights": False},
    "inception_v3": {"transform_input": True, "init_weights": False},
}
"""What torchvision sets by itself where it loads weights."""


def without_classifier(
    network: nn.Module, *, mean: Sequence[float], std: Sequence[float]
) -> FrameFeatures:
    """A classifier of normalised pixels (N, 3, H, W) -> what it classifies by."""
    size = _cut_classifier(network)
    return FrameFeatures(network.eval(), feature_size=size, mean=mean, std=std)


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
