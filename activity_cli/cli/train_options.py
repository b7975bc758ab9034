"""Options of learning: clips, network and training."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from activity_cli.cli.option_groups import option
from activity_cli.cli.options import READING, Background, MachineOptions, Seed
from activity_cli.settings import (
    DEFAULT_BACKBONE,
    NO_VIEWS,
    STREAM_CHOICES,
    Amp,
    AuditSettings,
    AugmentSettings,
    ClassWeights,
    ClipSettings,
    CnnSettings,
    NetworkSettings,
    Optimizer,
    Pooling,
    Schedule,
    StreamChoice,
    TrainSettings,
)

if TYPE_CHECKING:
    from activity_cli.cli.progress import ProgressReport
    from activity_cli.features.labelled import DataConfig

_CLIP, _NETWORK, _TRAIN = ClipSettings(), NetworkSettings(), TrainSettings()
_SCRATCH_FRAME = 32
"""Side of the frames of a CNN that learns from nothing, unless asked for: enough for figures."""


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """How a video becomes a clip, and which CNN reads it."""

    backbone: Annotated[
        str, option(panel=READING, text="Pretrained CNN; `activity models` lists them.")
    ] = DEFAULT_BACKBONE
    streams: Annotated[
        StreamChoice,
        option(
            panel=READING,
            text="Pictures, motion images, or both fused; flow: optical flow, all: with it.",
        ),
    ] = "both"
    frames: Annotated[
        int, option(panel=READING, text="Frames per clip, spread evenly over it.", min=1)
    ] = _CLIP.num_frames
    window: Annotated[
        float | None,
        option(
            panel=READING,
            text="Cut longer clips and pieces into windows of so many seconds.",
            show_default="each is one clip",
        ),
    ] = None
    frame_size: Annotated[
        int | None,
        option(
            panel=READING,
            text="Side of the square that the CNN sees, in pixels.",
            show_default="the CNN's own; 32 from scratch",
            min=1,
        ),
    ] = None

    steady: Annotated[
        bool,
        option(
            "--steady/--as-filmed",
            panel=READING,
            text="Take the camera's shaking out of motion images.",
        ),
    ] = _CLIP.steady

    channels: Annotated[
        Literal["3", "1"],
        option(panel=READING, text="What the CNN sees: 3 is RGB, 1 grey (--cnn scratch alone)."),
    ] = "3"

    def data_config(
        self,
        machine: MachineOptions,
        report: "ProgressReport",
        cnn: CnnSettings,
        augment: AugmentSettings = NO_VIEWS,
    ) -> "DataConfig":
        """All that the reading of labelled clips needs.

        Raises:
            BackboneError: the CNN is unknown or its weights are not to be had.
            SettingsError: it cannot see such frames.
        """
        from activity_cli.features.backbones import find_backbone, scratch_backbone
        from activity_cli.features.labelled import DataConfig

        found = None if cnn.mode == "scratch" else find_backbone(self.backbone)
        clip = ClipSettings(
            num_frames=self.frames,
            frame_size=self.frame_size or (found.frame_size if found else _SCRATCH_FRAME),
            streams=STREAM_CHOICES[self.streams],
            steady=self.steady,
            channels=int(self.channels),
        )
        backbone = found or scratch_backbone(clip, cnn.conv_channels)
        backbone.check_frames(clip)
        return DataConfig(
            backbone=backbone,
            clip=clip,
            cache_dir=machine.cache,
            engine=machine.choose_engine(),
            decoders=machine.decoders(),
            window_seconds=self.window,
            augment=augment,
            on_progress=report,
            on_prepare=report.note,
            on_warning=report.warn,
        )


_NETWORK_PANEL = "Network"


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """The sequence classifier."""

    temporal: Annotated[
        Literal["lstm", "mean"],
        option(panel=_NETWORK_PANEL, text="What reads the sequence: an LSTM, or mean pooling."),
    ] = "lstm"
    pooling: Annotated[
        Pooling, option(panel=_NETWORK_PANEL, text="How the LSTM's outputs become one vector.")
    ] = _NETWORK.pooling
    hidden_size: Annotated[int, option(panel=_NETWORK_PANEL, text="LSTM units per direction.")] = (
        _NETWORK.hidden_size
    )
    layers: Annotated[int, option(panel=_NETWORK_PANEL, text="LSTM layers.")] = _NETWORK.num_layers
    bidirectional: Annotated[
        bool,
        option("--bidirectional/--one-way", panel=_NETWORK_PANEL, text="Read it both ways."),
    ] = _NETWORK.bidirectional
    projection_size: Annotated[
        int, option(panel=_NETWORK_PANEL, text="Size of each stream before they are fused.")
    ] = _NETWORK.projection_size
    dropout: Annotated[
        float, option(panel=_NETWORK_PANEL, text="Share of units dropped while training.")
    ] = _NETWORK.dropout

    def settings(self) -> NetworkSettings:
        """The settings that these options say."""
        return NetworkSettings(
            temporal=self.temporal,
            pooling=self.pooling,
            hidden_size=self.hidden_size,
            num_layers=self.layers,
            bidirectional=self.bidirectional,
            projection_size=self.projection_size,
            dropout=self.dropout,
        )


_TRAINING = "Training"
_STEPS = "Training: steps"
_LOSS = "Training: loss and balance"


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How the sequence classifier is fitted."""

    epochs: Annotated[
        int | None,
        option(
            panel=_TRAINING,
            text="The most passes over the training clips.",
            show_default="40; more where clips are few",
        ),
    ] = _TRAIN.epochs
    patience: Annotated[
        int | None,
        option(
            panel=_TRAINING,
            text="Epochs without gain before it stops early.",
            show_default="15, or 3/8 of the epochs",
        ),
    ] = _TRAIN.patience
    batch_size: Annotated[int, option(panel=_TRAINING, text="Clips per batch.")] = _TRAIN.batch_size
    learning_rate: Annotated[
        float, option(panel=_TRAINING, text="The highest of the schedule.")
    ] = _TRAIN.learning_rate
    schedule: Annotated[Schedule, option(panel=_TRAINING, text="Course of the learning rate.")] = (
        _TRAIN.schedule
    )
    seed: Seed = _TRAIN.seed
    optimizer: Annotated[Optimizer, option(panel=_STEPS, text="Optimizer.")] = _TRAIN.optimizer
    weight_decay: Annotated[float, option(panel=_STEPS, text="Weight decay.")] = _TRAIN.weight_decay
    gradient_clip: Annotated[float, option(panel=_STEPS, text="Largest norm of the gradient.")] = (
        _TRAIN.gradient_clip
    )
    accumulate: Annotated[
        int, option(panel=_STEPS, text="Batches per step, where memory is short.", min=1)
    ] = _TRAIN.accumulate
    amp: Annotated[
        Amp, option(panel=_STEPS, text="Half precision while training; bf16 works on a CPU too.")
    ] = _TRAIN.amp
    label_smoothing: Annotated[
        float, option(panel=_LOSS, text="Share of doubt put into every label.")
    ] = _TRAIN.label_smoothing
    mixup: Annotated[
        float,
        option(panel=_LOSS, text="Mix clips by shares from Beta(X, X), 0.2 say; 0 does not."),
    ] = _TRAIN.mixup
    class_weights: Annotated[
        ClassWeights, option(panel=_LOSS, text="Let rare labels count like frequent ones.")
    ] = _TRAIN.class_weights
    rgb_penalty: Annotated[
        float, option(panel=_LOSS, text="L2 penalty on what pictures show, at 200 clips.")
    ] = _TRAIN.rgb_penalty
    motion_penalty: Annotated[
        float, option(panel=_LOSS, text="L2 penalty on how much moves, at 200 clips.")
    ] = _TRAIN.motion_penalty
    flow_penalty: Annotated[
        float, option(panel=_LOSS, text="L2 penalty on how it moves (flow), at 200 clips.")
    ] = _TRAIN.flow_penalty

    def settings(self) -> TrainSettings:
        """The settings that these options say."""
        return TrainSettings(**vars(self))


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """What labels stand for."""

    background_label: Background = None


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """What must not be on both sides of a split."""

    groups: Annotated[
        str | None,
        typer.Option(
            help="Regex for the part of a path that says who or where: never split apart.",
            metavar="PATTERN",
        ),
    ] = None
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Stop, exit code 1, where leakage is found."),
    ] = False

    def settings(self) -> AuditSettings:
        """The settings that these options say."""
        return AuditSettings(groups=self.groups, strict=self.strict)


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """How clips are parted for one training."""

    val_fraction: Annotated[
        float,
        typer.Option(
            help="Share of the clips that chooses the best epoch; below 100, inner folds do."
        ),
    ] = 0.15
    test_fraction: Annotated[
        float, typer.Option(help="Share of the clips held out to measure on.")
    ] = 0.15


@dataclass(frozen=True, kw_only=True)
class DealOptions:
    """How clips are dealt to the folds of a cross-validation."""

    folds: Annotated[int, typer.Option(help="How many folds to draw.", min=2)] = 5
    fold_column: Annotated[
        str | None, typer.Option(help="Column of the CSV that says each clip's fold.")
    ] = None
    group_column: Annotated[
        str | None,
        typer.Option(
            help="Column whose values stay together, such as camera.",
            show_default="group, where the data has it",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class FoldOptions(DealOptions):
    """How clips are dealt to folds, and what else is run on them."""

    compare: Annotated[
        bool,
        typer.Option("--compare", help="Also run majority, single-frame and mean-pool heads."),
    ] = False
