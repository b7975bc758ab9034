"""Choose an engine, its device and precision, and load networks into it.

Light to import: each engine is imported when a network is loaded into it.
"""

import ctypes
import importlib
import importlib.util
import logging
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from activity_cli.errors import SettingsError

if TYPE_CHECKING:
    from torch import nn

    from activity_cli.features.backbones import Backbone
    from activity_cli.features.engines.protocol import (
        Classifier,
        Extractor,
        NetworkCache,
        OnPrepare,
    )

EngineName = Literal["openvino", "onnx", "torch"]
Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]

_LOG = logging.getLogger(__name__)
_CUDA_DRIVERS = ("libcuda.so.1", "nvcuda.dll")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine that `choose_engine` found available."""

    name: EngineName
    device: str  # cpu, mps, cuda, or one of several: cuda:1
    precision: Precision = "auto"
    """Precision of the CNN. The engine resolves auto when it is loaded."""


def choose_engine(
    engine: Literal["auto", "openvino", "onnx", "torch"] = "auto",
    *,
    device: str = "auto",
    precision: Precision = "auto",
) -> Engine:
    """Choose an engine: torch on CUDA or Apple's GPU if there is one, else OpenVINO.

    `device` is auto, cpu, cuda, cuda:N or mps, `precision` that of the CNN.

    Raises:
        SettingsError: this combination does not exist, or there is no such device.
    """
    kind, _, number = device.partition(":")
    if kind not in {"auto", "cpu", "cuda", "mps"} or (number and not number.isdecimal()):
        raise SettingsError(f"There is no device {device!r}.", hint="Use cpu, cuda, cuda:1 or mps.")
    on_gpu = kind in {"cuda", "mps"}
    if on_gpu and engine in {"openvino", "onnx"}:
        raise SettingsError(
            f"The {engine} engine computes on the CPU.",
            hint=f"Use --engine torch --device {device}.",
        )
    if on_gpu and not _has(kind):
        raise SettingsError(
            f"There is no {kind} device here, or this torch was not built for it.",
            hint="Omit --device, or install a torch for your GPU (pytorch.org).",
        )
    if kind == "auto" and engine in {"auto", "torch"} and (found := find_gpu()):
        device, on_gpu = found, True
    elif kind == "auto":
        device = "cpu"
    if engine == "auto":
        engine = "torch" if on_gpu else "openvino"
    assert engine in get_args(EngineName)
    return Engine(name=engine, device=device, precision=precision)


def identity_of(engine: Engine, backbone: "Backbone") -> str:
    """Return the identity of the extractor that an engine loads, see `Extractor`.

    Raises:
        SettingsError: the engine does not compute in that precision here.
        MissingExtraError: the engine is not installed.
    """
    module = importlib.import_module(f"activity_cli.features.engines.{engine.name}")
    device = f"-{engine.device.partition(':')[0]}" if engine.name == "torch" else ""
    return f"{engine.name}{device}-{module.choose_precision(engine, has_int8=backbone.has_int8)}"


def load_extractor(
    backbone: "Backbone",
    engine: Engine,
    *,
    cache_dir: Path,
    frame_size: int | None = None,
    on_prepare: "OnPrepare" = lambda _: None,
) -> "Extractor":
    """Load a CNN for square frames of one size, that of the backbone unless given.

    An engine that has converted the CNN before, which takes seconds, needs no weights.

    Raises:
        BackboneError: the weights are missing, changed or damaged, and are needed.
        SettingsError: the engine does not compute in that precision here.
        MissingExtraError: the engine is not installed.
    """
    from activity_cli.features.engines.protocol import FeatureNetwork

    side = frame_size or backbone.frame_size
    features = "activity_cli.features"  # these import torch
    network = FeatureNetwork(
        name=backbone.name,
        key=f"{backbone.name} {backbone.weights_sha256}",
        build=lambda: importlib.import_module(f"{features}.cnn").build_folded_cnn(backbone),
        build_int8=(
            (lambda: importlib.import_module(f"{features}.int8").build_int8_cnn(backbone))
            if backbone.has_int8
            else None
        ),
        shape=(side, side, backbone.channels),
        feature_size=backbone.feature_size,
        own_size=backbone.frame_size,
    )
    runtime, cache = _runtime(engine, cache_dir, on_prepare)
    extractor: Extractor = runtime.load_extractor(network, engine, cache)
    where = f"{extractor.identity} on {engine.device}"
    _LOG.info("CNN %s: %s, cache %s", backbone.name, where, cache_dir)
    return extractor


def load_action_extractor(
    engine: Engine,
    *,
    cache_dir: Path,
    num_frames: int,
    frame_size: int,
    on_prepare: "OnPrepare" = lambda _: None,
) -> "Extractor":
    """Load the action network for clips of T square frames, always in fp32.

    Errors are those of `load_extractor`.
    """
    from activity_cli.features import action_weights
    from activity_cli.features.engines.protocol import FeatureNetwork

    movinet = "activity_cli.features.movinet"  # imports torch
    network = FeatureNetwork(
        name=action_weights.NAME,
        key=f"{action_weights.NAME} with hidden units {action_weights.SHA256}",
        build=lambda: importlib.import_module(movinet).build_action_features(),
        shape=(num_frames, frame_size, frame_size, 3),
        feature_size=action_weights.FEATURE_SIZE,
        own_size=frame_size,
    )
    runtime, cache = _runtime(engine, cache_dir, on_prepare)
    extractor: Extractor = runtime.load_extractor(network, replace(engine, precision="fp32"), cache)
    return extractor


def load_classifier(
    build: "Callable[[], nn.Module]",
    engine: Engine,
    *,
    key: str,
    cache_dir: Path,
    example_shape: tuple[int, int, int, int],
    on_prepare: "OnPrepare" = lambda _: None,
) -> "Classifier":
    """Load a sequence classifier, always in fp32.

    Raises:
        MissingExtraError: the engine is not installed.
    """
    runtime, cache = _runtime(engine, cache_dir, on_prepare)
    # A later version may read other features for the same weights, as kinetics600 does.
    key = f"{key} {example_shape}"
    classifier: Classifier = runtime.load_classifier(
        build, engine, cache, key=key, example_shape=example_shape
    )
    return classifier


def _runtime(
    engine: Engine, cache_dir: Path, on_prepare: "OnPrepare"
) -> "tuple[Any, NetworkCache]":
    """Import the module of an engine, and open its cache of converted networks."""
    from activity_cli.features.engines.protocol import NetworkCache

    module = importlib.import_module(f"activity_cli.features.engines.{engine.name}")
    return module, NetworkCache(cache_dir, on_prepare)


def find_gpu() -> str | None:
    """Return the GPU that torch can use, `cuda` or `mps`, if any."""
    return next((kind for kind in ("cuda", "mps") if _has(kind)), None)


def _has(kind: str) -> bool:
    """Tell whether torch can use a GPU; torch, slow to import, is asked only if one is likely."""
    if kind == "mps":
        likely = platform.system() == "Darwin" and platform.machine() == "arm64"
    else:
        likely = _has_cuda_driver() and _has_cuda_torch()
    if not likely:
        return False
    import torch

    return torch.backends.mps.is_available() if kind == "mps" else torch.cuda.is_available()


def _has_cuda_driver() -> bool:
    """Tell whether the CUDA driver is installed and finds a device."""
    for name in _CUDA_DRIVERS:
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        count = ctypes.c_int(0)
        if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0:
            return count.value > 0
    return False


def _has_cuda_torch() -> bool:
    """Tell whether torch was built for CUDA: it has libc10_cuda.so or c10_cuda.dll then."""
    package = importlib.util.find_spec("torch")
    if package is None or package.origin is None:
        return False
    return any(Path(package.origin).with_name("lib").glob("*c10_cuda.*"))
