"""What a user wants to see of each video: an overlay, a storyboard, its segments as files."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from activity_cli.common.files import NAME, path_per_video
from activity_cli.errors import OutputError, VideoError
from activity_cli.types import FileResult, OnProgress, no_progress


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureWishes:
    """Files to make of each video; None is not wanted."""

    save_video: Path | None = None
    """An .mp4 with label, scores and timeline drawn in."""
    storyboard: Path | None = None
    """A .png with thumbnails above the course of the scores."""
    clips_dir: Path | None = None
    """Folder for the segments as files."""
    overwrite: bool = False

    def __bool__(self) -> bool:
        """Whether anything is wanted."""
        return any((self.save_video, self.storyboard, self.clips_dir))

    def check(self, videos: Sequence[Path]) -> None:
        """See before any work that there is a name for each video's files.

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


class PictureMaker:
    """Makes the files that are wanted, video by video.

    Args:
        wishes: what is wanted.
        videos: all of them, so that equal names are told apart.
        model: the model's name, for titles.

    Raises:
        OutputError: there is one name for several videos.
    """

    def __init__(self, wishes: PictureWishes, videos: Sequence[Path], *, model: str) -> None:
        wishes.check(videos)
        self._wishes = wishes
        self._model = model
        names = [str(video) for video in videos]
        self._places = {
            wish: dict(zip(names, path_per_video(path, names), strict=True))
            for wish, path in (
                ("video", wishes.save_video),
                ("storyboard", wishes.storyboard),
                ("clips", self._clips_folder(len(videos))),
            )
            if path is not None
        }

    def make(
        self,
        result: FileResult,
        *,
        on_progress: OnProgress = no_progress,
        on_note: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Make the files of a video that has scores, and say in a line each where they are.

        Raises:
            OutputError: a file exists or cannot be written.
        """
        try:
            for line in self._make(result, on_progress):
                on_note(line)
        except VideoError as error:  # it had frames before: it has been taken away or changed
            on_note(f"No pictures of {result.path}: {error}")

    def _make(self, result: FileResult, on_progress: OnProgress) -> Iterator[str]:
        if result.timeline is None:
            return
        video, overwrite = Path(result.path), self._wishes.overwrite
        if place := self._place("storyboard", result):
            from activity_cli.report.overlay.storyboard import save_storyboard

            save_storyboard(
                video,
                result.timeline,
                result.segments,
                place,
                model=self._model,
                overwrite=overwrite,
            )
            yield f"Storyboard: {place}"
        if place := self._place("video", result):
            from activity_cli.report.overlay.video import save_overlay

            rendered = save_overlay(
                video,
                result.timeline,
                result.segments,
                place,
                overwrite=overwrite,
                on_progress=on_progress,
            )
            yield f"Video: {place}{_in_addition(rendered.sound.note)}"
        if place := self._place("clips", result):
            from activity_cli.report.overlay.cutting import cut_segments

            cut = cut_segments(
                video, result.segments, place, overwrite=overwrite, on_progress=on_progress
            )
            yield f"{len(cut.paths)} pieces: {place}{_in_addition(cut.sound.note)}"

    def _place(self, wish: str, result: FileResult) -> Path | None:
        return self._places.get(wish, {}).get(result.path)

    def _clips_folder(self, num_videos: int) -> Path | None:
        """One video's pieces lie in the folder itself, those of several in one for each."""
        folder = self._wishes.clips_dir
        return folder / NAME if folder and num_videos > 1 and NAME not in folder.name else folder


def _in_addition(note: str) -> str:
    return f" ({note})" if note else ""
