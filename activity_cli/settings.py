"""Settings of each stage: frozen, checked when made, saved with the model as plain JSON.

A field made by `setting` is also an option of the command line and a key of the settings file. The
first sentence of the docstring below it is its help text.
"""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, ClassVar, Literal, Self, get_args

from activity_cli.errors import SettingsError, did_you_mean
from activity_cli.setting_fields import SearchRange, Settings, setting

Stream = Literal["rgb", "motion", "flow", "action"]
Temporal = Literal["lstm", "mean", "frame"]
Pooling = Literal["attention", "mean", "last"]
CnnMode = Literal["frozen", "finetune", "scratch"]

DEFAULT_BACKBONE = "efficientnet_lite0"  # part of every installation
DEFAULT_MODEL = "surveillance-fight"  # shipped
KINETICS600 = "kinetics600"  # the default where its weights are on the machine

ALL_STREAMS: tuple[Stream, ...] = get_args(Stream)
STREAMS: tuple[Stream, ...] = ("rgb", "motion")
CNN_STREAMS: tuple[Stream, ...] = ("rgb", "motion", "flow")
"""Streams that the frame CNN reads; the action network reads `action`."""
_STREAM_WORDS: Mapping[str, tuple[Stream, ...]] = {"both": STREAMS, "all": CNN_STREAMS}


MOST_LABEL_CHARACTERS = 255
"""As many as a folder's name has: longer ones are damage, and would flood what people read."""
_MOST_UNITS = 8192  # of a layer: more is damage, and would take gigabytes


def parse_streams(text: str) -> tuple[Stream, ...]:
    """Return the streams of a value of --streams, in the fixed order, or raise a SettingsError."""
    names = _STREAM_WORDS.get(text, tuple(text.split("+")))
    if unknown := set(names) - set(ALL_STREAMS):
        raise SettingsError(
            f"There is no stream {min(unknown)!r}.",
            hint=f"Give {', '.join(ALL_STREAMS)}, some of them joined by + (action+motion), both "
            "(rgb+motion) or all (rgb+motion+flow).",
        )
    return tuple(stream for stream in ALL_STREAMS if stream in names)


def name_streams(streams: Collection[Stream]) -> str:
    """Return the value of --streams that stands for these streams."""
    words = (word for word, some in _STREAM_WORDS.items() if some == streams)
    return next(words, "+".join(streams))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSettings(Settings):
    """How a video becomes a fixed-size clip. Saved with the model, reused as is."""

    num_frames: int = setting(
        16, option="frames", at_least=1, at_most=10_000, search=(8, 16, 24), rare=True
    )
    """Frames per clip, spread evenly over it."""
    frame_size: int = setting(224, option=None, at_least=1, at_most=4096)
    """Side of the square frame that the CNN sees, in pixels. Frames are squashed, not cropped."""
    streams: tuple[Stream, ...] = setting(STREAMS, option=None, search=("both", "rgb", "motion"))
    """What the networks see: RGB frames, motion images and optical flow go through the CNN,
    `action`, the RGB frames in their order, through the action network."""
    rgb_every: int = setting(1, option=None, at_least=1)
    """Every how many frames the stream rgb shows another one; the CNN computes it once."""
    motion_step_seconds: float = setting(1 / 12, option=None, at_least=0.001)
    """Time between the two frames of a motion or flow image."""
    motion_gain: float = setting(2.0, option=None, at_least=0.001)
    """Amplification of the frame difference around mid-grey."""
    stabilize: bool = setting(True, formerly="steady", rare=True)
    """Remove camera shake from motion and flow images."""
    channels: int = setting(3, choices={"3": 3, "1": 1}, rare=True)
    """Channels of the frames: 3 is RGB; 1 is grey, for --cnn scratch only."""

    def _check(self) -> None:
        if self.channels not in {1, 3}:
            raise SettingsError(f"channels must be 3 (RGB) or 1 (grey), got {self.channels}.")
        in_order = [stream for stream in ALL_STREAMS if stream in self.streams]
        if not in_order or list(self.streams) != in_order:
            raise SettingsError(
                f"streams must be some of {', '.join(ALL_STREAMS)} in that order, got "
                f"{self.streams}."
            )
        if self.channels != 3 and (coloured := {"flow", "action"} & set(self.streams)):
            raise SettingsError(
                f"The stream {min(coloured)} needs 3 channels, but the CNN sees grey pictures.",
                hint="Use the streams rgb and motion, or 3 channels.",
            )

    @property
    def compares_frames(self) -> bool:
        """Whether each sampled frame is compared with an earlier one."""
        return not {"motion", "flow"}.isdisjoint(self.streams)

    @property
    def keeps_frames(self) -> bool:
        """Whether a stream shows the sampled frames themselves."""
        return not {"rgb", "action"}.isdisjoint(self.streams)

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """(H, W, channels) of what the CNN sees."""
        return self.frame_size, self.frame_size, self.channels

    def to_json(self) -> dict[str, Any]:
        """Return plain values. Some defaults are left out: older models keep their fingerprints."""
        # Not super(): a dataclass with slots is made twice, and super() finds the first one.
        added = {"channels": 3, "rgb_every": 1}
        return {k: v for k, v in Settings.to_json(self).items() if added.get(k) != v}


def _amount(default: float, *, below: float | None = None, at_most: float | None = None) -> Any:
    return setting(default, option=None, at_least=0, below=below, at_most=at_most)


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentSettings(Settings):
    """How augmented copies of a training clip may differ from it without changing its label.

    An amount is the upper limit of a random change. All frames of a copy change alike.
    """

    num_views: int = setting(0, option="views", at_least=0, rare=True)
    """Augmented copies of each training clip, used beside the clip itself. Features are cached."""
    flip: bool | None = None
    """Mirror every other copy, starting with the first. None: unless a label names a side."""
    rotation_degrees: float = _amount(6.0)
    zoom: float = _amount(0.15)
    """In or out; 0.15 is up to 1.15 times as large or small."""
    shift: float = _amount(0.06, below=1)
    """Across and down, as a share of the frame's side."""
    brightness: float = _amount(0.12, below=1)
    """As a share of white."""
    contrast: float = _amount(0.2)
    saturation: float = _amount(0.3)
    blur: float = _amount(0.8)
    """Sigma in pixels. Half of the copies, chosen at random, stay sharp; the same for noise."""
    noise: float = _amount(0.02, below=1)
    """Standard deviation, as a share of white; drawn anew for every frame."""
    speed: float = _amount(0.2)
    """Relative change of the time between the two frames of a motion image."""
    jitter: float = _amount(0.4, at_most=0.5)
    """Shift of a frame in time, as a share of the time between two frames."""
    crop: float = _amount(0.2, below=1)
    """Share of the clip's time that is cut off, at its start, its end or both."""
    reverse: bool = False
    """Play every other pair of copies backwards."""
    seed: int = setting(0, option=None, at_least=0)
    """Seed of the random changes."""

    def only(self, kinds: Collection[str]) -> "AugmentSettings":
        """Return a copy that applies only these kinds of change; unknown ones are an error."""
        if unknown := sorted(set(kinds) - set(AUGMENTATIONS)):
            raise SettingsError(
                f"There is no augmentation {unknown[0]!r}.",
                hint=f"There are {', '.join(AUGMENTATIONS)}.",
            )
        none: dict[str, Any] = {"flip": "flip" in kinds, "reverse": "reverse" in kinds}
        none |= {name: 0.0 for name, kind in AUGMENT_AMOUNTS.items() if kind not in kinds}
        return replace(self, **none)


_SAME = ("blur", "noise", "speed", "jitter", "crop")
AUGMENT_AMOUNTS: Mapping[str, str] = {
    **{"rotation_degrees": "rotate", "zoom": "zoom", "shift": "shift"},
    **dict.fromkeys(("brightness", "contrast", "saturation"), "colour"),
    **dict(zip(_SAME, _SAME, strict=True)),
}
"""Fields that are amounts, with the kind of change that each belongs to."""
AUGMENTATIONS = ("flip", *dict.fromkeys(AUGMENT_AMOUNTS.values()), "reverse")
NO_VIEWS = AugmentSettings()  # no augmentation


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings(Settings):
    """The sequence classifier that reads the CNN features of a clip."""

    num_components: int = setting(64, option=None, at_least=1, at_most=_MOST_UNITS)
    """Principal components of each stream's centred features that the LSTM reads."""
    temporal: Temporal = setting(
        "lstm", choices={"lstm": "lstm", "mean": "mean"}, search=("lstm", "mean"), rare=True
    )
    """How the sequence is read: by mean pooling and an LSTM, or by mean pooling alone."""
    pooling: Pooling = setting("attention", search=get_args(Pooling), rare=True)
    """How the LSTM's outputs over time become one vector."""
    hidden_size: int = setting(
        32, at_least=1, at_most=_MOST_UNITS, search=(16, 32, 64, 128), rare=True
    )
    """LSTM units per direction."""
    num_layers: int = setting(1, option="layers", at_least=1, at_most=16, search=(1, 2), rare=True)
    """LSTM layers."""
    bidirectional: bool = setting(True, option="bidirectional/one-way", rare=True)
    """Read the sequence in both directions."""
    projection_size: int = setting(
        32, at_least=1, at_most=_MOST_UNITS, search=(16, 32, 64, 128), rare=True
    )
    """Size of each stream's projection, before the streams are fused."""
    dropout: float = setting(0.5, at_least=0, below=1, search=SearchRange(0.1, 0.8), rare=True)
    """Share of units dropped in training."""


_CNN_EPOCHS: Mapping[CnnMode, int] = {"frozen": 0, "finetune": 8, "scratch": 40}
_CNN_LEARNING_RATES: Mapping[CnnMode, float] = {"frozen": 0.0, "finetune": 1e-4, "scratch": 2e-3}
"""Pretrained weights need a lower one."""


def _by_mode(values: Mapping[CnnMode, float]) -> str:
    return f"{values['finetune']:g}, {values['scratch']:g} from scratch"


@dataclass(frozen=True, slots=True, kw_only=True)
class CnnSettings(Settings):
    """How training changes the CNN."""

    mode: CnnMode = setting("frozen", option="cnn", rare=True)
    """Keep the pretrained CNN as it is, fine-tune it, or train a small one from scratch."""
    finetune_stages: int = setting(2, at_least=0, rare=True)
    """Number of stages, counted from the last, that are fine-tuned; 0 is all."""
    learning_rate: float | None = setting(
        None, option="cnn_learning_rate", above=0, derived=_by_mode(_CNN_LEARNING_RATES), rare=True
    )
    """Highest learning rate of the CNN's last stage; earlier stages have less."""
    stage_decay: float = setting(0.7, option=None, above=0, at_most=1)
    """Ratio of a stage's learning rate to the next one's (Howard and Ruder, ULMFiT, 2018)."""
    epochs: int | None = setting(
        None, option="cnn_epochs", at_least=1, derived=_by_mode(_CNN_EPOCHS), rare=True
    )
    """Maximum number of epochs in which CNN and classifier train together."""
    conv_channels: tuple[int, ...] = setting(
        (16, 32, 64), at_least=1, at_most=_MOST_UNITS, metavar="N,N,...", rare=True
    )
    """Filters of each block of a CNN trained from scratch; every block halves the frame."""
    conv_kernel: int = setting(3, at_least=1, rare=True)
    """Side of the convolution kernels of a CNN trained from scratch, in pixels."""
    conv_stride: int = setting(1, at_least=1, rare=True)
    """Step of these convolutions; 2 halves the frame once more in every block."""
    conv_padding: int = setting(1, at_least=0, rare=True)
    """Pixels of zeros around the input of these convolutions."""

    def _check(self) -> None:
        if not self.conv_channels:
            raise SettingsError("conv_channels must have at least one number.")

    @property
    def most_epochs(self) -> int:
        """Maximum number of epochs, given or derived from the mode."""
        return self.epochs or _CNN_EPOCHS[self.mode]

    @property
    def highest_learning_rate(self) -> float:
        """Highest learning rate, given or derived from the mode."""
        return self.learning_rate or _CNN_LEARNING_RATES[self.mode]


FROZEN = CnnSettings()  # the CNN stays as it is


_USUAL_STEPS, _FEWEST_EPOCHS, _FEWEST_PATIENCE = 120, 12, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings(Settings):
    """How the sequence classifier is fitted to cached features."""

    epochs: int | None = setting(None, at_least=1, derived="for 120 steps, at least 12", rare=True)
    """Maximum number of passes over the training clips. None: `for_clips` sets it."""
    patience: int | None = setting(
        None, at_least=1, derived="half of the epochs, at least 6", rare=True
    )
    """Epochs without a better validation loss after which training stops."""
    batch_size: int = setting(32, at_least=1, rare=True)
    """Clips per batch."""
    learning_rate: float = setting(
        3e-3, above=0, search=SearchRange(1e-4, 1e-2, log=True), rare=True
    )
    """Highest learning rate of the schedule."""
    schedule: Literal["cosine", "constant"] = setting("cosine", rare=True)
    """Schedule of the learning rate."""
    seed: int = setting(0, at_least=0, rare=True)
    """Random seed; the same seed gives the same result."""
    optimizer: Literal["adamw", "adam"] = setting("adamw", rare=True)
    """Optimizer."""
    weight_decay: float = setting(
        1e-2, at_least=0, search=SearchRange(1e-4, 1e-1, log=True), rare=True
    )
    """Weight decay."""
    gradient_clip: float = setting(1.0, above=0, rare=True)
    """Maximum norm of the gradient."""
    accumulate: int = setting(1, at_least=1, rare=True)
    """Batches per optimizer step: a larger effective batch in the memory of a small one."""
    label_smoothing: float = setting(0.1, at_least=0, below=1, rare=True)
    """Share of each target that is spread evenly over all labels."""
    class_weights: Literal["balanced", "none"] = setting("balanced", rare=True)
    """Weights of the labels in the loss; balanced gives rare labels as much as frequent ones."""

    @property
    def most_epochs(self) -> int:
        """Maximum number of epochs, given or by default."""
        return self.epochs or _FEWEST_EPOCHS

    @property
    def most_patience(self) -> int:
        """Epochs without a better loss, given or by default."""
        return self.patience or max(_FEWEST_PATIENCE, self.most_epochs // 2)

    def for_clips(self, num_clips: int) -> Self:
        """Return a copy with epochs and patience set: enough epochs for a usual number of steps."""
        steps = math.ceil(num_clips / (self.batch_size * self.accumulate))  # per epoch
        enough = max(_FEWEST_EPOCHS, math.ceil(_USUAL_STEPS / steps))
        settled = replace(self, epochs=self.epochs or enough)
        return replace(settled, patience=settled.most_patience)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionSettings(Settings):
    """What a model learns: labels or sentences; and how sentences are learned and written."""

    AFTER: ClassVar[tuple[str, ...]] = ("task", "beam", "length_penalty")
    """Settings that the training of a captioner does not depend on."""

    task: Literal["classify", "describe"] = setting("classify")
    """Labels or sentences."""
    min_count: int = setting(2, at_least=1, rare=True)
    """Captions in which a word must be to belong to the vocabulary."""
    max_words: int = setting(40, at_least=1, at_most=500, rare=True)
    """Maximum number of words of a sentence; longer captions are cut."""
    lower_case: bool = setting(True, option="lower_case/as-written", rare=True)
    """Learn all words in lower case, or as they are written."""
    decoder_size: int = setting(128, at_least=2, at_most=_MOST_UNITS, rare=True)
    """LSTM units of the decoder, which writes the words."""
    beam: int = setting(4, at_least=1, at_most=100, rare=True)
    """Sentences that are followed at the same time to find the best one."""
    length_penalty: float = setting(0.7, at_least=0, at_most=2, rare=True)
    """Exponent that makes up for the low probability of long sentences; 0 prefers short ones."""


AUTO_GROUPS = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings(Settings):
    """Which clips must not be on both sides of a split, and what happens if they are."""

    groups: str | None = setting(None, metavar="auto|PATTERN")
    """Groups, such as persons or cameras, that are never split: auto takes those that names or
    similar scenes suggest; PATTERN is a regular expression for the part of a path that is the
    group."""
    strict: bool = setting(False, rare=True)
    """Stop with exit code 1 if there is leakage between training and held-out clips."""

    def _check(self) -> None:
        try:
            re.compile(self.groups or "")
        except re.error as error:
            raise SettingsError(
                f"groups {self.groups!r} is not a regular expression: {error}.",
                hint=r"An example: 'person\d+' finds person03 in run/person03_2.mp4.",
            ) from error


DEFAULT_AUDIT = AuditSettings()


MOST_LABELS_SHOWN = 20


def show_labels(known: Collection[str], missing: Collection[str]) -> str:
    """List a model's labels for an error; of many only those close to the missing ones."""
    if len(known) <= MOST_LABELS_SHOWN:
        return ", ".join(known)
    close = [one for label in missing for one in get_close_matches(label, known)]
    return f"{len(known)}, close to it: {', '.join(dict.fromkeys(close)) or 'none'}"


def check_labels(asked: Collection[str], known: Collection[str]) -> None:
    """Raise a SettingsError with the closest labels if the model does not have all of these."""
    if unknown := sorted(set(asked) - set(known)):
        raise SettingsError(
            f"The model has no label {', '.join(unknown)}.{did_you_mean(unknown[0], known)}",
            hint=f"Its labels: {show_labels(known, unknown)}.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSettings(Settings):
    """How scores of sliding windows become segments. None derives a time from the window length."""

    labels: tuple[str, ...] = setting((), option="only", metavar="LABEL")
    """Write segments of this label only; can be given several times. Empty: all."""
    smoothing_seconds: float | None = setting(
        None, option="smooth", at_least=0, derived="one window", metavar="SECONDS", rare=True
    )
    """Seconds over which scores are smoothed; 0 takes the best label of every moment."""
    min_seconds: float | None = setting(
        None, at_least=0, derived="half a window", metavar="SECONDS", rare=True
    )
    """Length of the shortest segment in seconds; shorter ones join the better neighbour."""
    gap_seconds: float | None = setting(
        None, option="close_gaps", at_least=0, derived="half a window", metavar="SECONDS", rare=True
    )
    """Longest gap in seconds between two segments of one label that is closed."""
    reject_below: float | None = setting(None, option=None, at_least=0, at_most=1)
    """Lowest score of a label; windows below it are unknown and in no segment. None: no limit."""
    max_ood_score: float | None = None
    """OOD score above which a window is unknown, whatever its scores. None: no limit."""

    def describe(self) -> str:
        """Return the values that are not derived from the window length, as text."""
        told = {k: v for k, v in self.to_json().items() if v is not None and v != ()}
        return ", ".join(f"{k} {v}" for k, v in told.items()) or "by the windows"
