"""A long video -> frames at even time steps, streamed: sliding windows are cut from them.

N is timesteps, H = W the frame size in pixels; times are seconds. Timestep j is (j + 1/2) steps
after the first frame and takes the frame on screen then. Runs in a worker process of its own, from
which frames are fetched a chunk at a time. Only the list of times grows, 8 bytes a frame.
"""

from array import array
from bisect import bisect_right
from contextlib import suppress
from pathlib import Path
from typing import Required, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import VideoError, WorkerCrashError
from activity_cli.settings import ClipSettings
from activity_cli.types import FrameChunk, FrameRole, Status
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

_MAX_PREDICTED_FRAMES = 2**24  # 6 days at 30 fps


class Options(TypedDict, total=False):
    """How a video is resampled."""

    step_seconds: Required[float]  # between two timesteps
    num_threads: int  # of the decoder, as for `VideoReader`
    as_streams: bool  # give the pictures that the CNN sees, not the frames that they are made of


class Resampler:
    """Read a video at even time steps. Errors are those of `VideoReader`."""

    def __init__(self, path: Path, settings: ClipSettings, **options: Unpack[Options]) -> None:
        self._path = path
        self._settings = settings
        self._step = options["step_seconds"]
        self._num_threads = options.get("num_threads", 0)
        self._as_streams = options.get("as_streams", True)
        self._next = 0  # timestep
        self.num_passes = 0
        """How often the video was opened: twice where the prediction of its times was wrong."""
        self._start()
        self.info = self._reader.info
        self._tie = min(TIE_SECONDS, frame_interval_seconds(self.info) / 40)
        self._predicted = self._predict_needed()

    def close(self) -> None:
        """Free the decoder."""
        self._reader.close()

    def read(self, max_timesteps: int) -> FrameChunk:
        """Read the next timesteps, at most so many; fewer only at the end of the video."""
        roles: dict[FrameRole, list[Frame]] = {"frames": [], "earlier": [], "later": []}
        count = 0
        while count < max_timesteps and self._reach_next():
            at = max(bisect_right(self._times, self._next_seconds() + self._tie) - 1, 0)
            indices = dict(zip(roles, (at, *self._partners(at)), strict=True))
            if any(index not in self.kept for index in indices.values()):
                if self._predicted is None:
                    problem = "It gave other frames when read again: the file is being changed."
                    raise VideoError(problem)
                self.close()  # the prediction was wrong: keep every frame that may be needed
                self._start()
                self._predicted = None
                continue
            for role, index in indices.items():
                roles[role].append(self.kept[index])
            count += 1
            self._next += 1
            # Drop the frames that no later timestep can need.
            oldest = self._next_seconds() - self._reach_back_seconds()
            keep_from = bisect_right(self._times, oldest) - 3
            for index in [index for index in self.kept if 1 < index < keep_from]:
                del self.kept[index]
        frames, is_last = stack_roles(roles, self._settings), count < max_timesteps
        as_streams = self._as_streams and count > 0
        places = np.arange(self._next - count, self._next)
        end, first = self._end_seconds(), self._times[0]
        status, reason = Status.OK, ""
        if is_last:
            status, reason = judge_end(self.info, len(self._times), end - first)
        return FrameChunk(
            images=images_by_stream(frames, self._settings, places) if as_streams else frames,
            num_timesteps=count,
            first_seconds=first,
            end_seconds=end,
            num_frames=len(self._times),
            is_last=is_last,
            status=status,
            reason=reason,
        )

    def _start(self) -> None:
        self._reader = VideoReader(self._path, num_threads=self._num_threads)
        self.num_passes += 1
        self._times = array("d")
        self.kept: dict[int, Frame] = {}
        """Decoded frames by index, as long as a later timestep may need them."""
        self._has_ended = False

    def _next_seconds(self) -> float:
        first = self._times[0] if self._times else 0.0
        return first + (self._next + 0.5) * self._step

    def _reach_next(self) -> bool:
        """Read until the next timestep's frame is certain; False after the video's end."""
        while not self._has_ended:
            if len(self._times) >= 2 and self._times[-1] > self._next_seconds() + self._tie:
                return True
            self._grab()
        return self._next_seconds() < self._end_seconds()

    def _grab(self) -> None:
        seconds = self._reader.grab()
        if seconds is None:
            self._has_ended = True
            return
        index = len(self._times)
        self._times.append(seconds)
        if self._predicted is not None:
            is_needed = index < len(self._predicted) and bool(self._predicted[index])
        else:  # when reading again, frames long before the next timestep were used already
            oldest = self._next_seconds() - self._reach_back_seconds() - 1.0
            is_needed = index < 2 or seconds > oldest
        if is_needed:
            self.kept[index] = to_square(self._reader.retrieve_bgr(), self._settings)

    def _partners(self, at: int) -> tuple[int, int]:
        if not self._settings.compares_frames:
            return at, at
        step = self._settings.motion_step_seconds
        low = max(0, bisect_right(self._times, self._times[at] - step) - 3)
        near = np.array(self._times[low : at + 2])
        earlier, later = partner_indices(near, np.array([at - low]), step)
        return low + int(earlier[0]), low + int(later[0])

    def _reach_back_seconds(self) -> float:
        return self._settings.motion_step_seconds + 2 * frame_interval_seconds(self.info)

    def _end_seconds(self) -> float:
        return end_of_video(np.frombuffer(self._times), frame_interval_seconds(self.info))

    def _predict_needed(self) -> NDArray[np.bool_] | None:
        """Predict (frames,) which are needed, from packets or the header; None if unknown."""
        guesses: list[Seconds] = []
        count = self.info.num_frames_from_header
        if is_proven(self.info):
            with suppress(VideoError):
                seconds = read_packet_times(self._path).seconds
                guesses = [seconds] if len(seconds) and (np.diff(seconds) > 0).all() else []
        elif count is not None and count <= _MAX_PREDICTED_FRAMES:
            exact = np.arange(count, dtype=np.float64) * frame_interval_seconds(self.info)
            guesses = [exact, np.round(exact, 3)]
        if not guesses:
            return None
        needed = np.zeros(max(map(len, guesses)) + 1, np.bool_)
        needed[:2] = True
        for seconds in guesses:
            count = int(np.ceil((seconds[-1] - seconds[0]) / self._step)) + 1
            timesteps = seconds[0] + (np.arange(count) + 0.5) * self._step
            at = np.maximum(np.searchsorted(seconds, timesteps + self._tie, side="right") - 1, 0)
            needed[at] = True
            if self._settings.compares_frames:
                for indices in partner_indices(seconds, at, self._settings.motion_step_seconds):
                    needed[indices] = True
        return needed


_opened: list[Resampler] = []  # the one resampler of this process


def open_resampler(path: Path, settings: ClipSettings, **options: Unpack[Options]) -> VideoInfo:
    """Open the video that `read_resampled` then reads in this process."""
    _opened[:] = [Resampler(path, settings, **options)]
    return _opened[0].info


def read_resampled(max_timesteps: int) -> FrameChunk:
    """Read the next timesteps of the video that was opened."""
    if not _opened:  # this process has just replaced one that ended between two calls
        hint = "The system may be short of memory: decode fewer videos at a time."
        raise WorkerCrashError("The decoder crashed on this file.", hint=hint)
    return _opened[0].read(max_timesteps)
