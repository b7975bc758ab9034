"""ONNX files in ONNX Runtime, on the CPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.export.metadata import DOCUMENT_KEY, damaged
from activity_cli.guarded_imports import import_onnxruntime


class OnnxRunner:
    """A graph in an .onnx file."""

    def __init__(self, path: Path, *, num_threads: int | None = None) -> None:
        self._session = _open_session(path, num_threads=num_threads)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Compute the graph's output from its inputs by name."""
        scores: NDArray[np.float32] = self._session.run(None, dict(inputs))[0]
        return scores


def read_document(path: Path) -> str | None:
    """The metadata document of a file; None where it has none.

    Raises:
        ModelError: the file is damaged or no ONNX file.
        MissingExtraError: ONNX Runtime is not installed.
    """
    session = _open_session(path, optimise=False)
    document: str | None = session.get_modelmeta().custom_metadata_map.get(DOCUMENT_KEY)
    return document


def _open_session(path: Path, *, num_threads: int | None = None, optimise: bool = True) -> Any:
    onnxruntime = import_onnxruntime()
    from onnxruntime.capi import onnxruntime_pybind11_state as failures

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: they come as exceptions as well
    options.intra_op_num_threads = num_threads or 0
    if not optimise:  # to read metadata, not to run
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (failures.InvalidProtobuf, failures.InvalidGraph, failures.Fail) as error:
        raise damaged(path, "it is damaged or no ONNX file") from error
