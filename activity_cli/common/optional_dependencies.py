"""Libraries that must not be imported before something else is settled. Import them here.

torchvision dies beside a CPU-only torch; OpenVINO, ONNX Runtime and Ray report to their makers.
"""

import importlib.machinery
import importlib.util
import logging
import os
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from activity_cli.common.threads import thread_limit
from activity_cli.errors import MissingExtraError


def import_openvino() -> Any:
    """Import OpenVINO so that it talks to no network.

    By itself `import openvino` sends usage events through the package openvino-telemetry, and the
    only documented switch is a file in the user's home folder. Without that package OpenVINO (and
    NNCF) use their own silent stand-in, so here the package counts as not installed.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # documented: not found
    import openvino

    return openvino


def openvino_core() -> Any:
    """Return OpenVINO's Core, one for the whole process, with the current thread limit.

    The limit holds for networks that are compiled after this call.
    """
    core = _one_core()
    # 0 is OpenVINO's own choice.
    core.set_property("CPU", {"INFERENCE_NUM_THREADS": thread_limit() or 0})
    return core


@cache
def _one_core() -> Any:
    """Make the process's only Core.

    On CPUs with AMX each Core gives the thread a stack to handle signals on, and takes it back when
    it goes. With two of them that go in the order in which they came, what is left is the stack of
    the first one, which is gone: the next Ctrl-C is a segmentation fault (OpenVINO 2026.4).
    """
    return import_openvino().Core()


def import_onnxruntime() -> Any:
    """Import ONNX Runtime so that it talks to no network and leaves no file in the home folder.

    Recent wheels (1.32) send usage events also on Linux, and keep an identifier of the machine.

    Raises:
        MissingExtraError: it is not installed.
    """
    before = os.environ.get("ORT_DISABLE_TELEMETRY")
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when the library is loaded
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("ONNX", package="onnxruntime", extra="onnx") from error
    finally:
        if before is None:
            del os.environ["ORT_DISABLE_TELEMETRY"]
        else:
            os.environ["ORT_DISABLE_TELEMETRY"] = before
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def opencv_version() -> str:
    """Return the version of OpenCV, whichever of its four distributions is installed.

    They install the same module, `cv2`, so that programs may choose one: the headless ones need
    no display libraries, the contrib ones have more modules.
    """
    for name in ("opencv-python", "opencv-contrib-python"):
        for distribution in (name, f"{name}-headless"):
            with suppress(PackageNotFoundError):
                return version(distribution)
    import cv2  # built from source

    return cv2.__version__


def require_onnx() -> None:
    """See that networks can be converted to ONNX here, before minutes of work.

    Raises:
        MissingExtraError: a package is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("ONNX", package="onnx", extra="onnx") from error
    import_onnxruntime()


def import_optuna() -> Any:
    """Import Optuna, and keep it from writing to the terminal.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("Tuning", package="optuna", extra="tune") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def import_nncf() -> Any:
    """Import NNCF so that it talks to no network: its reporting is OpenVINO's.

    Raises:
        MissingExtraError: it is not installed.
    """
    import_openvino()
    try:
        import nncf
    except ImportError as error:
        raise MissingExtraError("The precision int8", package="nncf", extra="int8") from error
    nncf.set_log_level(logging.ERROR)
    return nncf


def import_ray() -> Any:
    """Import Ray with Ray Data, so that it reports to nobody and keeps its messages to itself.

    A cluster that it starts reports usage by itself unless told not to. Messages still go to Ray's
    own log files; `ACTIVITY_DEBUG=1` shows them.

    Raises:
        MissingExtraError: it is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    is_silent = not os.environ.get("ACTIVITY_DEBUG")
    if is_silent:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # of its C++ part, on stderr
        # What it hears of machines that die it prints to stdout, among the results.
        os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("--cluster", package="ray[data]", extra="cluster") from error
    if is_silent:
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    return ray


@cache
def import_torchvision() -> Any:
    """Import torchvision, also where its C++ extension does not load.

    Wheels of torchvision that were built for CUDA cannot load their extension beside a CPU-only
    torch, and then `import torchvision` fails with "operator torchvision::nms does not exist".
    The CNNs need none of the extension's operators; that they are declared is enough.
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


_declared: list[object] = []
"""Declarations live as long as the object that made them."""


def _extension_loads() -> bool:
    """Whether torchvision's operators are there. Loading the extension twice is harmless."""
    import torch

    package = importlib.util.find_spec("torchvision")
    locations = package.submodule_search_locations if package else None
    extension = importlib.machinery.PathFinder.find_spec("_C", locations)
    if extension is None or extension.origin is None:
        return False
    try:
        torch.ops.load_library(extension.origin)  # type: ignore[no-untyped-call]
    except (ImportError, OSError):
        return False
    return True
