"""The engine for GPUs, and the reference on CPUs: the network as it was trained."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from activity_cli.errors import SettingsError
from activity_cli.features import backbones
from activity_cli.features.backbones import Backbone
from activity_cli.features.engines.choice import Precision
from activity_cli.features.engines.prepared import check_frames
from activity_cli.types import Images

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_CPU_BATCH = 16
_BYTES_PER_PIXEL = 1280
"""Memory for one frame on its way through a CNN, per pixel of the frame: 64 MiB at 224 x 224, what
VGG, the hungriest, takes."""
_GPU_BATCHES = (8, 256)  # beyond the larger one more frames at once gain nothing


class TorchExtractor:
    """Frames to CNN features on any device of torch."""

    def __init__(
        self,
        network: nn.Module,
        *,
        backbone: Backbone,
        frame_size: int,
        device: str,
        precision: str,
    ) -> None:
        self.identity = f"torch-{device.partition(':')[0]}-{precision}"
        self.feature_size = backbone.feature_size
        self._frame_shape = (frame_size, frame_size, backbone.channels)
        self._device = torch.device(device)
        self._dtype = _DTYPES[precision]
        # The layout that convolutions are fastest in: pixels apart, channels together.
        layout: Any = {"memory_format": torch.channels_last}
        self._network = network.eval().to(self._device, **layout)
        self.batch_size = _choose_batch_size(self._device, frame_size)

    @torch.inference_mode()
    def extract(self, frames: Images) -> NDArray[np.float32]:
        """Compute (N, D) from (N, H, W, channels) uint8. Out of memory, it goes on in halves."""
        check_frames(frames, self._frame_shape)
        features = np.empty((len(frames), self.feature_size), np.float32)
        start = 0
        while start < len(frames):
            try:
                batch = self._compute(frames[start : start + self.batch_size])
            except torch.cuda.OutOfMemoryError:
                if self.batch_size == 1:
                    raise
                self.batch_size //= 2
                torch.cuda.empty_cache()
                continue
            features[start : start + len(batch)] = batch
            start += len(batch)
        return features

    def _compute(self, frames: Images) -> NDArray[np.float32]:
        batch = torch.from_numpy(np.ascontiguousarray(frames))
        if self._device.type == "cuda":  # from pinned memory the copy does not wait for the CPU
            batch = batch.pin_memory()
        batch = batch.to(self._device, non_blocking=True)
        reduced = self._dtype != torch.float32
        with torch.autocast(self._device.type, dtype=self._dtype, enabled=reduced):
            features: NDArray[np.float32] = self._network(batch).float().cpu().numpy()
        return features


class TorchClassifier:
    """Features of clips to scores on any device of torch, in fp32."""

    def __init__(self, scorer: nn.Module, *, device: str) -> None:
        self._device = torch.device(device)
        self._scorer = scorer.eval().to(self._device)

    @torch.inference_mode()
    def classify(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Compute probabilities (B, C) from (B, S, T, D)."""
        clips = torch.from_numpy(np.ascontiguousarray(features, np.float32)).to(self._device)
        scores: NDArray[np.float32] = self._scorer(clips).cpu().numpy()
        return scores


def load_extractor(
    backbone: Backbone, *, device: str, precision: Precision, frame_size: int
) -> TorchExtractor:
    """Load a CNN as torch runs it. `auto` is half precision where the device is made for it.

    Raises:
        BackboneError: the weights are missing, changed or damaged.
        SettingsError: the device does not compute in that precision.
    """
    return TorchExtractor(
        backbones.build(backbone),
        backbone=backbone,
        frame_size=frame_size,
        device=device,
        precision=_choose_precision(device, precision),
    )


def _choose_precision(device: str, precision: Precision) -> str:
    kind = torch.device(device).type
    can_bf16 = kind == "cpu" or (kind == "cuda" and torch.cuda.is_bf16_supported())
    if precision == "bf16" and not can_bf16:
        raise SettingsError(f"{device} does not compute in bf16.", hint="Use fp16 or fp32.")
    if precision == "fp16" and kind == "cpu":
        raise SettingsError("torch computes fp16 on GPUs only.", hint="Use bf16 or fp32.")
    if precision == "auto":
        # fp16 rounds features eight times finer than bf16, and GPUs are as fast in either.
        return "fp32" if kind == "cpu" else "fp16"
    return precision


def _choose_batch_size(device: torch.device, frame_size: int) -> int:
    """Frames at once: as many as fit into half of the free memory of a GPU, a power of two."""
    if device.type == "cpu":
        return _CPU_BATCH
    smallest, largest = _GPU_BATCHES
    if device.type != "cuda":  # memory shared with the CPU, and nobody tells how much is free
        return 4 * smallest
    free_bytes, _ = torch.cuda.mem_get_info(device)
    frames: Any = free_bytes // 2 // (_BYTES_PER_PIXEL * frame_size**2)
    return max(smallest, min(largest, 1 << max(0, int(frames).bit_length() - 1)))
