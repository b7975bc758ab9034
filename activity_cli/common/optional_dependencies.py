"""Import libraries that must not be imported directly.

torchvision fails beside a CPU-only torch; OpenVINO, ONNX Runtime and Ray send usage reports unless
they are told not to. Each function raises MissingExtraError where its package is not installed.
"""

import importlib.machinery
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from activity_cli.common.processes import thread_limit
from activity_cli.errors import MissingExtraError


def import_openvino() -> Any:
    """Import OpenVINO so that it talks to no network.

    It sends usage events through the package openvino-telemetry, and the only documented switch is
    a file in the user's home folder. So this process treats that package as not installed.

    Its converter, a third of the import, is left out: see `convert_to_openvino`.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # documented: not found
    converter = "openvino.tools.ovc"
    if "openvino" not in sys.modules:
        sys.modules[converter] = None  # type: ignore[assignment]
    try:
        import openvino
    finally:
        if sys.modules.get(converter, openvino) is None:
            del sys.modules[converter]
    return openvino


def convert_to_openvino(module: Any, **options: Any) -> Any:
    """Convert a torch module to OpenVINO's Model, see `openvino.convert_model`."""
    import_openvino()
    from openvino.tools.ovc import convert_model

    return convert_model(module, **options)


def openvino_core() -> Any:
    """Return OpenVINO's Core, with the thread limit for networks that are compiled after this call.

    There is one for the whole process: on CPUs with AMX each Core gives the thread a signal stack,
    and after two that end in the order in which they began, the thread keeps the freed stack of the
    first: the next Ctrl-C is a segmentation fault (OpenVINO 2026.4).
    """
    core = _one_core()
    # 0 is OpenVINO's own choice.
    core.set_property("CPU", {"INFERENCE_NUM_THREADS": thread_limit() or 0})
    return core


@cache
def _one_core() -> Any:
    return import_openvino().Core()


def import_onnxruntime() -> Any:
    """Import ONNX Runtime so that it talks to no network and leaves no file in the home folder.

    Recent wheels (1.32) send usage events also on Linux, and keep an identifier of the machine.
    """
    before = os.environ.get("ORT_DISABLE_TELEMETRY")
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when the library is loaded
    try:
        with _extra("ONNX", package="onnxruntime", extra="onnx"):
            import onnxruntime
    finally:
        if before is None:
            del os.environ["ORT_DISABLE_TELEMETRY"]
        else:
            os.environ["ORT_DISABLE_TELEMETRY"] = before
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def require_onnx() -> None:
    """Check that networks can be converted to ONNX here, before minutes of work."""
    with _extra("ONNX", package="onnx", extra="onnx"):
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    import_onnxruntime()


def import_av() -> Any:
    """Import PyAV, whose FFmpeg then writes nothing to stderr."""
    with _extra("Decoding AV1", package="av", extra="codecs"):
        import av
    av.logging.set_level(None)
    return av


def import_optuna() -> Any:
    """Import Optuna, and keep it from writing to the terminal."""
    with _extra("Tuning", package="optuna", extra="tune"):
        import optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def import_nncf() -> Any:
    """Import NNCF so that it talks to no network: its reporting is OpenVINO's."""
    import_openvino()
    with _extra("The precision int8", package="nncf", extra="int8"):
        import nncf
    nncf.set_log_level(logging.ERROR)
    return nncf


def import_ray() -> Any:
    """Import Ray with Ray Data, without usage reports; only `ACTIVITY_DEBUG=1` shows its messages.

    Sets environment variables for the rest of the process: a cluster that Ray starts reads them.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    is_silent = not os.environ.get("ACTIVITY_DEBUG")
    if is_silent:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # of its C++ part, on stderr
        # Ray prints messages about lost machines to stdout, among the results.
        os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")
    with _extra("--cluster", package="ray[data]", extra="cluster"):
        import ray
        import ray.data
    if is_silent:
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    return ray


@contextmanager
def _extra(feature: str, *, package: str, extra: str) -> Iterator[None]:
    """Turn the failed import of an optional package into the error that names its extra."""
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(feature, package=package, extra=extra) from error


def opencv_version() -> str:
    """Return the version of OpenCV, whichever of its four distributions is installed."""
    from importlib.metadata import PackageNotFoundError, version  # takes as long as numpy's core

    for name in ("opencv-python", "opencv-contrib-python"):
        for distribution in (name, f"{name}-headless"):
            with suppress(PackageNotFoundError):
                return version(distribution)
    import cv2  # built from source

    return cv2.__version__


def version_text(package: str) -> str:
    """Return a text that tells versions of torch or torchvision apart.

    They have a module for it, which is read, not imported; the other way takes ten times as long.
    """
    spec = importlib.util.find_spec(package)
    try:
        return Path(str(spec and spec.origin)).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        from importlib.metadata import version

        return version(package)


@cache
def import_torchvision() -> Any:
    """Import torchvision, also where its C++ extension does not load.

    Wheels for CUDA cannot load it beside a CPU-only torch, and then the import fails with "operator
    torchvision::nms does not exist". The CNNs do not use it; to declare its operators is enough.
    """
    import torch

    if not _extension_loads():
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for operator in ("nms", "qnms"):
            schema = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(schema)  # type: ignore[no-untyped-call]
        _declared.append(library)
    import torchvision

    return torchvision


_declared: list[object] = []  # declarations last as long as their library object


def _extension_loads() -> bool:
    """Return whether torchvision's operators load. Loading the extension twice is harmless."""
    import torch

    package = importlib.util.find_spec("torchvision")
    locations = package.submodule_search_locations if package else None
    extension = importlib.machinery.PathFinder.find_spec("_C", locations)
    if extension is not None and extension.origin is not None:
        with suppress(ImportError, OSError):
            torch.ops.load_library(extension.origin)  # type: ignore[no-untyped-call]
            return True
    return False


def import_parquet() -> tuple[Any, Any]:
    """Import pyarrow and its module for Parquet; MissingExtraError if it is not installed."""
    with _extra("A .parquet file", package="pyarrow", extra="parquet"):
        import pyarrow
        from pyarrow import parquet
    return pyarrow, parquet
