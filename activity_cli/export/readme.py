"""README.md beside every export: inputs, outputs, preprocessing, an example, the parity table.

The example scores a video with the runtime alone, without activity.
"""

from collections.abc import Mapping
from pathlib import Path

from activity_cli.export.metadata import describe_preprocessing
from activity_cli.export.parity import Parity
from activity_cli.predict.exported.metadata import (
    DOCUMENT_KEY,
    Format,
    GraphMetadata,
    Part,
    signature_of,
)
from activity_cli.settings import ClipSettings
from activity_cli.types import frame_roles
from activity_cli.video import motion

_PACKAGES: dict[Format, str] = {
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "torchscript": "torch",
    "torch-export": "torch",
}


def write_readme(metadata: GraphMetadata, files: Mapping[Part, str], parity: Parity) -> str:
    """Return the README as Markdown; `files` are the names of the graphs' files beside it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    description, format, clip = metadata.description, metadata.format, metadata.description.clip
    stacks = {
        "frames": "frames[chosen]",
        "earlier": "stabilized" if clip.stabilize else "frames[earlier]",
        "later": "frames[later]",
        "flow": "flow",
    }
    # Motion images and the order of the streams are in no graph of a split export.
    streams = {"rgb": stacks["frames"], "motion": "motion", "flow": stacks["flow"]}
    num_streams, num_frames, feature_size = description.feature_shape
    common = {"format": format, "package": _PACKAGES[format], "files": files}
    example = environment.get_template("example.py.j2").render(
        **common,
        clip=clip,
        motion=motion,
        document_key=DOCUMENT_KEY,
        stacks=stacks,
        inputs={role: f"{stacks[role]}[None]" for role in frame_roles(clip)},
        streams=[streams[stream] for stream in clip.streams],
        feature_shape=f"1, {num_streams}, {num_frames}, {feature_size}",
        call=lambda part, inputs: _call(format, part, inputs),
    )
    return environment.get_template("readme.md.j2").render(
        **common,
        metadata=metadata,
        description=description,
        signatures={
            part: signature_of(part, description, dynamic=metadata.dynamic) for part in files
        },
        preprocessing=describe_preprocessing(description),
        split=_describe_split(clip),
        example=example,
        parity=parity,
    )


def _call(format: Format, part: Part, inputs: Mapping[str, str]) -> str:
    names = ", ".join(f'"{name}": {value}' for name, value in inputs.items())
    match format:
        case "onnx":
            return f"{part}.run(None, {{{names}}})[0]"
        case "openvino":
            return f"{part}({{{names}}})[0]"
        case "torchscript" | "torch-export":
            values = ", ".join(f"torch.from_numpy({value})" for value in inputs.values())
            return f"{part}({values}).numpy()"


def _describe_split(clip: ClipSettings) -> str:
    """Describe what has to be computed between the two graphs of a split export."""
    lines = [
        "The CNN turns each image into features; the classifier takes those of a clip, ordered "
        f"clip, stream ({', '.join(clip.streams)}), frame."
    ]
    if "motion" in clip.streams:
        lines.append(
            f"The motion stream's images are {clip.motion_gain:g} * (later - earlier) + 128, "
            "rounded and clipped to uint8."
        )
    if "flow" in clip.streams:
        lines.append("The flow stream's images are `flow` as it is.")
    return " ".join(lines)
