"""CNN features on disk, one small file per clip and view.

A key is made of all that features depend on: the bytes of the file, the sampling, the CNN and the
engine. Any number of processes may share a cache; a damaged entry counts as absent.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from activity_cli.common.cache import FEATURES, CheckedFiles
from activity_cli.common.files import numbered_frames, sha256_of
from activity_cli.errors import VideoError
from activity_cli.features.action_weights import SHA256
from activity_cli.features.backbones import Backbone
from activity_cli.features.streams import StreamExtractor, StreamFeatures
from activity_cli.settings import ALL_STREAMS, ClipSettings, Stream
from activity_cli.types import Decoded, Status
from activity_cli.video.augmentation import PLAIN, View

_FORMAT = 1  # raise it when sampling, motion images or the entry's layout change

_NAMES: dict[Stream, str] = {"action": f"action sqrt and hidden {SHA256[:16]}"}
"""Names in an entry of streams that depend on more than the key. Others have their own name."""


class FeatureCache:
    """Features by key. A disk that refuses an entry only costs time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = CheckedFiles(folder)

    def load(self, key: str) -> tuple[StreamFeatures, Decoded] | None:
        """Return the streams and the decoding result stored under `key`, or None."""
        content = self._files.read(_file_name(key))
        if content is None:
            return None
        tensors = load(content)
        meta = json.loads(tensors.pop("meta").tobytes())
        seconds = tensors.pop("seconds")
        decoded = Decoded(seconds=seconds, **{**meta, "status": Status(meta["status"])})
        names: dict[Stream, str] = {stream: _NAMES.get(stream, stream) for stream in ALL_STREAMS}
        return {s: tensors[name] for s, name in names.items() if name in tensors}, decoded

    def save(self, key: str, streams: StreamFeatures, decoded: Decoded) -> None:
        """Store the streams' (T, D) features under `key`."""
        meta = {k: v for k, v in asdict(decoded).items() if k != "seconds"}
        tensors: dict[str, NDArray[Any]] = {
            **{_NAMES.get(stream, stream): values for stream, values in streams.items()},
            "seconds": decoded.seconds,
            "meta": np.frombuffer(json.dumps(meta).encode(), np.uint8),
        }
        self._files.write(_file_name(key), save(tensors))


def feature_cache(cache_dir: Path) -> FeatureCache:
    """Open the features' part of the user's cache folder."""
    return FeatureCache(cache_dir / FEATURES)


def key_maker(
    settings: ClipSettings, backbone: Backbone, extractor: StreamExtractor
) -> Callable[[str, View], str]:
    """Return the function from a clip's identity and a view to the key of its features."""
    parts = {
        "format": _FORMAT,
        "clip": {k: v for k, v in settings.to_json().items() if k != "streams"},
        "backbone": [backbone.name, backbone.weights_sha256],
        "engine": extractor.identity,
    }
    shared = json.dumps(parts, sort_keys=True)

    def key(identity: str, view: View) -> str:
        of_view = "" if view == PLAIN else view.key()
        return hashlib.sha256((shared + identity + of_view).encode()).hexdigest()

    return key


def content_identity(
    path: Path, piece: tuple[float | None, float | None], fingerprint: tuple[int, int]
) -> str:
    """Identify a clip by the content of its file, which has this fingerprint, and the piece.

    Raises:
        VideoError: the file cannot be read.
    """
    try:
        content = _digest(path, fingerprint)
    except OSError as error:
        raise VideoError(f"cannot be read: {error.strerror}") from error
    return json.dumps([content, *piece])


def file_fingerprint(path: Path) -> tuple[int, int] | None:
    """Return size and modification time, or None if there is no readable regular file.

    Of a folder of numbered frames, the sizes of all together, and the latest time.
    """
    try:
        if path.is_dir():
            stats = [file.stat() for file in numbered_frames(path)]
            times = [stat.st_mtime_ns for stat in stats]
            return (sum(stat.st_size for stat in stats), max(times)) if stats else None
        if not path.is_file():
            return None
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=16)
def _digest(path: Path, fingerprint: tuple[int, int]) -> str:
    """Return the digest of the content that a file has while its fingerprint is this.

    It is asked for again at once: for the pieces of a long video, and by `is_cached`.
    """
    del fingerprint
    if not path.is_dir():
        return sha256_of(path)
    return hashlib.sha256("".join(map(sha256_of, numbered_frames(path))).encode()).hexdigest()


def _file_name(key: str) -> str:
    return f"{key[:2]}/{key}.features"  # folders of a hundred thousand files are slow
