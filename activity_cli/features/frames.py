"""Labelled data -> frames: decoded once and kept on disk for a CNN that is trained, or a preview.

N clips, K augmented views, S streams, T frames per clip, H = W pixels, D CNN features.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from activity_cli.common.cache import FEATURES
from activity_cli.data.dataset import Dataset, Sample
from activity_cli.data.windows import prepare_pieces
from activity_cli.errors import DataError, VideoError
from activity_cli.features.backbones import Backbone
from activity_cli.features.engines.protocol import Extractor
from activity_cli.features.extraction import (
    ClipRequest,
    ExtractedClip,
    clip_identity,
    clip_request,
    threads_for,
)
from activity_cli.features.labelled import (
    DataConfig,
    FeatureTable,
    LabelledClips,
    join_labels,
    scratch_array,
)
from activity_cli.settings import AugmentSettings, ClipSettings
from activity_cli.types import Clip, Images
from activity_cli.video.augmentation import View, settle_flip, training_views
from activity_cli.video.clips import read_clips
from activity_cli.video.decoder_pool import ClipReader, DecoderPool
from activity_cli.video.pipeline import pipelined_map


def read_frames(dataset: Dataset, config: DataConfig) -> LabelledClips:
    """Decode all clips into a nameless file in the cache folder; errors as `read_labelled`."""
    started = time.perf_counter()
    augment = settle_flip(config.augment, dataset.labels, config.on_prepare)
    with DecoderPool(config.decoders) as pool:
        dataset = prepare_pieces(dataset, pool, window_seconds=config.window_seconds)
        requests = [clip_request(sample) for sample in dataset.samples]
        table = _decode_all(requests, config, augment, pool)
    seconds = {"decoding": time.perf_counter() - started}
    return join_labels(dataset, table, config, augment, engine="torch", stage_seconds=seconds)


def extract_from_frames(
    labelled: LabelledClips, extractor: Extractor, backbone: Backbone, config: DataConfig
) -> LabelledClips:
    """Compute the features of clips that hold frames, in the engine that predicts."""
    started = time.perf_counter()
    frames = labelled.features.values
    num_clips, num_streams, num_frames, *picture = frames.shape
    shape = (num_clips, num_streams, num_frames, extractor.feature_size)
    values = scratch_array(shape, np.float16, config.cache_dir / FEATURES)
    at_once = max(1, extractor.batch_size // (num_streams * num_frames))
    for start in range(0, num_clips, at_once):
        images = frames[start : start + at_once].reshape(-1, *picture)
        features = extractor.extract(images).astype(np.float16)  # (N, D)
        values[start : start + at_once] = features.reshape(-1, *shape[1:])
        config.on_progress("see", min(start + at_once, num_clips), num_clips)
    seconds = {**labelled.stage_seconds, "features": time.perf_counter() - started}
    return replace(
        labelled,
        features=replace(labelled.features, values=values, views=None),
        backbone=backbone,
        engine=extractor.identity,
        stage_seconds=seconds,
    )


def _decode_all(
    requests: Sequence[ClipRequest], config: DataConfig, augment: AugmentSettings, pool: DecoderPool
) -> FeatureTable:
    """Decode the frames of all requests and their views, (N, 1 + K, S, T, H, W, channels)."""
    clip = config.clip
    each = (1 + augment.num_views, len(clip.streams), clip.num_frames, *clip.picture_shape)
    frames = scratch_array((len(requests), *each), np.uint8, config.cache_dir / FEATURES)
    threaded, num_threads = threads_for(requests, pool.decoders)
    reader = pool.reader()

    def decode(request: ClipRequest) -> tuple[ExtractedClip, Images | None]:
        try:
            clips = [c for _, c in _read_views(request, clip, augment, reader, num_threads)]
        except VideoError as error:
            return ExtractedClip(request=request, error=error), None
        images = [np.stack([view.images[stream] for stream in clip.streams]) for view in clips]
        return ExtractedClip(request=request, decoded=clips[0].decoded), np.stack(images)

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
    config.on_progress("pictures", 0, len(requests))
    for index, (result, images) in enumerate(finished):
        if images is not None:
            frames[len(rows)] = images
            rows.append(index)
        extracted.append(result)
        config.on_progress("pictures", index + 1, len(requests))
    return FeatureTable(
        values=frames[: len(rows), 0],
        views=frames[: len(rows), 1:],
        rows=np.array(rows, np.int64),
        extracted=extracted,
    )


def _read_views(
    request: ClipRequest,
    clip: ClipSettings,
    augment: AugmentSettings,
    reader: ClipReader,
    num_threads: int = 1,
) -> list[tuple[View, Clip]]:
    """Decode a clip and its augmented views, the unchanged clip first, or raise a VideoError."""
    views = training_views(augment)(clip_identity(request) if request.path.is_file() else "")
    clips = reader.call(
        read_clips,
        request.path,
        clip,
        views,
        start_seconds=request.start_seconds,
        end_seconds=request.end_seconds,
        num_threads=num_threads,
    )
    return list(zip(views, clips, strict=True))


_MOST_LABELS = 12
_MOST_VIEWS = 4  # of a clip, the unchanged one among them
_MOST_CLIPS_PER_LABEL = 2
_MOST_STRIPS = 24  # views of all clips together, in one image


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewClip:
    """A clip, and what the network sees of it."""

    sample: Sample
    views: tuple[tuple[View, Clip], ...]  # the plain one first


def read_preview(dataset: Dataset, data_config: DataConfig) -> tuple[PreviewClip, ...]:
    """Read some clips of each label in some of their views; skip clips that cannot be decoded.

    Raises:
        DataError: not a single clip can be decoded.
    """
    augment = settle_flip(data_config.augment, dataset.labels, data_config.on_prepare)
    labels = dataset.labels[:_MOST_LABELS]
    num_views = min(augment.num_views + 1, _MOST_VIEWS, max(2, _MOST_STRIPS // len(labels)))
    per_label = _MOST_STRIPS // (len(labels) * num_views)
    per_label = min(max(per_label, 1), _MOST_CLIPS_PER_LABEL)
    augment = replace(augment, num_views=num_views - 1)
    found: list[PreviewClip] = []
    with DecoderPool(data_config.decoders) as pool:
        dataset = prepare_pieces(dataset, pool, window_seconds=data_config.window_seconds)
        for done, label in enumerate(labels):
            data_config.on_progress("preview", done, len(labels))
            samples = [sample for sample in dataset.samples if sample.label == label]
            reader = pool.reader()
            clips: list[PreviewClip] = []
            for sample in _spread(samples, per_label):
                if len(clips) == per_label:
                    break
                with suppress(VideoError):
                    views = _read_views(clip_request(sample), data_config.clip, augment, reader)
                    clips.append(PreviewClip(sample=sample, views=tuple(views)))
            found += clips
        data_config.on_progress("preview", len(labels), len(labels))
    if not found:
        raise DataError(
            "Not a single clip can be decoded.",
            hint="`activity check` says what is wrong with each of them.",
        )
    return tuple(found)


def _spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Return all samples: first `count` evenly spaced ones, then the others."""
    first = [len(samples) * number // count for number in range(min(count, len(samples)))]
    return [samples[index] for index in dict.fromkeys([*first, *range(len(samples))])]
