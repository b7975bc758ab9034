"""A small CNN that is trained from scratch, for frames unlike photographs.

N is frames, H = W pixels, C channels of a block, G the side of the last grid, D features.
"""

from torch import Tensor, nn

from activity_cli.features.backbones import Backbone

_LARGEST_GRID = 4
"""Side of the grid that features are read from: fine enough to tell up from down."""


class ConvNet(nn.Module):
    """Blocks of convolution, batch norm, max pooling and ReLU, then one linear layer.

    Features are read from a grid of at most 4 x 4 cells. A mean over all positions, as in
    pretrained CNNs, would lose where a person's head is, and with it that it rises.

    Args:
        backbone: its layout; frames are at least `smallest_frame` pixels wide.
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
        grid = min(side, _LARGEST_GRID)
        self.pool = nn.AvgPool2d(side // grid)  # cells left over at the right and below are cut off
        cells = side // (side // grid)
        self.features = nn.Sequential(
            nn.Flatten(), nn.Linear(channels * cells**2, backbone.feature_size), nn.ReLU()
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels (N, C, H, W) -> (N, D)."""
        grid = self.pool(self.blocks(pixels))  # (N, C, G, G)
        features: Tensor = self.features(grid)
        return features
