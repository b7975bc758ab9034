"""Videos -> CNN features, through an engine, with a cache on disk.

A clip's features depend on the bytes of its file, on how the clip is sampled and on the CNN and
engine that read it. The cache key is made of exactly these, so a changed video or setting is
never served stale. Any number of processes may share a cache; a damaged entry is made again.
"""

import hashlib
import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from activity_cli.common.cache import FEATURES, CheckedFiles
from activity_cli.common.files import sha256_of, temporary_file
from activity_cli.data.dataset import Sample
from activity_cli.errors import LongVideoError, VideoError
from activity_cli.features.backbones import Backbone
from activity_cli.features.engines.protocol import Extractor
from activity_cli.settings import ALL_STREAMS, NO_VIEWS, AugmentSettings, ClipSettings, Stream
from activity_cli.types import Clip, Decoded, Images, OnProgress, Status, no_progress
from activity_cli.video.augmentation import PLAIN, View, ViewsOf, plain_only, training_views
from activity_cli.video.clips import read_clips
from activity_cli.video.decoder_pool import ClipReader, DecoderPool, Decoders
from activity_cli.video.pipeline import pipelined_map

_FORMAT = 1  # raise it when sampling, motion images or the entry's layout change

StreamFeatures = dict[Stream, NDArray[np.float16]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRequest:
    """A clip to extract: a whole file, or the piece of it between two times."""

    path: Path
    start_seconds: float | None = None
    end_seconds: float | None = None


def clip_request(sample: Sample) -> ClipRequest:
    """The sample as the feature stage asks for it."""
    return ClipRequest(
        path=sample.path, start_seconds=sample.start_seconds, end_seconds=sample.end_seconds
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractedClip:
    """What became of a request: features, or the error that says why there are none."""

    request: ClipRequest
    decoded: Decoded | None = None
    values: NDArray[np.float16] | None = None
    """(S, T, D) of the first view. Half precision is finer than the CNN's own rounding in bf16."""
    more_values: Sequence[NDArray[np.float16]] = ()
    """(S, T, D) of each further view."""
    error: VideoError | None = None
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    """Time spent per stage: decode, cnn."""

    @property
    def status(self) -> Status:
        """The word for the result row."""
        if self.decoded is not None:
            return self.decoded.status
        return Status(self.error.status) if self.error else Status.UNREADABLE

    @property
    def reason(self) -> str:
        """Why the status is not ok."""
        return self.decoded.reason if self.decoded else str(self.error)


def threads_for(
    requests: Iterable[ClipRequest], decoders: Decoders
) -> tuple[Iterable[ClipRequest], int]:
    """The same requests, and the decoder threads for each; 0 leaves the number to OpenCV."""
    if decoders.num_threads is not None:
        return requests, decoders.num_threads
    waiting = iter(requests)
    first = list(islice(waiting, 2))
    return chain(first, waiting), 0 if len(first) == 1 else 1


class FeatureCache:
    """Features by key, one small file per clip. Damaged entries count as absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = CheckedFiles(folder)

    def load(self, key: str) -> tuple[StreamFeatures, Decoded] | None:
        """The streams stored under `key` and what decoding said, or None."""
        content = self._files.read(_name(key))
        if content is None:
            return None
        tensors = load(content)
        meta = json.loads(tensors.pop("meta").tobytes())
        seconds = tensors.pop("seconds")
        decoded = Decoded(seconds=seconds, **{**meta, "status": Status(meta["status"])})
        return {stream: tensors[stream] for stream in ALL_STREAMS if stream in tensors}, decoded

    def save(self, key: str, streams: StreamFeatures, decoded: Decoded) -> None:
        """Store the streams' (T, D) features under `key`; a disk that refuses only costs time."""
        meta = {k: v for k, v in asdict(decoded).items() if k != "seconds"}
        tensors: dict[str, NDArray[Any]] = {
            **{str(stream): values for stream, values in streams.items()},
            "seconds": decoded.seconds,
            "meta": np.frombuffer(json.dumps(meta).encode(), np.uint8),
        }
        self._files.write(_name(key), save(tensors))


def extract_features(
    requests: Iterable[ClipRequest],
    settings: ClipSettings,
    *,
    extractor: Extractor,
    backbone: Backbone,
    pool: DecoderPool,
    cache: FeatureCache | None = None,
    views_of: ViewsOf = plain_only,
    max_seconds: float | None = None,
    stop: threading.Event | None = None,
) -> Iterator[ExtractedClip]:
    """Features of each request, in order: decoders run ahead, the CNN takes what is ready.

    A clip is decoded once for all of the views that `views_of` says, given a digest of its content
    where there is a cache. Memory does not grow with the number of requests. A video that gives no
    frames becomes an `ExtractedClip` with its error, a LongVideoError if it is longer than
    `max_seconds`. Once `stop` is set, requests that are not begun are left out.
    """
    requests, num_threads = threads_for(requests, pool.decoders)
    preparer = _Preparer(
        settings=settings,
        reader=pool.reader(),
        cache=cache,
        key_parts=_key_parts(settings, backbone, extractor),
        num_threads=num_threads,
        max_seconds=max_seconds,
        views_of=views_of,
    )
    finished = pipelined_map(
        requests,
        prepare=preparer.prepare,
        compute=lambda batch: _run_cnn(batch, settings, extractor),
        size_of=lambda prepared: prepared.num_images,
        batch_size=extractor.batch_size,
        num_workers=pool.decoders.num_workers,
        stop=stop,
        interrupt=preparer.reader.interrupt,
    )
    for prepared in finished:
        yield _finish(prepared, settings, cache)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PreparedView:
    """A view of a clip: what the cache had, then the decoded rest, then its features."""

    key: str
    streams: StreamFeatures = field(default_factory=dict)
    decoded: Decoded | None = None
    clip: Clip | None = None
    is_new: bool = False
    """Whether the cache lacks something of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """A request on its way."""

    request: ClipRequest
    views: Mapping[View, _PreparedView] = field(default_factory=dict)
    """Each once; in the order of `asked`."""
    asked: Sequence[View] = ()
    error: VideoError | None = None
    decode_seconds: float = 0.0
    cnn_seconds: float = 0.0
    may_cache: bool = False

    @property
    def images(self) -> list[Images]:
        """What the CNN has to see: (T, H, W, 3) per view and stream."""
        clips = [view.clip for view in self.views.values() if view.clip]
        return [images for clip in clips for images in clip.images.values()]

    @property
    def num_images(self) -> int:
        """How many images that are."""
        return sum(len(images) for images in self.images)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Preparer:
    """Looks clips up and decodes what is missing."""

    settings: ClipSettings
    reader: ClipReader
    cache: FeatureCache | None
    key_parts: str
    num_threads: int
    max_seconds: float | None
    views_of: ViewsOf

    def prepare(self, request: ClipRequest) -> _Prepared:
        """Runs in a thread of its own, and waits there for the worker that decodes."""
        started = time.perf_counter()
        identity = ""
        try:
            before = _fingerprint(request.path)
            if self.cache is not None and before is not None:
                identity = _identity(request, before)
            asked = self.views_of(identity)
            views = {view: self._look_up(view, identity) for view in asked}
            views = self._read(request, views)
            # A file that changed while it was read is scored, but not remembered.
            may_cache = bool(identity) and _fingerprint(request.path) == before
        except VideoError as error:
            return _Prepared(request=request, error=error)
        return _Prepared(
            request=request,
            views=views,
            asked=asked,
            decode_seconds=time.perf_counter() - started,
            may_cache=may_cache,
        )

    def _look_up(self, view: View, identity: str) -> _PreparedView:
        """What the cache has of a view."""
        if self.cache is None or not identity:
            return _PreparedView(key="", is_new=True)
        key = _key(self.key_parts, identity, view)
        entry = self.cache.load(key)
        if entry is None:
            return _PreparedView(key=key, is_new=True)
        streams, decoded = entry
        self._check_length(decoded)
        is_new = not streams.keys() >= set(self.settings.streams)
        return _PreparedView(key=key, streams=streams, decoded=decoded, is_new=is_new)

    def _read(
        self, request: ClipRequest, views: dict[View, _PreparedView]
    ) -> dict[View, _PreparedView]:
        """The views with what they lack, for which the clip is decoded once."""
        new = {view: found for view, found in views.items() if found.is_new}
        if not new:
            return views
        wanted = self.settings.streams
        missing = tuple(s for s in wanted if any(s not in v.streams for v in new.values()))
        clips = self.reader.call(
            read_clips,
            request.path,
            replace(self.settings, streams=missing),
            tuple(new),
            start_seconds=request.start_seconds,
            end_seconds=request.end_seconds,
            max_seconds=self.max_seconds,
            num_threads=self.num_threads,
        )
        return views | {
            view: replace(found, clip=clip, decoded=clip.decoded)
            for (view, found), clip in zip(new.items(), clips, strict=True)
        }

    def _check_length(self, decoded: Decoded) -> None:
        """What was taken as one clip before need not be one now."""
        if self.max_seconds is not None and decoded.duration_seconds > self.max_seconds:
            raise LongVideoError(decoded.duration_seconds)


def _run_cnn(
    batch: Sequence[_Prepared], settings: ClipSettings, extractor: Extractor
) -> list[_Prepared]:
    """Run the CNN once over the images of several clips; gives the clips back with features."""
    images = [stack for item in batch for stack in item.images]
    if not images:
        return list(batch)
    started = time.perf_counter()
    rows = extractor.extract(np.concatenate(images)).astype(np.float16)  # (N, D)
    seconds_per_image = (time.perf_counter() - started) / len(rows)
    parts = iter(np.split(rows, len(rows) // settings.num_frames))  # (T, D) each

    def seen(view: _PreparedView) -> _PreparedView:
        if view.clip is None:
            return view
        streams = view.streams | {stream: next(parts) for stream in view.clip.images}
        return replace(view, clip=None, streams=streams)

    return [
        replace(
            item,
            views={view: seen(prepared) for view, prepared in item.views.items()},
            cnn_seconds=seconds_per_image * item.num_images,
        )
        for item in batch
    ]


def _finish(
    prepared: _Prepared, settings: ClipSettings, cache: FeatureCache | None
) -> ExtractedClip:
    """Remember what is new and put the streams together."""
    if prepared.error is not None:
        return ExtractedClip(request=prepared.request, error=prepared.error)
    views = [prepared.views[view] for view in prepared.asked]
    for view in prepared.views.values():
        if cache is not None and prepared.may_cache and view.is_new and view.decoded:
            cache.save(view.key, view.streams, view.decoded)
    first, *more = (
        np.stack([view.streams[stream] for stream in settings.streams])  # (S, T, D)
        for view in views
    )
    return ExtractedClip(
        request=prepared.request,
        decoded=views[0].decoded,
        values=first,
        more_values=more,
        stage_seconds={"decode": prepared.decode_seconds, "cnn": prepared.cnn_seconds},
    )


def _key_parts(settings: ClipSettings, backbone: Backbone, extractor: Extractor) -> str:
    clip = {k: v for k, v in settings.to_json().items() if k != "streams"}
    parts = {
        "format": _FORMAT,
        "clip": clip,
        "backbone": [backbone.name, backbone.weights_sha256],
        "engine": extractor.identity,
    }
    return json.dumps(parts, sort_keys=True)


def _identity(request: ClipRequest, fingerprint: tuple[int, int]) -> str:
    """What tells a clip from others: the content of its file, and the piece of it."""
    try:
        is_piece = (request.start_seconds, request.end_seconds) != (None, None)
        digest = _digest_once if is_piece else _digest
        content = digest(request.path, fingerprint)
    except OSError as error:
        raise VideoError(f"cannot be read: {error.strerror}") from error
    return json.dumps([content, request.start_seconds, request.end_seconds])


def clip_identity(request: ClipRequest) -> str:
    """What `extract_features` tells `views_of` about a clip.

    Raises:
        VideoError: the file cannot be read.
    """
    if (fingerprint := _fingerprint(request.path)) is None:
        raise VideoError("is no file")
    return _identity(request, fingerprint)


def _key(key_parts: str, identity: str, view: View) -> str:
    of_view = "" if view == PLAIN else view.key()
    return hashlib.sha256((key_parts + identity + of_view).encode()).hexdigest()


def _digest(path: Path, fingerprint: tuple[int, int]) -> str:
    """Of the content that a file has while its fingerprint is this."""
    del fingerprint
    return sha256_of(path)


_digest_once = lru_cache(maxsize=16)(_digest)
"""For the pieces of a long video, which come one after the other."""


def _fingerprint(path: Path) -> tuple[int, int] | None:
    """Size and modification time, or None where there is no readable regular file."""
    try:
        if not path.is_file():
            return None
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def _name(key: str) -> str:
    return f"{key[:2]}/{key}.features"  # folders of a hundred thousand files are slow


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureTable:
    """Features of many clips, in one file on disk that is mapped, not read, into memory."""

    values: NDArray[np.float16]
    """(N, S, T, D), a memory map of a file without a name: it is gone when the program ends."""
    views: NDArray[np.float16]
    """(N, K, S, T, D) of the K augmented views of each clip, mapped like `values`."""
    rows: NDArray[np.int64]
    """(N,) which request each row belongs to; a request without frames has no row."""
    extracted: Sequence[ExtractedClip]
    """What became of every request, in order, without the features themselves."""


def gather_features(
    requests: Sequence[ClipRequest],
    settings: ClipSettings,
    *,
    extractor: Extractor,
    backbone: Backbone,
    pool: DecoderPool,
    cache: FeatureCache,
    augment: AugmentSettings = NO_VIEWS,
    on_progress: OnProgress = no_progress,
) -> FeatureTable:
    """Features of all requests as one array, for training and cross-validation.

    Beside each clip itself stand its augmented views, as many as `augment` says.

    Raises:
        OutputError: the cache folder cannot be written.
    """
    shape = (len(settings.streams), settings.num_frames, extractor.feature_size)
    plain = _new_table(cache, (len(requests), *shape))
    views = _new_table(cache, (len(requests), augment.num_views, *shape))
    rows: list[int] = []
    extracted: list[ExtractedClip] = []
    clips = extract_features(
        requests,
        settings,
        extractor=extractor,
        backbone=backbone,
        cache=cache,
        pool=pool,
        views_of=training_views(augment),
    )
    on_progress("features", 0, len(requests))
    for index, clip in enumerate(clips):
        if clip.values is not None:
            plain[len(rows)] = clip.values
            for number, values in enumerate(clip.more_values):
                views[len(rows), number] = values
            rows.append(index)
        extracted.append(replace(clip, values=None, more_values=()))
        on_progress("features", index + 1, len(requests))
    return FeatureTable(
        values=plain[: len(rows)],
        views=views[: len(rows)],
        rows=np.array(rows, np.int64),
        extracted=extracted,
    )


def _new_table(cache: FeatureCache, shape: tuple[int, ...]) -> NDArray[np.float16]:
    """A memory map of a file without a name; nothing of size 0 can be mapped."""
    if 0 in shape:
        return np.empty(shape, np.float16)
    with temporary_file(cache.folder) as file:
        return np.memmap(file, np.float16, mode="w+", shape=shape)


def feature_cache(cache_dir: Path) -> FeatureCache:
    """The features' part of the user's cache folder."""
    return FeatureCache(cache_dir / FEATURES)
