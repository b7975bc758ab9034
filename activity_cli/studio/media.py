"""Properties of each video: length, rate, size, codec. Asked for in a worker, kept on disk."""

import json
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from activity_cli.common.files import LineFile, parse_json
from activity_cli.common.processes.pool import PoolClosedError, WorkerPool
from activity_cli.errors import ActivityError, VideoError
from activity_cli.types import FileState

_TIMEOUT_SECONDS = 60.0
_AT_A_TIME = 16  # files between two messages to the page


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaInfo:
    """Properties of a video from its header; all but `damage` may be unknown."""

    duration: float | None = None
    fps: float | None = None
    frames: int | None = None
    width: int | None = None
    height: int | None = None
    codec: str = ""
    rotation: int = 0
    damage: str = ""  # why it cannot be decoded, in one line


UNKNOWN_INFO = MediaInfo()


def probe(path: Path) -> MediaInfo:
    """Read the header of a video, and decode its first frame."""
    from activity_cli.video.reader import VideoReader, read_packet_times

    try:
        with VideoReader(path, num_threads=1) as reader:
            info = reader.info
        frames, duration = info.num_frames_from_header, info.duration_seconds_from_header
        fps = info.fps_from_header or None
        if frames is None:
            frames = len(read_packet_times(path).seconds) or None
        if duration is None and frames and fps:
            duration = frames / fps
    except VideoError as error:
        return MediaInfo(damage=error.message)
    return MediaInfo(
        duration=duration and round(duration, 3),
        fps=fps,
        frames=frames,
        width=info.width,
        height=info.height,
        codec=info.codec,
        rotation=info.rotation_degrees,
    )


class MediaStore:
    """Properties of all videos of a project, by name; missing ones are read in the background.

    `on_known` is called with names whose properties have become known.
    """

    def __init__(self, file: Path, root: Path, on_known: Callable[[list[str]], None]) -> None:
        self._root, self._on_known = root, on_known
        self._states: Mapping[str, FileState] = {}
        self._known: dict[str, tuple[FileState, MediaInfo]] = {}
        self._wanted: deque[str] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._read(file)
        self._file = LineFile(file)
        self._pool = WorkerPool(1, timeout_seconds=_TIMEOUT_SECONDS, start=False)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def update(self, states: Mapping[str, FileState]) -> None:
        """Take the present versions of all files; read those that are new."""
        with self._changed:
            self._states = states
            self._wanted = deque(name for name in states if self._current(name) is None)
            self._changed.notify()

    def get(self, name: str) -> MediaInfo:
        """Return the properties of a video, as far as they were read."""
        return self._current(name) or UNKNOWN_INFO

    def read(self, name: str) -> MediaInfo:
        """Return the properties of a video; reads them now if they were not read yet."""
        if self._current(name) is None and name in self._states:
            self._learn(name)
        return self.get(name)

    def hurry(self, names: Collection[str]) -> None:
        """Read these next: they are on the screen."""
        with self._changed:
            missing = [name for name in names if self._current(name) is None]
            if missing and len(self._wanted) > len(missing):
                self._wanted.extendleft(reversed(missing))

    def close(self) -> None:
        """Stop reading."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._pool.close()
        self._thread.join()
        self._file.close()

    def _current(self, name: str) -> MediaInfo | None:
        state, info = self._known.get(name, (None, UNKNOWN_INFO))
        return info if state is not None and state == self._states.get(name) else None

    def _run(self) -> None:
        ready: list[str] = []
        while True:
            with self._changed:
                while not self._wanted and not self._is_closed and not ready:
                    self._changed.wait()
                if self._is_closed:
                    return
                name = self._wanted.popleft() if self._wanted else None
            if name is None or len(ready) >= _AT_A_TIME:
                self._on_known(ready)
                ready = []
            if name is not None and name in self._states and self._current(name) is None:
                with suppress(PoolClosedError):
                    self._learn(name)
                    ready.append(name)

    def _learn(self, name: str) -> None:
        try:
            info = self._pool.call(probe, self._root / name)
        except ActivityError as error:  # it crashed the decoder, or took too long
            info = MediaInfo(damage=error.message)
        state = self._states[name]
        self._known[name] = (state, info)
        line = {"name": name, "state": [state.num_bytes, state.mtime_ns], "info": asdict(info)}
        with suppress(ActivityError):  # a full disk: it is read again next time
            self._file.write(json.dumps(line).encode() + b"\n")

    def _read(self, file: Path) -> None:
        lines = file.read_bytes().splitlines() if file.is_file() else []
        for line in lines:
            with suppress(ValueError, TypeError, KeyError):  # cut off by a crash
                values: dict[str, Any] = parse_json(line)
                info = MediaInfo(**values["info"])
                self._known[values["name"]] = (FileState(*values["state"]), info)
