"""What is written into every exported file, so that it can be used without anything beside it.

One JSON document, `activity`, tells all and is what activity reads back. Beside it stand a few
plain keys for other tools: labels, preprocessing, input and output.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata as packages
from pathlib import Path
from typing import Any, Self, get_args

from activity_cli import __version__
from activity_cli.common.optional_dependencies import opencv_version
from activity_cli.errors import ModelError
from activity_cli.model.folder import ModelDescription
from activity_cli.predict.exported.signature import Format, Part, Precision, signature_of
from activity_cli.video.motion import FLOW_GAIN, MAX_SHIFT, MIN_GAIN, MIN_RESPONSE, MIN_SHIFT, STILL

DOCUMENT_KEY = "activity"
_EXPORT_VERSION = 1
_COLOURS = {3: "RGB order", 1: "Grey, one channel (OpenCV's COLOR_BGR2GRAY)"}
_TOOLS = ("torch", "openvino", "onnx", "onnxscript", "onnxruntime", "nncf")


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphMetadata:
    """What one exported file holds."""

    part: Part
    format: Format
    precision: Precision
    dynamic: bool
    description: ModelDescription
    weights_sha256: str
    """Of the sequence classifier; the CNN's is in the description."""

    def texts(self) -> dict[str, str]:
        """All keys and values, as text: the document, then what other tools read."""
        description = self.description
        signature = signature_of(self.part, description, dynamic=self.dynamic)
        document = {
            "export_version": _EXPORT_VERSION,
            "part": self.part,
            "format": self.format,
            "precision": self.precision,
            "dynamic": self.dynamic,
            "model": description.to_json(),
            "weights_sha256": self.weights_sha256,
            "versions": _installed_versions(),
        }
        return {
            DOCUMENT_KEY: json.dumps(document),
            "labels": json.dumps(list(description.labels)),
            "preprocessing": describe_preprocessing(description),
            "inputs": "; ".join(map(str, signature.inputs)),
            "output": str(signature.output),
            "model_sha256": self.weights_sha256,
            "backbone_sha256": description.backbone.weights_sha256,
        }

    @classmethod
    def from_document(cls, document: str | None, path: Path) -> Self:
        """Read the document back.

        Raises:
            ModelError: there is none, it cannot be read, or a newer activity wrote it.
        """
        if document is None:
            raise ModelError(
                f"{path} is a model, but not one that activity exported: it does not say its "
                "labels and clip settings.",
                hint="Export it with `activity export MODEL`.",
            )
        try:
            values = json.loads(document)
            if (version := values["export_version"]) != _EXPORT_VERSION:
                raise ModelError(
                    f"{path} has export format {version}; this activity reads {_EXPORT_VERSION}.",
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
    """The error for an exported file that cannot be used."""
    return ModelError(
        f"{path} cannot be read as an exported model: {reason}.",
        hint="Restore it from a copy, or export it again with `activity export MODEL`.",
    )


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


def _one_of(choices: tuple[Any, ...], value: object) -> Any:
    if value not in choices:
        raise ValueError(f"{value!r} is none of {', '.join(choices)}")
    return value
