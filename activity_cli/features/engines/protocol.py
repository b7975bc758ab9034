"""What every engine offers, and what the engines share.

N is frames, H and W pixels, B clips, S streams, T frames per clip, D features, C labels.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.cache import ENGINES, CheckedFiles
from activity_cli.common.optional_dependencies import version_text
from activity_cli.types import Images

if TYPE_CHECKING:
    from torch import nn

OnPrepare = Callable[[str], None]
"""Receives one line when something is prepared that later runs find ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureNetwork:
    """A network that an extractor runs: of frames, or of whole clips."""

    name: str
    key: str  # identifies its weights
    build: Callable[[], "nn.Module"]
    shape: tuple[int, ...]  # of its input: a frame (H, W, channels), or a clip (T, H, W, 3)
    feature_size: int  # D
    own_size: int  # side of the frames that it is converted with, in pixels
    build_int8: "Callable[[], nn.Module] | None" = None  # a module that rounds to 8 bits

    @property
    def is_of_clips(self) -> bool:
        """Whether it reads the frames of a clip in their order."""
        return len(self.shape) == 4


class Extractor(Protocol):
    """Computes features of frames, or of clips. Call it from one thread at a time."""

    identity: str
    """Runtime and precision, e.g. "openvino-fp32". Features of different identities differ."""
    feature_size: int  # D
    batch_size: int  # frames or clips per call that keep the device busy; any number is allowed

    def extract(self, frames: Images) -> NDArray[np.float32]:
        """Compute features of uint8 inputs of the right size, any number of them.

        (N, D) from frames (N, H, W, channels); (N, T, D) from clips (N, T, H, W, 3).
        """
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
        everything = (*parts, version_text("torch"), version_text("torchvision"))
        return hashlib.sha256("\n".join(everything).encode()).hexdigest()[:32]


def check_frames(frames: Images, frame_shape: Sequence[int]) -> None:
    """Raise a ValueError unless frames are (N, *frame_shape) uint8."""
    if frames.shape[1:] != tuple(frame_shape) or frames.dtype != np.uint8:
        expected = ", ".join(map(str, frame_shape))
        raise ValueError(f"frames must be (N, {expected}) uint8, got {frames.shape} {frames.dtype}")
