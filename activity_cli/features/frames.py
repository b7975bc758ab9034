"""Labelled data -> frames: decoded once and kept on disk for a CNN that is trained, or a preview.

N clips, K augmented views, S streams, T frames per clip, H = W pixels, D CNN features.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.cache import FEATURES
from activity_cli.common.files import temporary_file
from activity_cli.data.dataset import Dataset, Sample, prepare_pieces
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
from activity_cli.features.labelled import DataConfig, LabelledClips, as_features, split_by_decoding
from activity_cli.settings import AugmentSettings
from activity_cli.types import Clip, Images
from activity_cli.video.augmentation import View, settle_flip, training_views
from activity_cli.video.clips import read_clips
from activity_cli.video.decoder_pool import ClipReader, DecoderPool
from activity_cli.video.pipeline import pipelined_map


@dataclass(frozen=True, slots=True, kw_only=True)
class _DecodedClip:
    extracted: ExtractedClip
    frames: Images | None
    """(1 + K, S, T, H, W, channels), the unchanged clip first."""


def read_frames(dataset: Dataset, config: DataConfig) -> LabelledClips:
    """Decode all clips of a data set into a file of the cache folder, which nobody else sees.

    Raises:
        DataError: a label has no clip that decodes, or a piece is beyond the end of its video.
        OutputError: the cache folder cannot be written.
    """
    started = time.perf_counter()
    augment = settle_flip(config.augment, dataset.labels, config.on_prepare)
    with DecoderPool(config.decoders) as pool:
        dataset = prepare_pieces(dataset, pool, window_seconds=config.window_seconds)
        requests = [clip_request(sample) for sample in dataset.samples]
        frames, rows, extracted = _decode_all(requests, config, augment, pool)
    kept, left_out = split_by_decoding(dataset, rows, extracted)
    return LabelledClips(
        dataset=kept,
        features=as_features(kept, frames[:, 0], frames[:, 1:], config.clip),
        augment=augment,
        clips=tuple(extracted[i] for i in rows),
        left_out=left_out,
        clip=config.clip,
        backbone=config.backbone,
        engine="torch",
        stage_seconds={"decoding": time.perf_counter() - started},
    )


def extract_from_frames(
    labelled: LabelledClips, extractor: Extractor, backbone: Backbone, config: DataConfig
) -> LabelledClips:
    """Compute the features of clips that hold frames, in the engine that predicts.

    Raises:
        OutputError: the cache folder cannot be written.
    """
    started = time.perf_counter()
    frames = labelled.features.values
    num_clips, num_streams, num_frames, *shape = frames.shape
    size = extractor.feature_size
    values = scratch_array((num_clips, num_streams, num_frames, size), np.float16, config.cache_dir)
    at_once = max(1, extractor.batch_size // (num_streams * num_frames))
    for start in range(0, num_clips, at_once):
        images = frames[start : start + at_once].reshape(-1, *shape)
        rows = extractor.extract(images).astype(np.float16)  # (N, D)
        values[start : start + at_once] = rows.reshape(-1, num_streams, num_frames, size)
        config.on_progress("see", min(start + at_once, num_clips), num_clips)
    seconds = {**labelled.stage_seconds, "features": time.perf_counter() - started}
    return replace(
        labelled,
        features=replace(labelled.features, values=values, views=None),
        backbone=backbone,
        engine=extractor.identity,
        stage_seconds=seconds,
    )


def scratch_array(shape: Sequence[int], dtype: type[np.generic], cache_dir: Path) -> NDArray[Any]:
    """Make an array in a nameless file of the cache folder, which goes when the program ends.

    Raises:
        OutputError: the cache folder cannot be written.
    """
    with temporary_file(cache_dir / FEATURES) as file:
        return np.memmap(file, dtype, mode="w+", shape=tuple(shape))


def _decode_all(
    requests: Sequence[ClipRequest], config: DataConfig, augment: AugmentSettings, pool: DecoderPool
) -> tuple[NDArray[np.uint8], NDArray[np.int64], list[ExtractedClip]]:
    """Return the frames of the requests that have any, which these are, and all results."""
    clip = config.clip
    each = (1 + augment.num_views, len(clip.streams), clip.num_frames, *clip.picture_shape)
    frames = scratch_array((len(requests), *each), np.uint8, config.cache_dir)
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
            return _DecodedClip(extracted=ExtractedClip(request=request, error=error), frames=None)
        return _DecodedClip(
            extracted=ExtractedClip(request=request, decoded=clips[0].decoded),
            frames=np.stack(
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
    config.on_progress("pictures", 0, len(requests))
    for index, decoded in enumerate(finished):
        if decoded.frames is not None:
            frames[len(rows)] = decoded.frames
            rows.append(index)
        extracted.append(decoded.extracted)
        config.on_progress("pictures", index + 1, len(requests))
    return frames[: len(rows)], np.array(rows, np.int64), extracted


_MOST_LABELS = 12
_MOST_VIEWS = 4
"""Of a clip, the plain one among them."""
_MOST_CLIPS_PER_LABEL = 2
_MOST_STRIPS = 24
"""Views of all clips together: a picture that can still be looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewClip:
    """A clip, and what the network sees of it."""

    sample: Sample
    views: tuple[tuple[View, Clip], ...]
    """The plain one first."""


def read_preview(dataset: Dataset, data_config: DataConfig) -> tuple[PreviewClip, ...]:
    """Some clips of each label in some of their views, in the order of the labels.

    Clips that cannot be decoded are passed over, as in training.

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
            clips = _decodable(_spread(samples, per_label), data_config, augment, pool.reader())
            found += [clip for clip, _ in zip(clips, range(per_label), strict=False)]
        data_config.on_progress("preview", len(labels), len(labels))
    if not found:
        raise DataError(
            "Not a single clip can be decoded.",
            hint="`activity check` says what is wrong with each of them.",
        )
    return tuple(found)


def _spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """All samples: first so many from all over them, then the others."""
    first = [len(samples) * number // count for number in range(min(count, len(samples)))]
    others = [index for index in range(len(samples)) if index not in first]
    return [samples[index] for index in first + others]


def _decodable(
    samples: Sequence[Sample], data_config: DataConfig, augment: AugmentSettings, reader: ClipReader
) -> Iterator[PreviewClip]:
    for sample in samples:
        request = clip_request(sample)
        try:
            views = tuple(training_views(augment)(clip_identity(request)))
            clips = reader.call(
                read_clips,
                request.path,
                data_config.clip,
                views,
                start_seconds=request.start_seconds,
                end_seconds=request.end_seconds,
            )
        except VideoError:
            continue
        yield PreviewClip(sample=sample, views=tuple(zip(views, clips, strict=True)))
