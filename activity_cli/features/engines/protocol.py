"""What every engine offers.

N is frames, H and W pixels, B clips, S streams, T frames per clip, D features, C labels.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from activity_cli.types import Images

OnPrepare = Callable[[str], None]
"""Told in one line when something is prepared that later runs find ready."""


class Extractor(Protocol):
    """Frames to CNN features. For calls from one thread at a time."""

    identity: str
    """Runtime and precision, e.g. "openvino-fp32": features of another one are not the same."""
    feature_size: int
    """D."""
    batch_size: int
    """As many frames at once keep the device busy; fewer or more are computed as well."""

    def extract(self, frames: Images) -> NDArray[np.float32]:
        """Compute (N, D) from any number N of frames (N, H, W, channels) uint8.

        Raises:
            ValueError: the frames are not of the size that the extractor was loaded for.
        """
        ...


class Classifier(Protocol):
    """Features of clips to scores. For calls from one thread at a time."""

    def classify(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Compute probabilities (B, C) from (B, S, T, D)."""
        ...
