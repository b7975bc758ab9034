"""A contact sheet of the network's input: clips, their augmented copies, all frames by stream."""

from pathlib import Path

from activity_cli.data.loading import load_dataset
from activity_cli.errors import OutputError
from activity_cli.features.frames import PreviewClip, read_preview
from activity_cli.features.labelled import DataConfig
from activity_cli.report.figures import label_colours
from activity_cli.report.figures.sheet import GREY, LINES, Sheet
from activity_cli.settings import ClipSettings
from activity_cli.types import Clip
from activity_cli.video.augmentation import View

# Inches.
_WIDTH, _LEFT, _RIGHT, _NAMES = 13.0, 0.3, 0.3, 0.62
_INNER = _WIDTH - _LEFT - _RIGHT - _NAMES
_TITLE, _CAPTION, _VIEW, _TIMES, _BOTTOM = 0.95, 0.42, 0.26, 0.22, 0.15
_GAP = 0.03  # between frames
_MAX_SIDE = 1.2  # side of a frame

_MAX_IN_ROW = 24


def save_preview(data: Path, data_config: DataConfig, output: Path) -> int:
    """Write a new .png of the network's input in a training on labelled clips; return their number.

    Raise DataError if the data cannot be used, OutputError if the file cannot be written.
    """
    if output.suffix.lower() != ".png":
        raise OutputError(f"{output} does not end in .png.", hint="Name it preview.png.")
    if output.exists():
        raise OutputError(f"{output} exists already.", hint="Choose another file.")
    dataset = load_dataset(data, videos=data_config.videos, multi_label=None)
    clips, settings = read_preview(dataset, data_config), data_config.clip
    board = _Board(settings, sum(len(clip.views) for clip in clips), len(clips))
    board.draw_title(f"Network input from {dataset.root.name}")
    colours = label_colours(dataset.labels)
    for clip in clips:
        board.draw_clip(clip, colours[clip.sample.label])
    board.sheet.save(output)
    return len(clips)


class _Board:
    """Draws from top to bottom."""

    def __init__(self, settings: ClipSettings, num_views: int, num_clips: int) -> None:
        self._settings = settings
        self._num_rows = -(-settings.num_frames // _MAX_IN_ROW)
        self._columns = -(-settings.num_frames // self._num_rows)
        self._side = min((_INNER + _GAP) / self._columns - _GAP, _MAX_SIDE)
        same = "action" if "rgb" in settings.streams else ""  # it has the pictures of rgb
        self._streams = [stream for stream in settings.streams if stream != same]
        row = len(self._streams) * (self._side + _GAP) + _TIMES
        height = _TITLE + num_clips * _CAPTION + num_views * (_VIEW + self._num_rows * row)
        self.sheet = Sheet(_WIDTH, height + _BOTTOM)
        self._top = _TITLE

    def draw_title(self, title: str) -> None:
        """Draw the title and the settings."""
        clip = self._settings
        facts = [f"{clip.num_frames} frames of {clip.frame_size} × {clip.frame_size}"]
        if "motion" in clip.streams:
            step = f"{1000 * clip.motion_step_seconds:.0f} ms"
            facts += [f"motion: difference to {step} before, × {clip.motion_gain:g}, around grey"]
        if "flow" in clip.streams:
            facts += ["flow: red to the right, green down, blue how far"]
        self.sheet.write(_LEFT, 0.36, title, size=15, bold=True, room=_WIDTH - _LEFT - _RIGHT)
        self.sheet.write(_LEFT, 0.68, "  ·  ".join(facts), size=10, colour=GREY)

    def draw_clip(self, clip: PreviewClip, colour: str) -> None:
        """Draw label and name of a clip, then its copies."""
        middle, end = self._top + 0.22, _WIDTH - _RIGHT
        self.sheet.line([(_LEFT, self._top + 0.02), (end, self._top + 0.02)], LINES)
        self.sheet.box(_LEFT, middle - 0.08, 0.16, 0.16, colour)
        left = _LEFT + 0.26
        left += 0.15 + self.sheet.write(
            left, middle, clip.sample.label, size=12, bold=True, room=4.0
        )
        decoded = clip.views[0][1].decoded
        length = f"{decoded.duration_seconds:.2f} s  ·  {decoded.num_frames} frames"
        room = end - 0.2 - left
        room -= self.sheet.write(end, middle, length, size=9, colour=GREY, align="right")
        self.sheet.write(left, middle, clip.sample.name, size=10, colour=GREY, room=room)
        self._top += _CAPTION
        for view, seen in clip.views:
            self._draw_view(view, seen)

    def _draw_view(self, view: View, seen: Clip) -> None:
        """Draw the frames of a copy, stream below stream, with their times."""
        start = _LEFT + _NAMES
        self.sheet.write(start, self._top + 0.12, f"view: {view.describe()}", size=8.5, room=_INNER)
        self._top += _VIEW
        size = 7 if self._side > 0.5 else 5.5
        for row in range(self._num_rows):
            part = slice(row * self._columns, (row + 1) * self._columns)
            lefts = [start + column * (self._side + _GAP) for column in range(self._columns)]
            for stream in self._streams:
                middle = self._top + self._side / 2
                self.sheet.write(start - 0.1, middle, stream, size=8.5, colour=GREY, align="right")
                for left, image in zip(lefts, seen.images[stream][part], strict=False):
                    self.sheet.picture(left, self._top, self._side, self._side, image)
                self._top += self._side + _GAP
            middle = self._top + 0.08
            for left, seconds in zip(lefts, seen.decoded.seconds[part], strict=False):
                centre, text = left + self._side / 2, f"{seconds:.2f} s"
                self.sheet.write(centre, middle, text, size=size, colour=GREY, align="center")
            self._top += _TIMES
