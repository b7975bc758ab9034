"""Choose the engine, its device and precision, without importing any engine."""

import ctypes
import importlib.util
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from activity_cli.errors import SettingsError

EngineName = Literal["openvino", "onnx", "torch"]
Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]

_CUDA_DRIVERS = ("libcuda.so.1", "nvcuda.dll")
_CUDA_LIBRARIES = ("libc10_cuda.so", "c10_cuda.dll")  # a torch that was built for CUDA has one


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine that `choose_engine` found available."""

    name: EngineName
    device: str
    """cpu, mps, cuda, or one of several: cuda:1."""
    precision: Precision = "auto"
    """Precision of the CNN. The engine resolves auto when it is loaded."""


def choose_engine(
    engine: Literal["auto", "openvino", "onnx", "torch"] = "auto",
    *,
    device: str = "auto",
    precision: Precision = "auto",
) -> Engine:
    """Choose an engine: torch on CUDA or Apple's GPU if there is one, else OpenVINO.

    Args:
        engine: openvino and onnx compute on the CPU, torch on every device.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: of the CNN.

    Raises:
        SettingsError: this combination does not exist, or there is no such device.
    """
    kind, _, number = device.partition(":")
    if kind not in {"auto", "cpu", "cuda", "mps"} or (number and not number.isdecimal()):
        raise SettingsError(f"There is no device {device!r}.", hint="Use cpu, cuda, cuda:1 or mps.")
    if precision == "int8":
        raise SettingsError(
            "int8 needs an exported model, calibrated on your clips.",
            hint="activity export MODEL --precision int8, then predict --model EXPORT.",
        )
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


def find_gpu() -> str | None:
    """Return the GPU that torch can use, `cuda` or `mps`, if any."""
    return next((kind for kind in ("cuda", "mps") if _has(kind)), None)


def _has(kind: str) -> bool:
    """Tell whether torch can use a GPU; torch, slow to import, is asked only if one is likely."""
    if kind == "mps":
        if platform.system() != "Darwin" or platform.machine() != "arm64":
            return False
        import torch

        return torch.backends.mps.is_available()
    if not (_has_cuda_driver() and _has_cuda_torch()):
        return False
    import torch

    return torch.cuda.is_available()


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
    package = importlib.util.find_spec("torch")
    if package is None or package.origin is None:
        return False
    libraries = Path(package.origin).parent / "lib"
    return any((libraries / name).exists() for name in _CUDA_LIBRARIES)
