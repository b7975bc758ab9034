"""Video file -> what is true of it, by decoding all of it. Made to run in worker processes.

Times are seconds. What OpenCV lets one see of damage: a file that ends before its header says so,
packets that give no frame, and timestamps that are absent or go backwards. Pictures that decode,
but are grey or garbled, it does not tell from whole ones.
"""

import math
import threading
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.files import sha256_of
from activity_cli.common.processes.pool import WorkerPool
from activity_cli.common.threads import available_cpus
from activity_cli.data.inspection.fingerprints import Fingerprinter, FingerprintStore, Pictures
from activity_cli.errors import VideoError
from activity_cli.settings import ClipSettings
from activity_cli.types import Status
from activity_cli.video.clips import judge_end
from activity_cli.video.pipeline import overlap
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
"""An interval differs from the median by more than this share, and more than rounding does ..."""
_ROUNDING_SECONDS = 0.002
_VARIABLE_SHARE = 0.05
"""... and when so many do, the frame rate is variable."""
_BAD_STAMPS_SHARE = 0.01
"""So many are damage, and more than one: what is flushed from a decoder last may have none."""
_RATE_TOLERANCE = 0.05
"""A measured frame rate that differs from the header's by more than this share is told."""
_MODEL_FRAMES = ClipSettings().num_frames


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCheck:
    """What is true of a file; of one without frames only `path`, `status` and `reason`."""

    path: Path
    status: Status
    reason: str = ""
    damage: tuple[str, ...] = ()
    """What is broken, in words."""
    notes: tuple[str, ...] = ()
    """What is unusual, but no damage."""
    codec: str = ""
    width: int | None = None
    """In pixels, upright."""
    height: int | None = None
    rotation_degrees: int | None = None
    fps_from_header: float | None = None
    fps_measured: float | None = None
    """None for a single frame."""
    fps_variation: float | None = None
    """Share of the intervals between frames that differ from the median by more than 10%."""
    longest_gap_seconds: float | None = None
    """The longest interval between two frames."""
    duration_seconds: float | None = None
    num_frames: int | None = None
    num_frames_from_header: int | None = None
    num_bytes: int | None = None
    sha256: str = ""
    """Of the content, of files that give frames."""
    fingerprint: int | None = None
    """Its number in the store."""

    @property
    def is_sound(self) -> bool:
        """Whether the file decodes as it promises."""
        return self.status in {Status.OK, Status.SHORT} and not self.damage

    @property
    def has_variable_rate(self) -> bool:
        """Whether enough intervals between frames differ."""
        return (self.fps_variation or 0.0) > _VARIABLE_SHARE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scan:
    """What decoding all of a file gave, N frames."""

    seconds: NDArray[np.float64]
    """(N,)"""
    begins_inside: bool
    """Whether the first frame shown is no key frame: an edit list hides those before, which the
    header counts and the file has."""
    num_bad_stamps: int
    """Frames whose timestamp is absent or not after the one before."""
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
    """Check files in worker processes, one result each, in order.

    Args:
        paths: the files.
        store: where fingerprints go.
        num_workers: files at a time; None is one per core.
        num_threads: decoder threads per file; 0 leaves it to OpenCV.
        timeout_seconds: how long a file may take.
        stop: once it is set, files that are not begun are left out.

    Raises:
        OutputError: the store's disk is full.
        ActivityError: no worker can be started.
    """
    num_workers = num_workers or available_cpus()

    def prepare(path: Path) -> tuple[FileCheck, Pictures | None]:
        try:
            return pool.call(check_file, path, num_threads=num_threads)
        except VideoError as error:
            return FileCheck(path=path, status=Status(error.status), reason=error.message), None

    def keep(one: tuple[FileCheck, Pictures | None]) -> FileCheck:
        check, pictures = one
        if pictures is None:
            return check
        return replace(check, fingerprint=store.add(pictures))

    with WorkerPool(
        num_workers,
        timeout_seconds=timeout_seconds,
        imports=["activity_cli.data.inspection.checks"],
    ) as pool:
        yield from overlap(
            paths,
            prepare=prepare,
            compute=lambda batch: [keep(one) for one in batch],
            size_of=lambda _: 1,
            batch_size=1,
            num_workers=num_workers,
            stop=stop,
        )


def check_file(path: Path, *, num_threads: int = 1) -> tuple[FileCheck, Pictures]:
    """Decode a file to its end, and look at what came.

    Returns:
        What is true of it, and its fingerprint, (K, P).

    Raises:
        VideoError: no frame can be decoded from it.
    """
    with VideoReader(path, num_threads=num_threads) as reader:
        info = reader.info
        scan = _scan(reader)
    intervals = np.diff(scan.seconds)
    span = float(scan.seconds[-1] - scan.seconds[0])
    usual = float(np.median(intervals)) if len(intervals) else 0.0
    check = FileCheck(
        path=path,
        status=Status.OK,
        damage=_damage(info, scan),
        codec=info.codec,
        width=info.width,
        height=info.height,
        rotation_degrees=info.rotation_degrees,
        fps_from_header=info.fps_from_header or None,
        fps_measured=len(intervals) / span if span > 0 else None,
        fps_variation=_variation(intervals, usual),
        longest_gap_seconds=float(intervals.max()) if len(intervals) else None,
        duration_seconds=span + (usual or frame_interval_seconds(info)),
        num_frames=len(scan.seconds),
        num_frames_from_header=info.num_frames_from_header,
        num_bytes=path.stat().st_size,
        sha256=sha256_of(path),
    )
    status, reason = _judge(info, scan)
    return replace(check, status=status, reason=reason, notes=_notes(check)), scan.pictures


def _scan(reader: VideoReader) -> _Scan:
    """Go through a video. 8 bytes per frame are kept, and its fingerprint."""
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
        if fingerprinter.wants(seconds):
            fingerprinter.add(seconds, reader.retrieve_bgr())
    return _Scan(
        seconds=np.array(all_seconds),
        begins_inside=begins_inside,
        num_bad_stamps=num_bad_stamps,
        pictures=fingerprinter.pictures(),
    )


def _judge(info: VideoInfo, scan: _Scan) -> tuple[Status, str]:
    """The status, by the rules by which files are scored."""
    count = len(scan.seconds)
    status, reason = _judge_end(info, scan)
    if status is not Status.OK:
        return status, reason
    if count < _MODEL_FRAMES:
        frames = "1 frame" if count == 1 else f"{count} frames"
        return Status.SHORT, f"{frames}; models sample {_MODEL_FRAMES} unless told otherwise"
    return Status.OK, ""


def _damage(info: VideoInfo, scan: _Scan) -> tuple[str, ...]:
    """What is broken, in words; nothing in a sound file."""
    count, last = len(scan.seconds), scan.seconds[-1]
    damage = []
    if _has_more_packets(info, scan):
        damage.append(f"decoding stops at {last:.2f} s: the file goes on, but is broken there")
    elif _judge_end(info, scan)[0] is not Status.OK:
        damage.append(f"the file ends at {last:.2f} s: it was cut off, or is broken there")
    if scan.num_bad_stamps > max(1, _BAD_STAMPS_SHARE * count):
        damage.append(
            f"{scan.num_bad_stamps} of {count} frames have a time stamp that is absent or goes back"
        )
    return tuple(damage)


def _judge_end(info: VideoInfo, scan: _Scan) -> tuple[Status, str]:
    """As for files that are scored; where leading frames are hidden, the header counts them too."""
    if scan.begins_inside:
        return Status.OK, ""
    duration = float(scan.seconds[-1] - scan.seconds[0]) + frame_interval_seconds(info)
    return judge_end(info, len(scan.seconds), duration)


def _has_frame_per_packet(info: VideoInfo) -> bool:
    return info.has_stored_times and info.codec.upper() in _FRAME_PER_PACKET_CODECS.split()


def _has_more_packets(info: VideoInfo, scan: _Scan) -> bool:
    """Whether the file has frames after the last one that decodes. OpenCV ends at a broken one."""
    if scan.begins_inside or not _has_frame_per_packet(info):
        return False
    end = scan.seconds[-1] + frame_interval_seconds(info) / 2
    try:
        return bool((read_packet_times(info.path).seconds > end).any())
    except VideoError:  # it was there a moment ago
        return False


def _variation(intervals: NDArray[np.float64], usual: float) -> float | None:
    """Share of the intervals between frames, (N - 1,), that are not as long as usual."""
    if not len(intervals):
        return None
    allowed = max(_VARIATION * usual, _ROUNDING_SECONDS)
    return float((np.abs(intervals - usual) > allowed).mean())


def _notes(check: FileCheck) -> tuple[str, ...]:
    """What is unusual about a sound file, in words."""
    notes = []
    if check.has_variable_rate:
        notes.append(
            f"variable frame rate: {check.fps_variation:.0%} of the frames come early or late, "
            f"the longest gap is {check.longest_gap_seconds:.2f} s"
        )
    header, measured = check.fps_from_header, check.fps_measured
    if header and measured and abs(measured - header) > _RATE_TOLERANCE * header:
        notes.append(f"header says {header:.4g} fps, frames come at {measured:.4g}")
    promised, count = check.num_frames_from_header, check.num_frames
    if check.is_sound and promised and count and abs(promised - count) > max(2, 0.01 * count):
        notes.append(f"header says {promised} frames, {count} came")
    if check.rotation_degrees:
        notes.append(f"rotated by {check.rotation_degrees}°")
    return tuple(notes)
