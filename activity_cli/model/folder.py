"""A model on disk: a folder that describes itself.

    model.json            labels, settings, CNN, metrics, data, versions, digest of the weights
    weights.safetensors   the sequence classifier (never pickle)
    cnn.safetensors       the CNN, if training changed it
    ood.safetensors       statistics of the training clips, for the out-of-distribution score
    README.md             the model card
    confusion.png         confusion matrix of the clips it was measured on

A CNN that training did not change is found by name and checked by hash.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from activity_cli.common.files import new_folder, parse_json, write_bytes_atomically, write_json
from activity_cli.common.optional_dependencies import opencv_version
from activity_cli.errors import ModelError, SettingsError, did_you_mean
from activity_cli.features import action_weights
from activity_cli.features.backbones import Backbone
from activity_cli.features.streams import feature_size
from activity_cli.model.calibration import Calibration
from activity_cli.model.ood import OodDetector
from activity_cli.settings import (
    KINETICS600,
    MOST_LABEL_CHARACTERS,
    CaptionSettings,
    ClipSettings,
    NetworkSettings,
)
from activity_cli.version import __version__
from activity_cli.video.sampling import Windows, choose_windows

_MOST_MEMBERS = 1000
_LOG = logging.getLogger(__name__)
FORMAT_VERSION = 1
ENSEMBLE_VERSION = 2
"""For models with several members, which the first versions cannot read."""
CAPTIONER_VERSION = 3
"""For models that describe, whose labels are the words of their vocabulary."""
MULTI_LABEL_VERSION = 4
"""For multi-label models, which earlier versions cannot read."""
MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
CNN_FILE = "cnn.safetensors"
OOD_FILES = ("ood.safetensors", "familiar.safetensors")
"""The name, and the one that earlier versions gave the file."""
CARD_FILE = "README.md"
CONFUSION_FILE = "confusion.png"
MODEL_SUBFOLDER = "model"  # of a run folder

_STORED_NAMES = {"pooled_head.": "summary.", "temporal_head.": "order."}
"""Parts of tensor names, and what they are in weights.safetensors since the first version."""

Weights = dict[str, NDArray[Any]]

_RESTORE_HINT = "Restore the folder from a copy, or train again."


def installed_versions() -> dict[str, str]:
    """Return the versions of the libraries that compute the scores."""
    from importlib import metadata  # takes as long as numpy's core

    packages = ("torch", "torchvision", "openvino", "numpy")
    versions = {name: metadata.version(name) for name in packages}
    return {"activity-cli": __version__, "opencv-python": opencv_version()} | versions


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """A model without its weights."""

    name: str
    labels: tuple[str, ...]
    clip: ClipSettings
    network: NetworkSettings
    backbone: Backbone
    engine: str  # identity of the engine that computed the training features, such as openvino-bf16
    metrics: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    """Training data: source, licence, clips per label."""
    training: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=installed_versions)
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    calibration: Calibration | None = None  # None for models of the first versions
    background: str | None = None  # the label that means that there is no event
    captions: CaptionSettings | None = None
    """Of a model that describes; None for one that classifies. `labels` is its vocabulary."""
    num_members: int = 1  # networks whose logits are averaged; 1 is a model of one network
    multi_label: bool = False
    """Whether each label has a score and a threshold of its own: several may be there, or none."""

    def __post_init__(self) -> None:
        if len(set(self.labels)) < (1 if self.multi_label else 2):
            raise ModelError(f"A model needs at least two labels, got {list(self.labels)}.")
        if self.background is not None and self.background not in self.labels:
            raise ModelError(f"The background label {self.background!r} is none of its labels.")

    @property
    def format_version(self) -> int:
        """The oldest format that can store it."""
        if self.captions is not None:
            return CAPTIONER_VERSION
        if self.multi_label:
            return MULTI_LABEL_VERSION
        return FORMAT_VERSION if self.num_members == 1 else ENSEMBLE_VERSION

    @property
    def action_network(self) -> dict[str, str] | None:
        """Name and digest of the action network's weights, if its stream is used."""
        if "action" not in self.clip.streams:
            return None
        return {"name": action_weights.NAME, "weights_sha256": action_weights.SHA256}

    @property
    def feature_shape(self) -> tuple[int, int, int]:
        """(S, T, D) of one clip's features."""
        return len(self.clip.streams), self.clip.num_frames, feature_size(self.clip, self.backbone)

    @property
    def temperature(self) -> float:
        """Divides the logits before they become scores."""
        return self.calibration.temperature if self.calibration else 1.0

    @property
    def thresholds(self) -> NDArray[np.float64] | None:
        """(C,) score from which a label is reported; None where a clip has one label."""
        if not self.multi_label:
            return None
        found = self.calibration.thresholds if self.calibration else None
        return np.array(found or [0.5] * len(self.labels), np.float64)

    def windows(
        self, *, window_seconds: float | None = None, stride_seconds: float | None = None
    ) -> Windows:
        """Return the windows over long videos, by default about as long as its training clips.

        Raises:
            SettingsError: they cannot be that long or that far apart.
        """
        return choose_windows(
            self.clip.num_frames,
            self.data.get("clip_seconds"),
            window_seconds=window_seconds,
            stride_seconds=stride_seconds,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the content of model.json, without the digests of the files."""
        return {
            "format_version": self.format_version,
            "name": self.name,
            "created": self.created,
            "labels": list(self.labels),
            "clip": self.clip.to_json(),
            "network": self.network.to_json(),
            "backbone": self.backbone.to_json(),
            **({"action_network": found} if (found := self.action_network) else {}),
            "engine": self.engine,
            **{n: dict(getattr(self, n)) for n in ("metrics", "data", "training", "versions")},
            "calibration": self.calibration.to_json() if self.calibration else None,
            "background": self.background,
            **({"captions": self.captions.to_json()} if self.captions else {}),
            **({} if self.num_members == 1 else {"num_members": self.num_members}),
            **({"multi_label": True} if self.multi_label else {}),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild what `to_json` wrote.

        Raises:
            SettingsError: a setting is out of range or from another version.
            KeyError, TypeError, ValueError: an entry is absent or of the wrong kind.
        """
        calibration = values.get("calibration")
        same = ("name", "created", "engine", "metrics", "data", "training", "versions")
        description = cls(
            **{name: values[name] for name in same},
            labels=tuple(values["labels"]),
            # Models older than that setting were made without it.
            clip=ClipSettings.from_json({"steady": False, **values["clip"]}),
            network=NetworkSettings.from_json(values["network"]),
            backbone=Backbone.from_json(values["backbone"]),
            calibration=Calibration.from_json(calibration) if calibration else None,
            background=values.get("background"),
            num_members=values.get("num_members", 1),
            captions=CaptionSettings.from_json(found)
            if (found := values.get("captions"))
            else None,
            multi_label=values.get("multi_label", False) is True,
        )
        if not all(map(_is_text, values["labels"])):
            raise ValueError("its labels are not all texts")
        if max(map(len, description.labels), default=0) > MOST_LABEL_CHARACTERS:
            raise ValueError(f"a label has more than {MOST_LABEL_CHARACTERS} characters")
        if not 0 < len(set(description.labels)) == len(description.labels):
            raise ValueError("it has no labels, or some twice")
        chosen, count = description.thresholds, len(description.labels)
        if chosen is not None and not (len(chosen) == count and (chosen > 0).all()):
            raise ValueError("it has no threshold for each label")
        if not 1 <= description.num_members <= _MOST_MEMBERS:
            raise ValueError(f"num_members is {description.num_members}")
        if values.get("action_network") != description.action_network:
            raise ValueError("its action network is another one than this version has")
        return description


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model folder that was read and checked."""

    folder: Path
    description: ModelDescription
    weights_sha256: str
    ood_sha256: str | None = None  # None for a model without an out-of-distribution detector

    @property
    def is_kinetics600(self) -> bool:
        """Whether its classifier is that of the action network, which has no file of its own."""
        return self.weights_sha256 == action_weights.SHA256

    @property
    def identity(self) -> str:
        """Digest of everything but the CNN that changes scores: weights, settings, temperature."""
        network = json.dumps(self.description.network.to_json(), sort_keys=True)
        temperature = self.description.temperature
        scaling = "" if temperature == 1 else repr(temperature)  # keeps older digests valid
        scaling += "multi-label" if self.description.multi_label else ""
        return hashlib.sha256((self.weights_sha256 + network + scaling).encode()).hexdigest()

    @property
    def fingerprint(self) -> str:
        """Digest of everything that changes results, with labels, CNN and clip settings."""
        whole = self.description.to_json()
        parts = {name: whole[name] for name in ("labels", "clip", "backbone")}
        if (found := self.description.thresholds) is not None:
            parts["thresholds"] = found.tolist()
        text = json.dumps(parts, sort_keys=True) + self.identity
        return hashlib.sha256(text.encode()).hexdigest()

    def weights(self) -> Weights:
        """Read the classifier's tensors by name; a ModelError if the file is missing or changed."""
        tensors = load(_read_tensors(self.folder / WEIGHTS_FILE, self.weights_sha256))
        for name, stored in _STORED_NAMES.items():
            tensors = {key.replace(stored, name): tensor for key, tensor in tensors.items()}
        return tensors

    def ood_detector(self) -> OodDetector | None:
        """Read the detector, if there is one; a ModelError if its file is missing or changed."""
        if self.ood_sha256 is None:
            return None
        paths = [self.folder / name for name in OOD_FILES]
        path = next((path for path in paths if path.exists()), paths[0])
        try:
            return OodDetector(**load(_read_tensors(path, self.ood_sha256)))
        except (TypeError, ValueError) as error:
            raise _damaged(path, _describe(error)) from error


def save_model(
    folder: Path,
    description: ModelDescription,
    weights: Weights,
    ood_detector: OodDetector | None = None,
    *,
    cnn: bytes | None = None,
    overwrite: bool = False,
) -> Model:
    """Write a model folder; model.json comes last, so a half-written folder is never a model.

    `cnn` is the content of the CNN's weights file, if training changed the CNN.

    Raises:
        OutputError: the folder cannot be written, or holds a model and `overwrite` is False.
    """
    new_folder(folder, overwrite=overwrite)
    (folder / MODEL_FILE).unlink(missing_ok=True)
    (folder / CNN_FILE).unlink(missing_ok=True)
    if cnn is not None:
        write_bytes_atomically(folder / CNN_FILE, cnn)
        description = _with_cnn_file(description, folder)
    for name, stored in _STORED_NAMES.items():
        weights = {key.replace(name, stored): tensor for key, tensor in weights.items()}
    digest = _write_tensors(folder / WEIGHTS_FILE, weights)
    model = Model(folder=folder, description=description, weights_sha256=digest)
    return write_ood_detector(model, ood_detector) if ood_detector else write_description(model)


def write_ood_detector(model: Model, ood_detector: OodDetector) -> Model:
    """Add an out-of-distribution detector to a model folder, and write model.json again."""
    for name in OOD_FILES:  # one of an earlier version must not stay
        (model.folder / name).unlink(missing_ok=True)
    digest = _write_tensors(model.folder / OOD_FILES[0], ood_detector.tensors())
    return write_description(replace(model, ood_sha256=digest))


def write_description(model: Model) -> Model:
    """Write model.json, again when metrics were added after the weights; return the model."""
    digests = {"weights_sha256": model.weights_sha256, "ood_sha256": model.ood_sha256}
    write_json(model.folder / MODEL_FILE, {**model.description.to_json(), **digests})
    return model


def member_name(number: int, tensor: str) -> str:
    """Return the name of a member's tensor among those of an ensemble."""
    return f"members.{number}.{tensor}"


def load_model(name: str | Path) -> Model:
    """Read and check a model by folder, run folder or shipped name, or `kinetics600`.

    Raises:
        ModelError: there is none, a file is missing or changed, or a newer version wrote it.
        BackboneError: the weights of kinetics600 are not on this machine.
    """
    if str(name) == KINETICS600 and not Path(name).exists():
        from activity_cli.model.kinetics600 import load_kinetics600  # it imports this module

        return load_kinetics600()
    folder = find_model(name)
    try:
        values = parse_json((folder / MODEL_FILE).read_text(encoding="utf-8"))
        version = values["format_version"]
        if version not in range(FORMAT_VERSION, MULTI_LABEL_VERSION + 1):
            raise ModelError(
                f"{folder} has model format {version}; this one reads up to {MULTI_LABEL_VERSION}.",
                hint="Install the version of activity that wrote it, or train again.",
            )
        description = ModelDescription.from_json(values)
        digest = values["weights_sha256"]
        # The second is the name that earlier versions gave it.
        ood_digest = values.get("ood_sha256", values.get("familiar_sha256"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, SettingsError) as error:
        raise ModelError(
            f"{folder / MODEL_FILE} cannot be read as a model: {_describe(error)}.",
            hint=_RESTORE_HINT,
        ) from error
    _read_tensors(folder / WEIGHTS_FILE, digest)
    if description.backbone.mode != "frozen":
        _read_tensors(folder / CNN_FILE, description.backbone.weights_sha256)
        description = _with_cnn_file(description, folder)
    _LOG.info("Model %s: %s", description.name, folder)
    return Model(
        folder=folder, description=description, weights_sha256=digest, ood_sha256=ood_digest
    )


def find_model(name: str | Path) -> Path:
    """Find the folder with model.json by folder, run folder or shipped name, or a ModelError."""
    path = Path(name)
    for folder in (path, path / MODEL_SUBFOLDER):
        if (folder / MODEL_FILE).is_file():
            return folder
    if path.is_dir():
        raise ModelError(
            f"{path} is not a model: it has no {MODEL_FILE}.",
            hint="Give a folder that `activity train` wrote, such as runs/NAME.",
        )
    shipped = shipped_models()
    for folder in shipped:
        if folder.name == str(name):
            return folder
    names = [*(folder.name for folder in shipped), KINETICS600]
    meant = did_you_mean(str(name), [*names, *map(str, own_models())])
    raise ModelError(
        f"There is no model {str(name)!r}: no such folder, and it is none of the shipped models."
        f"{meant}",
        hint=f"Shipped: {', '.join(names)}. Your own: the run folder that `activity train` wrote.",
    )


def read_task(folder: Path) -> str:
    """Return `describe` or `classify`, what a model folder is for; without a check of the rest."""
    try:
        values = parse_json((folder / MODEL_FILE).read_text(encoding="utf-8"))
        return "describe" if values.get("captions") else "classify"
    except (OSError, ValueError, AttributeError):  # `load_model` tells what is wrong
        return "classify"


def own_models(parent: Path = Path("runs")) -> list[Path]:
    """Return the run folders with a model, as `activity train` names them, by name."""
    return sorted(file.parents[1] for file in parent.glob(f"*/{MODEL_SUBFOLDER}/{MODEL_FILE}"))


def shipped_models() -> list[Path]:
    """Return the folders of the shipped models, by name."""
    package = Path(__file__).parents[1]
    # A wheel carries the zoo inside the package; a checkout has it beside the package.
    zoo = next((z for z in (package / "models", package.parent / "models") if z.is_dir()), None)
    return sorted(file.parent for file in zoo.glob(f"*/{MODEL_FILE}")) if zoo else []


def _with_cnn_file(description: ModelDescription, folder: Path) -> ModelDescription:
    """Add the path of the CNN's weights."""
    return replace(description, backbone=replace(description.backbone, file=folder / CNN_FILE))


def _write_tensors(path: Path, tensors: Weights) -> str:
    """Write tensors; return the digest of the file."""
    data = save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})
    write_bytes_atomically(path, data)
    return hashlib.sha256(data).hexdigest()


def _read_tensors(path: Path, digest: str) -> bytes:
    try:
        data = path.read_bytes()
        load(data)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, _describe(error)) from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise ModelError(
            f"{path} is not the file that {MODEL_FILE} was written for (its hash differs).",
            hint=_RESTORE_HINT,
        )
    return data


def _damaged(path: Path, reason: str) -> ModelError:
    return ModelError(f"{path} cannot be read: {reason}.", hint=_RESTORE_HINT)


def _describe(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "the file is missing"
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return (isinstance(error, OSError) and error.strerror) or str(error).rstrip(".")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
