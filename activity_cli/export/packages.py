"""The packages that some formats and precisions need beyond what is installed by default."""

import logging
from typing import Any

from activity_cli.errors import MissingExtraError
from activity_cli.guarded_imports import import_onnxruntime, import_openvino


def require_onnx() -> None:
    """See that ONNX files can be written and run here.

    Raises:
        MissingExtraError: a package is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("The format onnx", package="onnx", extra="onnx") from error
    import_onnxruntime()


def require_nncf() -> None:
    """See that NNCF is there.

    Raises:
        MissingExtraError: it is not installed.
    """
    import_nncf()


def import_nncf() -> Any:
    """NNCF, told to talk to no network: its reporting is OpenVINO's.

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
