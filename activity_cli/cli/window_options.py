"""Options of long and live video: windows, and what is made of their scores."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from activity_cli.cli.option_groups import option
from activity_cli.errors import SettingsError

if TYPE_CHECKING:
    from activity_cli.predict.long_video import OnSeconds
    from activity_cli.predict.sliding import Sliding
    from activity_cli.report.overlay.outputs import PictureWishes

_WINDOWS = "Long videos"


@dataclass(frozen=True, kw_only=True)
class LengthOptions:
    """How long windows are, and how far apart."""

    window: Annotated[
        float | None,
        option(
            panel=_WINDOWS,
            text="Seconds that a window spans.",
            show_default="as long as the clips that the model learned from",
        ),
    ] = None
    stride: Annotated[
        float | None,
        option(
            panel=_WINDOWS,
            text="Seconds from one window to the next.",
            show_default="a quarter of a window",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class WindowOptions(LengthOptions):
    """How windows slide over videos that are longer than a clip."""

    whole: Annotated[
        bool,
        option("--whole", panel=_WINDOWS, text="No windows: every video is one clip."),
    ] = False

    only: Annotated[
        list[str] | None,
        option(panel=_WINDOWS, text="Segments of this label only; several may be given."),
    ] = None
    smooth: Annotated[
        float | None,
        option(
            panel=_WINDOWS,
            text="Seconds over which scores are smoothed; 0: not at all.",
            show_default="a window",
        ),
    ] = None
    min_seconds: Annotated[
        float | None,
        option(panel=_WINDOWS, text="Shortest segment.", show_default="half a window"),
    ] = None
    close_gaps: Annotated[
        float | None,
        option(
            panel=_WINDOWS,
            text="Seconds of a gap within an action that is closed.",
            show_default="half a window",
        ),
    ] = None
    segments: Annotated[
        list[Path] | None,
        option(
            panel=_WINDOWS,
            text="File for what happens when: .csv, .jsonl, .parquet, .srt, .vtt, .eaf, .txt,"
            " .fiftyone.json, .labelstudio.json; several may be given.",
            metavar="FILE",
        ),
    ] = None
    storyboard: Annotated[
        Path | None,
        option(panel=_WINDOWS, text="Picture of scores and thumbnails, .png.", metavar="FILE"),
    ] = None
    save_video: Annotated[
        Path | None,
        option(panel=_WINDOWS, text="The video with label and scores drawn in, .mp4."),
    ] = None
    clips_dir: Annotated[
        Path | None, option(panel=_WINDOWS, text="Folder for the segments as videos.")
    ] = None

    def pictures(self, *, overwrite: bool) -> "PictureWishes":
        """The files to make of each video."""
        from activity_cli.report.overlay.outputs import PictureWishes

        return PictureWishes(
            save_video=self.save_video,
            storyboard=self.storyboard,
            clips_dir=self.clips_dir,
            overwrite=overwrite,
        )

    def sliding(self, on_seconds: "OnSeconds") -> "Sliding | None":
        """How windows slide, or None where they are not wanted.

        Raises:
            SettingsError: wishes that do not go together.
        """
        from activity_cli.predict.sliding import Sliding
        from activity_cli.settings import SegmentSettings

        if not self.whole:
            return Sliding(
                window_seconds=self.window,
                stride_seconds=self.stride,
                segments=SegmentSettings(
                    smoothing_seconds=self.smooth,
                    min_seconds=self.min_seconds,
                    gap_seconds=self.close_gaps,
                    labels=tuple(self.only or ()),
                ),
                on_seconds=on_seconds,
            )
        if any((self.window, self.stride, self.smooth, self.min_seconds, self.only)):
            raise SettingsError(
                "--whole takes a video as one clip: there are no windows to say anything of.",
                hint="Leave --whole away, or --window, --stride, --smooth, --min-seconds, --only.",
            )
        return None
