"""What an exported graph takes and gives: names, types and shapes, the same in all formats.

B clips, S streams, T frames per clip, H = W pixels, D CNN features, C labels.
"""

from dataclasses import dataclass
from typing import Literal

from activity_cli.model.folder import ModelDescription
from activity_cli.types import frame_roles

Format = Literal["onnx", "openvino", "torchscript", "torch-export"]
Precision = Literal["fp32", "fp16", "int8"]
Part = Literal["whole", "cnn", "classifier", "pictures"]
"""One graph from frames to scores, or the two that do the same one after the other. What makes the
pictures that the CNN sees is a graph of its own only on the way to a quantised whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """An input or output of a graph."""

    name: str
    dtype: Literal["uint8", "float32"]
    axes: tuple[int | str, ...]
    """Sizes; a word stands for a size that each call is free to choose."""

    @property
    def free_sizes(self) -> dict[int, str]:
        """Names of the sizes that each call is free to choose, by axis."""
        return {i: axis for i, axis in enumerate(self.axes) if isinstance(axis, str)}

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} ({', '.join(map(str, self.axes))})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """All inputs of a graph, in order, and its one output."""

    inputs: tuple[TensorSpec, ...]
    output: TensorSpec


def signature_of(part: Part, description: ModelDescription, *, dynamic: bool) -> Signature:
    """What a graph of this model takes and gives.

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
    match part:
        case "whole":
            inputs = tuple(
                TensorSpec(name=role, dtype="uint8", axes=(clips, frames, *picture))
                for role in frame_roles(description.clip)
            )
            return Signature(inputs=inputs, output=scores)
        case "pictures":
            inputs = signature_of("whole", description, dynamic=dynamic).inputs
            pictures = TensorSpec(
                name="pictures", dtype="uint8", axes=(clips, num_streams, frames, *picture)
            )
            return Signature(inputs=inputs, output=pictures)
        case "cnn":
            image = TensorSpec(name="frames", dtype="uint8", axes=(images, *picture))
            features = TensorSpec(name="features", dtype="float32", axes=(images, feature_size))
            return Signature(inputs=(image,), output=features)
        case "classifier":
            sequence = TensorSpec(
                name="features",
                dtype="float32",
                axes=(clips, num_streams, frames, feature_size),
            )
            return Signature(inputs=(sequence,), output=scores)
