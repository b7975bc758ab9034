"""Options that several commands share, in groups, so that they are spelled and explained once.

A command takes a group as one parameter, `network: NetworkOptions`; `with_option_groups` shows
each of the group's fields to Typer as an option of its own.
"""

import inspect
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, is_dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from activity_cli.engines.choice import Engine, Precision, choose_engine
from activity_cli.errors import SettingsError
from activity_cli.paths import default_cache_dir
from activity_cli.settings import (
    DEFAULT_BACKBONE,
    STREAMS,
    ClassWeights,
    ClipSettings,
    NetworkSettings,
    Optimizer,
    Pooling,
    Schedule,
    TrainSettings,
)

if TYPE_CHECKING:
    from activity_cli.batch import FailureLimit
    from activity_cli.cli.progress import ProgressReport
    from activity_cli.decoder_pool import Decoders
    from activity_cli.labelled import Reading
    from activity_cli.long_video import OnSeconds
    from activity_cli.prediction import Predictor
    from activity_cli.predictors.sliding import Sliding
    from activity_cli.rendering.pictures import PictureWishes
    from activity_cli.report.result_file import GoingOn
    from activity_cli.sources import Found

_CLIP, _NETWORK, _TRAIN = ClipSettings(), NetworkSettings(), TrainSettings()


def _option(*names: str, panel: str, text: str, **details: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, help=text, **details)


Data = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="Folder with one folder of clips per label, or a CSV."),
]
MODEL_HELP = "Run folder, model folder, exported file, or a shipped model's name."

_OUTPUT = "Output"
Overwrite = Annotated[
    bool, _option("--overwrite", panel=_OUTPUT, text="Replace an existing output.")
]
Json = Annotated[bool, _option("--json", panel=_OUTPUT, text="Print the result as JSON.")]
Quiet = Annotated[bool, _option("--quiet", "-q", panel=_OUTPUT, text="No progress, no notes.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result.", min=0)]

Background = Annotated[
    str | None,
    typer.Option("--background-label", help="Label of the clips in which nothing happens."),
]
Reject = Annotated[
    str,
    typer.Option(
        help="What is called unknown: auto (the model's own rule), off, or a lowest score.",
        metavar="auto|off|SCORE",
    ),
]

_READING = "Reading videos"


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What computes here: no effect on what a model is."""

    engine: Annotated[
        Literal["auto", "openvino", "onnx", "torch"],
        _option(panel=_READING, text="What computes; auto: torch on a GPU, else OpenVINO."),
    ] = "auto"
    device: Annotated[
        str, _option(panel=_READING, text="auto, cpu, cuda, cuda:1 or mps.", metavar="DEVICE")
    ] = "auto"
    precision: Annotated[
        Precision,
        _option(panel=_READING, text="Of the CNN; auto takes the fastest that is safe here."),
    ] = "auto"
    cache_dir: Annotated[
        Path | None,
        _option(
            panel=_READING,
            text="Where features and prepared networks are kept.",
            envvar="ACTIVITY_CACHE_DIR",
            show_default="the user's cache folder",
        ),
    ] = None

    @property
    def cache(self) -> Path:
        """The cache folder to use."""
        return self.cache_dir or default_cache_dir()

    def choose_engine(self) -> Engine:
        """The engine to use.

        Raises:
            SettingsError: the wishes do not go together, or there is no such device.
        """
        return choose_engine(self.engine, device=self.device, precision=self.precision)

    def asked_engine(self) -> Engine | None:
        """The engine to use, or None where no option asks for anything.

        Raises:
            SettingsError: as `choose_engine`.
        """
        wishes = (self.engine, self.device, self.precision)
        return None if set(wishes) == {"auto"} else self.choose_engine()


@dataclass(frozen=True, kw_only=True)
class MachineOptions(EngineOptions):
    """How this machine reads videos: no effect on what a model is."""

    workers: Annotated[
        int | None,
        _option(
            panel=_READING, text="Videos decoded at a time.", min=1, show_default="one per core"
        ),
    ] = None
    decoder_threads: Annotated[
        int | None,
        _option(
            panel=_READING,
            text="Decoder threads per video.",
            min=1,
            show_default="1, and all cores for a single video",
        ),
    ] = None
    timeout: Annotated[
        float | None,
        _option(
            panel=_READING,
            text="Seconds that the decoding of one file may take.",
            show_default="600, and 4 per MB",
        ),
    ] = None

    def decoders(self, *, num_cores: int | None = None) -> "Decoders":
        """How videos are decoded.

        Args:
            num_cores: that they are to keep to, if this process has not the whole machine.
        """
        from activity_cli.decoder_pool import Decoders

        num_workers = self.workers or num_cores
        own = {} if num_workers is None else {"num_workers": num_workers}
        # A video that is alone would take all cores of the machine.
        num_threads = self.decoder_threads or (None if num_cores is None else 1)
        return Decoders(**own, num_threads=num_threads, timeout_seconds=self.timeout)


_BATCH = "Many files"


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """Which files, and what becomes of those that are done or fail."""

    pattern: Annotated[
        list[str] | None,
        _option(panel=_BATCH, text="Only files that match, e.g. '*.mp4'; several may be given."),
    ] = None
    exclude: Annotated[
        list[str] | None, _option(panel=_BATCH, text="Leave out files that match, e.g. '*/old/*'.")
    ] = None
    shard: Annotated[
        str | None,
        _option(panel=_BATCH, text="One machine's part of the files, e.g. 2/3.", metavar="I/N"),
    ] = None
    dry_run: Annotated[
        bool, _option("--dry-run", panel=_BATCH, text="Show what would be done, and stop.")
    ] = False
    retry_failed: Annotated[
        bool, _option("--retry-failed", panel=_BATCH, text="Do files without a score again.")
    ] = False
    verify_content: Annotated[
        bool,
        _option(
            "--verify-content",
            panel=_BATCH,
            text="Tell changed files by their content, not by size and time.",
        ),
    ] = False
    max_failures: Annotated[
        str | None,
        _option(panel=_BATCH, text="Stop after more without a score: 10, or 5%.", metavar="N|P%"),
    ] = None

    def select(self, found: "list[Found]") -> list[Path]:
        """The files to score.

        Raises:
            DataError: the patterns leave nothing.
            SettingsError: the shard is none.
        """
        from activity_cli.batch import Shard, select

        return select(
            found,
            patterns=self.pattern or (),
            exclude=self.exclude or (),
            shard=Shard.parse(self.shard) if self.shard else None,
        )

    @property
    def made_with(self) -> dict[str, str]:
        """What a journal remembers of these, so that only the same part goes on in its file.

        Raises:
            SettingsError: the shard is none.
        """
        from activity_cli.batch import SHARD, Shard

        return {SHARD: str(Shard.parse(self.shard))} if self.shard else {}

    def going_on(self, *, overwrite: bool) -> "GoingOn":
        """When a file that has a row is done again."""
        from activity_cli.report.result_file import GoingOn

        return GoingOn(
            overwrite=overwrite,
            retry_failed=self.retry_failed,
            verify_content=self.verify_content,
        )

    def failure_limit(self) -> "FailureLimit | None":
        """How many files without a score are too many.

        Raises:
            SettingsError: it is no number.
        """
        from activity_cli.batch import FailureLimit

        return FailureLimit.parse(self.max_failures) if self.max_failures else None


_WINDOWS = "Long videos"


@dataclass(frozen=True, kw_only=True)
class LengthOptions:
    """How long windows are, and how far apart."""

    window: Annotated[
        float | None,
        _option(
            panel=_WINDOWS,
            text="Seconds that a window spans.",
            show_default="as long as the clips that the model learned from",
        ),
    ] = None
    stride: Annotated[
        float | None,
        _option(
            panel=_WINDOWS,
            text="Seconds from one window to the next.",
            show_default="a quarter of a window",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class WindowOptions(LengthOptions):
    """How windows slide over videos that are longer than a clip."""

    whole: Annotated[
        bool,
        _option("--whole", panel=_WINDOWS, text="No windows: every video is one clip."),
    ] = False

    only: Annotated[
        list[str] | None,
        _option(panel=_WINDOWS, text="Segments of this label only; several may be given."),
    ] = None
    smooth: Annotated[
        float | None,
        _option(
            panel=_WINDOWS,
            text="Seconds over which scores are smoothed; 0: not at all.",
            show_default="a window",
        ),
    ] = None
    min_seconds: Annotated[
        float | None,
        _option(panel=_WINDOWS, text="Shortest segment.", show_default="half a window"),
    ] = None
    close_gaps: Annotated[
        float | None,
        _option(
            panel=_WINDOWS,
            text="Seconds of a gap within an action that is closed.",
            show_default="half a window",
        ),
    ] = None
    segments: Annotated[
        list[Path] | None,
        _option(
            panel=_WINDOWS,
            text="File for what happens when: .csv, .jsonl, .parquet, .srt, .vtt, .eaf, .txt,"
            " .fiftyone.json, .labelstudio.json; several may be given.",
            metavar="FILE",
        ),
    ] = None
    storyboard: Annotated[
        Path | None,
        _option(panel=_WINDOWS, text="Picture of scores and thumbnails, .png.", metavar="FILE"),
    ] = None
    save_video: Annotated[
        Path | None,
        _option(panel=_WINDOWS, text="The video with label and scores drawn in, .mp4."),
    ] = None
    clips_dir: Annotated[
        Path | None, _option(panel=_WINDOWS, text="Folder for the segments as videos.")
    ] = None

    def pictures(self, *, overwrite: bool) -> "PictureWishes":
        """The files to make of each video."""
        from activity_cli.rendering.pictures import PictureWishes

        return PictureWishes(
            save_video=self.save_video,
            storyboard=self.storyboard,
            clips_dir=self.clips_dir,
            overwrite=overwrite,
        )

    def sliding(self, on_seconds: "OnSeconds") -> "Sliding | None":
        """How windows slide, or None where they are not wanted.

        Raises:
            SettingsError: wishes that do not go together.
        """
        from activity_cli.predictors.sliding import Sliding
        from activity_cli.settings import SegmentSettings

        if not self.whole:
            return Sliding(
                window_seconds=self.window,
                stride_seconds=self.stride,
                segments=SegmentSettings(
                    smoothing_seconds=self.smooth,
                    min_seconds=self.min_seconds,
                    gap_seconds=self.close_gaps,
                    labels=tuple(self.only or ()),
                ),
                on_seconds=on_seconds,
            )
        if any((self.window, self.stride, self.smooth, self.min_seconds, self.only)):
            raise SettingsError(
                "--whole takes a video as one clip: there are no windows to say anything of.",
                hint="Leave --whole away, or --window, --stride, --smooth, --min-seconds, --only.",
            )
        return None


_CLUSTER = "Cluster"


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Whether other machines do the work, and what each worker gets of them."""

    cluster: Annotated[
        str | None,
        _option(
            panel=_CLUSTER,
            text="Score on a Ray cluster: auto, the address of its head, or local, to start one.",
            metavar="auto|local|HOST:PORT",
        ),
    ] = None
    cpus_per_worker: Annotated[
        int, _option(panel=_CLUSTER, text="Cores of a worker, which holds one model.", min=1)
    ] = 1
    gpus_per_worker: Annotated[
        float, _option(panel=_CLUSTER, text="GPUs of a worker; 0.5 shares one.", min=0)
    ] = 0
    cluster_workers: Annotated[
        str | None,
        _option(
            panel=_CLUSTER,
            text="How many: 4, or from 2 to 8 as there is room: 2,8.",
            metavar="N|MIN,MAX",
            show_default="as many as there is room for",
        ),
    ] = None

    def connected(self, on_note: Callable[[str], None]) -> AbstractContextManager[None]:
        """A connection to the cluster, if one is asked for.

        Raises:
            ClusterError: there is none.
            MissingExtraError: Ray is not installed.
        """
        if self.cluster is None:
            return nullcontext()
        from activity_cli.cluster_connection import connect

        return connect(self.cluster, on_note=on_note)

    def load_predictor(
        self,
        model: str,
        machine: MachineOptions,
        *,
        sliding: "Sliding | None",
        remember: bool,
        verify_content: bool,
        on_prepare: Callable[[str], None],
    ) -> "Predictor":
        """A model ready to score, on this machine or on the cluster that it is connected to.

        Raises:
            ActivityError: as `prediction.load_predictor` and `cluster.ClusterPredictor` say.
        """
        if self.cluster is None:
            from activity_cli.prediction import load_predictor

            return load_predictor(
                model,
                cache_dir=machine.cache,
                engine=machine.asked_engine(),
                remember=remember,
                decoders=machine.decoders(),
                sliding=sliding,
                on_prepare=on_prepare,
            )
        from activity_cli.cluster import ClusterPredictor, Workers
        from activity_cli.cluster_worker import Recipe
        from activity_cli.long_video import no_seconds

        least, most = 1, None
        if self.cluster_workers is not None:
            least, most = Workers.parse_count(self.cluster_workers)
        recipe = Recipe(
            model=model,
            engine=machine.engine,
            device=machine.device,
            precision=machine.precision,
            cache_dir=machine.cache_dir.absolute() if machine.cache_dir else None,
            remember=remember,
            decoders=machine.decoders(num_cores=self.cpus_per_worker),
            # Who has scored how much of a video, workers do not tell.
            sliding=replace(sliding, on_seconds=no_seconds) if sliding else None,
            num_threads=self.cpus_per_worker,
            hash_content=verify_content,
        )
        workers = Workers(
            num_cpus=self.cpus_per_worker, num_gpus=self.gpus_per_worker, least=least, most=most
        )
        may_grow = self.cluster != "local"
        return ClusterPredictor(recipe, workers, may_grow=may_grow, on_note=on_prepare)


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """How a video becomes a clip, and which CNN reads it."""

    backbone: Annotated[
        str, _option(panel=_READING, text="Pretrained CNN; `activity models` lists them.")
    ] = DEFAULT_BACKBONE
    streams: Annotated[
        Literal["both", "rgb", "motion"],
        _option(panel=_READING, text="Pictures, motion images, or both fused."),
    ] = "both"
    frames: Annotated[
        int, _option(panel=_READING, text="Frames per clip, spread evenly over it.", min=1)
    ] = _CLIP.num_frames
    window: Annotated[
        float | None,
        _option(
            panel=_READING,
            text="Cut longer clips and pieces into windows of so many seconds.",
            show_default="each is one clip",
        ),
    ] = None
    frame_size: Annotated[
        int | None,
        _option(
            panel=_READING,
            text="Side of the square that the CNN sees, in pixels.",
            show_default="the CNN's own",
        ),
    ] = None

    def reading(self, machine: MachineOptions, report: "ProgressReport") -> "Reading":
        """All that the reading of labelled clips needs.

        Raises:
            BackboneError: the CNN is unknown or its weights are not to be had.
        """
        from activity_cli.backbones import find_backbone
        from activity_cli.labelled import Reading

        backbone = find_backbone(self.backbone)
        return Reading(
            backbone=backbone,
            clip=ClipSettings(
                num_frames=self.frames,
                frame_size=self.frame_size or backbone.frame_size,
                streams=STREAMS if self.streams == "both" else (self.streams,),
            ),
            cache_dir=machine.cache,
            engine=machine.choose_engine(),
            decoders=machine.decoders(),
            window_seconds=self.window,
            on_progress=report,
            on_prepare=report.note,
        )


_NETWORK_PANEL = "Network"


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """The sequence classifier."""

    temporal: Annotated[
        Literal["lstm", "mean"],
        _option(panel=_NETWORK_PANEL, text="What reads the sequence: an LSTM, or mean pooling."),
    ] = "lstm"
    pooling: Annotated[
        Pooling, _option(panel=_NETWORK_PANEL, text="How the LSTM's outputs become one vector.")
    ] = _NETWORK.pooling
    hidden_size: Annotated[int, _option(panel=_NETWORK_PANEL, text="LSTM units per direction.")] = (
        _NETWORK.hidden_size
    )
    layers: Annotated[int, _option(panel=_NETWORK_PANEL, text="LSTM layers.")] = _NETWORK.num_layers
    bidirectional: Annotated[
        bool,
        _option("--bidirectional/--one-way", panel=_NETWORK_PANEL, text="Read it both ways."),
    ] = _NETWORK.bidirectional
    projection_size: Annotated[
        int, _option(panel=_NETWORK_PANEL, text="Size of each stream before they are fused.")
    ] = _NETWORK.projection_size
    dropout: Annotated[
        float, _option(panel=_NETWORK_PANEL, text="Share of units dropped while training.")
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


_TRAINING_PANEL = "Training"


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How the sequence classifier is fitted."""

    epochs: Annotated[
        int, _option(panel=_TRAINING_PANEL, text="The most passes over the training clips.")
    ] = _TRAIN.epochs
    patience: Annotated[
        int, _option(panel=_TRAINING_PANEL, text="Epochs without gain before it stops early.")
    ] = _TRAIN.patience
    batch_size: Annotated[int, _option(panel=_TRAINING_PANEL, text="Clips per step.")] = (
        _TRAIN.batch_size
    )
    learning_rate: Annotated[
        float, _option(panel=_TRAINING_PANEL, text="The highest of the schedule.")
    ] = _TRAIN.learning_rate
    schedule: Annotated[
        Schedule, _option(panel=_TRAINING_PANEL, text="Course of the learning rate.")
    ] = _TRAIN.schedule
    optimizer: Annotated[Optimizer, _option(panel=_TRAINING_PANEL, text="Optimizer.")] = (
        _TRAIN.optimizer
    )
    weight_decay: Annotated[float, _option(panel=_TRAINING_PANEL, text="Weight decay.")] = (
        _TRAIN.weight_decay
    )
    label_smoothing: Annotated[
        float, _option(panel=_TRAINING_PANEL, text="Share of doubt put into every label.")
    ] = _TRAIN.label_smoothing
    class_weights: Annotated[
        ClassWeights,
        _option(panel=_TRAINING_PANEL, text="Let rare labels count like frequent ones."),
    ] = _TRAIN.class_weights
    rgb_penalty: Annotated[
        float,
        _option(panel=_TRAINING_PANEL, text="L2 penalty on what the clip's pictures show."),
    ] = _TRAIN.rgb_penalty
    motion_penalty: Annotated[
        float,
        _option(panel=_TRAINING_PANEL, text="L2 penalty on how much moves in the clip."),
    ] = _TRAIN.motion_penalty
    seed: Seed = _TRAIN.seed

    def settings(self) -> TrainSettings:
        """The settings that these options say."""
        return TrainSettings(**vars(self))


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter whose type is an option group by the group's options.

    Typer reads a command's signature; this gives it one in which every field of a group is a
    parameter of its own, and puts the values back together when the command is called.
    """
    signature = inspect.signature(command, eval_str=True)
    groups = {p.name: p.annotation for p in signature.parameters.values() if _is_group(p)}

    @wraps(command)
    def expanded(**values: Any) -> None:
        for name, group in groups.items():
            options = {field: values.pop(field) for field in _fields(group)}
            values[name] = group(**options)
        command(**values)

    parameters = list(_expand(signature.parameters.values()))
    expanded.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {p.name: p.annotation for p in parameters}
    return expanded


def _is_group(parameter: inspect.Parameter) -> bool:
    return is_dataclass(parameter.annotation)


def _fields(group: type) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(group, eval_str=True).parameters)


def _expand(parameters: Iterable[inspect.Parameter]) -> Iterable[inspect.Parameter]:
    for parameter in parameters:
        inner = _fields(parameter.annotation).values() if _is_group(parameter) else (parameter,)
        for one in inner:
            yield one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
