"""RGB frames -> a video file, there completely or not at all.

With ffmpeg H.264 and the sound; without, what OpenCV's wheels can write. Of that, MPEG-4 Part 2
(mp4v) in .mp4 plays most widely: in VLC, mpv, QuickTime and the players of Windows, though not in
browsers. VP9, the other choice, plays in browsers and not in QuickTime, and takes 5 to 10 times as
long to write. An OpenCV that was built with an H.264 encoder uses it.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, cast

import cv2
import numpy as np

from activity_cli.common.files import writing
from activity_cli.errors import OutputError, VideoError
from activity_cli.report.overlay.ffmpeg import encode_arguments, find_ffmpeg, input_arguments
from activity_cli.video.capture import Frame, quiet_opencv
from activity_cli.video.reader import read_packet_times

_OPENCV_CODECS = ("avc1", "mp4v")  # the better first


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundSource:
    """The sound to put beside the frames: that of a file, or of a piece of it."""

    video: Path
    start_seconds: float = 0.0
    duration_seconds: float | None = None
    """None is to the end."""


class Sink(Protocol):
    """Takes frames, (H, W, 3) RGB of one even size, and writes them to a file."""

    def write(self, frame: Frame) -> None:
        """Add a frame."""
        ...

    def finish(self) -> None:
        """Complete the file."""
        ...

    def abandon(self) -> None:
        """Stop, and leave nothing behind but the file that was named."""
        ...


class NewVideo:
    """A video being written: frames of the first one's size, made even by repeating an edge."""

    def __init__(self, target: Path, name: Path, fps: float, sound: SoundSource | None) -> None:
        self._target, self._name, self._fps, self._sound = target, name, fps, sound
        self._sink: Sink | None = None

    def write(self, frame: Frame) -> None:
        """Add a frame, (H, W, 3) RGB.

        Raises:
            OutputError: it cannot be written.
        """
        height, width = frame.shape[:2]
        if height % 2 or width % 2:  # colours are stored for 2 x 2 pixels
            frame = cast(Frame, np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), "edge"))
            height, width = frame.shape[:2]
        if self._sink is None:
            self._sink = self._open((width, height))
        self._sink.write(frame)

    def finish(self) -> None:
        """Complete the file.

        Raises:
            OutputError: it cannot be written, or has no frame.
        """
        if self._sink is None:
            raise OutputError(f"{self._name} would have no frame.")
        self._sink.finish()

    def abandon(self) -> None:
        """Stop writing."""
        if self._sink is not None:
            self._sink.abandon()

    def _open(self, size: tuple[int, int]) -> Sink:
        if ffmpeg := find_ffmpeg():
            sound_input = []
            if sound := self._sound:
                sound_input = input_arguments(
                    sound.video,
                    start_seconds=sound.start_seconds,
                    duration_seconds=sound.duration_seconds,
                )
            command = encode_arguments(
                ffmpeg, self._target, size=size, fps=self._fps, sound_input=sound_input
            )
            return _FfmpegSink(command, self._name)
        return _OpenCVSink(self._target, self._name, size, self._fps)


@contextmanager
def new_video(path: Path, *, fps: float, sound: SoundSource | None = None) -> Iterator[NewVideo]:
    """Write a video; it appears under its name when the block ends well, or not at all.

    Args:
        path: the .mp4 to write.
        fps: frames per second.
        sound: kept where ffmpeg is there.

    Raises:
        OutputError: it cannot be written.
    """
    with writing(path) as temporary:
        video = NewVideo(temporary, path, fps, sound)
        try:
            yield video
            video.finish()
        except BaseException:
            video.abandon()
            raise


class _FfmpegSink:
    """Frames through a pipe to ffmpeg."""

    def __init__(self, command: list[str], name: Path) -> None:
        self._name = name
        self._messages: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in _close
        # A session of its own: Ctrl-C comes to us alone, and we end it.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._messages,
            start_new_session=True,
        )

    def write(self, frame: Frame) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data)
        except OSError:  # it ended early, and says why
            self.finish()

    def finish(self) -> None:
        with suppress(OSError):
            self._close_input()
        if self._process.wait() != 0:
            self._messages.seek(0)
            lines = self._messages.read().decode(errors="replace").strip().splitlines()
            reason = lines[-1] if lines else f"ffmpeg ended with {self._process.returncode}"
            self._messages.close()
            raise OutputError(
                f"Cannot write {self._name}: {reason}",
                hint="Choose another place, or free space there.",
            )
        self._messages.close()

    def abandon(self) -> None:
        self._process.kill()
        with suppress(OSError):
            self._close_input()
        self._process.wait()
        self._messages.close()

    def _close_input(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()


class _OpenCVSink:
    """Frames to OpenCV's own writer."""

    def __init__(self, target: Path, name: Path, size: tuple[int, int], fps: float) -> None:
        self._target, self._name = target, name
        self._file = target.with_suffix(".mp4")  # OpenCV takes the container from the suffix
        self._num_frames = 0
        for codec in _OPENCV_CODECS:
            fourcc = cv2.VideoWriter.fourcc(*codec)
            path = str(self._file.absolute())
            with quiet_opencv():  # it complains about each codec that it lacks
                self._writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, fourcc, fps, size)
            if self._writer.isOpened():
                return
        self.abandon()
        raise OutputError(
            f"OpenCV cannot write a video of {size[0]} x {size[1]} pixels as {name}.",
            hint="Choose another place, or install ffmpeg: pip install 'activity-cli[video]'",
        )

    def write(self, frame: Frame) -> None:
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self._num_frames += 1

    def finish(self) -> None:
        self._writer.release()
        # OpenCV does not say when a disk is full.
        try:
            num_written = len(read_packet_times(self._file).seconds)
        except VideoError:
            num_written = 0
        if num_written != self._num_frames:
            raise OutputError(
                f"Cannot write {self._name}: {num_written} of {self._num_frames} frames came to be "
                "in the file.",
                hint="Choose another place, or free space there.",
            )
        self._file.replace(self._target)

    def abandon(self) -> None:
        self._writer.release()
        self._file.unlink(missing_ok=True)
