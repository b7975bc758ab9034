"""Run one exported graph in the runtime of its format, on the CPU, and read its metadata.

ONNX and OpenVINO exports need no torch. The parity gate and prediction use the same runners.
"""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.optional_dependencies import openvino_core
from activity_cli.predict.exported.metadata import DOCUMENT_FILE, DOCUMENT_KEY, Format, damaged


class GraphRunner(Protocol):
    """One graph, ready to run. Not for calls from several threads at once."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Compute the graph's output from its inputs by name; see `metadata.signature_of`."""
        ...


def open_graph(
    file: Path, format: Format, *, input_names: Sequence[str], num_threads: int | None = None
) -> GraphRunner:
    """Load a graph into its runtime.

    Args:
        file: the graph.
        format: of the file.
        input_names: of its inputs, in order.
        num_threads: for the computation; None lets the runtime choose.

    Raises:
        ModelError: the file is damaged.
        MissingExtraError: the runtime is not installed.
    """
    match format:
        case "onnx":
            return _OnnxRunner(file, num_threads)
        case "openvino":
            return _OpenVinoRunner(file, num_threads)
        case "torchscript" | "torch-export":
            return _TorchRunner(file, input_names, num_threads)


def read_document(file: Path, format: Format) -> str | None:
    """Read the metadata document in a file; None where it has none. torch is not needed.

    Raises:
        ModelError: the file is damaged, not of this format, or incomplete.
        MissingExtraError: ONNX Runtime is needed and not installed.
    """
    match format:
        case "onnx":
            session = _onnx_session(file, optimise=False)
            document: str | None = session.get_modelmeta().custom_metadata_map.get(DOCUMENT_KEY)
            return document
        case "openvino":
            return _read_openvino(file)
        case "torchscript" | "torch-export":
            return _read_torch(file)


class _OnnxRunner:
    def __init__(self, path: Path, num_threads: int | None) -> None:
        self._session = _onnx_session(path, num_threads=num_threads)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = self._session.run(None, dict(inputs))[0]
        return scores


def _onnx_session(path: Path, *, num_threads: int | None = None, optimise: bool = True) -> Any:
    from activity_cli.features.engines.onnx import UNREADABLE, open_session

    try:
        return open_session(str(path), num_threads=num_threads, optimise=optimise)
    except UNREADABLE as error:
        raise damaged(path, "it is damaged or not an ONNX file") from error


class _OpenVinoRunner:
    """Reads the graph from an .xml file and its weights from the .bin file beside it."""

    def __init__(self, path: Path, num_threads: int | None) -> None:
        # Without this hint a CPU with bf16 rounds to bf16.
        properties: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if num_threads is not None:
            properties["INFERENCE_NUM_THREADS"] = num_threads
        try:
            core = openvino_core()
            compiled = core.compile_model(core.read_model(path), "CPU", properties)
        except RuntimeError as error:
            raise damaged(path, "it or its .bin file is damaged") from error
        self._request = compiled.create_infer_request()

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        arrays = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        self._request.infer(arrays)
        output: NDArray[np.float32] = self._request.get_output_tensor(0).data.copy()
        return output


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


class _TorchRunner:
    """Runs a .torchscript or .pt2 file. Inputs are passed in the order of the names."""

    def __init__(self, path: Path, input_names: Sequence[str], num_threads: int | None) -> None:
        import torch

        if num_threads is not None:
            torch.set_num_threads(num_threads)
        self._input_names = input_names
        self._network = _load_torch(path)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        import torch

        tensors = [
            torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in self._input_names
        ]
        with torch.inference_mode():
            output: NDArray[np.float32] = self._network(*tensors).numpy()
        return output


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


def _load_torch(path: Path) -> Callable[..., Any]:
    """Load a file in which `read_document` found no damage, as a function of tensors."""
    import torch

    from activity_cli.features.conversion import quiet_jit

    try:
        if path.suffix == ".pt2":
            program: Callable[..., Any] = torch.export.load(path).module()
            return program
        with quiet_jit():
            script: Callable[..., Any] = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
            return script
    except (RuntimeError, ValueError, KeyError) as error:
        raise damaged(path, "this version of torch cannot load it") from error
