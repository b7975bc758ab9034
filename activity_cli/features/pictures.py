"""Labelled data -> the pictures that the CNN sees, decoded once and kept on disk.

What a CNN that learns needs in place of features. N clips, S streams, T frames per clip, H = W
pixels, D CNN features.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.cache import FEATURES
from activity_cli.common.files import temporary_file
from activity_cli.data.dataset import Dataset, Sample, prepare_pieces
from activity_cli.errors import VideoError
from activity_cli.features.backbones import Backbone
from activity_cli.features.engines.protocol import Extractor
from activity_cli.features.extraction import (
    ClipRequest,
    ExtractedClip,
    clip_identity,
    clip_request,
    threads_for,
)
from activity_cli.features.labelled import DataConfig, LabelledFeatures, part_by_decoding
from activity_cli.settings import AugmentSettings, ClipSettings
from activity_cli.types import Images, OnProgress, no_progress
from activity_cli.video.augmentation import settle_flip, training_views
from activity_cli.video.clips import read_clips
from activity_cli.video.decoder_pool import DecoderPool
from activity_cli.video.pipeline import pipelined_map

Pictures = NDArray[np.uint8]
"""(N, S, T, H, W, channels), a memory map of a file without a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPictures:
    """Pictures and labels of all clips that could be decoded."""

    dataset: Dataset
    """The samples that have pictures, in the order of the rows."""
    pictures: Pictures
    views: Pictures
    """(N, K, S, T, H, W, channels) of each clip's augmented views, for training alone; K may be 0.
    """
    augment: AugmentSettings
    """How these views were drawn."""
    targets: NDArray[np.int64]
    """(N,) position of each clip's label in `dataset.labels`."""
    clips: tuple[ExtractedClip, ...]
    """What decoding said about each row."""
    left_out: tuple[tuple[Sample, ExtractedClip], ...]
    """Samples without a single decoded frame, and why."""
    clip: ClipSettings
    cache_dir: Path
    """Where what is too large for memory is kept while it is needed."""
    stage_seconds: Mapping[str, float]
    engine: str = "torch"
    """What the CNN learns in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _DecodedClip:
    extracted: ExtractedClip
    pictures: Images | None
    """(1 + K, S, T, H, W, channels), the clip itself first."""


def read_pictures(dataset: Dataset, data_config: DataConfig) -> LabelledPictures:
    """Decode all clips of a data set.

    Raises:
        DataError: a label has no clip that decodes, or a piece is beyond the end of its video.
        OutputError: the cache folder cannot be written.
    """
    started = time.perf_counter()
    augment = settle_flip(data_config.augment, dataset.labels, data_config.on_prepare)
    with DecoderPool(data_config.decoders) as pool:
        dataset = prepare_pieces(dataset, pool, window_seconds=data_config.window_seconds)
        requests = [clip_request(sample) for sample in dataset.samples]
        pictures, rows, extracted = _gather(requests, data_config, augment, pool)
    whole, left_out = part_by_decoding(dataset, rows, extracted)
    return LabelledPictures(
        dataset=whole,
        pictures=pictures[:, 0],
        views=pictures[:, 1:],
        augment=augment,
        targets=whole.label_indices(),
        clips=tuple(extracted[i] for i in rows),
        left_out=left_out,
        clip=data_config.clip,
        cache_dir=data_config.cache_dir,
        stage_seconds={"decoding": time.perf_counter() - started},
    )


def see_pictures(
    data: LabelledPictures,
    extractor: Extractor,
    backbone: Backbone,
    *,
    on_progress: OnProgress = no_progress,
) -> LabelledFeatures:
    """The features that a CNN, in the engine that predicts, gives of the pictures.

    Raises:
        OutputError: the cache folder cannot be written.
    """
    started = time.perf_counter()
    num_clips, num_streams, num_frames, *picture = data.pictures.shape
    size = extractor.feature_size
    features = scratch_array((num_clips, num_streams, num_frames, size), np.float16, data.cache_dir)
    at_once = max(1, extractor.batch_size // (num_streams * num_frames))
    for start in range(0, num_clips, at_once):
        images = data.pictures[start : start + at_once].reshape(-1, *picture)
        rows = extractor.extract(images).astype(np.float16)  # (N, D)
        features[start : start + at_once] = rows.reshape(-1, num_streams, num_frames, size)
        on_progress("see", min(start + at_once, num_clips), num_clips)
    seconds = {**data.stage_seconds, "features": time.perf_counter() - started}
    return LabelledFeatures(
        dataset=data.dataset,
        features=features,
        views=np.zeros((num_clips, 0, *features.shape[1:]), np.float16),  # nothing learns any more
        augment=data.augment,
        targets=data.targets,
        clips=data.clips,
        left_out=data.left_out,
        clip=data.clip,
        backbone=backbone,
        extractor=extractor,
        stage_seconds=seconds,
    )


def scratch_array(shape: Sequence[int], dtype: type[np.generic], cache_dir: Path) -> NDArray[Any]:
    """An array in a file without a name in the cache, gone when the program ends.

    Raises:
        OutputError: the cache folder cannot be written.
    """
    with temporary_file(cache_dir / FEATURES) as file:
        return np.memmap(file, dtype, mode="w+", shape=tuple(shape))


def _gather(
    requests: Sequence[ClipRequest],
    data_config: DataConfig,
    augment: AugmentSettings,
    pool: DecoderPool,
) -> tuple[Pictures, NDArray[np.int64], list[ExtractedClip]]:
    """Views of the requests that have any, which these are, and what became of all."""
    clip, on_progress = data_config.clip, data_config.on_progress
    each = (1 + augment.num_views, len(clip.streams), clip.num_frames, *clip.picture_shape)
    pictures = scratch_array((len(requests), *each), np.uint8, data_config.cache_dir)
    views_of = training_views(augment)
    threaded, num_threads = threads_for(requests, pool.decoders)
    reader = pool.reader()

    def decode(request: ClipRequest) -> _DecodedClip:
        try:
            views = views_of(clip_identity(request) if request.path.is_file() else "")
            clips = reader.call(
                read_clips,
                request.path,
                clip,
                views,
                start_seconds=request.start_seconds,
                end_seconds=request.end_seconds,
                num_threads=num_threads,
            )
        except VideoError as error:
            return _DecodedClip(
                extracted=ExtractedClip(request=request, error=error), pictures=None
            )
        return _DecodedClip(
            extracted=ExtractedClip(request=request, decoded=clips[0].decoded),
            pictures=np.stack(
                [np.stack([view.images[stream] for stream in clip.streams]) for view in clips]
            ),
        )

    finished = pipelined_map(
        threaded,
        prepare=decode,
        compute=list,
        size_of=lambda _: 1,
        batch_size=1,
        num_workers=pool.decoders.num_workers,
        interrupt=reader.interrupt,
    )
    rows: list[int] = []
    extracted: list[ExtractedClip] = []
    on_progress("pictures", 0, len(requests))
    for index, decoded in enumerate(finished):
        if decoded.pictures is not None:
            pictures[len(rows)] = decoded.pictures
            rows.append(index)
        extracted.append(decoded.extracted)
        on_progress("pictures", index + 1, len(requests))
    return pictures[: len(rows)], np.array(rows, np.int64), extracted
