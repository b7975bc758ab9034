"""Options of predict: windows over long videos, batches of files, clusters."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from activity_cli.cli.options import MachineOptions
from activity_cli.errors import BackboneError, SettingsError
from activity_cli.setting_fields import setting
from activity_cli.settings import DEFAULT_MODEL, KINETICS600, SegmentSettings

if TYPE_CHECKING:
    from activity_cli.predict.label_selection import LabelSelection
    from activity_cli.predict.predictor import OnSeconds, PredictConfig, Predictor, WindowConfig
    from activity_cli.predict.results.frame_files import FrameFiles
    from activity_cli.report.overlay.outputs import VisualWriter
    from activity_cli.video.decoder_pool import Decoders


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The model, and which of its labels are reported."""

    model: str | None = setting(
        None,
        envvar="ACTIVITY_MODEL",
        derived=f"{KINETICS600} if downloaded, else {DEFAULT_MODEL}",
    )
    """Run folder, model folder, exported file, kinetics600, or name of a shipped model."""
    labels: str | None = setting(None, metavar="LABELS|FILE", derived="all")
    """Report these labels only, under other names: 'jogging,driving car=driving', or a file with
    one per line."""
    trust_model: bool = setting(False, rare=True)
    """Load an exported torch file, which can run code that it contains."""
    unknown: bool = setting(False, rare=True)
    """With --labels, report the score of all other labels as unknown."""

    def choose(self, *, may_ask: bool) -> str:
        """Return the model to load; by default kinetics600, offered in a terminal if it is absent.

        Who declines is not asked again. `may_ask` is whether the user may be asked, if one sees
        the question and can answer.
        """
        from activity_cli.cli.progress import progress_report
        from activity_cli.features import action_weights as weights
        from activity_cli.features.backbones import is_offline
        from activity_cli.model.kinetics600 import default_model

        model = self.model or default_model()
        is_offered = self.model is None and model == DEFAULT_MODEL and not is_offline()
        may_ask = may_ask and sys.stdin.isatty() and sys.stderr.isatty()
        if is_offered and may_ask and not weights.is_download_declined():
            size = f"{weights.FILE_BYTES / 1e6:.1f} MB"
            question = f"Download the {size} network for 600 everyday actions?"
            if typer.confirm(question, default=True, err=True):
                with progress_report(quiet=False) as report:
                    report.note(f"{weights.SOURCE}, {weights.LICENCE}")
                    try:
                        weights.fetch_action_weights(on_progress=report)
                        return KINETICS600
                    except BackboneError as error:
                        report.warn(f"{error.message} {error.hint}")
            else:
                weights.decline_download()
        return model

    def selection(self) -> "LabelSelection | None":
        """Return what --labels and --unknown select; None for all labels."""
        from activity_cli.predict.label_selection import LabelSelection

        if self.labels is not None:
            return LabelSelection.read(self.labels, keep_unknown=self.unknown)
        if self.unknown:
            raise SettingsError(
                "--unknown needs --labels: the labels that are not unknown.",
                hint="To reject clips by their scores: --reject auto, or --reject 0.7.",
            )
        return None


@dataclass(frozen=True, kw_only=True)
class LengthOptions:
    """How long windows are, and how far apart."""

    window: float | None = setting(
        None, derived="length of the model's training clips", metavar="SECONDS", rare=True
    )
    """Length of a window in seconds."""
    stride: float | None = setting(
        None, derived="a quarter of a window", metavar="SECONDS", rare=True
    )
    """Seconds from the start of a window to the start of the next."""


@dataclass(frozen=True, kw_only=True)
class WindowOptions(LengthOptions):
    """How windows slide over videos that are longer than a clip."""

    whole: bool = setting(False, rare=True)
    """Score every video as one clip, without windows."""
    segment_settings: SegmentSettings
    segments: tuple[Path, ...] = setting((), metavar="FILE")
    """File for the segments: .csv, .jsonl, .parquet, .srt, .vtt, .eaf, .txt, .boris, .cvat.xml,
    .deepethogram.csv, .fiftyone.json or .labelstudio.json; can be given several times."""
    window_scores: Path | None = setting(None, metavar="FILE", rare=True)
    """File for the scores of every window, .csv."""
    frames: Path | None = setting(None, metavar="FILE")
    """File for one row per frame, .csv: frame, seconds, and the score of each label."""
    storyboard: Path | None = setting(None, metavar="FILE")
    """Picture of scores and thumbnails, .png."""
    save_video: Path | None = setting(None, metavar="FILE")
    """Copy of the video with label and scores drawn in, .mp4."""
    clips_dir: Path | None = setting(None, metavar="FOLDER", rare=True)
    """Folder for the segments as videos."""

    def window_config(self, on_seconds: "OnSeconds") -> "WindowConfig | None":
        """Return how windows slide, or None for --whole."""
        from activity_cli.predict.predictor import WindowConfig

        if not self.whole:
            return WindowConfig(
                window_seconds=self.window,
                stride_seconds=self.stride,
                segments=self.segment_settings,
                on_seconds=on_seconds,
            )
        if self.window or self.stride or self.segment_settings != SegmentSettings():
            raise SettingsError(
                "--whole scores a video as one clip, so there are no windows to set.",
                hint="Remove --whole, or all options of windows and segments.",
            )
        return None

    def frame_files(
        self, paths: Sequence[Path], decoders: "Decoders", *, overwrite: bool
    ) -> "FrameFiles | None":
        """Return what writes a row per frame, if that is asked for; else an OutputError."""
        if self.frames is None:
            return None
        from activity_cli.predict.results.frame_files import FrameFiles

        return FrameFiles(self.frames, paths, decoders=decoders, overwrite=overwrite)

    def visual_writer(self, paths: Sequence[Path], *, overwrite: bool) -> "VisualWriter | None":
        """Return what makes pictures and videos of each file, if any; else an OutputError."""
        if not (self.save_video or self.storyboard or self.clips_dir):
            return None  # its modules are not imported
        from activity_cli.report.overlay.outputs import VisualWriter

        return VisualWriter(
            paths,
            save_video=self.save_video,
            storyboard=self.storyboard,
            clips_dir=self.clips_dir,
            overwrite=overwrite,
        )


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """Which files are scored, and when again."""

    pattern: tuple[str, ...] = setting((), rare=True)
    """Only files that match, e.g. '*.mp4'; can be given several times."""
    exclude: tuple[str, ...] = setting((), metavar="PATTERN", rare=True)
    """Leave out files that match, e.g. '*/old/*'."""
    shard: str | None = setting(None, metavar="I/N", rare=True)
    """Part of the files for one of N machines, e.g. 2/3."""
    dry_run: bool = setting(False)
    """Show how many files would be scored, and stop."""
    retry_failed: bool = setting(False)
    """Score files without a score again."""
    verify_content: bool = setting(False, rare=True)
    """Detect changed files by content instead of size and time."""
    max_failures: str | None = setting(None, metavar="N|P%", rare=True)
    """Stop if more files than this have no score: 10, or 5%."""

    def find(self, sources: Sequence[str]) -> list[Path]:
        """Return the files of the sources that are to be scored here."""
        from activity_cli.video.sources import Shard, find_sources, select

        shard = Shard.parse(self.shard) if self.shard else None
        found = find_sources(sources)
        return select(found, patterns=self.pattern, exclude=self.exclude, shard=shard)


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Whether a cluster scores the files, and what each worker gets of it."""

    cluster: str | None = setting(None, metavar="auto|local|HOST:PORT", rare=True)
    """Score on a Ray cluster: a running one (auto), one started here (local), or the address of its
    head."""
    cpus_per_worker: int = setting(1, at_least=1, rare=True)
    """Cores of a worker; each worker loads one model."""
    gpus_per_worker: float = setting(0.0, at_least=0, rare=True)
    """GPUs of a worker; 0.5 shares one."""
    cluster_workers: str | None = setting(
        None, metavar="N|MIN,MAX", derived="as many as there is room for", rare=True
    )
    """Number of workers: 4, or between 2 and 8 as there is room: 2,8."""

    def load_predictor(
        self,
        stack: ExitStack,
        model: str,
        config: "PredictConfig",
        machine: MachineOptions,
        *,
        hash_content: bool,
    ) -> "Predictor":
        """Load a model on this machine or on a cluster; `stack` closes it and the connection."""
        if self.cluster is None:
            from activity_cli.predict.predictor import load_predictor

            return stack.enter_context(closing(load_predictor(model, config)))
        from activity_cli.predict.cluster import ClusterPredictor, Workers, connect
        from activity_cli.predict.cluster.worker import WorkerConfig

        stack.enter_context(connect(self.cluster, on_note=config.on_prepare))
        least, most = 1, None
        if self.cluster_workers:
            least, most = Workers.parse_count(self.cluster_workers)
        worker = WorkerConfig(
            model=model,
            predict=replace(config, decoders=machine.decoders(num_cores=self.cpus_per_worker)),
            num_threads=self.cpus_per_worker,
            hash_content=hash_content,
        )
        workers = Workers(
            num_cpus=self.cpus_per_worker, num_gpus=self.gpus_per_worker, least=least, most=most
        )
        predictor = ClusterPredictor(worker, workers, may_grow=self.cluster != "local")
        return stack.enter_context(closing(predictor))
