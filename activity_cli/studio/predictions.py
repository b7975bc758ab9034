"""What the newest model found in the videos, and which moments are most worth labelling.

Read from what `activity predict` wrote into the run folder: `videos.csv` with its journal, and
`windows.csv`. Only a summary of each video is kept in memory; the curves stay in the file.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from activity_cli.common.tables import unguarded
from activity_cli.errors import ActivityError
from activity_cli.predict.results.journal import Entry, journal_path, read_entries
from activity_cli.studio.labels import Piece

ROWS, WINDOWS = "videos.csv", "windows.csv"  # in a run folder
_SCORE = "score:"
_UNLIKE = 2.0  # OOD score that counts as certainly unlike; about 1 are training clips


class Moment(NamedTuple):
    """A window that is worth a look."""

    start: float
    end: float
    label: str
    score: float
    second: str
    second_score: float
    value: float  # the more the more worth


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The scores of a video's windows."""

    labels: tuple[str, ...]
    starts: tuple[float, ...]
    ends: tuple[float, ...]
    scores: tuple[tuple[float, ...], ...]  # by window, by label

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {name: getattr(self, name) for name in ("labels", "starts", "ends", "scores")}


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPrediction:
    """What was found in a video."""

    label: str
    score: float
    row: Mapping[str, Any]
    segments: tuple[Piece, ...]
    scores: tuple[float, ...]  # of the segments
    is_long: bool  # more than one window
    uncertain: Moment | None = None
    ood: float | None = None
    unlike: Moment | None = None
    place: tuple[int, int] = (0, 0)  # of its windows in the file

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """What labels of it would be, if it is accepted."""
        return self.segments if self.is_long else (Piece(None, None, self.label),)

    @property
    def worth(self) -> float:
        """How much a label of this video would help the model, 0 to 1."""
        uncertain = self.uncertain.value if self.uncertain else 0.0
        unlike = 0.0 if self.ood is None else min(1.0, max(0.0, (self.ood - 1) / (_UNLIKE - 1)))
        return round(max(uncertain, unlike), 4)

    def differs(self, pieces: Sequence[Piece]) -> bool:
        """Return whether labels of the video are others than the model's."""
        if not self.is_long:
            return all(piece.label != self.label for piece in pieces)
        return any(
            mine.label != found.label
            and min(mine.span[1], found.span[1]) - max(mine.span[0], found.span[0])
            > 0.5 * (found.span[1] - found.span[0])
            for mine in pieces
            for found in self.segments
        )


class Predictions:
    """The predictions of a run folder, by the names of the videos. Empty without a folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.run = folder.name if folder else None
        self._file = folder / WINDOWS if folder else Path()
        self._labels: tuple[str, ...] = ()
        self._found: dict[str, VideoPrediction] = {}
        if folder is not None and journal_path(folder / ROWS).is_file():
            with suppress(ActivityError):  # damaged: as if there were none
                entries = {e.path: e for e in read_entries(journal_path(folder / ROWS))}
                places = self._places()
                for name, entry in entries.items():
                    self._found[name] = self._summarize(entry, places.get(name, (0, 0)))

    def get(self, name: str) -> VideoPrediction | None:
        """Return what was found in a video; None if it has no score."""
        found = self._found.get(name)
        return found if found is not None and found.label else None

    def status(self, name: str) -> tuple[str, str]:
        """Return the status of a video and its reason; empty if it was not scored."""
        found = self._found.get(name)
        return (found.row["status"], found.row["reason"] or "") if found else ("", "")

    def __len__(self) -> int:
        return sum(1 for found in self._found.values() if found.label)

    def curve(self, name: str) -> Curve | None:
        """Return the scores of a video over time."""
        found = self._found.get(name)
        if found is None or not found.place[1]:
            return None
        rows = list(self._rows(found.place))
        return Curve(
            labels=self._labels,
            starts=tuple(float(row[1]) for row in rows),
            ends=tuple(float(row[2]) for row in rows),
            scores=tuple(tuple(map(float, row[4:])) for row in rows),
        )

    def disagreement(self, name: str, pieces: Sequence[Piece]) -> Moment | None:
        """Return the moment at which a label and the model differ most; None if nowhere."""
        curve = self.curve(name)
        best: Moment | None = None
        for start, end, scores in zip(curve.starts, curve.ends, curve.scores) if curve else ():  # noqa: B905
            middle = (start + end) / 2
            own = next((p for p in pieces if p.span[0] <= middle < p.span[1]), None)
            if own is None or own.label not in self._labels:
                continue
            mine = scores[self._labels.index(own.label)]
            moment = self._moment(start, end, scores, value=1 - mine)
            if moment.label != own.label and (best is None or moment.value > best.value):
                best = moment
        return best

    def _places(self) -> dict[str, tuple[int, int]]:
        """Return (first byte, number of bytes) of each video's windows; the last ones count."""
        places: dict[str, tuple[int, int]] = {}
        last, begin, position = "", 0, 0
        with suppress(OSError), self._file.open("rb") as file:
            header = next(csv.reader([file.readline().decode(errors="surrogateescape")]))
            self._labels = tuple(c.removeprefix(_SCORE) for c in header if c.startswith(_SCORE))
            position = begin = file.tell()
            for line in file:
                if not line.endswith(b"\n"):
                    break  # still being written
                text = line.decode(errors="surrogateescape")
                name = text[: text.find(",")] if text[0] != '"' else next(csv.reader([text]))[0]
                if name != last:
                    places[unguarded(last)] = (begin, position - begin)
                    last, begin = name, position
                position += len(line)
        places[unguarded(last)] = (begin, position - begin)
        return places

    def _rows(self, place: tuple[int, int]) -> Iterator[list[str]]:
        with suppress(OSError), self._file.open("rb") as file:
            file.seek(place[0])
            text = file.read(place[1]).decode(errors="surrogateescape")
            yield from csv.reader(text.splitlines())

    def _summarize(self, entry: Entry, place: tuple[int, int]) -> VideoPrediction:
        row, count = entry.row, 0
        uncertain: Moment | None = None
        unlike: Moment | None = None
        for values in self._rows(place) if place[1] else ():
            count += 1
            scores = tuple(map(float, values[4:]))
            start, end = float(values[1]), float(values[2])
            moment = self._moment(start, end, scores)
            if uncertain is None or moment.value > uncertain.value:
                uncertain = moment
            ood = float(values[3]) if values[3] else None
            if ood is not None and (unlike is None or ood > unlike.value):
                unlike = moment._replace(value=ood)
        segments = [
            Piece(round(s.start_seconds, 3), round(s.end_seconds, 3), s.label)
            for s in entry.segments
        ]
        return VideoPrediction(
            label=row.get("label") or "",
            score=row.get("score") or 0.0,
            row=row,
            segments=tuple(segments),
            scores=tuple(round(s.mean_score, 4) for s in entry.segments),
            is_long=count > 1,
            uncertain=uncertain,
            ood=unlike.value if unlike else None,
            unlike=unlike,
            place=place,
        )

    def _moment(
        self, start: float, end: float, scores: Sequence[float], value: float | None = None
    ) -> Moment:
        """Return a window; its value is the uncertainty, 1 less the lead of the best label."""
        order = sorted(range(len(scores)), key=lambda index: -scores[index])
        first, second = order[0], order[min(1, len(order) - 1)]
        margin = scores[first] - scores[second]
        return Moment(
            start,
            end,
            self._labels[first],
            scores[first],
            self._labels[second],
            scores[second],
            round(1 - margin if value is None else value, 4),
        )
