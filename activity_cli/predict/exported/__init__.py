"""Exported models: found by file or folder, checked, and run in the runtime of their format.

B clips, S streams, T frames per clip, H = W pixels, D CNN features, C labels.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.files import is_file, is_folder
from activity_cli.errors import ModelError
from activity_cli.model.folder import ModelDescription
from activity_cli.predict.exported.metadata import (
    Format,
    GraphMetadata,
    Part,
    Precision,
    signature_of,
)
from activity_cli.predict.exported.runtimes import RunGraph, open_graph, read_document
from activity_cli.types import FrameRole, frame_roles

SUFFIXES: dict[str, Format] = {
    ".onnx": "onnx",
    ".xml": "openvino",
    ".torchscript": "torchscript",
    ".pt2": "torch-export",
}
_PARTNERS: dict[Part, Part] = {"cnn": "classifier", "classifier": "cnn"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedModel:
    """An export that was read and found complete."""

    format: Format
    precision: Precision
    dynamic: bool  # whether the numbers of clips and frames are free; else it is 1 clip of T frames
    description: ModelDescription
    identity: str  # digest of its files
    files: Mapping[Part, Path]  # one graph, or the two of a split export


class ExportedRunner:
    """An export ready to score clips. Not for calls from several threads at once."""

    def __init__(self, model: ExportedModel, graphs: Mapping[Part, RunGraph]) -> None:
        self._clip = model.description.clip
        self._roles = frame_roles(self._clip)
        self._dynamic = model.dynamic
        self._graphs = graphs

    def score(self, images: Mapping[FrameRole, NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return (B, C) scores of clips, (B, T, H, W, channels) uint8 for each role."""
        inputs = {role: images[role] for role in self._roles}
        if self._dynamic:
            return self._run(inputs)
        clips = (
            dict(zip(inputs, arrays, strict=True)) for arrays in zip(*inputs.values(), strict=True)
        )
        return np.concatenate([self._run({r: x[None] for r, x in clip.items()}) for clip in clips])

    def _run(self, inputs: Mapping[FrameRole, NDArray[np.uint8]]) -> NDArray[np.float32]:
        if "whole" in self._graphs:
            return self._graphs["whole"]({str(role): x for role, x in inputs.items()})
        from activity_cli.video.clips import images_by_stream  # imports OpenCV

        streams = images_by_stream(inputs, self._clip)
        pictures = np.stack(list(streams.values()), axis=1)  # (B, S, T, H, W, channels)
        shape = pictures.shape
        features = self._graphs["cnn"]({"frames": pictures.reshape(-1, *shape[3:])})
        return self._graphs["classifier"]({"features": features.reshape(*shape[:3], -1)})


def is_exported(path: Path) -> bool:
    """Return whether there is an export, by names alone; a ModelError for an unreadable folder."""
    if is_folder(path):
        return bool(_graph_files(path) or _format_folders(path))
    return path.suffix in SUFFIXES and is_file(path)


def read_exported(path: Path) -> ExportedModel:
    """Read the metadata of an exported file or its folder, and check that it is complete.

    Raises:
        ModelError: a file is damaged, comes from elsewhere, or lacks the other half of a split
            export; or a folder holds several exports.
        MissingExtraError: its format needs packages that are not installed.
    """
    file = _find_file(path)
    found = _read_metadata(file)
    files = {found.part: file}
    if partner := _PARTNERS.get(found.part):
        files[partner] = _partner_file(file, found, partner)
    return ExportedModel(
        format=found.format,
        precision=found.precision,
        dynamic=found.dynamic,
        description=found.description,
        identity=_digest(files),
        files=files,
    )


def open_exported(model: ExportedModel) -> ExportedRunner:
    """Load an export into its runtime, on the CPU; errors are those of `open_graph`."""
    graphs = {}
    for part, file in model.files.items():
        signature = signature_of(part, model.description, dynamic=model.dynamic)
        names = [spec.name for spec in signature.inputs]
        graphs[part] = open_graph(file, model.format, input_names=names)
    return ExportedRunner(model, graphs)


def _read_metadata(file: Path) -> GraphMetadata:
    return GraphMetadata.from_document(read_document(file, SUFFIXES[file.suffix]), file)


def _graph_files(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES and is_file(p))
    except OSError as error:
        raise ModelError(
            f"The folder {folder} cannot be read: {error.strerror or error}.",
            hint="Check its permissions, or give another model.",
        ) from error


def _format_folders(folder: Path) -> list[Path]:
    """Return the folders of formats in the folder of a whole export."""
    inner = [folder / name for name in SUFFIXES.values()]
    return [path for path in inner if is_folder(path) and _graph_files(path)]


def _find_file(path: Path) -> Path:
    """Return the file itself, or the (first) one of the export in a folder."""
    if not is_folder(path):
        if path.suffix not in SUFFIXES or not is_file(path):
            raise ModelError(
                f"{path} is not an exported model.",
                hint=f"Give a file that ends in {', '.join(SUFFIXES)}, or its folder.",
            )
        return path
    files = found = _graph_files(path)
    if not files:
        found = _format_folders(path)
        files = _graph_files(found[0]) if len(found) == 1 else []
    is_one = len(files) == 1 or {_read_metadata(file).part for file in files} == set(_PARTNERS)
    if not found:
        raise ModelError(f"{path} holds no export.")
    if not is_one:
        names = " or ".join(str(one) for one in found)
        raise ModelError(f"{path} holds several exports.", hint=f"Give one of them: {names}.")
    return files[0]


def _partner_file(file: Path, found: GraphMetadata, partner: Part) -> Path:
    """Return the other half of a split export, which is beside the first."""
    path = file.with_name(file.name.replace(f"-{found.part}.", f"-{partner}."))
    if path == file or not path.is_file():
        raise ModelError(
            f"{file} is the {found.part} of a split export; its {partner} {path.name} is missing.",
            hint="Put both files into one folder, with the names that they were exported with.",
        )
    other = _read_metadata(path)  # descriptions are compared by the hash of the weights
    if other != replace(found, part=partner, description=other.description):
        raise ModelError(
            f"{file} and {path.name} do not belong to one export.",
            hint="Put files of one export into the folder.",
        )
    return path


def _digest(files: Mapping[Part, Path]) -> str:
    digest = hashlib.sha256()
    for _, file in sorted(files.items()):
        digest.update(file.read_bytes())
        if file.suffix == ".xml":
            digest.update(file.with_suffix(".bin").read_bytes())
    return digest.hexdigest()
