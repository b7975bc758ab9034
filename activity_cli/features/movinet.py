"""MoViNet-A0-Stream in PyTorch, the action network.

Kondratyuk et al., "MoViNets: Mobile Video Networks for Efficient Video Recognition" (2021), arXiv
2103.11511, in the variant of the file movinet_a0_stream_int8.tflite of TensorFlow's Model Garden:
ReLU6, no squeeze-and-excitation. It was trained on frames of 172 x 172 pixels, 5 a second. It is
causal: the features of a frame depend on that frame and on those before it.

B is clips, T frames per clip, R = T * B rows, C channels, H and W pixels, P = 480 means over
the last maps, D = P + 2048 features. Rows are frames in the order of time, the B frames of one
moment together. A convolution over time is then a sum of shifted rows, and needs no other layout
than one within a frame.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from activity_cli.features.action_weights import (
    FRAME_SIZE,
    HIDDEN_SIZE,
    POOLED_SIZE,
    action_weights_file,
)
from activity_cli.features.tflite import read_constants

NUM_LABELS = 600
_STEM_CHANNELS = 8

State = tuple[Tensor, ...]
"""The last inputs of each convolution over time, in the order of the network."""


class _Shape(NamedTuple):
    """The shape of a block."""

    wide: int  # channels between expansion and projection
    channels: int
    kernel: int
    stride: int
    kernel_over_time: int = 1  # 1: no convolution over time


_BLOCKS = (
    _Shape(24, 8, 5, 2),
    *(_Shape(80, 32, 3, stride, 3) for stride in (2, 1, 1)),
    *(_Shape(184, 56, 3, 2, 5), _Shape(112, 56, 3, 1, 3), _Shape(184, 56, 3, 1, 3)),
    *(_Shape(184, 56, 3, 1, kernel_over_time) for kernel_over_time in (5, 3, 3, 3)),
    _Shape(384, 104, 3, 2, 5),
    *(_Shape(wide, 104, 5, 1) for wide in (280, 280, 344)),
)


class _Conv(nn.Conv2d):
    """A convolution of square maps of one size, padded as TensorFlow's 'SAME' pads them."""

    def __init__(
        self,
        channels_in: int,
        channels: int,
        kernel: int,
        *,
        side: int,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        self.side = -(-side // stride)  # of the result, in pixels
        padding = max(0, (self.side - 1) * stride + kernel - side)
        before, after = padding // 2, padding - padding // 2
        self.uneven = (before, after, before, after) if before < after else None
        super().__init__(
            channels_in,
            channels,
            kernel,
            stride=stride,
            padding=0 if self.uneven else before,
            groups=groups,
        )

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if self.uneven is None else F.pad(x, self.uneven))


class _TemporalConv(nn.Module):
    """A convolution of each channel over the frame and the `kernel - 1` frames before it."""

    def __init__(self, channels: int, kernel: int, *, side: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, 1, kernel, 1))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.past = kernel - 1  # frames
        self.frame_shape = (channels, side, side)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Filter (R, C, H, W), with the rows before it; return the rows that the next one needs."""
        rows = torch.cat((past, x))
        count, batch = x.shape[0], past.shape[0] // self.past
        y = self.bias[:, None, None]
        for i, weight in enumerate(self.weight.unbind(2)):  # (C, 1, 1) each
            y = y + rows[i * batch : i * batch + count] * weight
        return y, rows[count:]


class _Block(nn.Module):
    """An inverted residual block: expand, filter in the frame and over time, project."""

    def __init__(self, channels_in: int, shape: _Shape, *, side: int) -> None:
        super().__init__()
        wide, channels, kernel, stride, kernel_over_time = shape
        self.padding = side % 2  # of the pooling, at the left and the top
        self.expand = _Conv(channels_in, wide, 1, side=side)
        self.spatial = _Conv(wide, wide, kernel, side=side, stride=stride, groups=wide)
        self.side = side = self.spatial.side
        over_time = kernel_over_time > 1
        self.temporal = _TemporalConv(wide, kernel_over_time, side=side) if over_time else None
        self.project = _Conv(wide, channels, 1, side=side)
        self.skip = _Conv(channels_in, channels, 1, side=side) if stride > 1 else None

    def forward(self, x: Tensor, state: Iterator[Tensor]) -> tuple[Tensor, State]:
        """Map (R, C, H, W); take the past of `temporal` from `state`, return the new one."""
        y = F.relu6(self.spatial(F.relu6(self.expand(x))))
        kept: State = ()
        if self.temporal is not None:
            y, past = self.temporal(y, next(state))
            y, kept = F.relu6(y), (past,)
        if self.skip is not None:
            x = F.avg_pool2d(x, 3, 2, self.padding, ceil_mode=True, count_include_pad=False)
            x = self.skip(x)
        return x + self.project(y), kept


class MovinetA0(nn.Module):
    """Maps clips of uint8 RGB frames (B, T, H, W, 3) to means of each frame's maps (B, T, P)."""

    def __init__(self, *, frame_size: int = FRAME_SIZE) -> None:
        super().__init__()
        self.stem = _Conv(3, _STEM_CHANNELS, 3, side=frame_size, stride=2)
        side, channels, blocks = self.stem.side, _STEM_CHANNELS, []
        for shape in _BLOCKS:
            blocks.append(_Block(channels, shape, side=side))
            side, channels = blocks[-1].side, shape.channels
        self.blocks = cast(Sequence[_Block], nn.ModuleList(blocks))
        self.project = _Conv(channels, POOLED_SIZE, 1, side=side)
        self.last = nn.ReLU6()  # a module, so that explanations can hook its maps

    def initial_state(self, batch: int) -> State:
        """Return the state before the first frame: zeros, each (frames * B, C, H, W)."""
        like = self.stem.weight
        layers = [block.temporal for block in self.blocks if block.temporal is not None]
        return tuple(like.new_zeros(t.past * batch, *t.frame_shape) for t in layers)

    def forward(self, frames: Tensor) -> Tensor:  # noqa: D102  # see the class
        return self.step(frames, self.initial_state(frames.shape[0]))[0]

    def step(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Compute the means (B, T, P) of the next T >= 1 frames, and the state after them."""
        batch, count = frames.shape[:2]
        pixels = frames.transpose(0, 1).flatten(0, 1).float() / 255  # (R, H, W, 3)
        x = F.relu6(self.stem(pixels.permute(0, 3, 1, 2)))
        past = iter(state)
        kept: State = ()
        for block in self.blocks:
            x, new = block(x, past)
            kept += new
        maps = self.last(self.project(x))  # (R, P, H / 32, W / 32)
        pooled = maps.mean((2, 3)).view(count, batch, POOLED_SIZE).transpose(0, 1)
        return pooled, kept


class ActionFeatures(nn.Module):
    """Maps clips of uint8 RGB frames (B, T, H, W, 3) of any size to features (B, T, D) of `action`.

    They are the square roots of the means over the last maps, which classifiers of few clips read
    better (log-loss 0.216 in place of 0.239 on 300 fights), and the hidden units that the network's
    own classifier computes of each frame's means. The state before the first frame is zeros.
    """

    def __init__(self, network: MovinetA0, head: "MovinetHead") -> None:
        super().__init__()
        self.network, self.hidden = network, head.hidden

    def forward(self, frames: Tensor) -> Tensor:  # noqa: D102  # see the class
        pooled = self.pooled(frames)
        return torch.cat([pooled.sqrt(), F.relu6(self.hidden(pooled))], dim=-1)

    def pooled(self, frames: Tensor) -> Tensor:
        """Compute the means over the last maps (B, T, P), none below 0."""
        batch, count = frames.shape[:2]
        pixels = frames.flatten(0, 1).permute(0, 3, 1, 2).float()
        size = (FRAME_SIZE, FRAME_SIZE)  # frames of this size stay as they are
        pixels = F.interpolate(pixels, size, mode="bilinear", align_corners=False)
        frames = pixels.permute(0, 2, 3, 1).reshape(batch, count, *size, 3)
        pooled: Tensor = self.network(frames)
        return pooled


def build_action_features() -> ActionFeatures:
    """Build the network of the stream `action` in eval mode, or raise a BackboneError."""
    return ActionFeatures(*load_movinet(read_constants(action_weights_file().read_bytes()))).eval()


class MovinetHead(nn.Module):
    """Maps means of maps (B, T, P) to the hidden units (B, 2048) and the logits (B, 600)."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(POOLED_SIZE, HIDDEN_SIZE)
        self.classifier = nn.Linear(HIDDEN_SIZE, NUM_LABELS)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102  # see the class
        hidden = F.relu6(self.hidden(pooled.mean(1)))
        return hidden, self.classifier(hidden)


class Kinetics600Classifier(nn.Module):
    """Maps features of the stream `action` (B, 1, T, D) to the logits (B, 600) of `MovinetHead`."""

    def __init__(self, head: MovinetHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:  # noqa: D102  # see the class
        logits: Tensor = self.head(features[:, 0, :, :POOLED_SIZE].square())[1]
        return logits


def build_kinetics600_classifier() -> Kinetics600Classifier:
    """Build the classifier in eval mode, or raise a BackboneError."""
    _, head = load_movinet(read_constants(action_weights_file().read_bytes()))
    return Kinetics600Classifier(head).eval()


def load_movinet(
    constants: Sequence[NDArray[np.float32]], *, frame_size: int = FRAME_SIZE
) -> tuple[MovinetA0, MovinetHead]:
    """Build the network and its head in eval mode, with the constants of the file in its order.

    The constants are weights and biases of convolutions, and maps of one repeated number that
    multiply the results of blocks (ReZero) before the shortcut is added.
    """
    network, head = MovinetA0(frame_size=frame_size), MovinetHead()
    weights = (torch.from_numpy(c) for c in constants if c.ndim != 5)
    factors = (float(c.flat[0]) for c in constants if c.ndim == 5)
    with torch.no_grad():
        for layer in _layers(network, head):
            weight = next(weights).movedim(3, 1)  # was (out, H, W, in), or (1, H, W, C)
            if weight.shape[0] == 1:  # depthwise
                weight = weight.transpose(0, 1)
            weight = weight.reshape(layer.weight.shape)
            layer.load_state_dict({"weight": weight, "bias": next(weights)})
        for block in network.blocks:
            factor = next(factors)
            for parameter in block.project.parameters():
                parameter.mul_(factor)
    return network.eval(), head.eval()


def _layers(network: MovinetA0, head: MovinetHead) -> Iterator[_Conv | _TemporalConv | nn.Linear]:
    """Yield the layers in the order in which the file has their weights."""
    yield network.stem
    for block in network.blocks:
        yield from (block.expand, block.spatial)
        if block.temporal is None:
            yield block.project
        if block.skip is not None:
            yield block.skip
        if block.temporal is not None:
            yield from (block.temporal, block.project)
    yield from (network.project, head.hidden, head.classifier)
