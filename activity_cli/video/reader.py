"""Video file -> frames with their times. Every file is opened here.

H and W are pixels; times are seconds from the start of the file, from decoded timestamps.
"""

import math
import os
import shlex
import stat
from array import array
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from activity_cli.common.files import is_file, is_folder, is_picture, numbered_frames
from activity_cli.errors import (
    MissingExtraError,
    MissingVideoError,
    NoVideoError,
    UnsupportedVideoError,
    VideoError,
)
from activity_cli.video.capture import MOST_PIXELS, Frame, open_file, quiet_opencv, retrieve_bgr
from activity_cli.video.pictures import CODEC, FRAMES_PER_SECOND, PictureCapture
from activity_cli.video.pyav import PyAvCapture

# Codecs that every OpenCV with FFmpeg decodes, by their fourcc in upper case. When one of these
# yields no frame the file is at fault; with any other codec the decoder is.
_DECODABLE_CODECS = (
    "H264 AVC1 X264 HEVC HEV1 HVC1 FMP4 MP4V XVID DIVX DX50 DIV3 MP42 MP43 H263 S263 VP80 VP90 VP08"
    " VP09 MJPG MJPA MJPB JPEG GIF APNG MPNG MPG1 MPG2 MPEG FLV1 FFV1 WMV1 WMV2 WMV3 HFYU"
)
_CODEC_NAMES = {"AV01": "AV1", "VVC1": "H.266", "H266": "H.266"}

# First bytes of picture files. FFmpeg opens them as videos of one frame.
_PICTURE_STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_MP4_STARTS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # bytes 4 to 8; also MOV
_MATROSKA_START = b"\x1a\x45\xdf\xa3"  # also WebM
_PICTURE_BRANDS = (b"avif", b"heic", b"heix", b"mif1")  # bytes 8 to 12, after "ftyp"
_TEXT_BYTES = bytes([*b"\t\n\f\r\x1b", *range(32, 256)])
_PLAYLIST_STARTS = (b"#EXTM3U", b"ffconcat", b"v=0")
_COVER_PICTURE_FPS = 90000.0  # FFmpeg's rate for the cover picture inside an audio file

# Sent to frame k, OpenCV starts at the last key frame that is at least so many frames earlier.
_SEEK_LEAD_FRAMES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """The header of a video. Headers can be wrong: only decoding tells how many frames exist."""

    path: Path
    codec: str  # the fourcc, e.g. `h264`.
    width: int  # in pixels, after rotation
    height: int
    fps_from_header: float  # 0 where the header gives no usable rate
    num_frames_from_header: int | None  # None where the header gives no count, or an impossible one
    duration_seconds_from_header: float | None
    has_stored_times: bool  # MP4, MOV, Matroska, WebM; otherwise times may differ after a seek
    rotation_degrees: int
    """The rotation tag. Frames are delivered upright, with the rotation applied."""


class PacketTimes(NamedTuple):
    """Times and key frames from a video's packets, read without decoding."""

    seconds: NDArray[np.float64]  # (N,) times of the frames, in display order
    is_key: NDArray[np.bool_]  # (N,) whether decoding may start there, by the container


class VideoReader(AbstractContextManager["VideoReader"]):
    """Read the frames of a video file in order, with their times. A context manager.

    `grab` moves to the next frame, `retrieve` converts it; a frame that is only grabbed costs a
    quarter less. Opening decodes the first frame, so a reader that exists has at least one.
    With 0 decoder threads OpenCV chooses, which suits one video at a time; with several in parallel
    1 is cheapest. `wait_seconds` waits so long for more at the end of a file that is still being
    written; it sets OPENCV_FFMPEG_CAPTURE_OPTIONS for the rest of the process: for workers only.

    Raises:
        VideoError: no frame can be decoded; MissingVideoError or UnsupportedVideoError if the file
            or a decoder is missing.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        num_threads: int = 0,
        wait_seconds: float | None = None,
    ) -> None:
        path = Path(path)
        if files := _picture_files(path):
            self._open_pictures(path, files)
            return
        head = _read_head(path)
        with ExitStack() as resources:
            resources.enter_context(quiet_opencv())
            capture = open_file(path, num_threads, wait_seconds=wait_seconds)
            resources.callback(capture.release)
            self.info = _read_info(path, head, capture)
            _check_size(self.info)
            self._capture: cv2.VideoCapture | PyAvCapture | PictureCapture = capture
            self._first_is_pending = capture.grab()
            if not (self._first_is_pending or _has_decoder(self.info) or wait_seconds):
                self._capture = _open_with_pyav(self.info, num_threads)
                resources.callback(self._capture.release)
                self._first_is_pending = self._capture.grab()
            _check_content(head, self.info, has_frames=self._first_is_pending)
            self._resources = resources.pop_all()

    _num_grabbed = 0
    _seconds = 0.0
    _anchor = (0, 0.0)  # index and time of the last frame with a usable timestamp
    stamp_seconds = math.nan
    """The timestamp of the current frame as the file has it, right or not."""

    def _open_pictures(self, path: Path, files: list[Path]) -> None:
        """Open a picture, or a folder of numbered ones, as a clip."""
        pictures = PictureCapture(files)
        self.info = VideoInfo(
            path=path,
            codec=CODEC,
            width=pictures.width,
            height=pictures.height,
            fps_from_header=FRAMES_PER_SECOND,
            num_frames_from_header=len(files),
            duration_seconds_from_header=len(files) / FRAMES_PER_SECOND,
            has_stored_times=False,
            rotation_degrees=0,
        )
        self._capture, self._resources = pictures, ExitStack()
        _check_size(self.info)
        self._first_is_pending = pictures.grab()
        if not self._first_is_pending:
            what = "The first frame" if path != files[0] else "The picture"
            raise VideoError(f"{what} cannot be decoded: it is damaged, or no picture.")

    @property
    def decoder(self) -> str:
        """What decodes: OpenCV, or PyAV where OpenCV has no decoder."""
        return "PyAV" if isinstance(self._capture, PyAvCapture) else "OpenCV"

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the decoder. A closed reader is at its end."""
        self._first_is_pending = False
        self._resources.close()

    def grab(self) -> float | None:
        """Go to the next frame; return its time, which never decreases, or None at the end."""
        if self._first_is_pending:
            self._first_is_pending = False
        elif not self._capture.grab():
            return None
        self._seconds = self._frame_seconds()
        self._num_grabbed += 1
        return self._seconds

    def seek(self, seconds: float) -> None:
        """Jump to the last key frame at or before a time, and up to 17 frames on from there.

        The next `grab` tells where the jump ended, which depends on the file. Until a key frame
        has passed, frames may be garbage. Frames without a timestamp count from 0, as at the
        start of a file.
        """
        assert isinstance(self._capture, cv2.VideoCapture)  # other kinds are decoded whole
        self._first_is_pending = False
        # Half a frame more, lest rounding leads to the key frame before.
        lead = (_SEEK_LEAD_FRAMES + 0.5) * frame_interval_seconds(self.info)
        self._capture.set(cv2.CAP_PROP_POS_MSEC, 1000 * (seconds + lead))
        self._anchor = (self._num_grabbed, 0.0)
        self._seconds = 0.0

    def is_intra(self) -> bool:
        """Return whether the current frame was coded by itself, not as changes to others."""
        return self._capture.get(cv2.CAP_PROP_FRAME_TYPE) == ord("I")

    def retrieve(self) -> Frame:
        """Return the current frame as (H, W, 3) RGB."""
        return cast(Frame, cv2.cvtColor(self.retrieve_bgr(), cv2.COLOR_BGR2RGB))

    def retrieve_bgr(self) -> Frame:
        """Return the current frame as (H, W, 3) BGR: callers that shrink it convert less."""
        return retrieve_bgr(self._capture, f"Frame {self._num_grabbed}")

    def _frame_seconds(self) -> float:
        """Return the timestamp; where it is missing or stands still, count on from the last."""
        stamp = self.stamp_seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        index = self._num_grabbed
        if math.isfinite(stamp) and stamp > self._anchor[1]:
            self._anchor = (index, stamp)
        anchor_index, anchor_seconds = self._anchor
        seconds = anchor_seconds + (index - anchor_index) * frame_interval_seconds(self.info)
        return max(seconds, self._seconds)


def read_packet_times(
    path: str | os.PathLike[str], *, until_seconds: float | None = None
) -> PacketTimes:
    """Read the times of a video's frames from its packets, in 2 to 8 µs per frame.

    They equal those of decoding, to the last bit, where each packet holds a frame and its time.
    Damaged packets are listed too, and AVI and MPEG files give other times than frames have.
    With `until_seconds` it stops when all frames before it, and one at or after it, have come.
    """
    seconds: list[float] = []
    is_key: list[bool] = []
    keys_to_go = 2  # frames may come after a key frame and be shown before it, but only before one
    with quiet_opencv():
        capture = open_file(Path(path), raw_packets=True)
        while keys_to_go and capture.grab():
            seconds.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
            is_key.append(capture.get(cv2.CAP_PROP_LRF_HAS_KEY_FRAME) > 0)
            keys_to_go -= is_key[-1] and until_seconds is not None and seconds[-1] >= until_seconds
        capture.release()
    order = np.argsort(seconds, kind="stable")  # packets come in the order of decoding
    return PacketTimes(np.array(seconds, np.float64)[order], np.array(is_key, bool)[order])


def read_frame_seconds(path: Path) -> NDArray[np.float64]:
    """Decode a video to its end; return the time of each frame; or the errors of `VideoReader`."""
    times = array("d")
    with VideoReader(path) as reader:
        while (seconds := reader.grab()) is not None:
            times.append(seconds)
    return np.array(times)


def read_seconds(path: Path) -> float | None:
    """Return a video's length from its header, else from its packets; None where neither has it."""
    with VideoReader(path, num_threads=1) as reader:
        info = reader.info
    if info.duration_seconds_from_header is not None:
        return info.duration_seconds_from_header
    seconds = read_packet_times(path).seconds
    return float(seconds[-1]) + frame_interval_seconds(info) if len(seconds) else None


def frame_interval_seconds(info: VideoInfo) -> float:
    """Return the time per frame by the header; 1/25 s where its rate is not a frame rate."""
    return 1 / info.fps_from_header if 0.001 < info.fps_from_header <= 1000 else 1 / 25


def _picture_files(path: Path) -> list[Path]:
    """Return the files of a picture, or of a folder of numbered frames; none for other sources."""
    if is_folder(path):
        return numbered_frames(path)
    if not (is_picture(path) and is_file(path)):
        return []
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError:
        return []
    return [path] if _is_picture(head) else []


def _is_picture(head: bytes) -> bool:
    """Return whether a file begins like a picture."""
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    is_heif = head[4:8] == b"ftyp" and head[8:12] in _PICTURE_BRANDS
    return is_webp or is_heif or head.startswith(_PICTURE_STARTS)


def _read_head(path: Path) -> bytes:
    """Read the first bytes, of regular files only: opening a pipe could wait for ever."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise NoVideoError("It is a directory, not a video file.")
        if not stat.S_ISREG(mode):
            raise NoVideoError("It is a device or a pipe, not a video file.")
        with path.open("rb") as file:
            head = file.read(4096)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingVideoError("There is no file at this path.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(f"It cannot be read: {reason}.") from None
    if not head:
        raise VideoError("The file is empty.")
    if head.removeprefix(b"\xef\xbb\xbf").startswith(_PLAYLIST_STARTS):
        hint = "Name the videos that it lists instead."
        raise NoVideoError("It is a playlist, not a video.", hint=hint)
    if not head.translate(None, _TEXT_BYTES) and not head.startswith(b"YUV4MPEG2"):
        raise NoVideoError("It is a text file, not a video.")
    return head


def _read_info(path: Path, head: bytes, capture: cv2.VideoCapture) -> VideoInfo:
    fps = capture.get(cv2.CAP_PROP_FPS)
    fps = fps if math.isfinite(fps) and fps > 0 else 0.0
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    num_frames = int(count) if 1 <= count < 1e9 else None  # 1e9 frames: a year at 30 fps
    fourcc = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    codec = fourcc.to_bytes(4, "little").decode("latin-1")
    return VideoInfo(
        path=path,
        codec="".join(c for c in codec if c.isprintable()).strip(),
        width=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        height=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        fps_from_header=fps,
        num_frames_from_header=num_frames,
        duration_seconds_from_header=num_frames / fps if num_frames and fps else None,
        has_stored_times=head[4:8] in _MP4_STARTS or head.startswith(_MATROSKA_START),
        rotation_degrees=int(capture.get(cv2.CAP_PROP_ORIENTATION_META)),
    )


def _check_size(info: VideoInfo) -> None:
    """Refuse frames that would take gigabytes, before one is decoded."""
    if info.width * info.height > MOST_PIXELS:
        raise VideoError(
            f"Its frames have {info.width} x {info.height} pixels; at most {MOST_PIXELS:,} are"
            " read."
        )


def _check_content(head: bytes, info: VideoInfo, *, has_frames: bool) -> None:
    """Refuse other files that FFmpeg opens as a video, and videos that give no frame."""
    if info.codec == "ansi":
        raise VideoError("It is a text file, not a video.")
    if has_frames:
        is_cover = info.fps_from_header == _COVER_PICTURE_FPS
        if (is_cover or _is_picture(head)) and not _has_second_frame(info.path):
            what = "sound with a cover picture" if is_cover else "a picture"
            raise VideoError(f"It is {what}, not a video.")
    else:
        raise VideoError("No frame can be decoded: the file is damaged or was cut off.")


def _has_decoder(info: VideoInfo) -> bool:
    return info.codec.upper() in _DECODABLE_CODECS.split()


def _open_with_pyav(info: VideoInfo, num_threads: int) -> PyAvCapture:
    """Open a video that OpenCV cannot decode; an UnsupportedVideoError if PyAV cannot either."""
    codec = _CODEC_NAMES.get(info.codec.upper(), info.codec or "unknown")
    problem = f"OpenCV has no decoder for its codec, {codec}"
    try:
        return PyAvCapture(
            info.path, num_threads=num_threads, rotation_degrees=info.rotation_degrees
        )
    except MissingExtraError as error:
        problem = f"{problem}. PyAV may have one: {error.hint}"
    except VideoError:
        problem = f"{problem}, and PyAV has none either."
    source = info.path.absolute()
    target = source.with_name(f"{source.stem}-h264.mp4")
    raise UnsupportedVideoError(
        problem,
        hint=f"Convert it: ffmpeg -i {shlex.quote(str(source))} -c:v libx264"
        f" {shlex.quote(str(target))}",
    )


def _has_second_frame(path: Path) -> bool:
    capture = open_file(path, num_threads=1)
    try:
        return capture.grab() and capture.grab()
    finally:
        capture.release()
