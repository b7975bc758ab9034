"""Features of whole videos on disk, in parts of a few hundred timesteps or windows.

An entry is complete once its last file, the index, is there. An entry of timesteps has what the CNN
makes of them: windows of any length, other heads and searches read it. The action network reads a
window from its first frame, so that an entry of windows is for one length and stride.

S streams, n timesteps or windows, D features, T frames per window, P = 480 means of a frame.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from activity_cli.common.cache import CheckedFiles
from activity_cli.errors import VideoError
from activity_cli.features.action_weights import SHA256
from activity_cli.features.backbones import Backbone
from activity_cli.features.cache import FeatureCache, content_identity, file_fingerprint
from activity_cli.features.streams import StreamExtractor
from activity_cli.settings import ClipSettings
from activity_cli.types import FrameChunk, Status
from activity_cli.video.sampling import Windows

_FORMAT = 1  # raise it when resampling or the layout changes
_MOST_PER_PART = 256  # timesteps or windows
_FOLDER = "videos"
MOST_BYTES = 20_000_000_000
"""Of all videos together, 130 hours with the included model, 80 with the action network beside it;
beyond it the oldest are removed."""


class DamagedEntryError(Exception):
    """A part is missing or damaged: the video must be read again. The entry has been removed."""


@dataclass(frozen=True, slots=True)
class CachedVideo:
    """The features of a video, and what was known at its end."""

    last: FrameChunk  # without timesteps
    num_parts: int
    _files: CheckedFiles
    _key: str
    action: "CachedVideo | None" = None  # of its windows, for a model with the stream `action`

    def parts(self) -> Iterator[NDArray[np.float16]]:
        """Give the features (S, n, D) in order, of windows (1, n, T, P).

        Raises:
            DamagedEntryError: a part is not whole.
        """
        for number in range(self.num_parts):
            content = self._files.read(_part_name(self._key, number))
            if content is None:
                self._files.remove(_index_name(self._key))
                raise DamagedEntryError
            yield load(content)["features"]


@dataclass(slots=True)
class VideoWriter:
    """Adds the features of a video to the cache, part by part."""

    _files: CheckedFiles
    _key: str
    _path: Path
    _fingerprint: tuple[int, int]
    action: "VideoWriter | None" = None  # see `CachedVideo`
    _held: list[NDArray[Any]] = field(default_factory=list)
    _num_parts: int = 0

    def add(self, features: NDArray[np.float16]) -> None:
        """Add the features (S, n, D) of the next timesteps, or (1, n, T, P) of windows."""
        self._held.append(features)
        if sum(part.shape[1] for part in self._held) >= _MOST_PER_PART:
            self._write()

    def finish(self, last: FrameChunk) -> None:
        """Complete the entry, unless the file was changed while it was read."""
        if self._held:
            self._write()
        if file_fingerprint(self._path) != self._fingerprint:
            return
        meta = {
            "num_parts": self._num_parts,
            "first_seconds": last.first_seconds,
            "end_seconds": last.end_seconds,
            "num_frames": last.num_frames,
            "status": last.status,
            "reason": last.reason,
        }
        self._files.write(_index_name(self._key), json.dumps(meta).encode())
        with suppress(OSError):
            drop_oldest(self._files.folder / _FOLDER, MOST_BYTES)

    def _write(self) -> None:
        features = np.ascontiguousarray(np.concatenate(self._held, axis=1))
        self._files.write(_part_name(self._key, self._num_parts), save({"features": features}))
        self._num_parts += 1
        self._held.clear()


class VideoCache:
    """The features of videos by content and the time between timesteps."""

    def __init__(
        self,
        cache: FeatureCache,
        settings: ClipSettings,
        backbone: Backbone,
        extractor: StreamExtractor,
    ) -> None:
        self._files = CheckedFiles(cache.folder)
        self._has_action = "action" in settings.streams
        clip = {k: v for k, v in settings.to_json().items() if k != "num_frames"}
        clip["streams"] = [stream for stream in clip["streams"] if stream != "action"]
        self._of_timesteps: list[Any] = [_FORMAT, clip, backbone.name, backbone.weights_sha256]
        self._of_timesteps.append(extractor.identity)
        self._of_windows = [_FORMAT, settings.frame_size, SHA256, extractor.identity]

    def open(
        self, path: Path, step_seconds: float, windows: Windows
    ) -> CachedVideo | VideoWriter | None:
        """Return the features of a video, or what writes them; None if the file cannot be read."""
        fingerprint = file_fingerprint(path)
        if fingerprint is None:
            return None
        try:
            identity = content_identity(path, (None, None), fingerprint)
        except VideoError:
            return None
        every = f"{identity} every {step_seconds:.9g} s"
        key, action_key = _key(self._of_timesteps, every), None
        if self._has_action:
            grid = f", windows of {windows.num_frames} every {windows.stride_steps}"
            action_key = _key(self._of_windows, every + grid)
        found, action = self._find(key), action_key and self._find(action_key)
        if found and not self._has_action:
            return found
        # Both are written anew where one is missing, or they were made by different decoders.
        if found and action and found.last == action.last:
            return replace(found, action=action)
        writer = VideoWriter(self._files, key, path, fingerprint)
        if action_key:
            writer.action = VideoWriter(self._files, action_key, path, fingerprint)
        return writer

    def _find(self, key: str) -> CachedVideo | None:
        with suppress(ValueError, KeyError):
            meta = json.loads(self._files.read(_index_name(key)) or b"null")
            if meta is not None:
                with suppress(OSError):  # for `drop_oldest`
                    os.utime(self._files.folder / _FOLDER / key)
                num_parts, status = meta.pop("num_parts"), Status(meta.pop("status"))
                last = FrameChunk(images={}, num_timesteps=0, is_last=True, status=status, **meta)
                return CachedVideo(last, num_parts, self._files, key)
        return None


def _key(parts: list[Any], rest: str) -> str:
    return hashlib.sha256((json.dumps(parts, sort_keys=True) + rest).encode()).hexdigest()


def _index_name(key: str) -> str:
    return f"{_FOLDER}/{key}/index.video"


def _part_name(key: str, number: int) -> str:
    return f"{_FOLDER}/{key}/{number}.video"


def drop_oldest(folder: Path, most_bytes: int) -> None:
    """Remove the entries that were used longest ago, until the others take no more than this."""
    entries = []
    for path in folder.iterdir():
        with suppress(OSError):  # another process may remove it
            size = sum(part.stat().st_size for part in path.iterdir())
            entries.append((path.stat().st_mtime, size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= most_bytes:
            break
        shutil.rmtree(path, ignore_errors=True)
        total -= size
