"""Options of train, crossval and tune; `activity settings` and `--settings FILE`.

Every setting of the dataclasses in `TABLES` is an option and a key of the file. Options of one call
(where results go, what is printed) are in no file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from activity_cli.cli.options import MachineOptions
from activity_cli.common.settings_file import read_settings, write_settings
from activity_cli.errors import SettingsError
from activity_cli.setting_fields import Option, build, options_of, setting
from activity_cli.settings import (
    AUGMENT_AMOUNTS,
    DEFAULT_BACKBONE,
    NO_VIEWS,
    STREAMS,
    AuditSettings,
    AugmentSettings,
    CaptionSettings,
    ClipSettings,
    CnnSettings,
    NetworkSettings,
    Stream,
    TrainSettings,
    name_streams,
    parse_streams,
)

if TYPE_CHECKING:
    from activity_cli.cli.progress import ProgressReport
    from activity_cli.data.dataset import Dataset
    from activity_cli.data.splits import Folds
    from activity_cli.features.labelled import DataConfig

_SCRATCH_FRAME = 32
"""Side of the frames of a CNN trained from scratch, by default: enough for drawn figures."""


class SpeedPoint(NamedTuple):
    """What the frame CNN sees, as chosen by `tests/benchmarks/frontier.py`."""

    size: float  # side of a frame, as a share of the CNN's own
    rgb_every: int  # see `ClipSettings`


SPEEDS: Mapping[str, SpeedPoint] = {
    "fast": SpeedPoint(160 / 224, 4),
    "balanced": SpeedPoint(1.0, 2),
    "best": SpeedPoint(1.0, 1),
}
_LIMITS = {"jitter": 0.5, "crop": 0.9, "shift": 0.9, "brightness": 0.9, "noise": 0.9}


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """How a video becomes a clip, and which networks read it."""

    speed: Literal["fast", "balanced", "best"] = setting("balanced")
    """Speed or accuracy."""
    streams: str | None = setting(
        None, metavar="STREAMS", derived="rgb+motion, and action if its weights are here"
    )
    """What the networks see, joined by +: rgb, motion, flow (optical flow), action."""
    backbone: str = setting(DEFAULT_BACKBONE, rare=True)
    """Pretrained CNN; `activity models` lists them."""
    settings: ClipSettings
    frame_size: int | None = setting(
        None, at_least=1, derived="by --speed; 32 from scratch", rare=True
    )
    """Side of the square frame that the CNN sees, in pixels."""
    window: float | None = setting(None, derived="each is one clip", metavar="SECONDS")
    """Cut longer clips and pieces into windows of this many seconds."""
    videos: Path | None = setting(None, metavar="FOLDER", derived="beside DATA", rare=True)
    """Folder of the videos that a CSV or an annotation file names."""

    def __post_init__(self) -> None:
        if self.streams is not None:
            parse_streams(self.streams)

    def check_backbone(self, cnn: CnnSettings) -> None:
        """Raise a BackboneError for a name that no CNN has; imports nothing heavy."""
        from activity_cli.features.backbones import check_name

        if cnn.mode != "scratch":
            check_name(self.backbone)

    def data_config(
        self,
        machine: MachineOptions,
        report: "ProgressReport",
        cnn: CnnSettings,
        augment: AugmentSettings = NO_VIEWS,
        *,
        action: bool = False,
    ) -> "DataConfig":
        """Return what reading labelled clips needs; with `action`, that is a default stream."""
        from activity_cli.features.backbones import find_backbone, scratch_backbone
        from activity_cli.features.labelled import DataConfig

        found = None if cnn.mode == "scratch" else find_backbone(self.backbone)
        own_size = found.frame_size if found else _SCRATCH_FRAME
        reads_action = cnn.mode == "frozen" and self.settings.channels == 3
        if self.streams:
            streams = parse_streams(self.streams)
        else:
            streams = _usual_streams(report, self.speed) if action and reads_action else STREAMS
        if cnn.mode != "frozen" and "action" in streams:
            raise SettingsError(
                f"--cnn {cnn.mode} trains the frame CNN, which the stream action does not use.",
                hint="Use --streams both, or --cnn frozen.",
            )
        if cnn.mode != "frozen" and machine.precision == "int8":
            raise SettingsError(
                f"A CNN of --cnn {cnn.mode} does not compute in int8.", hint="Omit --precision."
            )
        # A CNN that is trained, and those that were not measured, see all frames at their own size.
        is_known = cnn.mode == "frozen" and self.backbone == DEFAULT_BACKBONE
        is_known &= streams != ("action",)
        point = SPEEDS[self.speed] if is_known else SPEEDS["best"]
        side = self.frame_size or round(own_size * point.size)
        clip = replace(self.settings, streams=streams, frame_size=side, rgb_every=point.rgb_every)
        backbone = found or scratch_backbone(clip, cnn)
        backbone.check_frames(clip)
        config = machine.predict_config(report.note)
        return DataConfig(
            backbone=backbone,
            clip=clip,
            cache_dir=config.cache_folder,
            engine=config.choose_engine(),
            decoders=config.decoders,
            window_seconds=self.window,
            videos=self.videos,
            augment=augment,
            on_progress=report,
            on_prepare=report.note,
            on_warning=report.warn,
        )


def _usual_streams(report: "ProgressReport", speed: str) -> tuple[Stream, ...]:
    """Return the streams of a training that names none, and report them."""
    from activity_cli.features import action_weights

    if action_weights.find_action_weights() is None:
        report.note(
            "Without the action network, which usually raises accuracy: `activity models pull "
            f"{action_weights.NAME}` ({action_weights.FILE_BYTES / 1e6:.1f} MB)."
        )
        return STREAMS
    streams: tuple[Stream, ...] = ("action",) if speed == "fast" else (*STREAMS, "action")
    report.note(f"Streams: {', '.join(streams)} ({action_weights.NAME})")
    return streams


@dataclass(frozen=True, kw_only=True)
class AugmentOptions:
    """Augmented copies of training clips."""

    settings: AugmentSettings
    augment: tuple[str, ...] = setting(
        (), metavar="KIND", derived="all but reverse; flip unless a label names a side", rare=True
    )
    # A docstring is a literal: a test compares the list with AUGMENTATIONS.
    """What differs between copies; can be given several times: flip, rotate, zoom, shift, colour,
    blur, noise, speed, jitter, crop, reverse."""
    augment_strength: float = setting(1.0, at_least=0, rare=True)
    """Factor of all changes; 2 is twice as strong."""

    def chosen(self) -> AugmentSettings:
        """Return the augmentation that these options ask for."""
        amounts = {
            name: min(self.augment_strength * getattr(NO_VIEWS, name), _LIMITS.get(name, 1e9))
            for name in AUGMENT_AMOUNTS
        }
        wanted = replace(self.settings, **amounts)
        if self.augment:
            wanted = wanted.only(self.augment)
        if not wanted.num_views and wanted != NO_VIEWS:
            raise SettingsError(
                "--augment and --augment-strength need augmented copies.", hint="Add --views 2."
            )
        return wanted


@dataclass(frozen=True, kw_only=True)
class MultiLabelOption:
    """Whether a clip may have several labels."""

    multi_label: bool | None = setting(
        None,
        option="multi_label/no_multi_label",
        derived="if pieces of different labels overlap",
        rare=True,
    )
    """Several actions may happen at once: each label gets a score and a threshold of its own."""


@dataclass(frozen=True, kw_only=True)
class LabelOptions(MultiLabelOption):
    """What labels stand for."""

    background_label: str | None = setting(None, rare=True)
    """Label of the clips in which nothing happens."""


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """How clips are split for one training run."""

    val_fraction: float = setting(0.15, metavar="SHARE", rare=True)
    """Share of the clips that chooses the best epoch; below 500 clips, inner folds choose it."""
    test_fraction: float = setting(0.15, metavar="SHARE")
    """Share of the clips that is held out to measure the model."""


@dataclass(frozen=True, kw_only=True)
class FoldOptions:
    """How clips are assigned to the folds of a cross-validation."""

    folds: int = setting(5, at_least=2)
    """Number of folds."""
    fold_column: str | None = setting(None)
    """Column of the CSV with each clip's fold."""
    group_column: str | None = setting(None, derived="group, if the data has it")
    """Column whose values stay together, such as camera."""

    def deal(self, dataset: "Dataset", *, seed: int, num_folds: int | None = None) -> "Folds":
        """Return the folds of a data set, as many as the options ask for by default."""
        from activity_cli.data.splits import make_folds

        return make_folds(
            dataset,
            num_folds=num_folds or self.folds,
            fold_column=self.fold_column,
            group_column=self.group_column,
            seed=seed,
        )


@dataclass(frozen=True, kw_only=True)
class CrossvalOptions(FoldOptions):
    """How clips are assigned to folds, and what else runs on these folds."""

    compare: bool = setting(False)
    """Also measure baselines: majority label, single frame, and mean pooling."""


TABLES: Mapping[str, type] = {
    "machine": MachineOptions,
    "clip": ClipOptions,
    "captions": CaptionSettings,
    "augmentation": AugmentOptions,
    "network": NetworkSettings,
    "training": TrainSettings,
    "cnn": CnnSettings,
    "labels": LabelOptions,
    "audit": AuditSettings,
    "split": SplitOptions,
    "folds": CrossvalOptions,
}
"""Tables of the file; train, crossval and tune have them as parameters of these names."""
_HEADER = """\
Settings of activity: `activity train DATA --settings FILE`, and the same for crossval.
Options of the command line override the file; the file overrides the defaults."""


def settings() -> None:
    """Print a settings file with all defaults, for train and crossval.

    Change the values that you need, delete the others, and give it to `activity train DATA
    --settings run.toml`. The settings.toml of a run folder is such a file as well.

    Example:  activity settings > run.toml
    """
    keys = settings_keys()
    text = write_settings(keys, {key.name: key.default for key in keys}, header=_HEADER)
    typer.echo(text, nl=False)


def settings_keys() -> list[Option]:
    """Return all keys of a settings file: all settings but those of one machine."""
    keys = [key for table, group in TABLES.items() for key in options_of(group, table=table)]
    return [key for key in keys if not key.setting.is_local]


def settings_text(context: typer.Context, streams: tuple[Stream, ...]) -> str:
    """Return the settings file of this call: the values of its options, wherever they come from.

    `streams` are those that were used, whether or not the options name them.
    """
    keys = [key for key in settings_keys() if key.name in context.params]
    # An empty list means the default, and arrives as None when it is read from a file.
    values = {name: None if value in ([], ()) else value for name, value in context.params.items()}
    values["streams"] = name_streams(streams)
    return write_settings(keys, values, header=_HEADER)


def read_below(context: typer.Context, path: Path | None) -> Path | None:
    """Make the values of a settings file, or of a run, the defaults of the command line."""
    if path is not None:
        values = read_settings(path, settings_keys())
        for group in TABLES.values():  # checks the values of a table together
            try:
                build(group, values)
            except SettingsError as error:
                raise SettingsError(f"{path}: {error.message}", hint=error.hint) from error
        context.default_map = {**(context.default_map or {}), **values}
    return path


SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        callback=read_below,
        is_eager=True,
        metavar="FILE",
        help="TOML file with options, such as a run's settings.toml. Flags override it.",
    ),
]
