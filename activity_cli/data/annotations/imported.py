"""The events of annotation files as one table, with counts; written as the project's CSV."""

import csv
import os
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from activity_cli.common import and_more, count_of
from activity_cli.common.files import writing
from activity_cli.data.annotations.media import Media

_MOST_PLACES = 3
_TOUCH_SECONDS = 1e-3  # pieces that overlap by less count as adjacent: programs round times
_DIGITS = 3  # of seconds in the CSV


class Piece(NamedTuple):
    """A labelled piece of a video; None is its start, or its end.

    With an empty label it is a stretch that was looked at, whatever happens in it.
    """

    path: Path  # absolute
    label: str
    start: float | None
    end: float | None
    group: str


@dataclass(slots=True)
class Counted:
    """Events that could not be used as they are, for one reason."""

    outcome: str  # `left out`, `shortened` or `kept`
    count: int = 0
    places: list[str] = field(default_factory=list)  # the first ones

    def describe(self, reason: str) -> str:
        """Return a line: `2 events: a START without a STOP (line 4, line 9): left out`."""
        places = and_more([*self.places, *[""] * (self.count - len(self.places))], _MOST_PLACES)
        return f"{reason}: {self.count} ({places}), {self.outcome}"


@dataclass(slots=True, kw_only=True)
class SourceCounts:
    """What became of the events of one file."""

    path: Path
    format: str
    num_events: int = 0  # in the file
    num_points: int = 0  # that became windows
    num_other_subjects: int = 0
    problems: dict[str, Counted] = field(default_factory=dict)

    def count(self, reason: str, place: str, outcome: str = "left out") -> None:
        """Count a problem."""
        counted = self.problems.setdefault(reason, Counted(outcome))
        counted.count += 1
        if len(counted.places) < _MOST_PLACES:
            counted.places.append(place)

    def describe_problems(self) -> list[str]:
        """Return a line for each reason."""
        return [f"{self.path}: {one.describe(reason)}." for reason, one in self.problems.items()]


class Imported:
    """The events of all files, by video and time: 28 bytes each, whatever their number."""

    def __init__(self) -> None:
        self.sources: list[SourceCounts] = []
        self.media: dict[Path, Media] = {}
        """The videos that were found, by path."""
        self.num_repeated = 0
        self.num_overlapping = 0
        self.overlap = ""  # the first one
        self._names: dict[str, int] = {}
        self._columns = [array("i") for _ in range(3)] + [array("d") for _ in range(2)]

    def add(self, piece: Piece) -> None:
        """Add a piece."""
        texts = (str(piece.path), piece.label, piece.group)
        numbers = [self._names.setdefault(text, len(self._names)) for text in texts]
        times = [np.nan if time is None else time for time in piece[2:4]]
        for column, value in zip(self._columns, [*numbers, *times], strict=True):
            column.append(value)  # type: ignore[arg-type]

    def finish(self) -> None:
        """Sort by video and time, drop repetitions, and count pieces that overlap other labels."""
        paths, labels, _, starts, ends = map(np.asarray, self._columns)  # without copies
        order = np.lexsort((labels, ends, np.nan_to_num(starts), paths))
        is_new = np.zeros(len(order), np.bool_)
        is_new[:1] = True
        for column in (paths, labels, starts, ends):  # one by one: a million rows are 8 MB each
            values = column[order]
            missing = np.isnan(values)
            is_new[1:] |= (values[1:] != values[:-1]) & ~(missing[1:] & missing[:-1])
        kept = order[is_new]
        self.num_repeated = len(order) - len(kept)
        del paths, labels, starts, ends, order, values, missing
        for number, old in enumerate(self._columns):
            self._columns[number] = np.asarray(old)[kept]  # type: ignore[call-overload]
        last: dict[str, Piece] = {}
        path: Path | None = None
        for piece in self.pieces():
            if not piece.label:
                continue
            if piece.path != path:
                path, last = piece.path, {}
            other = next((one for one in last.values() if _overlap(one, piece)), None)
            if other is not None:
                self.num_overlapping += 1
                self.overlap = self.overlap or (
                    f"{piece.label!r} at {piece.start or 0:g} s overlaps {other.label!r} in "
                    f"{piece.path.name}"
                )
            before = last.setdefault(piece.label, piece)
            last[piece.label] = max(before, piece, key=_end)

    def __len__(self) -> int:
        """Return the number of events."""
        labels = np.asarray(self._columns[1], np.int64)
        return int((labels != self._names.get("", -1)).sum())

    def pieces(self, digits: int = _DIGITS) -> Iterator[Piece]:
        """Give all pieces, with times rounded to so many digits."""
        names = list(self._names)
        paths: dict[int, Path] = {}
        for path, label, group, start, end in zip(*self._columns, strict=True):
            yield Piece(
                paths.setdefault(int(path), Path(names[int(path)])),
                names[int(label)],
                None if start != start else round(float(start), digits),  # noqa: PLR0124 - NaN
                None if end != end else round(float(end), digits),  # noqa: PLR0124
                names[int(group)],
            )

    def labels(self) -> dict[str, tuple[int, int]]:
        """Return the number of pieces and of videos of each label, by label."""
        counts = Counter(piece.label for piece in self.pieces() if piece.label)
        pairs = {(piece.label, piece.path) for piece in self.pieces()}
        videos = Counter(label for label, _ in pairs)
        return {label: (counts[label], videos[label]) for label in sorted(counts)}

    def problems(self) -> list[str]:
        """Return a line for each reason why events were not used as they are."""
        return [line for source in self.sources for line in source.describe_problems()]

    def overlaps(self) -> list[str]:
        """Return a line about pieces that overlap pieces of another label; none without them."""
        if not self.num_overlapping:
            return []
        more = f"{count_of(self.num_overlapping, 'event')} in all"
        return [f"{self.overlap}; {more}. A model of them is multi-label: `train` chooses that."]

    def to_json(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        return {
            "events": len(self),
            "repeated": self.num_repeated,
            "overlapping": self.num_overlapping,
            "labels": {
                label: {"events": count, "videos": videos}
                for label, (count, videos) in self.labels().items()
            },
            "sources": [
                {
                    "path": str(one.path),
                    "format": one.format,
                    "events": one.num_events,
                    "points": one.num_points,
                    "other_subjects": one.num_other_subjects,
                    "problems": {
                        reason: {"outcome": p.outcome, "count": p.count, "places": p.places}
                        for reason, p in one.problems.items()
                    },
                }
                for one in self.sources
            ],
        }


def write_labels(imported: Imported, path: Path) -> None:
    """Write the project's own CSV, `path,label,start,end` and `group` where there are groups.

    Paths are relative to the CSV, as `train` reads them. An OutputError if it cannot be written.
    """
    has_groups = any(piece.group for piece in imported.pieces())
    folder = path.absolute().parent
    names: dict[Path, str] = {}
    with (
        writing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["path", "label", "start", "end", *["group"] * has_groups])
        for piece in imported.pieces():
            name = names.get(piece.path) or names.setdefault(
                piece.path, relative_path(piece.path, folder)
            )
            rows.writerow([name, *piece[1:4], *[piece.group] * has_groups])


def relative_path(path: Path, folder: Path) -> str:
    """Return the path as seen from a folder, with /; absolute on another drive."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return path.as_posix()


def _end(piece: Piece) -> float:
    return float("inf") if piece.end is None else piece.end


def _overlap(one: Piece, later: Piece) -> bool:
    return one.label != later.label and _end(one) > (later.start or 0.0) + _TOUCH_SECONDS
