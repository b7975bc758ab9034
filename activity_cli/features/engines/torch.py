"""The engine for GPUs, and the reference on CPUs: the network as it was trained."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from activity_cli.common.processes import thread_limit
from activity_cli.errors import SettingsError
from activity_cli.features.engines.choice import Engine
from activity_cli.features.engines.protocol import FeatureNetwork, NetworkCache, check_frames
from activity_cli.types import Images

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_BYTES_PER_PIXEL = 1280
"""Memory that a CNN needs per pixel of a frame: 64 MiB at 224 x 224, measured with VGG, which
needs most."""


class TorchExtractor:
    """Computes features on any device of torch."""

    def __init__(
        self,
        network: FeatureNetwork,
        *,
        device: str,
        precision: str,
    ) -> None:
        self.identity = f"torch-{device.partition(':')[0]}-{precision}"
        self.feature_size = network.feature_size
        self._shape = network.shape
        self._device = torch.device(device)
        self._dtype = _DTYPES[precision]
        # Channels last is the layout in which convolutions are fastest.
        layout: Any = {"memory_format": torch.channels_last}
        self._network = network.build().eval().to(self._device, **layout)
        *clip, side, _, _ = network.shape
        self.batch_size = max(1, _choose_batch_size(self._device, side) // math.prod(clip))

    @torch.inference_mode()
    def extract(self, frames: Images) -> NDArray[np.float32]:
        """Compute features, see `Extractor`; out of memory, halve the batches."""
        check_frames(frames, self._shape)
        features = np.empty((len(frames), *self._shape[:-3], self.feature_size), np.float32)
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
        autocast = torch.autocast(self._device.type, dtype=self._dtype, enabled=reduced)
        with autocast, torch_threads(thread_limit()):
            features: NDArray[np.float32] = self._network(batch).float().cpu().numpy()
        return features


class TorchClassifier:
    """Computes scores of clips on any device of torch, in fp32."""

    def __init__(self, scorer: nn.Module, *, device: str) -> None:
        self._device = torch.device(device)
        self._scorer = scorer.eval().to(self._device)

    @torch.inference_mode()
    def classify(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Compute probabilities (B, C) from (B, S, T, D)."""
        clips = torch.from_numpy(np.ascontiguousarray(features, np.float32)).to(self._device)
        with torch_threads(thread_limit()):
            scores: NDArray[np.float32] = self._scorer(clips).cpu().numpy()
        return scores


@contextmanager
def torch_threads(num_threads: int | None) -> Iterator[None]:
    """Compute with so many threads; the host's number is restored. None changes nothing."""
    if num_threads is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def load_extractor(
    network: FeatureNetwork,
    engine: Engine,
    cache: NetworkCache,  # noqa: ARG001  # every engine gets it
) -> TorchExtractor:
    """Load a network; see `choice.load_extractor`. `auto` is fp16 on GPUs, else fp32."""
    precision = choose_precision(engine)
    return TorchExtractor(network, device=engine.device, precision=precision)


def load_classifier(
    build: Callable[[], nn.Module], engine: Engine, *_: object, **__: object
) -> TorchClassifier:
    """Load a sequence classifier; see `choice.load_classifier`."""
    return TorchClassifier(build(), device=engine.device)


def choose_precision(engine: Engine, *, has_int8: bool = False) -> str:  # noqa: ARG001
    """Return the precision of the CNN; a SettingsError if the device does not compute in it."""
    device, precision = engine.device, engine.precision
    kind = torch.device(device).type
    if precision == "bf16":
        # avx512_bf16 or amx_bf16 on x86, bf16 on ARM
        has_bf16 = any("bf16" in name and has for name, has in torch.cpu.get_capabilities().items())
        if kind == "cpu" and not has_bf16:
            # Measured with AVX2 alone: 32 s for a frame that takes below 1 s in fp32.
            raise SettingsError(
                "This CPU has no bf16 instructions; torch would emulate them, very slowly.",
                hint="Use auto or fp32.",
            )
        if kind != "cpu" and not (kind == "cuda" and torch.cuda.is_bf16_supported()):
            raise SettingsError(f"{device} does not compute in bf16.", hint="Use fp16 or fp32.")
    if precision == "int8":
        raise SettingsError("torch does not compute in int8.", hint="Use openvino on the CPU.")
    if precision == "fp16" and kind == "cpu":
        raise SettingsError("torch computes fp16 on GPUs only.", hint="Use bf16 or fp32.")
    if precision == "auto":
        # fp16 rounds features eight times finer than bf16, and GPUs are as fast with both.
        return "fp32" if kind == "cpu" else "fp16"
    return precision


def _choose_batch_size(device: torch.device, frame_size: int) -> int:
    """Return the power of two of frames, 8 to 256, that fit into half of a GPU's free memory."""
    if device.type != "cuda":  # Apple's memory is shared: how much is free is unknown
        return 16 if device.type == "cpu" else 32
    free_bytes, _ = torch.cuda.mem_get_info(device)
    frames = max(8, min(256, free_bytes // 2 // (_BYTES_PER_PIXEL * frame_size**2)))
    return 1 << (int(frames).bit_length() - 1)
