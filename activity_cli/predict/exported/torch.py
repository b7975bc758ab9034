"""TorchScript files and torch.export's .pt2 files, in torch on the CPU."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.predict.exported.metadata import DOCUMENT_KEY, damaged

DOCUMENT_FILE = f"{DOCUMENT_KEY}.json"


class TorchRunner:
    """A graph in a .torchscript or .pt2 file. Inputs are passed in the order of the names."""

    def __init__(
        self, path: Path, *, input_names: tuple[str, ...], num_threads: int | None = None
    ) -> None:
        import torch

        if num_threads is not None:
            torch.set_num_threads(num_threads)
        self._input_names = input_names
        self._network = _load(path)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Compute the graph's output from its inputs by name."""
        import torch

        tensors = [
            torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in self._input_names
        ]
        with torch.inference_mode():
            output: NDArray[np.float32] = self._network(*tensors).numpy()
        return output


def read_document(path: Path) -> str | None:
    """The metadata document of a file; None where it has none. torch is not needed for this.

    Raises:
        ModelError: the file is damaged or no file of torch.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if (bad := archive.testzip()) is not None:
                raise damaged(path, f"{bad} in it is damaged")
            for name in archive.namelist():
                parts = PurePosixPath(name).parts
                if parts[-2:] == ("extra", DOCUMENT_FILE):
                    return archive.read(name).decode("utf-8")
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise damaged(path, "it is damaged or no file of torch") from error
    return None


def _load(path: Path) -> Callable[..., Any]:
    """A file that `read_document` found whole as something to call with tensors."""
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
