"""Thumbnails and single frames as JPEG, made in worker processes and kept on disk.

A chunk is so many neighbouring frames, decoded together: one frame alone costs as much.
"""

import hashlib
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from activity_cli.common.cache import CheckedFiles
from activity_cli.common.processes.pool import WorkerPool
from activity_cli.errors import ActivityError, VideoError
from activity_cli.predict.results.journal import look_at
from activity_cli.studio.security import RequestError

MOST_THUMBS, MOST_HEIGHT = 64, 360
_CHUNK_FRAMES = 64
_FRAME_HEIGHT = 480
_TIMEOUT_SECONDS = 120.0
_QUALITY = 80
_LONG_FRAMES = 2000
_FAR_SECONDS = 4.0
_MOST_FRAMES_TO_KEY = 64


class Pictures(AbstractContextManager["Pictures"]):
    """Makes pictures of videos, two at a time. A context manager."""

    def __init__(self, folder: Path) -> None:
        self._files = CheckedFiles(folder)
        self._pool = WorkerPool(
            2, timeout_seconds=_TIMEOUT_SECONDS, imports=[__name__], start=False
        )
        self._locks = [threading.Lock() for _ in range(16)]

    def strip(self, video: Path, start: float, end: float, count: int, height: int) -> bytes:
        """Return `count` frames of a stretch side by side: each the middle of an equal part."""
        step = (end - start) / count
        moments = [start + (index + 0.5) * step for index in range(count)]
        key = f"strip {start:.3f} {end:.3f} {count} {height}"
        return self._kept(video, key, lambda: self._pool.call(draw_strip, video, moments, height))

    def frame(self, video: Path, number: int) -> bytes:
        """Return a frame by its number, from 0; the last one if there are fewer."""
        first = number - number % _CHUNK_FRAMES

        def make() -> bytes:
            return _packed(self._pool.call(read_frames, video, first, _CHUNK_FRAMES))

        frames = _unpacked(self._kept(video, f"frames {first} {_FRAME_HEIGHT}", make))
        if not frames:
            raise RequestError(f"The video has no frame {number}.", status=404)
        return frames[min(number - first, len(frames) - 1)]

    def _kept(self, video: Path, key: str, make: Callable[[], bytes]) -> bytes:
        """Return a picture from the disk, or make it; the same is not made twice at a time."""
        name = hashlib.sha256(f"{video} {look_at(video)} {key}".encode(errors="replace"))
        digest = name.hexdigest()
        with self._locks[int(digest[0], 16)]:
            content = self._files.read(digest)
            if content is None:
                try:
                    content = make()
                except VideoError as error:
                    raise RequestError(error.message, status=404, hint=error.hint) from error
                self._files.write(digest, content)
        return content

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers."""
        with suppress(ActivityError):
            self._pool.close()


def draw_strip(video: Path, moments: Sequence[float], height: int) -> bytes:
    """Return the frames at these times side by side, as one JPEG.

    In long videos those of the nearest key frames, where times are far apart or seeking exactly is
    not possible: a strip must not take minutes.
    """
    import cv2

    from activity_cli.report.overlay.thumbnails import read_thumbnails
    from activity_cli.video.decoding import is_proven
    from activity_cli.video.reader import VideoReader

    with VideoReader(video) as reader:
        is_long = (reader.info.num_frames_from_header or 0) > _LONG_FRAMES
        is_far = len(moments) > 1 and moments[1] - moments[0] > _FAR_SECONDS
        is_near = is_long and reader.decoder == "OpenCV" and (is_far or not is_proven(reader.info))
        frames = [_near(reader, moment) for moment in moments] if is_near else []
    if frames and all(frame is not None for frame in frames):
        size = (round(frames[0].shape[1] * height / frames[0].shape[0]), height)
        return _jpeg(np.hstack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames]))
    found = read_thumbnails(video, moments, height=height)
    return _jpeg(cv2.cvtColor(np.hstack(found), cv2.COLOR_RGB2BGR))


def _near(reader: Any, seconds: float) -> Any:
    """Return the first key frame after a jump, as BGR; None if there is none."""
    reader.seek(seconds)
    for _ in range(_MOST_FRAMES_TO_KEY):
        if reader.grab() is None:
            return None
        if reader.is_intra():
            return reader.retrieve_bgr()
    return None


def read_frames(video: Path, first: int, count: int) -> list[bytes]:
    """Return neighbouring frames as JPEG; those that exist."""
    import cv2

    from activity_cli.video.decoding import decode_all, decode_by_seeking, plan_seeks
    from activity_cli.video.reader import VideoReader

    def shrink(bgr: Any) -> Any:
        height, width = bgr.shape[:2]
        if height > _FRAME_HEIGHT:
            size = (round(width * _FRAME_HEIGHT / height), _FRAME_HEIGHT)
            bgr = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
        return np.frombuffer(_jpeg(bgr), np.uint8)

    wanted = frozenset(range(first, first + count))
    with VideoReader(video) as reader:
        plan = plan_seeks(
            reader.info, lambda seconds: frozenset(i for i in wanted if i < len(seconds))
        )
        found = decode_by_seeking(reader, plan, shrink) if plan is not None else None
    if found is None:
        with VideoReader(video) as reader:
            found = decode_all(reader, wanted, shrink, last_index=first + count - 1)
    return [found.frames[index].tobytes() for index in sorted(found.frames)]


def _jpeg(bgr: Any) -> bytes:
    import cv2

    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def _packed(frames: Sequence[bytes]) -> bytes:
    sizes = np.array([len(frames), *map(len, frames)], "<u4")
    return sizes.tobytes() + b"".join(frames)


def _unpacked(content: bytes) -> list[bytes]:
    count = int(np.frombuffer(content[:4], "<u4")[0])
    sizes = np.frombuffer(content[4 : 4 + 4 * count], "<u4")
    ends = 4 + 4 * count + np.cumsum(sizes)
    pairs = zip(sizes.tolist(), ends.tolist(), strict=True)
    return [content[end - size : end] for size, end in pairs]
