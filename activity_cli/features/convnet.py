"""A small CNN that learns from nothing, for frames unlike photographs.

N is frames, H = W pixels, C channels of a block, G the side of the last grid, D features.
"""

from collections.abc import Sequence

from torch import Tensor, nn

_LARGEST_GRID = 4
"""Side of the grid that features are read from: fine enough to tell up from down."""


class ConvNet(nn.Module):
    """Blocks of convolution, batch norm, max pooling and ReLU, then one linear layer.

    Where something is, is kept on a grid of at most 4 x 4 cells: a mean over all positions, as
    pretrained CNNs take it, would lose where a person's head is, and with it that it rises.
    """

    def __init__(
        self, *, channels: int, frame_size: int, conv_channels: Sequence[int], feature_size: int
    ) -> None:
        """Make one with random weights.

        Args:
            channels: of the frames, 1 or 3.
            frame_size: H = W, at least 2 to the power of the number of blocks.
            conv_channels: of each block.
            feature_size: D.
        """
        super().__init__()
        blocks = []
        for wanted in conv_channels:
            blocks.append(_block(channels, wanted))
            channels = wanted
        self.blocks = nn.Sequential(*blocks)
        side = frame_size // 2 ** len(conv_channels)
        grid = min(side, _LARGEST_GRID)
        self.pool = nn.AvgPool2d(side // grid)  # what is left at the right and below is not read
        cells = side // (side // grid)
        self.features = nn.Sequential(
            nn.Flatten(), nn.Linear(channels * cells**2, feature_size), nn.ReLU()
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels (N, C, H, W) -> (N, D)."""
        grid = self.pool(self.blocks(pixels))  # (N, C, G, G)
        features: Tensor = self.features(grid)
        return features


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.MaxPool2d(2),
        nn.ReLU(),  # of the largest is the largest ReLU: after pooling it is a quarter of the work
    )
