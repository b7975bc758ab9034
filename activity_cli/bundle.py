"""A model on disk: a folder that describes itself.

    model.json            labels, settings, CNN, metrics, data, versions, digest of the weights
    weights.safetensors   the sequence classifier (never pickle)
    README.md             the model card
    confusion.png         confusion matrix of the clips it was measured on

The CNN's weights are not in it unless training changed them: they are found by name and checked
by hash. A model is named by its folder, by the run folder around it, or by a shipped model's name.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from activity_cli import __version__
from activity_cli.backbones import Backbone
from activity_cli.errors import ModelError, SettingsError
from activity_cli.files import new_folder, write_bytes_atomically, write_json
from activity_cli.settings import ClipSettings, NetworkSettings

FORMAT_VERSION = 1
MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
CARD_FILE = "README.md"
CONFUSION_FILE = "confusion.png"
MODEL_SUBFOLDER = "model"  # of a run folder

Weights = dict[str, NDArray[Any]]


def _installed_versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    packages = ("torch", "torchvision", "opencv-python", "openvino", "numpy")
    return {"activity-cli": __version__} | {name: metadata.version(name) for name in packages}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """Everything that is known about a model, except its weights."""

    name: str
    labels: tuple[str, ...]
    clip: ClipSettings
    network: NetworkSettings
    backbone: Backbone
    engine: str
    """What made the training features, such as openvino-bf16."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    """What it was trained on: source, licence, clips per label."""
    training: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=_installed_versions)
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def __post_init__(self) -> None:
        if len(set(self.labels)) < 2:
            raise ModelError(f"A model needs at least two labels, got {list(self.labels)}.")

    @property
    def feature_shape(self) -> tuple[int, int, int]:
        """(S, T, D) of one clip's features."""
        return len(self.clip.streams), self.clip.num_frames, self.backbone.feature_size

    def to_json(self) -> dict[str, Any]:
        """The content of model.json, without the digest of the weights."""
        return {
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "created": self.created,
            "labels": list(self.labels),
            "clip": self.clip.to_json(),
            "network": self.network.to_json(),
            "backbone": self.backbone.to_json(),
            "engine": self.engine,
            "metrics": dict(self.metrics),
            "data": dict(self.data),
            "training": dict(self.training),
            "versions": dict(self.versions),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild what `to_json` wrote.

        Raises:
            SettingsError: a setting is out of range or from another version.
            KeyError, TypeError: an entry is absent or of the wrong kind.
        """
        return cls(
            name=values["name"],
            created=values["created"],
            labels=tuple(values["labels"]),
            clip=ClipSettings.from_json(values["clip"]),
            network=NetworkSettings.from_json(values["network"]),
            backbone=Backbone.from_json(values["backbone"]),
            engine=values["engine"],
            metrics=values["metrics"],
            data=values["data"],
            training=values["training"],
            versions=values["versions"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model folder that was read and found whole."""

    folder: Path
    description: ModelDescription
    weights_sha256: str

    @property
    def identity(self) -> str:
        """Digest of what the scores depend on besides the CNN: weights and network settings."""
        network = json.dumps(self.description.network.to_json(), sort_keys=True)
        return hashlib.sha256((self.weights_sha256 + network).encode()).hexdigest()

    @property
    def fingerprint(self) -> str:
        """Digest of all that scores depend on, labels, CNN and clip settings included."""
        whole = self.description.to_json()
        parts = {name: whole[name] for name in ("labels", "clip", "backbone")}
        text = json.dumps(parts, sort_keys=True) + self.identity
        return hashlib.sha256(text.encode()).hexdigest()

    def weights(self) -> Weights:
        """The classifier's tensors by name.

        Raises:
            ModelError: the file is gone or not what it was when the model was saved.
        """
        return load(_read_weights(self.folder, self.weights_sha256))


def save_model(folder: Path, description: ModelDescription, weights: Weights) -> Model:
    """Write a model folder; model.json comes last, so a half-written folder is never a model.

    Raises:
        OutputError: the folder cannot be written.
    """
    new_folder(folder)
    data = save({name: np.ascontiguousarray(tensor) for name, tensor in weights.items()})
    digest = hashlib.sha256(data).hexdigest()
    write_bytes_atomically(folder / WEIGHTS_FILE, data)
    model = Model(folder=folder, description=description, weights_sha256=digest)
    write_description(model)
    return model


def write_description(model: Model) -> None:
    """Write model.json, again when metrics were added after the weights."""
    content = {**model.description.to_json(), "weights_sha256": model.weights_sha256}
    write_json(model.folder / MODEL_FILE, content)


def load_model(name: str | Path) -> Model:
    """Read a model by folder, run folder or shipped name, and check that it is whole.

    Raises:
        ModelError: there is none, a file is missing or changed, or a newer version wrote it.
    """
    folder = find_model(name)
    try:
        values = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
        version = values["format_version"]
        if version != FORMAT_VERSION:
            raise ModelError(
                f"{folder} has model format {version}; this activity reads {FORMAT_VERSION}.",
                hint="Install the version of activity that wrote it, or train again.",
            )
        description = ModelDescription.from_json(values)
        digest = values["weights_sha256"]
    except (OSError, ValueError, KeyError, TypeError, SettingsError) as error:
        raise ModelError(
            f"{folder / MODEL_FILE} cannot be read as a model: {_describe(error)}.",
            hint="Restore the folder from a copy, or train again.",
        ) from error
    _read_weights(folder, digest)
    return Model(folder=folder, description=description, weights_sha256=digest)


def find_model(name: str | Path) -> Path:
    """The folder that holds model.json for a folder, a run folder or a shipped model's name.

    Raises:
        ModelError: there is no such model.
    """
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
    names = ", ".join(folder.name for folder in shipped)
    raise ModelError(
        f"There is no model {str(name)!r}: no such folder, and it is none of the shipped models.",
        hint=f"Shipped: {names}. Your own: the run folder that `activity train` wrote.",
    )


def shipped_models() -> list[Path]:
    """Folders of the models that come with activity, by name."""
    package = Path(__file__).parent
    # A wheel carries the zoo inside the package; a checkout has it beside the package.
    zoo = next((z for z in (package / "models", package.parent / "models") if z.is_dir()), None)
    return sorted(file.parent for file in zoo.glob(f"*/{MODEL_FILE}")) if zoo else []


def _read_weights(folder: Path, digest: str) -> bytes:
    path = folder / WEIGHTS_FILE
    try:
        data = path.read_bytes()
        load(data)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{path} cannot be read: {_describe(error)}.",
            hint="Restore the folder from a copy, or train again.",
        ) from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise ModelError(
            f"{path} is not the file that {MODEL_FILE} was written for (its hash differs).",
            hint="Restore the folder from a copy, or train again.",
        )
    return data


def _describe(error: Exception) -> str:
    match error:
        case FileNotFoundError():
            return "the file is missing"
        case OSError():
            return error.strerror or str(error)
        case KeyError():
            return f"{error} is missing"
        case _:
            return str(error).rstrip(".")
