"""CNNs as torch modules that turn frames into features.

N is frames, H and W pixels, C channels of a block, G the side of the last grid, D features.
"""

import pickle
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from activity_cli.common.optional_dependencies import import_torchvision
from activity_cli.errors import BackboneError
from activity_cli.features.backbones import Backbone, damaged_weights, weights_file
from activity_cli.features.lite0 import EfficientNetLite0
from activity_cli.settings import DEFAULT_BACKBONE

_MAX_GRID = 4
"""Side of the grid that the small CNN's features are read from: enough to tell up from down."""


class FrameFeatures(nn.Module):
    """A CNN without its classifier: uint8 frames (N, H, W, channels) to float32 features (N, D).

    Normalises the pixels itself.
    """

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
        """Wrap a CNN; `mean` and `std` are those of the pixels from 0 to 255, per channel."""
        super().__init__()
        self.feature_size = feature_size
        self.network = network
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def normalise(self, frames: Tensor) -> Tensor:
        """Turn uint8 frames (N, H, W, channels) into normalised pixels (N, channels, H, W)."""
        pixels = (frames.float() - self.mean) / self.std
        # Only the strides change: this is what torch calls channels_last, its faster layout.
        return pixels.permute(0, 3, 1, 2)

    def forward(self, frames: Tensor) -> Tensor:  # noqa: D102  # see the class
        features: Tensor = self.network(self.normalise(frames))
        return features

    def to_file(self) -> bytes:
        """Return the content of a safetensors file that `trained_features` reads."""
        return save({name: t.cpu().contiguous() for name, t in self.state_dict().items()})


def build_cnn(backbone: Backbone) -> FrameFeatures:
    """Build a CNN in eval mode, with its weights.

    Raises:
        BackboneError: the weights cannot be fetched or read, or are not those of `backbone`.
    """
    file = weights_file(backbone)
    if backbone.mode != "frozen":
        return trained_features(backbone, file)
    try:
        # torchvision would also run code in a file; this admits only tensors.
        tensors = torch.load(file, map_location="cpu", weights_only=True)
        if backbone.name == DEFAULT_BACKBONE:
            network: nn.Module = EfficientNetLite0()
            network.load_state_dict(tensors)
            # The normalisation that the authors of the weights trained with.
            return without_classifier(network, mean=(127.0,) * 3, std=(128.0,) * 3)
        models = import_torchvision().models
        weights = models.get_model_weights(backbone.name).DEFAULT
        network = models.get_model(backbone.name, weights=weights, progress=False)
        expected = weights.transforms()
        mean, std = ([255 * v for v in values] for values in (expected.mean, expected.std))
        return without_classifier(network, mean=mean, std=std)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise damaged_weights(backbone.name, file) from error


def build_folded_cnn(backbone: Backbone) -> FrameFeatures:
    """Build a CNN as `build_cnn` does, with batch norm folded into the convolutions.

    It gives the same features, is faster in torch, and converts in two thirds of the time. It
    cannot be trained.
    """
    cnn = build_cnn(backbone)
    for module in list(cnn.modules()):
        children = list(module.named_children())
        for (name, conv), (next_name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(conv, norm))
                setattr(module, next_name, nn.Identity())
    return cnn


def scratch_features(backbone: Backbone) -> FrameFeatures:
    """Build the small CNN with random weights."""
    layout: Any = {"memory_format": torch.channels_last}
    network = ConvNet(backbone).eval().to(**layout)
    mean, std = (127.5,) * backbone.channels, (63.75,) * backbone.channels
    return FrameFeatures(network, feature_size=backbone.feature_size, mean=mean, std=std)


def trained_features(backbone: Backbone, file: Path) -> FrameFeatures:
    """Build a CNN that was fine-tuned or trained from scratch, from a file of its model folder.

    Raises:
        BackboneError: the file does not hold its weights.
    """
    try:
        if backbone.mode == "scratch":
            cnn = scratch_features(backbone)
        else:
            network: nn.Module = (
                EfficientNetLite0()
                if backbone.name == DEFAULT_BACKBONE
                else import_torchvision().models.get_model(
                    backbone.name, weights=None, **_AS_PRETRAINED.get(backbone.name, {})
                )
            )
            blank = (1.0,) * backbone.channels  # the file has mean and std
            cnn = without_classifier(network, mean=blank, std=blank)
        cnn.load_state_dict(load_file(file))
    except (RuntimeError, SafetensorError, OSError) as error:
        raise BackboneError(
            f"{file} does not hold the weights of this {backbone.name}.",
            hint="Restore the model folder from a copy, or train again.",
        ) from error
    return cnn.eval()


_AS_PRETRAINED: dict[str, dict[str, bool]] = {
    "googlenet": {"transform_input": True, "aux_logits": False, "init_weights": False},
    "inception_v3": {"transform_input": True, "init_weights": False},
}
"""Arguments that torchvision sets by itself when it loads pretrained weights."""


def without_classifier(
    network: nn.Module, *, mean: Sequence[float], std: Sequence[float]
) -> FrameFeatures:
    """Turn a classifier of normalised pixels (N, 3, H, W) into a module that gives its features."""
    # The last linear layer or, in SqueezeNet, which has none, the last convolution.
    layers = list(network.named_modules())
    linear, convolutions = (
        [(name, layer) for name, layer in layers if isinstance(layer, kind)]
        for kind in (nn.Linear, nn.Conv2d)
    )
    name, last = (linear or convolutions)[-1]
    network.set_submodule(name, nn.Identity())
    size: Any = last.in_features if isinstance(last, nn.Linear) else last.in_channels
    return FrameFeatures(network.eval(), feature_size=size, mean=mean, std=std)


class ConvNet(nn.Module):
    """Blocks of convolution, batch norm, max pooling and ReLU, then one linear layer.

    Features are read from a grid of at most 4 x 4 cells. A mean over all positions, as in
    pretrained CNNs, would lose where a person's head is, and with it that it rises.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        blocks, channels = [], backbone.channels
        for filters in backbone.conv_channels:
            convolution = nn.Conv2d(
                channels,
                filters,
                backbone.conv_kernel,
                stride=backbone.conv_stride,
                padding=backbone.conv_padding,
                bias=False,
            )
            # ReLU after pooling gives the same as before it, for a quarter of the work.
            blocks.append(
                nn.Sequential(convolution, nn.BatchNorm2d(filters), nn.MaxPool2d(2), nn.ReLU())
            )
            channels = filters
        self.blocks = nn.Sequential(*blocks)
        side = backbone.grid_side(backbone.frame_size)
        grid = min(side, _MAX_GRID)
        self.pool = nn.AvgPool2d(side // grid)  # cells left over at the right and below are cut off
        cells = side // (side // grid)
        self.features = nn.Sequential(
            nn.Flatten(), nn.Linear(channels * cells**2, backbone.feature_size), nn.ReLU()
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Map normalised pixels (N, C, H, W) to (N, D)."""
        grid = self.pool(self.blocks(pixels))  # (N, C, G, G)
        features: Tensor = self.features(grid)
        return features
