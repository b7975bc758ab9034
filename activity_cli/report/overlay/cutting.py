"""A video and its segments -> one file per segment, cut exactly.

Frames are decoded and encoded again, so that a piece starts and ends where its segment does, not
at the next key frame. The video is decoded once, up to the end of the last segment.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from activity_cli.common.files import new_folder
from activity_cli.report.overlay.encoder import Sound, SoundSource, new_video, sound_of
from activity_cli.report.overlay.video import (
    TIE_SECONDS,
    FrameRate,
    Pacer,
    read_frame_rate,
    shown_frames,
)
from activity_cli.types import OnProgress, Segment, no_progress
from activity_cli.video.capture import Frame
from activity_cli.video.reader import VideoReader

_MOST_NAME_BYTES = 80  # of each of the two names in a file's name; systems allow 255 in all


@dataclass(frozen=True, slots=True, kw_only=True)
class CutPieces:
    """The files that segments were written to."""

    paths: tuple[Path, ...]
    """One file per segment with frames, in their order."""
    sound: Sound


@dataclass(slots=True)
class _Piece:
    """A segment that is being written."""

    segment: Segment
    path: Path
    pacer: Pacer
    write: Callable[[Frame], None] | None = None
    closing: ExitStack = field(default_factory=ExitStack)

    def holds(self, seconds: float) -> bool:
        """Return whether a frame that is shown from this time on belongs to it."""
        start, end = self.segment.start_seconds, self.segment.end_seconds
        return start - TIE_SECONDS <= seconds < end - TIE_SECONDS


def cut_segments(
    video: Path,
    segments: Sequence[Segment],
    folder: Path,
    *,
    overwrite: bool = False,
    on_progress: OnProgress = no_progress,
) -> CutPieces:
    """Cut segments of a video into files, `NAME_0012.40-0018.20_LABEL.mp4`, times in seconds.

    A piece holds the frames from the first at or after the segment's start to the last before its
    end. A segment in which no new frame appears gives no file. Progress is the stage "cut", in
    segments.

    Raises:
        VideoError: no frame can be decoded.
        OutputError: the folder is not empty, or a file cannot be written.
    """
    with VideoReader(video) as reader:
        rate, sound = read_frame_rate(reader.info), sound_of(video)
        new_folder(folder, overwrite=overwrite)
        names = piece_names(video, segments)
        pieces = [
            _Piece(segment, folder / name, Pacer(rate))
            for segment, name in zip(segments, names, strict=True)
        ]
        on_progress("cut", 0, len(pieces))
        with ExitStack() as all_files:
            for piece in pieces:  # an error leaves no incomplete file
                all_files.push(piece.closing)
            _write_pieces(reader, pieces, rate, video if sound.is_kept else None, on_progress)
    written = tuple(piece.path for piece in pieces if piece.write is not None)
    return CutPieces(paths=written, sound=sound)


def piece_names(video: Path, segments: Sequence[Segment]) -> list[str]:
    """Return file names that every file system accepts, all different, in the order of time."""
    names: list[str] = []
    for segment in segments:
        span = f"{segment.start_seconds:07.2f}-{segment.end_seconds:07.2f}"
        base = f"{_safe(video.stem)}_{span}_{_safe(segment.label)}"
        name, number = base, 1
        while f"{name}.mp4" in names:
            number += 1
            name = f"{base}-{number}"
        names.append(f"{name}.mp4")
    return names


def _write_pieces(
    reader: VideoReader,
    pieces: Sequence[_Piece],
    rate: FrameRate,
    sound_from: Path | None,
    on_progress: OnProgress,
) -> None:
    pending = sorted(pieces, key=lambda piece: piece.segment.start_seconds)

    def is_wanted(seconds: float) -> bool:
        return any(piece.holds(seconds) for piece in pending)

    for start, until, frame in shown_frames(reader, is_wanted):
        for piece in [p for p in pending if p.holds(start)]:
            if piece.write is None:
                _open(piece, start, rate, sound_from)
            assert piece.write is not None
            for _ in piece.pacer.ticks(start, min(until, piece.segment.end_seconds)):
                piece.write(frame)
        over = [p for p in pending if p.segment.end_seconds - TIE_SECONDS <= until]
        for piece in over:
            piece.closing.close()
            pending.remove(piece)
        if over:
            on_progress("cut", len(pieces) - len(pending), len(pieces))
        if not pending:
            break
    for piece in pending:  # the video ended before the segment
        piece.closing.close()


def _open(piece: _Piece, start: float, rate: FrameRate, sound_from: Path | None) -> None:
    sound = None
    if sound_from is not None:
        duration = piece.segment.end_seconds - start
        sound = SoundSource(video=sound_from, start_seconds=start, duration_seconds=duration)
    piece.write = piece.closing.enter_context(new_video(piece.path, fps=rate.fps, sound=sound))


def _safe(name: str) -> str:
    """Keep letters and digits of any script, dots and dashes; shorten."""
    kept = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", name)).strip("._-")
    return kept.encode()[:_MOST_NAME_BYTES].decode(errors="ignore") or "video"
