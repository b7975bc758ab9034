"""What an exported file contains: the signature of its graph, and its metadata document.

The document is JSON under the key `activity`; `export.readme` writes it.

B clips, S streams, T frames per clip, H = W pixels, D CNN features, C labels.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from activity_cli.errors import ModelError
from activity_cli.model.folder import ModelDescription
from activity_cli.types import frame_roles

Format = Literal["onnx", "openvino", "torchscript", "torch-export"]
Precision = Literal["fp32", "fp16", "int8"]
Part = Literal["whole", "cnn", "classifier", "pictures"]
"""One graph from frames to scores, or the two that do the same one after the other. `pictures`
makes the CNN's input from frames; it is a separate graph only while a whole one is quantised."""

DOCUMENT_KEY = "activity"
DOCUMENT_FILE = f"{DOCUMENT_KEY}.json"
"""Name of the document in a torch file, which is a zip archive."""
EXPORT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """An input or output of a graph."""

    name: str
    dtype: Literal["uint8", "float32"]
    axes: tuple[int | str, ...]
    """Sizes; a word stands for a size that each call may choose."""

    @property
    def free_sizes(self) -> dict[int, str]:
        """Names of the sizes that each call may choose, by axis."""
        return {i: axis for i, axis in enumerate(self.axes) if isinstance(axis, str)}

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} ({', '.join(map(str, self.axes))})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """All inputs of a graph, in order, and its one output."""

    inputs: tuple[TensorSpec, ...]
    output: TensorSpec


def signature_of(part: Part, description: ModelDescription, *, dynamic: bool) -> Signature:
    """Return the inputs and the output of a graph of this model, the same in all formats.

    Args:
        part: which graph.
        description: the model.
        dynamic: whether the numbers of clips and of frames are free, or 1 clip of T frames.
    """
    num_streams, num_frames, feature_size = description.feature_shape
    picture = description.clip.picture_shape
    clips: int | str = "clips" if dynamic else 1
    frames: int | str = "num_frames" if dynamic else num_frames
    images: int | str = "images" if dynamic else num_streams * num_frames
    scores = TensorSpec(name="scores", dtype="float32", axes=(clips, len(description.labels)))
    by_role = tuple(
        TensorSpec(name=role, dtype="uint8", axes=(clips, frames, *picture))
        for role in frame_roles(description.clip)
    )
    match part:
        case "whole":
            return Signature(inputs=by_role, output=scores)
        case "pictures":
            axes = (clips, num_streams, frames, *picture)
            pictures = TensorSpec(name="pictures", dtype="uint8", axes=axes)
            return Signature(inputs=by_role, output=pictures)
        case "cnn":
            image = TensorSpec(name="frames", dtype="uint8", axes=(images, *picture))
            features = TensorSpec(name="features", dtype="float32", axes=(images, feature_size))
            return Signature(inputs=(image,), output=features)
        case "classifier":
            shape = (clips, num_streams, frames, feature_size)
            sequence = TensorSpec(name="features", dtype="float32", axes=shape)
            return Signature(inputs=(sequence,), output=scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphMetadata:
    """What one exported file contains."""

    part: Part
    format: Format
    precision: Precision
    dynamic: bool
    description: ModelDescription
    weights_sha256: str
    """Of the sequence classifier; that of the CNN is in the description."""

    @classmethod
    def from_document(cls, document: str | None, path: Path) -> Self:
        """Parse the document of a file.

        Raises:
            ModelError: there is none, it cannot be read, or a newer activity wrote it.
        """
        if document is None:
            raise ModelError(
                f"{path} is a model, but not one that activity exported: it has no labels and clip "
                "settings.",
                hint="Export it with `activity export MODEL`.",
            )
        try:
            values = json.loads(document)
            if (version := values["export_version"]) != EXPORT_VERSION:
                raise ModelError(
                    f"{path} has export format {version}; this activity reads {EXPORT_VERSION}.",
                    hint="Install the version of activity that wrote it, or export again.",
                )
            return cls(
                part=_one_of(get_args(Part), values["part"]),
                format=_one_of(get_args(Format), values["format"]),
                precision=_one_of(get_args(Precision), values["precision"]),
                dynamic=values["dynamic"],
                description=ModelDescription.from_json(values["model"]),
                weights_sha256=values["weights_sha256"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise damaged(path, f"its description cannot be read ({error})") from error


def damaged(path: Path, reason: str) -> ModelError:
    """Return the error for an exported file that cannot be used."""
    return ModelError(
        f"{path} cannot be read as an exported model: {reason}.",
        hint="Restore it from a copy, or export it again with `activity export MODEL`.",
    )


def _one_of(choices: tuple[Any, ...], value: object) -> Any:
    if value not in choices:
        raise ValueError(f"{value!r} is none of {', '.join(choices)}")
    return value
