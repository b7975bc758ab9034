"""The included CNN rounded to 8-bit integers, from its weights alone: no pictures calibrate it.

A module of torch that computes in floats what integers give; OpenVINO compiles its rounding to
integer kernels. Batch norm tells the mean and the spread of every activation: from them come the
ranges, and the shift that rounded weights cause, which the biases take back, after Nagel et al.,
"Data-Free Quantization Through Weight Equalization and Bias Correction" (2019). Measured on frames
and motion images of fights, the error of the features by their norm: 0.07 and 0.10; with all blocks
in int8 0.08 and 0.14. On photos it is 0.07, and 0.11 without the correction of biases. NNCF with 40
pictures of Weizmann: 0.07 to 0.30. Equalizing channels changed nothing.
"""

from typing import Any, NamedTuple, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval

from activity_cli.features.backbones import Backbone
from activity_cli.features.cnn import FrameFeatures, build_cnn
from activity_cli.features.lite0 import EfficientNetLite0

_RELU6 = 6.0  # its largest value
_SIGMAS = 4.0
"""Half of the range of activations without ReLU6, in standard deviations: 3.5 to 5 are equal, 6 is
worse. What lies outside is clipped."""
_WEIGHT_LEVELS, _DEPTHWISE_LEVELS = 64, 127
"""On each side of 0. CPUs without VNNI add two products in 16 bits, which overflows with 127:
the error is three times as large. Depthwise convolutions are added in 32 bits everywhere."""
_NUM_FLOAT_BLOCKS = 2
"""The first blocks stay in floats: they see pixels, whose small differences 8 bits lose. The second
one in floats lowers the error of motion images from 0.14 to 0.10 and costs 1% of the time."""


class _Activations(NamedTuple):
    """What a convolution reads, per channel (C,): in training these were normal variables."""

    mean: Tensor
    variance: Tensor
    clipped: bool = False  # by ReLU6

    @classmethod
    def after(cls, norm: nn.Module) -> Self:
        norm = cast(nn.BatchNorm2d, norm)
        return cls(norm.bias.detach(), norm.weight.detach() ** 2)

    def relu6(self) -> Self:
        """Return the moments after ReLU6, by a sum over the normal density."""
        steps = torch.linspace(-_RELU6, _RELU6, 101)
        density = (-(steps**2) / 2).softmax(0)
        values = (self.mean[:, None] + self.variance.sqrt()[:, None] * steps).clamp(0, _RELU6)
        mean = values @ density
        return type(self)(mean, (values**2) @ density - mean**2, clipped=True)

    def plus(self, other: Self) -> Self:
        """Return the moments of a sum, as if both were independent."""
        return type(self)(self.mean + other.mean, self.variance + other.variance)

    def limits(self) -> tuple[float, float]:
        """Return the range that the integers cover."""
        if self.clipped:
            return 0.0, _RELU6
        spread = _SIGMAS * self.variance.sqrt()
        return float((self.mean - spread).min()), float((self.mean + spread).max())


class _Rounded(nn.Module):
    """Rounds weights (C, ...) to steps of their own per channel."""

    def __init__(self, weights: Tensor, levels: int) -> None:
        super().__init__()
        self.levels = levels
        self.steps = weights.flatten(1).abs().amax(1).clamp(min=1e-9) / levels
        self.zeros = torch.zeros(len(weights), dtype=torch.int32)

    def forward(self, weights: Tensor) -> Tensor:
        limits = -self.levels, self.levels
        return torch.fake_quantize_per_channel_affine(weights, self.steps, self.zeros, 0, *limits)


@torch.no_grad()
def build_int8_cnn(backbone: Backbone) -> FrameFeatures:
    """Build the included CNN, unchanged by training, with batch norm folded into convolutions."""
    cnn = build_cnn(backbone)
    network = cast(EfficientNetLite0, cnn.network)
    _fold(network, "_conv_stem", "_bn0", None)
    wide = narrow = None  # what a block computes inside, and what it reads, once that is rounded
    for number, block in enumerate(cast(list[Any], network._blocks), 1):
        filtered, output = _Activations.after(block._bn1).relu6(), _Activations.after(block._bn2)
        if block.expands:
            wide = _Activations.after(block._bn0).relu6() if narrow else None
            _fold(block, "_expand_conv", "_bn0", narrow)
        _fold(block, "_depthwise_conv", "_bn1", wide)
        _fold(block, "_project_conv", "_bn2", filtered if narrow else None)
        if number >= _NUM_FLOAT_BLOCKS:
            narrow = narrow.plus(output) if narrow and block.residual else output
    _fold(network, "_conv_head", "_bn1", narrow)
    return cnn


def _fold(parent: nn.Module, name: str, norm: str, inputs: _Activations | None) -> None:
    """Fold batch norm into a convolution; with `inputs`, round its weights and what it reads."""
    convolution = fuse_conv_bn_eval(
        cast(nn.Conv2d, parent.get_submodule(name)),
        cast(nn.BatchNorm2d, parent.get_submodule(norm)),
    )
    setattr(parent, name, convolution)
    setattr(parent, norm, nn.Identity())
    if inputs is None:
        return
    levels = _DEPTHWISE_LEVELS if convolution.groups > 1 else _WEIGHT_LEVELS
    exact, rounding = convolution.weight.detach(), _Rounded(convolution.weight, levels)
    errors = (rounding(exact) - exact).sum((2, 3))  # (C, channels of a group)
    means = inputs.mean[:, None] if convolution.groups > 1 else inputs.mean
    assert convolution.bias is not None
    convolution.bias -= (errors * means).sum(1)
    parametrize.register_parametrization(convolution, "weight", rounding)
    low, high = inputs.limits()
    step = (high - low) / 255
    zero = round(-low / step)

    def round_inputs(_: nn.Module, given: tuple[Tensor]) -> Tensor:
        return torch.fake_quantize_per_tensor_affine(given[0], step, zero, 0, 255)

    convolution.register_forward_pre_hook(round_inputs)
