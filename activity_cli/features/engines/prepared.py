"""What the engines share: names of prepared networks in the cache, and the check of frames."""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version

import numpy as np

from activity_cli.types import Images


def prepared_name(*parts: str) -> str:
    """The file name of a prepared network: of all that it depends on, and of torch's version."""
    everything = (*parts, version("torch"), version("torchvision"))
    return hashlib.sha256("\n".join(everything).encode()).hexdigest()[:32]


def check_frames(frames: Images, frame_shape: Sequence[int]) -> None:
    """Refuse frames that are not (N, *frame_shape) uint8.

    Raises:
        ValueError: they are not.
    """
    if frames.shape[1:] != tuple(frame_shape) or frames.dtype != np.uint8:
        expected = ", ".join(map(str, frame_shape))
        raise ValueError(f"frames must be (N, {expected}) uint8, got {frames.shape} {frames.dtype}")
