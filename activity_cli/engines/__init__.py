"""What computes: one file per runtime, imported when it is chosen.

N is frames, H and W pixels, B clips, S streams, T frames per clip, D features, C labels.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from activity_cli.types import Images


class Extractor(Protocol):
    """Frames to CNN features."""

    identity: str
    """Runtime and precision, e.g. "openvino-fp32": features of another one are not the same."""
    feature_size: int
    """D."""

    def extract(self, frames: Images) -> NDArray[np.float32]:
        """Compute (N, D) from any number N of frames (N, H, W, 3), RGB uint8."""
        ...


class Classifier(Protocol):
    """Features of clips to scores."""

    def classify(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Compute probabilities (B, C) from (B, S, T, D)."""
        ...
