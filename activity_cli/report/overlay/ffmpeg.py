"""The ffmpeg program, which keeps sound and writes H.264: whether it is there, and its arguments.

OpenCV's wheels can do neither. ffmpeg is found on PATH, or in the package imageio-ffmpeg.
"""

import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from activity_cli.report.overlay.sound import has_sound_track

_SILENT = ("-hide_banner", "-loglevel", "error")
_NEEDED_ENCODER = "libx264"

_INSTALL = "that needs ffmpeg on PATH, or: pip install 'activity-cli[video]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """What becomes of a video's sound in a video made from it."""

    is_kept: bool
    note: str = ""
    """One line for the user; empty where there is nothing to say."""


@cache
def find_ffmpeg() -> str | None:
    """The path of an ffmpeg that writes H.264, or None."""
    for path in (shutil.which("ffmpeg"), _packaged_ffmpeg()):
        if path is not None and _NEEDED_ENCODER in _output_of(path, "-encoders"):
            return path
    return None


def sound_of(video: Path) -> Sound:
    """Whether the sound of a video can be kept."""
    ffmpeg = find_ffmpeg()
    if ffmpeg is None:
        return {
            True: Sound(is_kept=False, note=f"The sound is not kept: {_INSTALL}"),
            False: Sound(is_kept=False),
            None: Sound(is_kept=False, note=f"Sound, if there is any, is not kept: {_INSTALL}"),
        }[has_sound_track(video)]
    # Decoding half a second tells what the header promises from what is there.
    listing = _run(
        [
            *(ffmpeg, "-hide_banner", "-nostdin", *input_arguments(video)),
            *("-map", "0:a:0", "-t", "0.5", "-f", "null", "-"),
        ]
    )
    if listing.returncode == 0:
        return Sound(is_kept=True)
    if " Audio: " in listing.stderr:
        return Sound(is_kept=False, note="The sound is not kept: ffmpeg cannot decode it.")
    return Sound(is_kept=False)


def input_arguments(
    video: Path, *, start_seconds: float = 0.0, duration_seconds: float | None = None
) -> list[str]:
    """What makes ffmpeg read a file, or a piece of it, under any name and from this disk alone."""
    place = ["-ss", f"{start_seconds:.6f}"] if start_seconds > 0 else []
    if duration_seconds is not None:
        place += ["-t", f"{duration_seconds:.6f}"]
    return ["-protocol_whitelist", "file", *place, "-i", f"file:{video.absolute()}"]


def encode_arguments(
    ffmpeg: str,
    target: Path,
    *,
    size: tuple[int, int],
    fps: float,
    sound_input: list[str],
) -> list[str]:
    """What makes ffmpeg write an .mp4 from RGB frames on stdin.

    Args:
        ffmpeg: the program.
        target: file to write.
        size: width and height of the frames, even numbers.
        fps: their rate.
        sound_input: from `input_arguments`, the file whose sound is kept; empty for none.
    """
    width, height = size
    frames = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:.6f}"]
    # Tagged BT.709, so that no player has to guess from the picture's height.
    colours = ["-vf", "scale=out_color_matrix=bt709:out_range=tv"]
    colours += ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]
    video = ["-c:v", _NEEDED_ENCODER, "-preset", "veryfast", "-crf", "20", "-pix_fmt", "yuv420p"]
    sound = ["-map", "1:a:0", "-c:a", "aac", "-b:a", "160k"] if sound_input else []
    return [
        *(ffmpeg, *_SILENT, "-y", *frames, "-i", "pipe:0", *sound_input),
        *("-map", "0:v:0", *sound, *colours, *video),
        *("-movflags", "+faststart", "-f", "mp4", f"file:{target.absolute()}"),
    ]


def _packaged_ffmpeg() -> str | None:
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):  # not installed; no program in it for this system
        return None


def _output_of(ffmpeg: str, argument: str) -> str:
    return _run([ffmpeg, "-hide_banner", argument]).stdout


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:  # not to be executed
        return subprocess.CompletedProcess(command, 127, "", str(error))
