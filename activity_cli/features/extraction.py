"""Videos -> CNN features, through an engine and the cache.

Decoders run ahead in processes of their own; the CNN takes what is ready.
N requests, K augmented views, S streams, T frames per clip, D features.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.data.dataset import Sample
from activity_cli.errors import LongVideoError, VideoError, WorkerCrashError
from activity_cli.features.backbones import Backbone
from activity_cli.features.cache import (
    FeatureCache,
    content_identity,
    file_fingerprint,
    key_maker,
)
from activity_cli.features.streams import StreamExtractor, StreamFeatures, pad_features
from activity_cli.settings import ClipSettings
from activity_cli.types import Clip, Decoded, Images, Status
from activity_cli.video.augmentation import PLAIN, View, ViewsOf, plain_only
from activity_cli.video.decoder_pool import ClipReader, DecoderPool, Decoders, read_clips
from activity_cli.video.pipeline import pipelined_map

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRequest:
    """A clip to extract: a whole file, or the piece of it between two times."""

    path: Path
    start_seconds: float | None = None
    end_seconds: float | None = None

    @property
    def piece(self) -> tuple[float | None, float | None]:
        """Start and end in seconds."""
        return self.start_seconds, self.end_seconds


def clip_identity(request: ClipRequest) -> str:
    """Return what `extract_features` passes to `views_of`; a VideoError if it cannot be read."""
    if (fingerprint := file_fingerprint(request.path)) is None:
        raise VideoError("is no file")
    return content_identity(request.path, request.piece, fingerprint)


def clip_request(sample: Sample) -> ClipRequest:
    """Turn a sample of a data set into a request."""
    return ClipRequest(
        path=sample.path, start_seconds=sample.start_seconds, end_seconds=sample.end_seconds
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractedClip:
    """The result of a request: features, or the error that says why there are none."""

    request: ClipRequest
    decoded: Decoded | None = None
    values: NDArray[Any] | None = None
    """(S, T, D) of the first view; narrower streams end in zeros."""
    more_values: Sequence[NDArray[Any]] = ()  # (S, T, D) of each further view
    error: VideoError | None = None
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    """Time spent per stage: decode, cnn."""

    @property
    def status(self) -> Status:
        """The status for the result row."""
        if self.decoded is not None:
            return self.decoded.status
        return Status(self.error.status) if self.error else Status.UNREADABLE

    @property
    def reason(self) -> str:
        """Why the status is not ok."""
        return self.decoded.reason if self.decoded else str(self.error)


def is_cached(
    path: Path,
    settings: ClipSettings,
    backbone: Backbone,
    extractor: StreamExtractor,
    cache: FeatureCache,
) -> bool:
    """Return whether the cache has the features of a file as one plain clip."""
    try:
        identity = clip_identity(ClipRequest(path=path))
    except VideoError:
        return False
    entry = cache.load(key_maker(settings, backbone, extractor)(identity, PLAIN))
    return entry is not None and entry[0].keys() >= set(settings.streams)


def threads_for(
    requests: Iterable[ClipRequest], decoders: Decoders
) -> tuple[Iterable[ClipRequest], int]:
    """Return the requests, and the decoder threads for each: all for a single one (0), else 1."""
    if decoders.num_threads is not None:
        return requests, decoders.num_threads
    waiting = iter(requests)
    first = list(islice(waiting, 2))
    return chain(first, waiting), 0 if len(first) == 1 else 1


def extract_features(
    requests: Iterable[ClipRequest],
    settings: ClipSettings,
    *,
    extractor: StreamExtractor,
    backbone: Backbone,
    pool: DecoderPool,
    cache: FeatureCache | None = None,
    views_of: ViewsOf = plain_only,
    max_seconds: float | None = None,
    stop: threading.Event | None = None,
) -> Iterator[ExtractedClip]:
    """Yield the features of each request, in order, in flat memory.

    A clip is decoded once for all views that `views_of` returns, given the clip's identity (empty
    without a cache). A video without frames becomes an `ExtractedClip` with its error, a
    LongVideoError if it is longer than `max_seconds`. Once `stop` is set, no request is begun.
    """
    requests, num_threads = threads_for(requests, pool.decoders)
    preparer = _Preparer(
        settings=settings,
        reader=pool.reader(),
        cache=cache,
        key=key_maker(settings, backbone, extractor),
        num_threads=num_threads,
        max_seconds=max_seconds,
        views_of=views_of,
        on_miss=extractor.prefetch,
    )
    finished = pipelined_map(
        requests,
        prepare=preparer.prepare,
        compute=_Networks(extractor),
        size_of=lambda prepared: sum(map(len, prepared.images)),
        batch_size=extractor.batch_size,
        num_workers=pool.decoders.num_workers,
        stop=stop,
        interrupt=preparer.reader.interrupt,
    )
    for prepared in finished:
        yield _finish(prepared, settings, cache, extractor.feature_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PreparedView:
    """A view of a clip: what the cache had of it, then the decoded rest, then its features."""

    key: str
    streams: StreamFeatures = field(default_factory=dict)
    decoded: Decoded | None = None
    clip: Clip | None = None
    is_new: bool = True  # whether the cache lacks some of its streams


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """A request between decoding and CNN."""

    request: ClipRequest
    views: Mapping[View, _PreparedView] = field(default_factory=dict)
    """Each once, in the order of `asked`."""
    asked: Sequence[View] = ()
    error: VideoError | None = None
    decode_seconds: float = 0.0
    cnn_seconds: float = 0.0
    may_cache: bool = False

    @property
    def images(self) -> list[Images]:
        """The CNN's input: (T, H, W, channels) per view and stream."""
        clips = [view.clip for view in self.views.values() if view.clip]
        return [images for clip in clips for images in clip.images.values()]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Preparer:
    """Looks clips up in the cache and decodes what is missing."""

    settings: ClipSettings
    reader: ClipReader
    cache: FeatureCache | None
    key: Callable[[str, View], str]
    num_threads: int
    max_seconds: float | None
    views_of: ViewsOf
    on_miss: Callable[[], None]  # called before a clip is decoded

    def prepare(self, request: ClipRequest) -> _Prepared:
        """Prepare one request, in a thread that waits for the worker process that decodes."""
        started = time.perf_counter()
        identity = ""
        try:
            before = file_fingerprint(request.path)
            if self.cache is not None and before is not None:
                identity = content_identity(request.path, request.piece, before)
            asked = self.views_of(identity)
            views = {view: self._look_up(view, identity) for view in asked}
            views = self._read(request, views)
            # A file that changed while it was read is scored, but not cached.
            may_cache = bool(identity) and file_fingerprint(request.path) == before
            was_known = not any(view.is_new for view in views.values())
            _LOG.debug("%s: %s", request.path, "from the cache" if was_known else "decoded")
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
        """Return what the cache has of a view."""
        key = self.key(identity, view)
        entry = self.cache.load(key) if self.cache and identity else None
        if entry is None:
            return _PreparedView(key=key)
        streams, decoded = entry
        if self.max_seconds is not None and decoded.duration_seconds > self.max_seconds:
            raise LongVideoError(decoded.duration_seconds)
        is_new = not streams.keys() >= set(self.settings.streams)
        return _PreparedView(key=key, streams=streams, decoded=decoded, is_new=is_new)

    def _read(
        self, request: ClipRequest, views: dict[View, _PreparedView]
    ) -> dict[View, _PreparedView]:
        """Decode the clip once for everything that the views lack."""
        new = {view: found for view, found in views.items() if found.is_new}
        if not new:
            return views
        self.on_miss()
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


class _Networks:
    """Runs the networks on the clips of a batch. A clip that they fail on has no features."""

    def __init__(self, extractor: StreamExtractor) -> None:
        self._extractor = extractor
        self._has_failed = False  # on the clip before

    def __call__(self, batch: Sequence[_Prepared]) -> list[_Prepared]:
        """Return the clips with features; raise the error of two clips in a row, or of a GPU."""
        try:
            found = _run_networks(batch, self._extractor)
        except RuntimeError as error:
            if "cuda" in str(error).lower():  # nothing can be computed on the device any more
                raise
            return [self._run_alone(item) for item in batch]
        self._has_failed = False
        return found

    def _run_alone(self, item: _Prepared) -> _Prepared:
        try:
            [found] = _run_networks([item], self._extractor)
        except RuntimeError as error:
            if self._has_failed:
                raise
            self._has_failed = True
            reason = f"The CNN failed on this file: {str(error).strip().splitlines()[0]}"
            return _Prepared(request=item.request, error=WorkerCrashError(reason))
        self._has_failed &= not item.images  # a cached clip proves nothing
        return found


def _run_networks(batch: Sequence[_Prepared], extractor: StreamExtractor) -> list[_Prepared]:
    """Run the networks once over the images of several clips; return the clips with features."""
    clips = [view.clip.images for item in batch for view in item.views.values() if view.clip]
    if not clips:
        return list(batch)
    started = time.perf_counter()
    found = iter(extractor.extract(clips))
    num_images = sum(len(images) for clip in clips for images in clip.values())
    seconds_per_image = (time.perf_counter() - started) / num_images

    def seen(view: _PreparedView) -> _PreparedView:
        if view.clip is None:
            return view
        return replace(view, clip=None, streams=view.streams | next(found))

    return [
        replace(
            item,
            views={view: seen(prepared) for view, prepared in item.views.items()},
            cnn_seconds=seconds_per_image * sum(map(len, item.images)),
        )
        for item in batch
    ]


def _finish(
    prepared: _Prepared, settings: ClipSettings, cache: FeatureCache | None, size: int
) -> ExtractedClip:
    """Cache what is new and stack the streams, at the width of the widest."""
    if prepared.error is not None:
        return ExtractedClip(request=prepared.request, error=prepared.error)
    views = [prepared.views[view] for view in prepared.asked]
    for view in prepared.views.values():
        if cache is not None and prepared.may_cache and view.is_new and view.decoded:
            cache.save(view.key, view.streams, view.decoded)
    first, *more = (
        np.stack([pad_features(view.streams[stream], size) for stream in settings.streams])
        for view in views
    )
    return ExtractedClip(
        request=prepared.request,
        decoded=views[0].decoded,
        values=first,
        more_values=more,
        stage_seconds={"decode": prepared.decode_seconds, "cnn": prepared.cnn_seconds},
    )
