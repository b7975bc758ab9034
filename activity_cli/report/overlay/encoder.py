"""RGB frames -> an .mp4, complete or not there at all.

With ffmpeg, H.264 and sound; it is found on PATH or in the package imageio-ffmpeg. Without it, what
OpenCV can write: H.264, or MPEG-4 Part 2 (mp4v), which browsers do not play. VP9 plays there, but
not in QuickTime, and takes 5 to 10 times as long.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, cast

import cv2
import numpy as np

from activity_cli.common.files import writing
from activity_cli.errors import OutputError, VideoError
from activity_cli.video.capture import Frame, quiet_opencv
from activity_cli.video.reader import read_packet_times

_ENCODER = "libx264"
_HINT = "Choose another place, or free space there."


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """Whether the sound of a video is kept, and a note for the user if it is lost."""

    is_kept: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class SoundSource:
    """A file whose sound is written beside the frames, or a piece of it."""

    video: Path
    start_seconds: float = 0.0
    duration_seconds: float | None = None  # None is to the end

    def arguments(self) -> list[str]:
        """Return ffmpeg's arguments to read it: under any name, and from this disk only."""
        piece = ["-ss", f"{self.start_seconds:.6f}"] if self.start_seconds > 0 else []
        if self.duration_seconds is not None:
            piece += ["-t", f"{self.duration_seconds:.6f}"]
        return ["-protocol_whitelist", "file", *piece, "-i", f"file:{self.video.absolute()}"]


@cache
def find_ffmpeg() -> str | None:
    """Return the path of an ffmpeg that writes H.264, or None."""
    paths = [shutil.which("ffmpeg")]
    with suppress(ImportError, RuntimeError):  # not installed; no program for this system
        import imageio_ffmpeg

        paths.append(str(imageio_ffmpeg.get_ffmpeg_exe()))
    for path in paths:
        if path is not None and _ENCODER in _run([path, "-hide_banner", "-encoders"]).stdout:
            return path
    return None


def sound_of(video: Path) -> Sound:
    """Return whether the sound of a video can be kept."""
    ffmpeg = find_ffmpeg()
    if ffmpeg is None:
        install = "this needs ffmpeg on PATH, or: pip install 'activity-cli[video]'"
        return Sound(is_kept=False, note=f"Sound, if there is any, is not kept: {install}")
    # Half a second is decoded, because a header may promise a sound track that is not there.
    source = [*(ffmpeg, "-hide_banner", "-nostdin"), *SoundSource(video).arguments()]
    test = _run([*source, "-map", "0:a:0", "-t", "0.5", "-f", "null", "-"])
    is_lost = test.returncode != 0 and " Audio: " in test.stderr
    note = "Sound is not kept: ffmpeg cannot decode it." if is_lost else ""
    return Sound(is_kept=test.returncode == 0, note=note)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:  # not executable
        return subprocess.CompletedProcess(command, 127, "", str(error))


@contextmanager
def new_video(
    path: Path, *, fps: float, sound: SoundSource | None = None
) -> Iterator[Callable[[Frame], None]]:
    """Write a video; it appears under its name when the block ends well, or not at all.

    Yields a function that adds a frame, (H, W, 3) RGB. The first frame sets the size, made even by
    repeating an edge. Raises OutputError if it cannot be written, or has no frame.
    """
    sink: _FfmpegSink | _OpenCVSink | None = None

    def write(frame: Frame) -> None:
        nonlocal sink
        height, width = frame.shape[:2]
        if height % 2 or width % 2:  # colours are stored for 2 x 2 pixels
            frame = cast(Frame, np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), "edge"))
        if sink is None:
            size = (frame.shape[1], frame.shape[0])
            if ffmpeg := find_ffmpeg():
                sink = _FfmpegSink(_encode_command(ffmpeg, temporary, size, fps, sound), path)
            else:
                sink = _OpenCVSink(temporary, path, size, fps)
        sink.write(frame)

    with writing(path) as temporary:
        try:
            yield write
            if sink is None:
                raise OutputError(f"{path} would have no frame.")
            sink.finish()
        except BaseException:
            if sink is not None:
                sink.abort()
            raise


def _encode_command(
    ffmpeg: str, target: Path, size: tuple[int, int], fps: float, sound: SoundSource | None
) -> list[str]:
    """Return the command that writes an .mp4 from RGB frames on stdin, (width, height) each."""
    width, height = size
    frames = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:.6f}"]
    # Tagged BT.709, so that players need not guess from the picture's height.
    colours = ["-vf", "scale=out_color_matrix=bt709:out_range=tv"]
    colours += ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]
    video = ["-c:v", _ENCODER, "-preset", "veryfast", "-crf", "20", "-pix_fmt", "yuv420p"]
    audio = ["-map", "1:a:0", "-c:a", "aac", "-b:a", "160k"] if sound else []
    return [
        *(ffmpeg, "-hide_banner", "-loglevel", "error", "-y", *frames, "-i", "pipe:0"),
        *(sound.arguments() if sound else ()),
        *("-map", "0:v:0", *audio, *colours, *video),
        *("-movflags", "+faststart", "-f", "mp4", f"file:{target.absolute()}"),
    ]


class _FfmpegSink:
    """Sends frames through a pipe to ffmpeg."""

    def __init__(self, command: list[str], name: Path) -> None:
        self._name = name
        self._messages: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end
        # A session of its own: Ctrl-C reaches this process only, which then ends ffmpeg.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=self._messages, start_new_session=True
        )
        assert self._process.stdin is not None
        self._input = self._process.stdin

    def write(self, frame: Frame) -> None:
        try:
            self._input.write(np.ascontiguousarray(frame).data)
        except OSError:  # ffmpeg ended early and printed why
            self.finish()

    def finish(self) -> None:
        with suppress(OSError):
            self._input.close()
        with self._messages as messages:
            if self._process.wait() != 0:
                messages.seek(0)
                lines = messages.read().decode(errors="replace").strip().splitlines()
                reason = lines[-1] if lines else f"ffmpeg ended with {self._process.returncode}"
                raise OutputError(f"Cannot write {self._name}: {reason}", hint=_HINT)

    def abort(self) -> None:
        self._process.kill()
        with suppress(OSError):
            self._input.close()
        self._process.wait()
        self._messages.close()


class _OpenCVSink:
    """Writes frames with OpenCV."""

    def __init__(self, target: Path, name: Path, size: tuple[int, int], fps: float) -> None:
        self._target, self._name = target, name
        self._file = target.with_suffix(".mp4")  # OpenCV takes the container from the suffix
        self._num_frames = 0
        for codec in ("avc1", "mp4v"):  # the better first
            fourcc, path = cv2.VideoWriter.fourcc(*codec), str(self._file.absolute())
            with quiet_opencv():  # it prints a message for each codec that it lacks
                self._writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, fourcc, fps, size)
            if self._writer.isOpened():
                return
        self.abort()
        raise OutputError(
            f"OpenCV cannot write a video of {size[0]} x {size[1]} pixels as {name}.",
            hint="Choose another place, or install ffmpeg: pip install 'activity-cli[video]'",
        )

    def write(self, frame: Frame) -> None:
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self._num_frames += 1

    def finish(self) -> None:
        self._writer.release()
        num_written = 0
        with suppress(VideoError):  # OpenCV does not report a full disk
            num_written = len(read_packet_times(self._file).seconds)
        if num_written != self._num_frames:
            missing = f"only {num_written} of {self._num_frames} frames were written."
            raise OutputError(f"Cannot write {self._name}: {missing}", hint=_HINT)
        self._file.replace(self._target)

    def abort(self) -> None:
        self._writer.release()
        self._file.unlink(missing_ok=True)
