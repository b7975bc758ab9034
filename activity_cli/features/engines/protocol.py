"""What every engine offers, and what the engines share.

N is frames, H and W pixels, B clips, S streams, T frames per clip, D features, C labels.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.cache import ENGINES, CheckedFiles
from activity_cli.types import Images

OnPrepare = Callable[[str], None]
"""Receives one line when something is prepared that later runs find ready."""


class Extractor(Protocol):
    """Computes CNN features of frames. Call it from one thread at a time."""

    identity: str
    """Runtime and precision, e.g. "openvino-fp32". Features of different identities differ."""
    feature_size: int  # D
    batch_size: int  # number of frames per call that keeps the device busy; any number is allowed

    def extract(self, frames: Images) -> NDArray[np.float32]:
        """Compute (N, D) from any number of frames (N, H, W, channels) uint8 of the right size."""
        ...


class Classifier(Protocol):
    """Computes scores of clips from their features. Call it from one thread at a time."""

    def classify(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Compute probabilities (B, C) from (B, S, T, D)."""
        ...


@dataclass(frozen=True, slots=True)
class NetworkCache:
    """Converted networks under `cache_dir/engines`; missing or damaged ones are made again."""

    cache_dir: Path
    on_prepare: OnPrepare

    @property
    def files(self) -> CheckedFiles:
        """The folder of the prepared networks."""
        return CheckedFiles(self.cache_dir / ENGINES)

    @staticmethod
    def name(*parts: str) -> str:
        """Return a file name that depends on these parts and on the versions of torch."""
        everything = (*parts, version("torch"), version("torchvision"))
        return hashlib.sha256("\n".join(everything).encode()).hexdigest()[:32]


def check_frames(frames: Images, frame_shape: Sequence[int]) -> None:
    """Raise a ValueError unless frames are (N, *frame_shape) uint8."""
    if frames.shape[1:] != tuple(frame_shape) or frames.dtype != np.uint8:
        expected = ", ".join(map(str, frame_shape))
        raise ValueError(f"frames must be (N, {expected}) uint8, got {frames.shape} {frames.dtype}")
