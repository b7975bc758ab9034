"""The description of an export: metadata inside each file, and the README beside it.

The metadata has one JSON document, `activity` (see `predict.exported.metadata`), and plain keys for
other tools. The README describes the same and has an example that needs the runtime alone.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata as packages
from pathlib import Path

from activity_cli.common.optional_dependencies import opencv_version
from activity_cli.export.parity import Parity
from activity_cli.model.folder import ModelDescription
from activity_cli.predict.exported.metadata import (
    DOCUMENT_KEY,
    EXPORT_VERSION,
    Format,
    GraphMetadata,
    Part,
    signature_of,
)
from activity_cli.settings import ClipSettings
from activity_cli.types import frame_roles
from activity_cli.version import __version__
from activity_cli.video import motion

_PACKAGES: dict[Format, str] = {
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "torchscript": "torch",
    "torch-export": "torch",
}
_COLOURS = {3: "RGB order", 1: "Grey, one channel (OpenCV's COLOR_BGR2GRAY)"}
_TOOLS = ("torch", "openvino", "onnx", "onnxscript", "onnxruntime", "nncf")


def metadata_texts(metadata: GraphMetadata) -> dict[str, str]:
    """Return all keys and values as text: the document, then what other tools read."""
    description = metadata.description
    signature = signature_of(metadata.part, description, dynamic=metadata.dynamic)
    versions = {"activity-cli": __version__, "opencv-python": opencv_version()}
    for name in _TOOLS:
        with suppress(packages.PackageNotFoundError):  # an extra
            versions[name] = packages.version(name)
    document = {
        "export_version": EXPORT_VERSION,
        **{k: getattr(metadata, k) for k in ("part", "format", "precision", "dynamic")},
        "model": description.to_json(),
        "weights_sha256": metadata.weights_sha256,
        "versions": versions,
    }
    return {
        DOCUMENT_KEY: json.dumps(document),
        "labels": json.dumps(list(description.labels)),
        "preprocessing": describe_preprocessing(description),
        "inputs": "; ".join(map(str, signature.inputs)),
        "output": str(signature.output),
        "model_sha256": metadata.weights_sha256,
        "backbone_sha256": description.backbone.weights_sha256,
    }


def describe_preprocessing(description: ModelDescription) -> str:
    """Describe what has to be done to a video before a graph reads it."""
    clip = description.clip
    lines = [
        f"Cut the video into {clip.num_frames} equal parts and take the frame that is on screen "
        "at the middle of each.",
        f"Squash each frame to {clip.frame_size} x {clip.frame_size} pixels, without cropping: a "
        "side that shrinks by averaging areas (OpenCV's INTER_AREA), one that grows linearly "
        "(INTER_LINEAR).",
        f"{_COLOURS[clip.channels]}, uint8 from 0 to 255; the graph normalises the pixels itself.",
    ]
    if clip.compares_frames:
        lines.append(
            "For each sampled frame, `later` is that frame and `earlier` the one "
            f"{clip.motion_step_seconds:.4f} s before it, at least one frame before; for the "
            "video's first frame, `earlier` is that frame and `later` the next one."
        )
    if clip.compares_frames and clip.stabilize:
        shifts = f"{motion.MIN_SHIFT:g} to {motion.MAX_SHIFT:g} pixels"
        lines.append(
            "Shift `earlier` by as much as phase correlation says that the whole picture has moved "
            f"(OpenCV's phaseCorrelate, Hanning window; response at least {motion.MIN_RESPONSE:g}, "
            f"{shifts}, borders repeated), where that makes the sum "
            f"of absolute differences to `later` smaller by {motion.MIN_GAIN:.0%} or more."
        )
    if "flow" in clip.streams:
        still, gain = motion.STILL, f"{motion.FLOW_GAIN:g}"
        lines.append(
            "`flow` is the optical flow from `earlier` to `later` in grey (OpenCV's "
            f"DISOpticalFlow, preset MEDIUM) as a picture: {still} + {gain} * pixels to the "
            f"right, {still} + {gain} * pixels down, {gain} * its length, rounded "
            "and clipped to uint8."
        )
    return " ".join(lines)


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

    def call(part: Part, inputs: Mapping[str, str]) -> str:
        if format in {"torchscript", "torch-export"}:
            values = ", ".join(f"torch.from_numpy({value})" for value in inputs.values())
            return f"{part}({values}).numpy()"
        names = ", ".join(f'"{name}": {value}' for name, value in inputs.items())
        return (
            f"{part}.run(None, {{{names}}})[0]" if format == "onnx" else f"{part}({{{names}}})[0]"
        )

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
        streams=[streams[stream] for stream in clip.streams if stream in streams],
        feature_shape=f"1, {num_streams}, {num_frames}, {feature_size}",
        thresholds=None if description.thresholds is None else description.thresholds.tolist(),
        call=call,
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


def _describe_split(clip: ClipSettings) -> str:
    """Describe what has to be computed between the two graphs of a split export."""
    streams = {
        "motion": f"The motion stream's images are {clip.motion_gain:g} * (later - earlier) + 128, "
        "rounded and clipped to uint8.",
        "flow": "The flow stream's images are `flow` as it is.",
    }
    return " ".join(
        [
            "The CNN turns each image into features; the classifier takes those of a clip, ordered "
            f"clip, stream ({', '.join(clip.streams)}), frame.",
            *(text for stream, text in streams.items() if stream in clip.streams),
        ]
    )
