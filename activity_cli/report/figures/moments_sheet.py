"""Moments of videos as a sheet of pictures with their times and labels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from activity_cli.common.files import check_new
from activity_cli.errors import OutputError, VideoError
from activity_cli.predict.moments import Moment
from activity_cli.report.figures import label_colours
from activity_cli.report.figures.sheet import GREY, Sheet
from activity_cli.report.overlay.thumbnails import read_thumbnails
from activity_cli.report.terminal import clock, printable
from activity_cli.video.capture import Frame

# Inches.
_COLUMNS, _WIDTH, _MARGIN, _GAP = 5, 12.0, 0.3, 0.14
_TITLE, _CAPTION, _PICTURE = 0.75, 0.52, 1.65
_PIXELS = 330  # height of a picture


def check_sheet(path: Path, *, overwrite: bool) -> None:
    """Raise an OutputError if the file is not a .png or exists."""
    if path.suffix.lower() != ".png":
        raise OutputError(f"{path} does not end in .png.", hint="Name it NAME.png.")
    check_new(path, overwrite=overwrite)


def save_moments(moments: Sequence[Moment], path: Path, *, title: str, value: str) -> None:
    """Write a .png of the middle of each moment, with its rank, `value`, time and label."""
    pictures = _middles(moments)
    rows = -(-len(moments) // _COLUMNS)
    sheet = Sheet(_WIDTH, _TITLE + rows * (_PICTURE + _CAPTION + _GAP))
    sheet.write(_MARGIN, 0.38, title, size=14, bold=True, room=_WIDTH - 2 * _MARGIN)
    colours = label_colours(sorted({moment.label for moment in moments}))
    width = (_WIDTH - 2 * _MARGIN - (_COLUMNS - 1) * _GAP) / _COLUMNS
    for number, moment in enumerate(moments):
        left = _MARGIN + number % _COLUMNS * (width + _GAP)
        top = _TITLE + number // _COLUMNS * (_PICTURE + _CAPTION + _GAP)
        picture = pictures[number]
        if picture is not None:
            across = min(width, _PICTURE * picture.shape[1] / picture.shape[0])
            down = across * picture.shape[0] / picture.shape[1]
            sheet.picture(left, top + _PICTURE - down, across, down, picture)
        sheet.box(left, top + _PICTURE, width, 0.05, colours[moment.label])
        below = top + _PICTURE
        time = f"{clock(moment.start_seconds)} to {clock(moment.end_seconds)}"
        first = f"{number + 1}. {moment.label} {moment.score:.0%}  {value} {moment.value:.2f}"
        sheet.write(left, below + 0.18, first, size=8.5, room=width)
        second = f"{time}  {printable(moment.path.name)}"
        sheet.write(left, below + 0.36, second, size=8, colour=GREY, room=width)
    sheet.save(path)


def _middles(moments: Sequence[Moment]) -> list[Frame | None]:
    """Return the frame in the middle of each moment; None where it cannot be read."""
    pictures: list[Frame | None] = [None] * len(moments)
    for path in dict.fromkeys(moment.path for moment in moments):
        own = [n for n, moment in enumerate(moments) if moment.path == path]
        times = [(moments[n].start_seconds + moments[n].end_seconds) / 2 for n in own]
        order = np.argsort(times, kind="stable").tolist()
        try:
            frames = read_thumbnails(path, [times[k] for k in order], height=_PIXELS)
        except VideoError:
            continue
        for k, frame in zip(order, frames, strict=True):
            pictures[own[k]] = frame
    return pictures
