"""Labelled data -> features with labels: what training and cross-validation start from.

Clips that give no frames are left out of the learning, but never out of the report.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from activity_cli.data.dataset import Dataset, Sample, prepare_pieces
from activity_cli.errors import DataError
from activity_cli.features.backbones import Backbone
from activity_cli.features.engines.choice import Engine, choose_engine
from activity_cli.features.engines.loading import load_extractor
from activity_cli.features.engines.protocol import Extractor
from activity_cli.features.extraction import (
    ExtractedClip,
    clip_request,
    feature_cache,
    gather_features,
)
from activity_cli.settings import NO_VIEWS, AugmentSettings, ClipSettings
from activity_cli.types import OnProgress, no_progress
from activity_cli.video.augmentation import settle_flip
from activity_cli.video.decoder_pool import AUTO_DECODERS, DecoderPool, Decoders


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """How videos are read: with which CNN, where things are kept, who is told."""

    backbone: Backbone
    clip: ClipSettings
    cache_dir: Path
    engine: Engine = field(default_factory=choose_engine)
    decoders: Decoders = AUTO_DECODERS
    window_seconds: float | None = None
    """Longer pieces are cut into windows of this length; None takes each as one clip."""
    augment: AugmentSettings = NO_VIEWS
    """How many augmented views of each clip are read beside it, and how they differ."""
    on_progress: OnProgress = no_progress
    on_prepare: Callable[[str], None] = lambda _: None
    on_warning: Callable[[str], None] = lambda _: None
    """Told what the user should know about the data, a line each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledFeatures:
    """Features and labels of all clips that could be decoded."""

    dataset: Dataset
    """The samples that have features, in the order of the rows."""
    features: NDArray[np.float16]
    """(N, S, T, D), mapped from disk."""
    views: NDArray[np.float16]
    """(N, K, S, T, D) of each clip's augmented views, for training alone; K may be 0."""
    augment: AugmentSettings
    """How these views were drawn."""
    targets: NDArray[np.int64]
    """(N,) position of each clip's label in `dataset.labels`."""
    clips: tuple[ExtractedClip, ...]
    """What decoding said about each row, without the features."""
    left_out: tuple[tuple[Sample, ExtractedClip], ...]
    """Samples without a single decoded frame, and why."""
    clip: ClipSettings
    backbone: Backbone
    extractor: Extractor
    stage_seconds: Mapping[str, float]

    @property
    def engine(self) -> str:
        """What computed the features."""
        return self.extractor.identity


def read_labelled(dataset: Dataset, data_config: DataConfig) -> LabelledFeatures:
    """Decode all clips of a data set and run the CNN over them, or take them from the cache.

    Raises:
        DataError: a label has no clip that decodes, or a piece is beyond the end of its video.
        BackboneError: the CNN's weights are not to be had.
        OutputError: the cache folder cannot be written.
    """
    started = time.perf_counter()
    augment = settle_flip(data_config.augment, dataset.labels, data_config.on_prepare)
    with DecoderPool(
        data_config.decoders
    ) as pool:  # its first worker starts while the CNN is loaded
        extractor = load_extractor(
            data_config.backbone,
            data_config.engine,
            cache_dir=data_config.cache_dir,
            frame_size=data_config.clip.frame_size,
            on_prepare=data_config.on_prepare,
        )
        prepared = time.perf_counter()
        dataset = prepare_pieces(dataset, pool, window_seconds=data_config.window_seconds)
        table = gather_features(
            [clip_request(sample) for sample in dataset.samples],
            data_config.clip,
            extractor=extractor,
            backbone=data_config.backbone,
            pool=pool,
            cache=feature_cache(data_config.cache_dir),
            augment=augment,
            on_progress=data_config.on_progress,
        )
    whole, left_out = part_by_decoding(dataset, table.rows, table.extracted)
    return LabelledFeatures(
        dataset=whole,
        features=table.values,
        views=table.views,
        augment=augment,
        targets=whole.label_indices(),
        clips=tuple(table.extracted[i] for i in table.rows),
        left_out=left_out,
        clip=data_config.clip,
        backbone=data_config.backbone,
        extractor=extractor,
        stage_seconds={
            "load CNN": prepared - started,
            "features": time.perf_counter() - prepared,
        },
    )


def part_by_decoding(
    dataset: Dataset, rows: NDArray[np.int64], extracted: Sequence[ExtractedClip]
) -> tuple[Dataset, tuple[tuple[Sample, ExtractedClip], ...]]:
    """The samples that gave frames, by their positions, and the others with the reason.

    Raises:
        DataError: a label has no clip that decodes.
    """
    kept = set(rows.tolist())
    pairs = list(zip(dataset.samples, extracted, strict=True))
    left_out = tuple(pair for index, pair in enumerate(pairs) if index not in kept)
    whole = replace(dataset, samples=tuple(dataset.samples[i] for i in rows))
    _check_every_label_is_left(whole, left_out)
    return whole, left_out


def _check_every_label_is_left(
    dataset: Dataset, left_out: tuple[tuple[Sample, ExtractedClip], ...]
) -> None:
    for label, count in dataset.counts().items():
        if count == 0:
            sample, clip = next(pair for pair in left_out if pair[0].label == label)
            raise DataError(
                f"No clip of {label!r} can be decoded; {sample.name}: {clip.reason}",
                hint="Replace these clips by files that a video player can show.",
            )
