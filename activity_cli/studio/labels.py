"""The labels of a video as pieces of its time, and labels.csv, which `train` reads.

Times are seconds from the start of the file; None is the start, or the end, of the video.
"""

import csv
import hashlib
import io
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from activity_cli.common.tables import guarded, read_text
from activity_cli.data.loading import load_dataset

COLUMNS = ("path", "label", "start", "end", "group")
DIGITS = 3  # of seconds: a millisecond is less than half a frame
_TOUCH_SECONDS = 1.5 * 10**-DIGITS  # neighbours of one label that are so near are one piece


class Piece(NamedTuple):
    """A labelled stretch of a video; the whole video if both times are None."""

    start: float | None
    end: float | None
    label: str
    extra: tuple[tuple[str, str], ...] = ()
    """Further columns of its row, such as split; `group` if it is not that of the video."""

    @property
    def span(self) -> tuple[float, float]:
        """Start and end as numbers."""
        return self.start or 0.0, math.inf if self.end is None else self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipState:
    """What the user stated about a video."""

    pieces: tuple[Piece, ...] = ()  # in order of time
    group: str = ""
    flag: str = ""  # excluded, unsure
    looked_at: tuple[Piece, ...] = ()
    """Rows without a label: for multi-label models. The studio keeps them as they are."""

    @property
    def rows(self) -> tuple[Piece, ...]:
        """All rows of the video in labels.csv."""
        return (*self.looked_at, *self.pieces)

    def to_json(self) -> dict[str, Any]:
        """Return it as a line of the journal has it."""
        rows = [[*p[:3], dict(p.extra)] if p.extra else list(p[:3]) for p in self.rows]
        return {"pieces": rows, "group": self.group, "flag": self.flag}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ClipState":
        """Read what `to_json` returned."""
        rows = [
            Piece(start, end, label, tuple((more[0] if more else {}).items()))
            for start, end, label, *more in values["pieces"]
        ]
        return cls.of(rows, group=values["group"], flag=values["flag"])

    @classmethod
    def of(cls, rows: Iterable[Piece], *, group: str, flag: str = "") -> "ClipState":
        """Sort rows by whether they have a label, and by time."""
        ordered = sorted(rows, key=lambda piece: piece.span)
        return cls(
            pieces=tuple(piece for piece in ordered if piece.label),
            looked_at=tuple(piece for piece in ordered if not piece.label),
            group=group,
            flag=flag,
        )


NOTHING = ClipState()  # of a video that nobody looked at


def paint(
    pieces: Sequence[Piece], start: float | None, end: float | None, label: str | None
) -> tuple[Piece, ...]:
    """Give a stretch a label, or with None no label; what was there is cut."""
    new = Piece(_rounded(start), _rounded(end), label or "")
    low, high = new.span
    kept: list[Piece] = []
    for piece in pieces:
        first, last = piece.span
        if last <= low or first >= high:
            kept.append(piece)
            continue
        if first < low:
            kept.append(piece._replace(end=new.start))
        if last > high:
            kept.append(piece._replace(start=new.end))
    return _joined([*kept, new]) if label and low < high else _joined(kept)


def without(pieces: Sequence[Piece], stretches: Iterable[tuple[float, float]]) -> tuple[Piece, ...]:
    """Cut stretches out of pieces."""
    found = tuple(pieces)
    for start, end in stretches:
        found = paint(found, start, end, None)
    return found


def _joined(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """Sort by time and join neighbours of the same label that touch."""
    found: list[Piece] = []
    for piece in sorted(pieces, key=lambda p: p.span):
        last = found[-1] if found else None
        touches = last is not None and piece.span[0] - last.span[1] <= _TOUCH_SECONDS
        if last and touches and (last.label, last.extra) == (piece.label, piece.extra):
            end = piece.end if piece.span[1] > last.span[1] else last.end
            found[-1] = last._replace(end=end)
        else:
            found.append(piece)
    return tuple(found)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, DIGITS)


States = Mapping[str, ClipState]  # by the path of the video below the folder, with /


def read_labels(table: Path) -> dict[str, ClipState]:
    """Read labels.csv; {} if there is none, or it has no rows.

    Raises:
        DataError: a row is not valid, with its line.
    """
    try:
        if not table.is_file() or len(read_text(table).splitlines()) < 2:
            return {}
    except FileNotFoundError:
        return {}
    load_dataset(table, min_labels=1, allow_missing=True)  # labels that overlap are an error
    dataset = load_dataset(table, min_labels=1, allow_missing=True, multi_label=True)
    rows: dict[str, list[tuple[Piece, str]]] = {}
    for sample in dataset.events:
        more = [*sample.folds.items(), *([("split", sample.split)] if sample.split else [])]
        piece = Piece(sample.start_seconds, sample.end_seconds, sample.label, tuple(more))
        rows.setdefault(_key(sample.path, dataset.root), []).append((piece, sample.group or ""))
    return {name: _clip_of(found) for name, found in rows.items()}


def _clip_of(rows: Sequence[tuple[Piece, str]]) -> ClipState:
    group = rows[0][1]
    pieces = [
        piece if own == group else piece._replace(extra=(*piece.extra, ("group", own)))
        for piece, own in rows
    ]
    return ClipState.of(pieces, group=group)


def _key(path: Path, root: Path) -> str:
    """Return the path as the studio names videos: relative to the folder, without `..`."""
    plain = os.path.normpath(path)
    try:
        return Path(plain).relative_to(os.path.normpath(root)).as_posix()
    except ValueError:  # outside of the folder
        return Path(plain).as_posix()


def labels_text(states: States) -> str:
    """Return the content of labels.csv; excluded and unsure videos have no rows."""
    rows = [*_rows(states)]
    more = dict.fromkeys(name for _, _, piece in rows for name, _ in piece.extra)
    columns = [*COLUMNS, *(name for name in more if name not in COLUMNS)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for name, group, piece in rows:
        values = {"path": name, "label": piece.label, "group": group, **dict(piece.extra)}
        values |= {"start": _number(piece.start), "end": _number(piece.end)}
        writer.writerow([guarded(values.get(column, "")) for column in columns])
    return text.getvalue()


def _rows(states: States) -> Iterator[tuple[str, str, Piece]]:
    for name, clip in sorted(states.items()):
        if not clip.flag:
            yield from ((name, clip.group, piece) for piece in clip.rows)


def _number(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.{DIGITS}f}".rstrip("0").rstrip(".")


def digest_of(text: str) -> str:
    """Return what identifies a version of labels.csv."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def merge(base: States, ours: States, theirs: States) -> tuple[dict[str, ClipState], list[str]]:
    """Return the videos to change so that both changes since `base` hold, and which collided.

    `theirs` is the file as somebody else left it. Row by row: what they removed goes, what they
    added comes; where both gave one moment different labels, theirs is taken.
    """
    changes: dict[str, ClipState] = {}
    collided: list[str] = []
    for name in {**base, **theirs}:
        before, now = base.get(name, NOTHING), theirs.get(name, NOTHING)
        if (before.rows, before.group) == (now.rows, now.group):
            continue
        own = ours.get(name, NOTHING)
        group = now.group if now.group != before.group else own.group
        removed = set(before.pieces) - set(now.pieces)
        kept = [piece for piece in own.pieces if piece not in removed]
        added = [piece for piece in now.pieces if piece not in before.pieces]
        pieces = tuple(kept)
        for piece in added:
            low, high = piece.span
            if any(p.label != piece.label and _overlap(p, low, high) for p in pieces):
                collided.append(name)
            pieces = paint(pieces, piece.start, piece.end, None)
            pieces = _joined([*pieces, piece])
        flag = "" if added else own.flag
        looked_at = now.looked_at if now.looked_at != before.looked_at else own.looked_at
        changed = ClipState(pieces=pieces, group=group, flag=flag, looked_at=looked_at)
        if changed != own:
            changes[name] = changed
    return changes, collided


def _overlap(piece: Piece, low: float, high: float) -> bool:
    first, last = piece.span
    return bool(first < high - _TOUCH_SECONDS and last > low + _TOUCH_SECONDS)
