"""Files made of each video: overlay video, storyboard, segments as files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from activity_cli.common.files import NAME, path_per_video
from activity_cli.errors import OutputError, VideoError
from activity_cli.types import FileResult, OnProgress, no_progress


@dataclass(frozen=True, slots=True, kw_only=True)
class VisualOptions:
    """Files to make of each video; None makes none."""

    save_video: Path | None = None
    """An .mp4 with label, scores and timeline drawn in."""
    storyboard: Path | None = None
    """A .png with thumbnails and the scores over time."""
    clips_dir: Path | None = None
    """Folder for the segments as files."""
    overwrite: bool = False

    def __bool__(self) -> bool:
        """Return whether any file is to be made."""
        return any((self.save_video, self.storyboard, self.clips_dir))

    def check(self, videos: Sequence[Path]) -> None:
        """Check before any work that each video's files have a name of their own.

        Raises:
            OutputError: there is one name for several videos.
        """
        for path in (self.save_video, self.storyboard):
            if path is not None and len(videos) > 1 and NAME not in path.name:
                example = f"{NAME}{path.suffix}"
                raise OutputError(
                    f"{path} is one file, and there are {len(videos)} videos.",
                    hint=f"Put {NAME} into its name for one file per video, as in {example}.",
                )


class VisualWriter:
    """Makes the files, video by video.

    Args:
        options: the files to make.
        videos: all of them, to make names unique.
        model: the model's name, for titles.

    Raises:
        OutputError: there is one name for several videos.
    """

    def __init__(self, options: VisualOptions, videos: Sequence[Path], *, model: str) -> None:
        options.check(videos)
        self._model, self._overwrite = model, options.overwrite
        clips_dir = options.clips_dir
        if clips_dir and len(videos) > 1 and NAME not in clips_dir.name:
            clips_dir = clips_dir / NAME  # a subfolder for each of several videos
        names = [str(video) for video in videos]
        self._videos, self._storyboards, self._clips_dirs = (
            dict(zip(names, path_per_video(path, names), strict=True)) if path else {}
            for path in (options.save_video, options.storyboard, clips_dir)
        )

    def make(
        self,
        result: FileResult,
        *,
        on_progress: OnProgress = no_progress,
        on_note: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Make the files of a video that has scores, and note the path of each.

        Raises:
            OutputError: a file exists or cannot be written.
        """
        if result.timeline is None:
            return
        video, overwrite = Path(result.path), self._overwrite
        timeline, segments = result.timeline, result.segments
        try:
            if path := self._storyboards.get(result.path):
                from activity_cli.report.overlay.storyboard import save_storyboard

                save_storyboard(
                    video, timeline, segments, path, model=self._model, overwrite=overwrite
                )
                on_note(f"Storyboard: {path}")
            if path := self._videos.get(result.path):
                from activity_cli.report.overlay.video import save_overlay

                rendered = save_overlay(
                    video, timeline, segments, path, overwrite=overwrite, on_progress=on_progress
                )
                on_note(f"Video: {path}{_in_parentheses(rendered.sound.note)}")
            if path := self._clips_dirs.get(result.path):
                from activity_cli.report.overlay.cutting import cut_segments

                cut = cut_segments(
                    video, segments, path, overwrite=overwrite, on_progress=on_progress
                )
                on_note(f"{len(cut.paths)} pieces: {path}{_in_parentheses(cut.sound.note)}")
        except VideoError as error:  # it had frames before, so it was deleted or changed
            on_note(f"No pictures of {result.path}: {error}")


def _in_parentheses(note: str) -> str:
    return f" ({note})" if note else ""
