"""Settings of each stage: frozen, checked when made, saved with the model as plain JSON."""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self, get_args

from activity_cli.errors import SettingsError

Stream = Literal["rgb", "motion", "flow"]
StreamChoice = Literal["both", "rgb", "motion", "flow", "all"]
Temporal = Literal["lstm", "mean", "frame"]
Pooling = Literal["attention", "mean", "last"]
Optimizer = Literal["adamw", "adam"]
Schedule = Literal["cosine", "constant"]
Amp = Literal["off", "bf16", "fp16"]
ClassWeights = Literal["balanced", "none"]
CnnMode = Literal["frozen", "finetune", "scratch"]
AugmentKind = Literal[
    "flip",
    "rotate",
    "zoom",
    "shift",
    "colour",
    "blur",
    "noise",
    "speed",
    "jitter",
    "crop",
    "reverse",
]

AUGMENTATIONS: tuple[AugmentKind, ...] = get_args(AugmentKind)
"""What may differ between a clip and an augmented view of it."""

DEFAULT_BACKBONE = "efficientnet_lite0"
"""The CNN that every installation has, without a download."""
DEFAULT_MODEL = "surveillance-fight"
"""The shipped model that predicts when none is named."""

ALL_STREAMS: tuple[Stream, ...] = get_args(Stream)
STREAMS: tuple[Stream, ...] = ("rgb", "motion")
STREAM_CHOICES: Mapping[StreamChoice, tuple[Stream, ...]] = {
    "both": STREAMS,
    **{stream: (stream,) for stream in ALL_STREAMS},
    "all": ALL_STREAMS,
}
"""What the names of options stand for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """What all settings share: to and from plain JSON, and checks that name the setting."""

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values; `from_json` is the way back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild settings that `to_json` wrote.

        Raises:
            SettingsError: a value is out of range, or a name is not known to this version.
        """
        names = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - names):
            raise SettingsError(
                f"{cls.__name__} does not know {', '.join(unknown)}.",
                hint="They come from another version of activity; install that one or a newer one.",
            )
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})

    def _require_at_least(self, minimum: float, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if value is not None and not value >= minimum:  # None leaves it open
                raise SettingsError(f"{name} must be at least {minimum}, got {value}.")

    def _require_one_of(self, choices: tuple[str, ...], *names: str) -> None:
        for name in names:
            if getattr(self, name) not in choices:
                raise SettingsError(
                    f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}."
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSettings(_Settings):
    """How a video becomes a fixed-size clip. Saved with the model, reused as is."""

    num_frames: int = 16
    """T, frames per clip, spread evenly over the video."""
    frame_size: int = 224
    """Side of the square frame that the CNN sees, in pixels. Frames are squashed, not cropped."""
    streams: tuple[Stream, ...] = STREAMS
    """What the CNN sees of each sampled frame: the picture, its motion image, its optical flow."""
    motion_step_seconds: float = 1 / 12
    """Time between the two frames of a motion or flow image. Longer steps blur what moved into what
    was."""
    motion_gain: float = 2.0
    """Amplification of the frame difference around mid-grey."""
    steady: bool = True
    """Take the camera's own movement out of motion and flow images."""
    channels: int = 3
    """3: RGB, as pretrained CNNs see. 1: grey."""

    def __post_init__(self) -> None:
        self._require_at_least(1, "num_frames", "frame_size")
        if self.channels not in {1, 3}:
            raise SettingsError(f"channels must be 3 (RGB) or 1 (grey), got {self.channels}.")
        self._require_at_least(0.001, "motion_step_seconds", "motion_gain")
        in_order = [stream for stream in ALL_STREAMS if stream in self.streams]
        if not in_order or list(self.streams) != in_order:
            raise SettingsError(
                f"streams must be some of rgb, motion, flow in that order, got {self.streams}."
            )
        if "flow" in self.streams and self.channels != 3:
            raise SettingsError(
                "Flow images have 3 channels, but the CNN sees grey pictures.",
                hint="Use the streams rgb and motion, or 3 channels.",
            )

    @property
    def compares_frames(self) -> bool:
        """Whether a sampled frame is seen beside the one a motion step before it."""
        return self.streams != ("rgb",)

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """(H, W, channels) of what the CNN sees."""
        return self.frame_size, self.frame_size, self.channels

    def to_json(self) -> dict[str, Any]:
        """As of all settings. RGB goes without saying: older models keep their fingerprints."""
        # Not super(): dataclasses with slots are made twice, which it does not know of in 3.11.
        values = _Settings.to_json(self)
        return {k: v for k, v in values.items() if (k, v) != ("channels", 3)}


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentSettings(_Settings):
    """How augmented views of a training clip may differ from it, in ways that leave its label.

    Each value is the most that chance makes of it; 0 is nothing. All frames of a view differ alike.
    """

    num_views: int = 0
    """K, augmented views per training clip, whose features are cached beside the plain ones."""
    flip: bool | None = None
    """Mirror every other view, the first one among them. None: unless a label names a side."""
    rotation_degrees: float = 6.0
    zoom: float = 0.15
    """In or out; 0.15 is up to 1.15 times as large or small."""
    shift: float = 0.06
    """Across and down, as a share of the frame's side."""
    brightness: float = 0.12
    """As a share of white."""
    contrast: float = 0.2
    saturation: float = 0.3
    blur: float = 0.8
    """Sigma in pixels. As for noise, chance spares half of the views."""
    noise: float = 0.02
    """Standard deviation, as a share of white; other in every frame."""
    speed: float = 0.2
    """Of what moves: other frames make the motion images, as if the frame rate were another."""
    jitter: float = 0.4
    """How far a frame is taken from its even place, as a share of the distance between frames."""
    crop: float = 0.2
    """Share of the clip's time that is left out, at its start, its end or both."""
    reverse: bool = False
    """Let every other pair of views run backwards: only where that leaves every label true."""
    seed: int = 0
    """Other numbers draw other views."""

    def __post_init__(self) -> None:
        self._require_at_least(0, "num_views", "seed", *_AMOUNTS)
        if not self.jitter <= 0.5:
            raise SettingsError(
                f"jitter must be at most 0.5, got {self.jitter}: frames keep order."
            )
        for name in ("shift", "crop", "brightness", "noise"):
            if not getattr(self, name) < 1:
                raise SettingsError(f"{name} must be below 1, got {getattr(self, name)}.")

    def scaled(self, strength: float) -> "AugmentSettings":
        """The same with every amount so many times as large, as far as that is possible."""
        amounts = {name: strength * getattr(self, name) for name in _AMOUNTS}
        most = {"jitter": 0.5, "crop": 0.9, "shift": 0.9, "brightness": 0.9, "noise": 0.9}
        bounded: dict[str, Any] = {n: min(v, most.get(n, v)) for n, v in amounts.items()}
        return replace(self, **bounded)

    def only(self, kinds: Collection[str]) -> "AugmentSettings":
        """The same with nothing but these kinds of change.

        Raises:
            SettingsError: there is no such kind.
        """
        if unknown := sorted(set(kinds) - set(AUGMENTATIONS)):
            raise SettingsError(
                f"There is no augmentation {unknown[0]!r}.",
                hint=f"There are {', '.join(AUGMENTATIONS)}.",
            )
        none: dict[str, Any] = {"flip": "flip" in kinds, "reverse": "reverse" in kinds}
        for kind, names in _FIELDS_OF_KIND.items():
            none |= {} if kind in kinds else dict.fromkeys(names, 0.0)
        return replace(self, **none)


_FIELDS_OF_KIND: Mapping[AugmentKind, tuple[str, ...]] = {
    "rotate": ("rotation_degrees",),
    "zoom": ("zoom",),
    "shift": ("shift",),
    "colour": ("brightness", "contrast", "saturation"),
    "blur": ("blur",),
    "noise": ("noise",),
    "speed": ("speed",),
    "jitter": ("jitter",),
    "crop": ("crop",),
}
_AMOUNTS = tuple(name for names in _FIELDS_OF_KIND.values() for name in names)


NO_VIEWS = AugmentSettings()
"""No augmentation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings(_Settings):
    """The sequence classifier that reads the CNN features of a clip."""

    num_components: int = 128
    """Principal components of each stream's changes that the LSTM's part reads."""
    projection_size: int = 64
    """Size that each stream is projected to before the streams are fused."""
    temporal: Temporal = "lstm"
    """What is read: mean and order (LSTM), the mean alone, or only the middle frame (baseline)."""
    hidden_size: int = 64
    """LSTM units per direction."""
    num_layers: int = 1
    bidirectional: bool = True
    pooling: Pooling = "attention"
    """How the LSTM's outputs over time become one vector."""
    dropout: float = 0.5

    def __post_init__(self) -> None:
        self._require_at_least(1, "num_components", "projection_size", "hidden_size", "num_layers")
        self._require_one_of(get_args(Temporal), "temporal")
        self._require_one_of(get_args(Pooling), "pooling")
        if not 0 <= self.dropout < 1:
            raise SettingsError(f"dropout must be in [0, 1), got {self.dropout}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class CnnSettings(_Settings):
    """What training does to the CNN."""

    mode: CnnMode = "frozen"
    """Leave a pretrained one as it is, fine-tune it, or learn a small one from nothing."""
    finetune_stages: int = 2
    """How many of its last stages learn; 0 is all."""
    learning_rate: float | None = None
    """The highest of its last stage; None is the mode's own."""
    stage_decay: float = 0.7
    """Each stage before the last learns so much more slowly than the next (Howard and Ruder,
    "Universal Language Model Fine-tuning", 2018)."""
    epochs: int | None = None
    """The most passes that CNN and classifier make together; None is the mode's own number."""
    conv_channels: tuple[int, ...] = (16, 32, 64)
    """Channels of each block of a CNN that learns from nothing. A block halves the frame."""

    def __post_init__(self) -> None:
        self._require_one_of(get_args(CnnMode), "mode")
        self._require_at_least(0, "finetune_stages")
        self._require_at_least(1e-8, "learning_rate")
        self._require_at_least(1, "epochs")
        if not 0 < self.stage_decay <= 1:
            raise SettingsError(
                f"stage_decay must be above 0 and at most 1, got {self.stage_decay}."
            )
        if not self.conv_channels or min(self.conv_channels) < 1:
            raise SettingsError(f"conv_channels must be 1 or more each, got {self.conv_channels}.")

    @property
    def most_epochs(self) -> int:
        """Passes at most, whoever chose the number."""
        return self.epochs or {"frozen": 0, "finetune": 8, "scratch": 40}[self.mode]

    @property
    def highest_learning_rate(self) -> float:
        """Whoever chose it. Pretrained weights are moved gently."""
        return self.learning_rate or {"frozen": 0.0, "finetune": 1e-4, "scratch": 2e-3}[self.mode]


FROZEN = CnnSettings()
"""The CNN stays as it is."""


REFERENCE_NUM_CLIPS = 200
"""Training clips that the settings of training are meant for; with other numbers of clips, what
depends on them is scaled."""
_USUAL_EPOCHS, _USUAL_PATIENCE = 40, 15


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings(_Settings):
    """How the sequence classifier is fitted to cached features."""

    epochs: int | None = None
    """The most passes over the training clips; early stopping usually ends sooner. None: 40, or
    with fewer than 200 clips as many more as make as many steps as 200 clips in 40."""
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    optimizer: Optimizer = "adamw"
    schedule: Schedule = "cosine"
    label_smoothing: float = 0.1
    class_weights: ClassWeights = "balanced"
    """Weigh the loss so that rare labels count as much as frequent ones."""
    patience: int | None = None
    """Stop after so many epochs without a better validation loss; the best weights are kept. None:
    15, or three eighths of the epochs where that is more."""
    rgb_penalty: float = 10.0
    """L2 penalty of the summary's weights on pictures, of 200 training clips; that of N clips is
    200 / N as high. High: scenes are learned by heart early."""
    motion_penalty: float = 0.5
    """The same of the summary's weights on motion images."""
    flow_penalty: float = 0.5
    """The same of the summary's weights on flow images."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient; LSTMs need a bound."""
    accumulate: int = 1
    """Batches whose gradients are added before a step: the effective batch is so many times as
    large, the memory that of one."""
    amp: Amp = "off"
    """Number format of the forward pass while training; the weights stay fp32."""
    mixup: float = 0.0
    """Mix each clip with another by a share drawn from Beta(mixup, mixup); 0 mixes nothing."""
    seed: int = 0

    def __post_init__(self) -> None:
        self._require_at_least(1, "epochs", "batch_size", "patience", "accumulate")
        self._require_at_least(0, "weight_decay", "rgb_penalty", "motion_penalty", "seed")
        self._require_at_least(0, "flow_penalty", "mixup")
        self._require_at_least(1e-8, "learning_rate", "gradient_clip")
        self._require_one_of(get_args(Optimizer), "optimizer")
        self._require_one_of(get_args(Schedule), "schedule")
        self._require_one_of(get_args(ClassWeights), "class_weights")
        self._require_one_of(get_args(Amp), "amp")
        if not 0 <= self.label_smoothing < 1:
            raise SettingsError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}.")

    @property
    def most_epochs(self) -> int:
        """Passes at most, whoever chose the number."""
        return self.epochs or _USUAL_EPOCHS

    @property
    def most_patience(self) -> int:
        """Epochs without gain at most, whoever chose the number."""
        return self.patience or max(_USUAL_PATIENCE, 3 * self.most_epochs // 8)

    def for_clips(self, num_clips: int) -> Self:
        """The same with both numbers settled; what was asked for stays.

        Few clips make few steps an epoch, and it is steps that a network learns by.

        Args:
            num_clips: to learn from.
        """
        steps, usual_steps = (
            math.ceil(clips / (self.batch_size * self.accumulate))
            for clips in (num_clips, REFERENCE_NUM_CLIPS)
        )
        enough = math.ceil(_USUAL_EPOCHS * max(1, usual_steps / steps))
        settled = replace(self, epochs=self.epochs or enough)
        return replace(settled, patience=settled.most_patience)


REMOVED_SETTINGS: Mapping[str, tuple[Any, ...]] = {
    "average": ("none",),
    "ema_decay": (0.99,),
    "loss": ("cross-entropy",),
    "focal_gamma": (2.0,),
    "sampler": ("shuffled",),
}
"""Settings of training in earlier versions, with the values that changed nothing. Settings files
and run folders that hold these values stay readable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings(_Settings):
    """What must not be on both sides of a split, and what happens when it is."""

    groups: str | None = None
    """Regular expression for the part of a clip's path that is its group, as a column says it."""
    strict: bool = False
    """Stop before training where leakage is found."""

    def __post_init__(self) -> None:
        try:
            re.compile(self.groups or "")
        except re.error as error:
            raise SettingsError(
                f"groups {self.groups!r} is not a regular expression: {error}.",
                hint=r"An example: 'person\d+' finds person03 in run/person03_2.mp4.",
            ) from error


DEFAULT_AUDIT = AuditSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSettings(_Settings):
    """How scores of sliding windows become segments. None derives a time from the window length."""

    smoothing_seconds: float | None = None
    """An action that lasts this long is told from what surrounds it when its scores are e (2.7)
    times as high; one half as long needs e squared, one twice as long the root of e.
    0 takes the best label of every moment. None: one window."""
    min_seconds: float | None = None
    """Shorter segments become part of the better neighbour. None: half a window."""
    gap_seconds: float | None = None
    """Shorter unknown gaps between two segments of one label are closed. None: half a window."""
    reject_below: float | None = None
    """Score that a label needs; what has less is unknown and in no segment. None: the best label
    always stands."""
    max_novelty: float | None = None
    """Novelty above which a window is unknown, whatever its scores. None: none is too high."""
    labels: tuple[str, ...] = ()
    """Labels whose segments are wanted; the others still compete. Empty: all."""

    def __post_init__(self) -> None:
        for name in ("smoothing_seconds", "min_seconds", "gap_seconds"):
            if getattr(self, name) is not None:
                self._require_at_least(0, name)
        if self.reject_below is not None and not 0 <= self.reject_below <= 1:
            raise SettingsError(f"reject_below must be from 0 to 1, got {self.reject_below}.")

    def check_labels(self, known: tuple[str, ...]) -> None:
        """See that wanted labels are some that a model knows.

        Raises:
            SettingsError: one is not.
        """
        if unknown := sorted(set(self.labels) - set(known)):
            raise SettingsError(
                f"The model does not know {', '.join(unknown)}.",
                hint=f"It knows {', '.join(known)}.",
            )

    def describe(self) -> str:
        """What is not left to the window length, in words."""
        told = {k: v for k, v in self.to_json().items() if v is not None and v != ()}
        return ", ".join(f"{k} {v}" for k, v in told.items()) or "by the windows"
