"""The metadata that is written into every exported file, so that it is complete by itself.

One JSON document, `activity`, is what activity reads back (`predict.exported.metadata`). Beside it
are a few plain keys for other tools: labels, preprocessing, input and output.
"""

import json
from collections.abc import Mapping
from importlib import metadata as packages

from activity_cli.common.optional_dependencies import opencv_version
from activity_cli.model.folder import ModelDescription
from activity_cli.predict.exported.metadata import (
    DOCUMENT_KEY,
    EXPORT_VERSION,
    GraphMetadata,
    signature_of,
)
from activity_cli.version import __version__
from activity_cli.video.motion import FLOW_GAIN, MAX_SHIFT, MIN_GAIN, MIN_RESPONSE, MIN_SHIFT, STILL

_COLOURS = {3: "RGB order", 1: "Grey, one channel (OpenCV's COLOR_BGR2GRAY)"}
_TOOLS = ("torch", "openvino", "onnx", "onnxscript", "onnxruntime", "nncf")


def metadata_texts(metadata: GraphMetadata) -> dict[str, str]:
    """Return all keys and values as text: the document, then what other tools read."""
    description = metadata.description
    signature = signature_of(metadata.part, description, dynamic=metadata.dynamic)
    document = {
        "export_version": EXPORT_VERSION,
        "part": metadata.part,
        "format": metadata.format,
        "precision": metadata.precision,
        "dynamic": metadata.dynamic,
        "model": description.to_json(),
        "weights_sha256": metadata.weights_sha256,
        "versions": _installed_versions(),
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
    """What has to be done to a video before a graph sees it, in plain words."""
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
        lines.append(
            "Shift `earlier` by as much as phase correlation says that the whole picture has moved "
            f"(OpenCV's phaseCorrelate, Hanning window; response at least {MIN_RESPONSE:g}, "
            f"{MIN_SHIFT:g} to {MAX_SHIFT:g} pixels, borders repeated), where that makes the sum "
            f"of absolute differences to `later` smaller by {MIN_GAIN:.0%} or more."
        )
    if "flow" in clip.streams:
        lines.append(
            "`flow` is the optical flow from `earlier` to `later` in grey (OpenCV's "
            f"DISOpticalFlow, preset MEDIUM) as a picture: {STILL} + {FLOW_GAIN:g} * pixels to the "
            f"right, {STILL} + {FLOW_GAIN:g} * pixels down, {FLOW_GAIN:g} * its length, rounded "
            "and clipped to uint8."
        )
    return " ".join(lines)


def _installed_versions() -> Mapping[str, str]:
    """Versions of what wrote the file, as far as they are installed."""
    versions = {"activity-cli": __version__, "opencv-python": opencv_version()}
    for name in _TOOLS:
        try:
            versions[name] = packages.version(name)
        except packages.PackageNotFoundError:  # an extra
            continue
    return versions
