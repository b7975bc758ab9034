"""A long video -> frames at even steps of time, streamed: what sliding windows are cut from.

N is points of the grid, H = W the frame size in pixels; times are seconds. Point j stands at
(j + 1/2) steps after the first frame, and the frame on screen then stands for it, so that windows
that begin a whole number of steps apart share their frames. Runs in a worker process of its own,
from which the frames are fetched a chunk at a time; nothing grows with the length of the video but
the list of times, 8 bytes a frame.
"""

from array import array
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import VideoError, WorkerCrashError
from activity_cli.settings import ClipSettings, Stream
from activity_cli.types import FrameRole, Images, Status
from activity_cli.video.capture import Frame
from activity_cli.video.clips import images_by_stream, judge_end, stack_roles, to_square
from activity_cli.video.decoding import is_proven
from activity_cli.video.reader import (
    VideoInfo,
    VideoReader,
    frame_interval_seconds,
    read_packet_times,
)
from activity_cli.video.sampling import TIE_SECONDS, Seconds, end_of_video, partner_indices

_MAX_FORESEEN_FRAMES = 2**24  # 6 days at 30 fps


@dataclass(frozen=True, slots=True, kw_only=True)
class GridChunk:
    """The next points of the grid, and how far the video has been read."""

    frames: Mapping[FrameRole, Images]
    """(N, H, W, channels) uint8 per role; none where N is 0 or streams were asked for."""
    streams: Mapping[Stream, Images]
    """(N, H, W, channels) uint8 per stream; none where N is 0 or frames were asked for."""
    num_points: int
    """N."""
    first_seconds: float
    """Time of the video's first frame."""
    end_seconds: float
    """Where the video ends, as far as it was decoded."""
    num_frames: int
    """Frames decoded so far, used or not."""
    is_last: bool
    status: Status = Status.OK
    """After the last chunk, whether the file broke off."""
    reason: str = ""


class GridReader:
    """Frames of a video at even steps of time.

    Args:
        path: the video file.
        settings: frame size, streams and how motion images are made.
        step_seconds: time between two points.
        num_threads: decoder threads, as for `VideoReader`.
        as_streams: give what the CNN sees, not the frames that it is made of.

    Raises:
        VideoError: as `VideoReader`.
    """

    def __init__(
        self,
        path: Path,
        settings: ClipSettings,
        *,
        step_seconds: float,
        num_threads: int = 0,
        as_streams: bool = True,
    ) -> None:
        self._path = path
        self._settings = settings
        self._step = step_seconds
        self._num_threads = num_threads
        self._as_streams = as_streams
        self._next_point = 0
        self.num_passes = 0
        """How often the video was begun: twice where its times were not foreseen."""
        self._start()
        self.info = self._reader.info
        self._tie = min(TIE_SECONDS, frame_interval_seconds(self.info) / 40)
        self._foreseen = self._foresee()

    def read(self, max_points: int) -> GridChunk:
        """The next points, at most so many; fewer only at the end of the video.

        Raises:
            VideoError: a frame cannot be converted.
        """
        roles: dict[FrameRole, list[Frame]] = {"frames": [], "earlier": [], "later": []}
        count = 0
        while count < max_points and self._reach_next_point():
            at = max(bisect_right(self._times, self._point_seconds() + self._tie) - 1, 0)
            indices = dict(zip(roles, (at, *self._partners(at)), strict=True))
            if any(index not in self._kept for index in indices.values()):
                self._start_over()
                continue
            for role, index in indices.items():
                roles[role].append(self._kept[index])
            count += 1
            self._next_point += 1
            self._forget()
        return self._chunk(roles, count, is_last=count < max_points)

    @property
    def num_held(self) -> int:
        """Frames in memory now."""
        return len(self._kept)

    def close(self) -> None:
        """Free the decoder."""
        self._reader.close()

    def _start(self) -> None:
        self._reader = VideoReader(self._path, num_threads=self._num_threads)
        self.num_passes += 1
        self._times = array("d")
        self._kept: dict[int, Frame] = {}
        self._has_ended = False

    def _start_over(self) -> None:
        """Times were not foreseen: read again, and keep whatever may be needed."""
        if self._foreseen is None:
            raise VideoError("It gave other frames when read again: the file is being changed.")
        self.close()
        self._start()
        self._foreseen = None

    def _point_seconds(self) -> float:
        first = self._times[0] if self._times else 0.0
        return first + (self._next_point + 0.5) * self._step

    def _reach_next_point(self) -> bool:
        """Read until it is certain which frame is on screen then; False after the video's end."""
        while not self._has_ended:
            if len(self._times) >= 2 and self._times[-1] > self._point_seconds() + self._tie:
                return True
            self._grab()
        return self._point_seconds() < self._end_seconds()

    def _grab(self) -> None:
        seconds = self._reader.grab()
        if seconds is None:
            self._has_ended = True
            return
        index = len(self._times)
        self._times.append(seconds)
        if self._is_wanted(index, seconds):
            self._kept[index] = to_square(self._reader.retrieve_bgr(), self._settings)

    def _is_wanted(self, index: int, seconds: float) -> bool:
        if self._foreseen is not None:
            return index < len(self._foreseen) and bool(self._foreseen[index])
        # Points may be passed over while reading again; frames long before the next are for none.
        return index < 2 or seconds > self._point_seconds() - self._reach_back_seconds() - 1.0

    def _partners(self, at: int) -> tuple[int, int]:
        if not self._settings.compares_frames:
            return at, at
        step = self._settings.motion_step_seconds
        low = max(0, bisect_right(self._times, self._times[at] - step) - 3)
        near = np.array(self._times[low : at + 2])
        earlier, later = partner_indices(near, np.array([at - low]), step)
        return low + int(earlier[0]), low + int(later[0])

    def _forget(self) -> None:
        """Drop frames that no later point can need."""
        oldest = self._point_seconds() - self._reach_back_seconds()
        keep_from = bisect_right(self._times, oldest) - 3
        for index in [index for index in self._kept if 1 < index < keep_from]:
            del self._kept[index]

    def _reach_back_seconds(self) -> float:
        return self._settings.motion_step_seconds + 2 * frame_interval_seconds(self.info)

    def _end_seconds(self) -> float:
        return end_of_video(np.frombuffer(self._times), frame_interval_seconds(self.info))

    def _foresee(self) -> NDArray[np.bool_] | None:
        """(frames,) whether each will be needed, by its packet or the header; None: unknown."""
        guesses = self._guess_times()
        if not guesses:
            return None
        needed = np.zeros(max(map(len, guesses)) + 1, np.bool_)
        needed[:2] = True
        for seconds in guesses:
            count = int(np.ceil((seconds[-1] - seconds[0]) / self._step)) + 1
            points = seconds[0] + (np.arange(count) + 0.5) * self._step
            at = np.maximum(np.searchsorted(seconds, points + self._tie, side="right") - 1, 0)
            needed[at] = True
            if self._settings.compares_frames:
                for indices in partner_indices(seconds, at, self._settings.motion_step_seconds):
                    needed[indices] = True
        return needed

    def _guess_times(self) -> list[Seconds]:
        """The times of all frames as they may turn out to be."""
        if is_proven(self.info):
            try:
                seconds = read_packet_times(self._path).seconds
            except VideoError:
                return []
            return [seconds] if len(seconds) and (np.diff(seconds) > 0).all() else []
        count = self.info.num_frames_from_header
        if count is None or count > _MAX_FORESEEN_FRAMES:
            return []
        exact = np.arange(count, dtype=np.float64) * frame_interval_seconds(self.info)
        return [exact, np.round(exact, 3)]

    def _chunk(
        self, roles: Mapping[FrameRole, list[Frame]], count: int, *, is_last: bool
    ) -> GridChunk:
        frames = stack_roles(roles, self._settings)
        end, first = self._end_seconds(), self._times[0]
        status, reason = Status.OK, ""
        if is_last:
            status, reason = judge_end(self.info, len(self._times), end - first)
        return GridChunk(
            frames={} if self._as_streams else frames,
            streams=images_by_stream(frames, self._settings) if count and self._as_streams else {},
            num_points=count,
            first_seconds=first,
            end_seconds=end,
            num_frames=len(self._times),
            is_last=is_last,
            status=status,
            reason=reason,
        )


def open_grid(
    path: Path,
    settings: ClipSettings,
    *,
    step_seconds: float,
    num_threads: int,
    as_streams: bool,
) -> VideoInfo:
    """Open the video that `read_grid` reads on in this process.

    Raises:
        VideoError: as `GridReader`.
    """
    _opened[:] = [
        GridReader(
            path,
            settings,
            step_seconds=step_seconds,
            num_threads=num_threads,
            as_streams=as_streams,
        )
    ]
    return _opened[0].info


def read_grid(max_points: int) -> GridChunk:
    """The next points of the video that was opened.

    Raises:
        VideoError: as `GridReader.read`.
        WorkerCrashError: this process has just taken the place of one that ended between two calls.
    """
    if not _opened:
        raise WorkerCrashError(
            "The decoder crashed on this file.",
            hint="The system may be short of memory: decode fewer videos at a time.",
        )
    return _opened[0].read(max_points)


_opened: list[GridReader] = []
"""The one reader of this process."""
