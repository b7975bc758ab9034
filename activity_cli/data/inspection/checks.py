"""Video file -> a check of it, by decoding all of it in a worker process.

Damage shows where a file ends before its header says so, where packets give no frame, and where
timestamps are missing or go backwards. OpenCV does not report frames that are grey or garbled.
"""

import math
import threading
from array import array
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from activity_cli.common import count_of
from activity_cli.common.files import sha256_of
from activity_cli.common.processes import available_cpus
from activity_cli.common.processes.pool import WorkerPool
from activity_cli.data.inspection.fingerprints import Fingerprinter, FingerprintStore, Pictures
from activity_cli.errors import VideoError
from activity_cli.settings import ClipSettings
from activity_cli.types import Status
from activity_cli.video.clips import judge_end
from activity_cli.video.pipeline import pipelined_map
from activity_cli.video.reader import (
    VideoInfo,
    VideoReader,
    frame_interval_seconds,
    read_packet_times,
)

DEFAULT_TIMEOUT_SECONDS = 3600.0

# Codecs whose every packet is a frame. VP8, VP9 and AV1 have packets that are never shown.
_FRAME_PER_PACKET_CODECS = "H264 AVC1 X264 HEVC HEV1 HVC1 FMP4 MP4V MJPG"

_VARIATION = 0.1
"""An interval counts as irregular if it differs from the median by more than this share ..."""
_ROUNDING_SECONDS = 0.002  # ... and by more than this
_VARIABLE_SHARE = 0.05  # share of irregular intervals from which the frame rate counts as variable
_BAD_STAMPS_SHARE = 0.01
"""More bad timestamps than this share, and than one, are damage: the last frames may have none."""
_RATE_TOLERANCE = 0.05  # relative difference of measured and header frame rate that is reported
_MODEL_FRAMES = ClipSettings().num_frames


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCheck:
    """The check of one file; without frames only `path`, `status` and `reason` are set."""

    path: Path
    status: Status
    reason: str = ""
    damage: tuple[str, ...] = ()  # what is broken
    notes: tuple[str, ...] = ()  # what is unusual, but not damage
    codec: str = ""
    width: int | None = None  # in pixels, upright
    height: int | None = None
    rotation_degrees: int | None = None
    fps_from_header: float | None = None
    fps_measured: float | None = None  # None for a single frame
    fps_variation: float | None = None  # share of irregular intervals between frames
    longest_gap_seconds: float | None = None  # the longest interval between two frames
    duration_seconds: float | None = None
    num_frames: int | None = None
    num_frames_from_header: int | None = None
    num_bytes: int | None = None
    sha256: str = ""  # of the content, of files that give frames
    fingerprint: int | None = None  # its number in the store

    @property
    def is_sound(self) -> bool:
        """Whether the file decodes as its header promises."""
        return self.status in {Status.OK, Status.SHORT} and not self.damage

    @property
    def has_variable_rate(self) -> bool:
        """Whether the frame rate is variable."""
        return (self.fps_variation or 0.0) > _VARIABLE_SHARE


class _Scan(NamedTuple):
    """The result of decoding all of a file, N frames."""

    seconds: NDArray[np.float64]  # (N,)
    begins_inside: bool  # not with a key frame: an edit list hides frames that the header counts
    num_bad_stamps: int  # timestamps that are missing or not after the one before
    pictures: Pictures


def check_files(
    paths: Iterable[Path],
    store: FingerprintStore,
    *,
    num_workers: int | None = None,
    num_threads: int = 1,
    timeout_seconds: float | None = DEFAULT_TIMEOUT_SECONDS,
    stop: threading.Event | None = None,
) -> Iterator[FileCheck]:
    """Check files in worker processes, one result each, in order; fingerprints go to the store.

    By default a file per CPU is checked at a time. The decoder threads and the time limit are for
    one file. Once `stop` is set, no further file is begun. A full disk is an OutputError.
    """
    num_workers = num_workers or available_cpus()

    def prepare(path: Path) -> tuple[FileCheck, Pictures | None]:
        try:
            return pool.call(check_file, path, num_threads=num_threads)
        except VideoError as error:
            return FileCheck(path=path, status=Status(error.status), reason=error.message), None

    def keep(check: FileCheck, pictures: Pictures | None) -> FileCheck:
        return check if pictures is None else replace(check, fingerprint=store.add(pictures))

    with WorkerPool(num_workers, timeout_seconds=timeout_seconds, imports=[__name__]) as pool:
        yield from pipelined_map(
            paths,
            prepare=prepare,
            compute=lambda batch: [keep(*one) for one in batch],
            size_of=lambda _: 1,
            batch_size=1,
            num_workers=num_workers,
            stop=stop,
        )


def check_file(path: Path, *, num_threads: int = 1) -> tuple[FileCheck, Pictures]:
    """Decode a file, which must have a frame, to its end; return its check and its fingerprint."""
    with VideoReader(path, num_threads=num_threads) as reader:
        info = reader.info
        scan = _scan(reader)
    intervals = np.diff(scan.seconds)
    span = float(scan.seconds[-1] - scan.seconds[0])
    usual = float(np.median(intervals)) if len(intervals) else 0.0
    is_irregular = np.abs(intervals - usual) > max(_VARIATION * usual, _ROUNDING_SECONDS)
    status, reason = _judge(info, scan)
    check = FileCheck(
        path=path,
        status=status,
        reason=reason,
        damage=_damage(info, scan, status),
        codec=info.codec,
        width=info.width,
        height=info.height,
        rotation_degrees=info.rotation_degrees,
        fps_from_header=info.fps_from_header or None,
        fps_measured=len(intervals) / span if span > 0 else None,
        fps_variation=float(is_irregular.mean()) if len(intervals) else None,
        longest_gap_seconds=float(intervals.max()) if len(intervals) else None,
        duration_seconds=span + (usual or frame_interval_seconds(info)),
        num_frames=len(scan.seconds),
        num_frames_from_header=info.num_frames_from_header,
        num_bytes=path.stat().st_size,
        sha256=sha256_of(path),
    )
    return replace(check, notes=_notes(check)), scan.pictures


def _scan(reader: VideoReader) -> _Scan:
    """Read a video to its end. Memory: 8 bytes per frame, and the fingerprint."""
    all_seconds = array("d")
    fingerprinter = Fingerprinter()
    num_bad_stamps, last_stamp = 0, -math.inf
    begins_inside = _has_frame_per_packet(reader.info) and not reader.is_intra()
    while (seconds := reader.grab()) is not None:
        all_seconds.append(seconds)
        if reader.stamp_seconds > last_stamp:
            last_stamp = reader.stamp_seconds
        else:
            num_bad_stamps += 1
        fingerprinter.add(seconds, reader.retrieve_bgr)
    pictures = fingerprinter.pictures()
    return _Scan(np.array(all_seconds), begins_inside, num_bad_stamps, pictures)


def _judge(info: VideoInfo, scan: _Scan) -> tuple[Status, str]:
    """Return the status, by the same rules as for files that are scored."""
    count, status, reason = len(scan.seconds), Status.OK, ""
    if not scan.begins_inside:  # otherwise the header counts the hidden frames too
        duration = float(scan.seconds[-1] - scan.seconds[0]) + frame_interval_seconds(info)
        status, reason = judge_end(info, count, duration)
    if status is Status.OK and count < _MODEL_FRAMES:
        return Status.SHORT, f"{count_of(count, 'frame')}; models sample {_MODEL_FRAMES} by default"
    return status, reason


def _damage(info: VideoInfo, scan: _Scan, status: Status) -> tuple[str, ...]:
    """Describe what is broken."""
    count, last = len(scan.seconds), scan.seconds[-1]
    damage = []
    seconds_of_packets = np.zeros(0)
    if not scan.begins_inside and _has_frame_per_packet(info):
        with suppress(VideoError):  # removed since it was decoded
            seconds_of_packets = read_packet_times(info.path).seconds
    if (seconds_of_packets > last + frame_interval_seconds(info) / 2).any():
        # OpenCV ends at a broken packet.
        damage.append(f"decoding stops at {last:.2f} s: the file goes on, but is broken there")
    elif status is Status.TRUNCATED:
        damage.append(f"the file ends at {last:.2f} s: it was cut off, or is broken there")
    if scan.num_bad_stamps > max(1, _BAD_STAMPS_SHARE * count):
        damage.append(
            f"{scan.num_bad_stamps} of {count} frames have a timestamp that is missing or goes back"
        )
    return tuple(damage)


def _has_frame_per_packet(info: VideoInfo) -> bool:
    return info.has_stored_times and info.codec.upper() in _FRAME_PER_PACKET_CODECS.split()


def _notes(check: FileCheck) -> tuple[str, ...]:
    """Describe what is unusual about a file, damage aside."""
    notes = []
    if check.has_variable_rate:
        notes.append(
            f"variable frame rate: {check.fps_variation:.0%} of the frames come early or late, "
            f"the longest gap is {check.longest_gap_seconds:.2f} s"
        )
    header, measured = check.fps_from_header, check.fps_measured
    if header and measured and abs(measured - header) > _RATE_TOLERANCE * header:
        notes.append(f"{header:.4g} fps in the header, {measured:.4g} fps measured")
    promised, count = check.num_frames_from_header, check.num_frames
    if check.is_sound and promised and count and abs(promised - count) > max(2, 0.01 * count):
        notes.append(f"{promised} frames in the header, {count} decoded")
    if check.rotation_degrees:
        notes.append(f"rotated by {check.rotation_degrees}°")
    return tuple(notes)
