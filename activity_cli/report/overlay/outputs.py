"""Files made of each video: overlay video, storyboard, segments as files.

Segments are encoded again, so that they are exact and do not start at a key frame.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from activity_cli.common.files import NAME, new_folder, numbered_endings, path_per_video
from activity_cli.errors import OutputError, VideoError
from activity_cli.report.overlay.encoder import Sound, SoundSource, new_video, sound_of
from activity_cli.report.overlay.storyboard import save_storyboard
from activity_cli.report.overlay.video import (
    TIE_SECONDS,
    FrameRate,
    Pacer,
    read_frame_rate,
    save_overlay,
    shown_frames,
)
from activity_cli.types import FileResult, OnProgress, Segment, no_progress
from activity_cli.video.capture import Frame
from activity_cli.video.reader import VideoReader

_MAX_NAME_BYTES = 80  # of each of the two names in a file's name; systems allow 255 in all


class VisualWriter:
    """Makes the files, video by video. `videos` are all of them, to make names unique.

    Raises:
        OutputError: there is one name for several videos.
    """

    def __init__(
        self,
        videos: Sequence[Path],
        *,
        save_video: Path | None = None,  # an .mp4 with label, scores and timeline drawn in
        storyboard: Path | None = None,  # a .png with thumbnails and the scores over time
        clips_dir: Path | None = None,  # folder for the segments as files
        overwrite: bool = False,
    ) -> None:
        for path in (save_video, storyboard):
            if path is not None and len(videos) > 1 and NAME not in path.name:
                example = f"{NAME}{path.suffix}"
                raise OutputError(
                    f"{path} is one file, and there are {len(videos)} videos.",
                    hint=f"Put {NAME} into its name for one file per video, as in {example}.",
                )
        self._overwrite = overwrite
        if clips_dir and len(videos) > 1 and NAME not in clips_dir.name:
            clips_dir = clips_dir / NAME  # a subfolder for each of several videos
        names = [str(video) for video in videos]
        self._videos, self._storyboards, self._clips_dirs = (
            dict(zip(names, path_per_video(path, names), strict=True)) if path else {}
            for path in (save_video, storyboard, clips_dir)
        )

    def make(
        self,
        result: FileResult,
        *,
        on_progress: OnProgress = no_progress,
        on_note: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Make the files of a video that has scores and note their paths, or raise OutputError."""
        if result.timeline is None:
            return
        video, overwrite = Path(result.path), self._overwrite
        timeline, segments = result.timeline, result.segments
        try:
            if path := self._storyboards.get(result.path):
                save_storyboard(
                    video, timeline, segments, path, model=result.model, overwrite=overwrite
                )
                on_note(f"Storyboard: {path}")
            if path := self._videos.get(result.path):
                sound = save_overlay(
                    video, timeline, segments, path, overwrite=overwrite, on_progress=on_progress
                )
                lost = f" ({sound.note})" if sound.note else ""
                on_note(f"Video: {path}{lost}")
            if path := self._clips_dirs.get(result.path):
                pieces, sound = cut_segments(
                    video, segments, path, overwrite=overwrite, on_progress=on_progress
                )
                lost = f" ({sound.note})" if sound.note else ""
                on_note(f"{len(pieces)} pieces: {path}{lost}")
        except VideoError as error:  # it had frames before, so it was deleted or changed
            on_note(f"No pictures of {result.path}: {error}")


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
) -> tuple[list[Path], Sound]:
    """Cut segments of a video into files, `NAME_0012.40-0018.20_LABEL.mp4`, times in seconds.

    A piece holds the frames from the first at or after the segment's start to the last before its
    end. A segment in which no new frame appears gives no file. Returns the files, and whether their
    sound is kept. Progress is the stage "cut", in segments.

    Raises:
        VideoError: no frame can be decoded.
        OutputError: the folder is not empty, or a file cannot be written.
    """
    with VideoReader(video) as reader:
        rate, sound = read_frame_rate(reader.info), sound_of(video)
        new_folder(folder, overwrite=overwrite)
        pieces = [
            _Piece(segment, folder / name, Pacer(rate))
            for segment, name in zip(segments, piece_names(video, segments), strict=True)
        ]
        on_progress("cut", 0, len(pieces))
        with ExitStack() as all_files:
            for piece in pieces:  # an error leaves no incomplete file
                all_files.push(piece.closing)
            _write_pieces(reader, pieces, rate, video if sound.is_kept else None, on_progress)
    return [piece.path for piece in pieces if piece.write is not None], sound


def piece_names(video: Path, segments: Sequence[Segment]) -> list[str]:
    """Return file names that every file system accepts, all different, in the order of time."""
    names: list[str] = []
    for segment in segments:
        span = f"{segment.start_seconds:07.2f}-{segment.end_seconds:07.2f}"
        base = f"{_safe(video.stem)}_{span}_{_safe(segment.label)}"
        free = (f"{base}{ending}.mp4" for ending in numbered_endings())
        names.append(next(name for name in free if name not in names))
    return names


def _write_pieces(
    reader: VideoReader,
    pieces: Sequence[_Piece],
    rate: FrameRate,
    sound_from: Path | None,
    on_progress: OnProgress,
) -> None:
    pending = sorted(pieces, key=lambda piece: piece.segment.start_seconds)
    for start, until, frame in shown_frames(reader, lambda t: any(p.holds(t) for p in pending)):
        for piece in [p for p in pending if p.holds(start)]:
            end = piece.segment.end_seconds
            if piece.write is None:
                sound = SoundSource(sound_from, start, end - start) if sound_from else None
                file = new_video(piece.path, fps=rate.fps, sound=sound)
                piece.write = piece.closing.enter_context(file)
            for _ in piece.pacer.ticks(start, min(until, end)):
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


def _safe(name: str) -> str:
    """Keep letters and digits of any script, dots and dashes; shorten."""
    kept = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", name)).strip("._-")
    return kept.encode()[:_MAX_NAME_BYTES].decode(errors="ignore") or "video"
