"""What an exported file contains: the signature of its graph, and its metadata document.

The document is JSON under the key `activity`; `export.readme` writes it.

B clips, S streams, T frames per clip, H = W pixels, D CNN features, C labels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from activity_cli.common.files import parse_json
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
    axes: tuple[int | str, ...]  # sizes; a word stands for a size that each call may choose

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

    The numbers of clips and of frames are free if `dynamic`; else it is 1 clip of T frames.
    """
    num_streams, num_frames, feature_size = description.feature_shape
    picture = description.clip.picture_shape
    clips: int | str = "clips" if dynamic else 1
    frames: int | str = "num_frames" if dynamic else num_frames
    images: int | str = "images" if dynamic else num_streams * num_frames

    def uint8(name: str, *axes: int | str) -> TensorSpec:
        return TensorSpec(name=name, dtype="uint8", axes=axes)

    def float32(name: str, *axes: int | str) -> TensorSpec:
        return TensorSpec(name=name, dtype="float32", axes=axes)

    by_role = tuple(uint8(role, clips, frames, *picture) for role in frame_roles(description.clip))
    scores = float32("scores", clips, len(description.labels))
    sequence = float32("features", clips, num_streams, frames, feature_size)
    inputs, output = {
        "whole": (by_role, scores),
        "pictures": (by_role, uint8("pictures", clips, num_streams, frames, *picture)),
        "cnn": ((uint8("frames", images, *picture),), float32("features", images, feature_size)),
        "classifier": ((sequence,), scores),
    }[part]
    return Signature(inputs=inputs, output=output)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphMetadata:
    """What one exported file contains."""

    part: Part
    format: Format
    precision: Precision
    dynamic: bool
    description: ModelDescription
    weights_sha256: str  # of the sequence classifier; that of the CNN is in the description

    @classmethod
    def from_document(cls, document: str | None, path: Path) -> Self:
        """Parse the document of a file; a ModelError if there is none or it cannot be read."""
        if document is None:
            raise ModelError(
                f"{path} is a model, but not one that activity exported: it has no labels and clip "
                "settings.",
                hint="Export it with `activity export MODEL`.",
            )
        try:
            values = parse_json(document)
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
        except (ValueError, LookupError, TypeError, AttributeError) as error:
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
