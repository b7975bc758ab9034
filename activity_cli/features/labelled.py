"""Labelled data -> CNN features with labels; clips without frames are left out and reported."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.files import temporary_file
from activity_cli.data.dataset import (
    Dataset,
    Sample,
    balance_warnings,
    describe_counts,
)
from activity_cli.data.windows import describe_windows, prepare_pieces
from activity_cli.errors import DataError
from activity_cli.features.backbones import Backbone
from activity_cli.features.cache import feature_cache
from activity_cli.features.engines.choice import Engine, choose_engine
from activity_cli.features.extraction import (
    ClipRequest,
    ExtractedClip,
    clip_request,
    extract_features,
)
from activity_cli.features.streams import StreamExtractor, load_streams
from activity_cli.settings import (
    NO_VIEWS,
    AugmentSettings,
    ClipSettings,
    Stream,
    TrainSettings,
)
from activity_cli.types import OnProgress, no_progress
from activity_cli.video.augmentation import settle_flip, training_views
from activity_cli.video.decoder_pool import AUTO_DECODERS, DecoderPool, Decoders


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """How videos are read: with which CNN, where things are cached, who is told."""

    backbone: Backbone
    clip: ClipSettings
    cache_dir: Path
    engine: Engine = field(default_factory=choose_engine)
    decoders: Decoders = AUTO_DECODERS
    window_seconds: float | None = None
    """Longer pieces are cut into windows of this length; None takes each as one clip."""
    videos: Path | None = None  # folder of the videos that a CSV or an annotation file names
    augment: AugmentSettings = NO_VIEWS  # number and kind of the augmented views of each clip
    on_progress: OnProgress = no_progress
    on_prepare: Callable[[str], None] = lambda _: None
    on_warning: Callable[[str], None] = lambda _: None
    """Called with warnings about the data, in one line each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDataset:
    """Labelled clips as training reads them: N clips, K augmented views, S streams, T frames.

    A is the shape of one time step: (D,) CNN features; or, for a CNN that is trained too,
    (H, W, channels) frames or the activations that its trained stages read.
    """

    values: NDArray[Any]
    """(N, S, T, *A), often mapped from disk: float16 features and activations, uint8 frames."""
    targets: NDArray[Any]
    """(N,) position of each clip's label in `labels`; of multi-label clips (N, C) float32, 1 for
    each label that a clip has, else 0."""
    labels: tuple[str, ...]
    streams: tuple[Stream, ...]
    groups: NDArray[np.int64] | None = None
    """(N,) clips of one group are never on both sides of a split; None without groups."""
    views: NDArray[Any] | None = None
    """(N, K, S, T, *A) for training alone; None without augmentation."""

    @property
    def num_views(self) -> int:
        """K."""
        return 0 if self.views is None else int(self.views.shape[1])

    @property
    def multi_label(self) -> bool:
        """Whether a clip may have several labels, or none."""
        return self.targets.ndim == 2

    @property
    def holds_frames(self) -> bool:
        """Whether the values are frames, because the CNN is trained too."""
        return self.values.dtype == np.uint8

    def read(self, rows: NDArray[np.int64], views: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """Return (len(rows), S, T, *A), of each clip the view with this number; 0 is unchanged."""
        values = np.array(self.values[rows])
        if views is not None and self.views is not None:
            for position in np.flatnonzero(views):
                values[position] = self.views[rows[position], views[position] - 1]
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledClips:
    """All clips that could be decoded, and how they were read."""

    dataset: Dataset  # the samples in the order of the rows
    features: FeatureDataset
    augment: AugmentSettings  # how the views were drawn
    clips: tuple[ExtractedClip, ...]  # result of decoding for each row, without its features
    left_out: tuple[tuple[Sample, ExtractedClip], ...]
    """Samples without a single decoded frame, and why."""
    clip: ClipSettings
    backbone: Backbone
    engine: str  # what computed the features, or what trains the CNN
    stage_seconds: Mapping[str, float]

    @property
    def targets(self) -> NDArray[Any]:
        """(N,) position of each clip's label in `dataset.labels`, or (N, C) of multi-label ones."""
        return self.features.targets

    @property
    def multi_label(self) -> bool:
        """Whether a clip may have several labels, or none."""
        return self.features.multi_label

    def clip_seconds(self) -> dict[str, float]:
        """Return the shortest, median and longest duration of the clips."""
        seconds = [clip.decoded.duration_seconds for clip in self.clips if clip.decoded]
        found = {"min": min(seconds), "median": float(np.median(seconds)), "max": max(seconds)}
        return {name: round(value, 3) for name, value in found.items()}


def read_labelled(dataset: Dataset, config: DataConfig) -> LabelledClips:
    """Decode all clips and run the CNN over them, or take the features from the cache.

    Raises:
        DataError: a label has no clip that decodes, or a piece is beyond the end of its video.
        BackboneError: the CNN's weights are not available.
        OutputError: the cache folder cannot be written.
    """
    started = time.perf_counter()
    augment = settle_flip(config.augment, dataset.labels, config.on_prepare)
    with DecoderPool(config.decoders, start=False) as pool:  # features may be cached
        extractor = load_streams(
            config.backbone,
            config.clip,
            config.engine,
            cache_dir=config.cache_dir,
            on_prepare=config.on_prepare,
        )
        prepared = time.perf_counter()
        dataset = prepare_pieces(dataset, pool, window_seconds=config.window_seconds)
        if dataset.multi_label:
            config.on_prepare(describe_windows(dataset))
        requests = [clip_request(sample) for sample in dataset.samples]
        table = gather_features(requests, config, extractor, pool, augment)
    seconds = {"load CNN": prepared - started, "features": time.perf_counter() - prepared}
    return join_labels(
        dataset, table, config, augment, engine=extractor.identity, stage_seconds=seconds
    )


def join_labels(
    dataset: Dataset,
    table: "FeatureTable",
    config: DataConfig,
    augment: AugmentSettings,
    *,
    engine: str,
    stage_seconds: Mapping[str, float],
) -> LabelledClips:
    """Join the rows of all samples that gave frames with their labels.

    Raises:
        DataError: a label has no clip that decodes.
    """
    pairs = list(zip(dataset.samples, table.extracted, strict=True))
    left_out = tuple(pairs[i] for i in np.setdiff1d(np.arange(len(pairs)), table.rows))
    dataset = replace(dataset, samples=tuple(dataset.samples[i] for i in table.rows))
    for label, count in dataset.counts().items():
        if count == 0:
            sample, clip = next(pair for pair in left_out if label in pair[0].all_labels)
            raise DataError(
                f"No clip of {label!r} can be decoded; {sample.name}: {clip.reason}",
                hint="Replace these clips by files that a video player can show.",
            )
    features = FeatureDataset(
        values=table.values,
        views=table.views if table.views.shape[1] else None,
        targets=dataset.label_indices(),
        labels=dataset.labels,
        streams=config.clip.streams,
        groups=dataset.groups(),
    )
    return LabelledClips(
        dataset=dataset,
        features=features,
        augment=augment,
        clips=tuple(table.extracted[i] for i in table.rows),
        left_out=left_out,
        clip=config.clip,
        backbone=config.backbone,
        engine=engine,
        stage_seconds=stage_seconds,
    )


def announce(
    dataset: Dataset, config: DataConfig, settings: TrainSettings, *, in_folds: bool = False
) -> None:
    """Report the number of clips of each label, and warn where they are few or uneven."""
    config.on_prepare(describe_counts(dataset))
    if dataset.multi_label:
        config.on_prepare(
            "Multi-label: several actions may happen at once, so each label gets a score and a "
            "threshold of its own. One at a time: --no-multi-label."
        )
    for line in balance_warnings(dataset, settings, in_folds=in_folds):
        config.on_warning(line)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureTable:
    """Features or frames of many clips, in files that are mapped, not read, into memory."""

    values: NDArray[Any]  # (N, S, T, *A)
    views: NDArray[Any]  # (N, K, S, T, *A) of the K augmented views of each clip
    rows: NDArray[np.int64]
    """(N,) index of the request of each row; a request without frames has no row."""
    extracted: Sequence[ExtractedClip]
    """The result of every request, in order, without the features themselves."""


def gather_features(
    requests: Sequence[ClipRequest],
    config: DataConfig,
    extractor: StreamExtractor,
    pool: DecoderPool,
    augment: AugmentSettings = NO_VIEWS,
) -> FeatureTable:
    """Gather the features of all requests and their views, or raise an OutputError of the cache."""
    cache, clip_settings = feature_cache(config.cache_dir), config.clip
    shape = (len(clip_settings.streams), clip_settings.num_frames, extractor.feature_size)
    plain = scratch_array((len(requests), *shape), np.float16, cache.folder)
    views = scratch_array((len(requests), augment.num_views, *shape), np.float16, cache.folder)
    rows: list[int] = []
    extracted: list[ExtractedClip] = []
    clips = extract_features(
        requests,
        clip_settings,
        extractor=extractor,
        backbone=config.backbone,
        cache=cache,
        pool=pool,
        views_of=training_views(augment),
    )
    config.on_progress("features", 0, len(requests))
    for index, clip in enumerate(clips):
        if clip.values is not None:
            plain[len(rows)] = clip.values
            for number, values in enumerate(clip.more_values):
                views[len(rows), number] = values
            rows.append(index)
        extracted.append(replace(clip, values=None, more_values=()))
        config.on_progress("features", index + 1, len(requests))
    return FeatureTable(
        values=plain[: len(rows)],
        views=views[: len(rows)],
        rows=np.array(rows, np.int64),
        extracted=extracted,
    )


def scratch_array(shape: Sequence[int], dtype: type[np.generic], folder: Path) -> NDArray[Any]:
    """Map an array from a nameless file, freed when the program ends, or raise an OutputError."""
    if 0 in shape:  # which cannot be mapped
        return np.empty(shape, dtype)
    with temporary_file(folder) as file:
        return np.memmap(file, dtype, mode="w+", shape=tuple(shape))
