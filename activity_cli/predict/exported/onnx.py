"""ONNX files in ONNX Runtime, on the CPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.predict.exported.metadata import DOCUMENT_KEY, damaged


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
    from activity_cli.features.engines.onnx import UNREADABLE, open_session

    try:
        return open_session(str(path), num_threads=num_threads, optimise=optimise)
    except UNREADABLE as error:
        raise damaged(path, "it is damaged or no ONNX file") from error
