"""OpenVINO's .xml and .bin pairs, in OpenVINO on the CPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.optional_dependencies import openvino_core
from activity_cli.predict.exported.metadata import DOCUMENT_KEY, damaged


class OpenVinoRunner:
    """A graph in an .xml file, with its weights in the .bin file beside it."""

    def __init__(self, path: Path, *, num_threads: int | None = None) -> None:
        # A CPU with bf16 would round to it unless told otherwise.
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
        """Compute the graph's output from its inputs by name."""
        arrays = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        self._request.infer(arrays)
        output: NDArray[np.float32] = self._request.get_output_tensor(0).data.copy()
        return output


def read_document(path: Path) -> str | None:
    """The metadata document of a file; None where it has none. OpenVINO is not needed for this.

    Raises:
        ModelError: the file is damaged or no OpenVINO file, or its .bin file is missing.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError) as error:
        raise damaged(path, "it is damaged or no OpenVINO file") from error
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise damaged(path, f"{weights.name}, which holds its weights, is missing")
    found = root.find(f"rt_info/{DOCUMENT_KEY}/{DOCUMENT_KEY}")
    return None if found is None else found.get("value")
