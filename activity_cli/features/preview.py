"""Labelled data -> a few clips as the network would see them in training, without a CNN.

Every label is shown while there are not too many; the views are those that training reads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from activity_cli.data.dataset import Dataset, Sample, prepare_pieces
from activity_cli.errors import DataError, VideoError
from activity_cli.features.extraction import clip_identity, clip_request
from activity_cli.features.labelled import DataConfig
from activity_cli.settings import AugmentSettings
from activity_cli.types import Clip
from activity_cli.video.augmentation import View, settle_flip, training_views
from activity_cli.video.clips import read_clips
from activity_cli.video.decoder_pool import ClipReader, DecoderPool

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
