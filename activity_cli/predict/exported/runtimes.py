"""Run one exported graph in the runtime of its format, on the CPU, and read its metadata.

ONNX and OpenVINO exports need no torch. The parity gate and prediction use the same code.
"""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, cast
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.optional_dependencies import openvino_core
from activity_cli.common.processes import thread_limit
from activity_cli.predict.exported.metadata import DOCUMENT_FILE, DOCUMENT_KEY, Format, damaged

RunGraph = Callable[[Mapping[str, NDArray[Any]]], NDArray[np.float32]]
"""Computes a graph's output from its inputs by name. Not for several threads at once."""


def open_graph(file: Path, format: Format, *, input_names: Sequence[str]) -> RunGraph:
    """Load a graph, whose inputs are in the order of the names, into its runtime.

    Raises:
        ModelError, MissingExtraError: the file is damaged; the runtime is not installed.
    """
    match format:
        case "onnx":
            session = _onnx_session(file)
            return lambda inputs: session.run(None, dict(inputs))[0]
        case "openvino":
            return _open_openvino(file)
        case "torchscript" | "torch-export":
            return _open_torch(file, input_names)


def read_document(file: Path, format: Format) -> str | None:
    """Read the metadata document in a file; None where it has none. torch is not needed.

    Raises:
        ModelError, MissingExtraError: the file is damaged; ONNX Runtime is not installed.
    """
    match format:
        case "onnx":
            metadata = _onnx_session(file, optimise=False).get_modelmeta().custom_metadata_map
            return cast(str | None, metadata.get(DOCUMENT_KEY))
        case "openvino":
            return _read_openvino(file)
        case "torchscript" | "torch-export":
            return _read_torch(file)


def _onnx_session(path: Path, *, optimise: bool = True) -> Any:
    from activity_cli.features.engines.onnx import UNREADABLE, open_session

    try:
        return open_session(str(path), optimise=optimise)
    except UNREADABLE as error:
        raise damaged(path, "it is damaged or not an ONNX file") from error


def _open_openvino(path: Path) -> RunGraph:
    # Without this hint a CPU with bf16 rounds to bf16.
    properties = {"INFERENCE_PRECISION_HINT": "f32"}
    try:
        core = openvino_core()
        compiled = core.compile_model(core.read_model(path), "CPU", properties)
    except RuntimeError as error:
        raise damaged(path, "it or its .bin file is damaged") from error
    request = compiled.create_infer_request()

    def run(inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        request.infer({name: np.ascontiguousarray(array) for name, array in inputs.items()})
        return cast(NDArray[np.float32], request.get_output_tensor(0).data.copy())

    return run


def _read_openvino(path: Path) -> str | None:
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError) as error:
        raise damaged(path, "it is damaged or not an OpenVINO file") from error
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise damaged(path, f"{weights.name}, which holds its weights, is missing")
    found = root.find(f"rt_info/{DOCUMENT_KEY}/{DOCUMENT_KEY}")
    return None if found is None else found.get("value")


def _open_torch(path: Path, input_names: Sequence[str]) -> RunGraph:
    import torch

    from activity_cli.features.conversion import quiet_jit
    from activity_cli.features.engines.torch import torch_threads

    network: Callable[..., torch.Tensor]
    try:  # `read_document` found no damage
        if path.suffix == ".pt2":
            network = torch.export.load(path).module()
        else:
            with quiet_jit():
                network = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, KeyError) as error:
        raise damaged(path, "this version of torch cannot load it") from error

    def run(inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        tensors = [torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in input_names]
        with torch.inference_mode(), torch_threads(thread_limit()):
            return cast(NDArray[np.float32], network(*tensors).numpy())

    return run


def _read_torch(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            if (bad := archive.testzip()) is not None:
                raise damaged(path, f"{bad} in it is damaged")
            for name in archive.namelist():
                if PurePosixPath(name).parts[-2:] == ("extra", DOCUMENT_FILE):
                    return archive.read(name).decode("utf-8")
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise damaged(path, "it is damaged or not a torch file") from error
    return None
