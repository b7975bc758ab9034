"""What the readers of annotation files give, and the values that several formats share."""

import math
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

_NO_VALUE = {"", "na", "nan", "none", "null", "-"}
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:[.,]\d*)?)")  # h:mm:ss.f


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A label in a video, as the file has it."""

    video: str  # a path, an address or a name, with or without its ending
    label: str
    start: float | None  # seconds, or frames counted from 0; None is the start of the video
    end: float | None  # likewise; frame `end` does not belong to the event. None: to the end
    place: str  # where it is in the file, for messages: `line 12`
    subject: str = ""
    group: str = ""
    in_frames: bool = False
    fps: float | None = None  # at which frames are counted; None: the video's own rate
    looked_at: bool = False
    """Whether it is no event, but a stretch that was looked at; its label is empty."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the file that looks like an event and is none."""

    reason: str
    place: str


@dataclass(frozen=True, slots=True)
class FrameCount:
    """How many frames of a video the file has values for."""

    video: str
    num_frames: int


Item = Event | Problem | FrameCount
"""What a reader gives, in the order of the file."""

NO_TIME = "a time that is not a number"


def parse_seconds(text: object) -> float | None:
    """Return seconds from `12.5`, `12,5` or `0:01:02.5`; None for an empty value or `NA`.

    NaN where it is something else.
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        return float(text)
    plain = str(text if text is not None else "").strip()
    if plain.lower() in _NO_VALUE:
        return None
    if clock := _CLOCK.fullmatch(plain):
        hours, minutes, seconds = clock.groups()
        return 3600 * int(hours or 0) + 60 * int(minutes) + float(seconds.replace(",", "."))
    try:
        return float(plain.replace(",", "."))
    except ValueError:
        return math.nan


def runs_of(frames: Iterable[Collection[str]]) -> Iterator[tuple[str, int, int]]:
    """Give (label, first frame, frame after the last) of the labels that each frame has."""
    first: dict[str, int] = {}
    num_frames = 0
    for num_frames, labels in enumerate(frames, 1):
        for label in [one for one in first if one not in labels]:
            yield label, first.pop(label), num_frames - 1
        for label in labels:
            first.setdefault(label, num_frames - 1)
    for label, start in first.items():
        yield label, start, num_frames
