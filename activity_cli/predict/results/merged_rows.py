"""Rows of several result files, one per path, sorted by path.

They are in a temporary SQLite database on disk, so that memory stays flat for millions of rows.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from activity_cli.common.files import encode_text
from activity_cli.errors import DataError
from activity_cli.predict.results.journal import Entry, segments_from_json, segments_to_json
from activity_cli.predict.results.result_reader import Row, StoredResults
from activity_cli.types import FileState, Status

_TOLERANCE = 1e-3
"""Largest difference of one model's scores for one file on different CPUs, as for exports."""

_TABLE = """CREATE TABLE rows (
    path BLOB, source INTEGER, line INTEGER, status TEXT, row TEXT, state TEXT,
    PRIMARY KEY (path, source, line)
) WITHOUT ROWID"""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One of several rows of a path."""

    source: int
    line: int
    row: Row
    mtime_ns: int | None
    """Of the file when it was read; None without a journal."""


class MergedRows:
    """All rows of all files, in a database that is deleted when it is closed.

    Raises:
        DataError: a file is damaged, or the rows are of different models.
        sqlite3.Error: there is no room for temporary files. All methods may raise it.
    """

    def __init__(self, sources: Sequence[StoredResults]) -> None:
        self._sources = sources
        self._database = sqlite3.connect("")  # a file of its own in the temporary folder
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute(_TABLE)
        self._database.executemany(
            "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?)", self._read_all()
        )

    def close(self) -> None:
        """Delete the database."""
        self._database.close()

    def remove_duplicates(self) -> tuple[int, int]:
        """Keep one row for each path.

        Returns:
            How many of the removed rows are equal to the one that is kept, and how many differ.

        Raises:
            DataError: two rows of a path have different scores, and neither is newer.
        """
        num_same = num_settled = 0
        for candidates in self._duplicates():
            kept = candidates[0]
            for one in candidates[1:]:
                kept = self._choose(kept, one)
            for one in candidates:
                if one is not kept:
                    num_same += one.row == kept.row
                    num_settled += one.row != kept.row
                    self._database.execute(
                        "DELETE FROM rows WHERE path = ? AND source = ? AND line = ?",
                        (encode_text(one.row["path"]), one.source, one.line),
                    )
        return num_same, num_settled

    def entries(self) -> Iterator[Entry]:
        """Yield the rows by path as journal entries."""
        for row, state in self._database.execute("SELECT row, state FROM rows ORDER BY path"):
            values = json.loads(row)
            *file, segments = json.loads(state)
            yield Entry(
                path=values["path"],
                state=FileState(*file),
                row=values,
                segments=segments_from_json(segments),
            )

    def rows(self) -> Iterator[Row]:
        """Yield the rows by path."""
        for (row,) in self._database.execute("SELECT row FROM rows ORDER BY path"):
            yield json.loads(row)

    @property
    def by_status(self) -> Counter[Status]:
        """How many rows have each status."""
        counts = self._database.execute("SELECT status, count(*) FROM rows GROUP BY status")
        return Counter({Status(name): count for name, count in counts})

    def _read_all(self) -> Iterator[tuple[Any, ...]]:
        models: dict[str, Path] = {}
        for number, source in enumerate(self._sources):
            for stored in source.rows():
                row = stored.row
                if row["model"]:
                    models.setdefault(row["model"], source.path)
                if len(models) > 1:
                    (one, first), (other, second) = models.items()
                    raise DataError(
                        f"{second} has rows of the model {other}, and {first} of {one}.",
                        hint="Score both with the same --model.",
                    )
                # Of several entries of one journal for a path the last one counts.
                line = stored.line if source.provenance is None else 0
                segments = segments_to_json(stored.segments)
                state = json.dumps([*astuple(stored.state), segments]) if stored.state else None
                path = encode_text(row["path"])
                yield path, number, line, row["status"], json.dumps(row), state

    def _duplicates(self) -> Iterator[list[_Candidate]]:
        """Yield the rows of each path that has several, in the order of the files."""
        self._database.execute(
            "CREATE TABLE repeated AS SELECT path FROM rows GROUP BY path HAVING count(*) > 1"
        )
        for (path,) in self._database.execute("SELECT path FROM repeated ORDER BY path"):
            found = self._database.execute(
                "SELECT source, line, row, state FROM rows WHERE path = ? ORDER BY source, line",
                (path,),
            )
            yield [
                _Candidate(source, line, json.loads(row), json.loads(state)[1] if state else None)
                for source, line, row, state in found
            ]

    def _choose(self, one: _Candidate, other: _Candidate) -> _Candidate:
        """Return the one of two rows of a path that counts, whatever their order."""
        ranks = _rank(one.row), _rank(other.row)
        if ranks[0] != ranks[1]:
            return one if ranks[0] > ranks[1] else other
        if not Status(one.row["status"]).has_score or _same_score(one.row, other.row):
            return min(one, other, key=lambda c: json.dumps(c.row))  # neither is better
        times = one.mtime_ns, other.mtime_ns
        if times[0] is not None and times[1] is not None and times[0] != times[1]:
            return one if times[0] > times[1] else other
        scores = [
            f"{c.row['label']} {c.row['score']} in {self._sources[c.source].path}"
            for c in (one, other)
        ]
        raise DataError(
            f"{one.row['path']} has different scores: {' and '.join(scores)}.",
            hint="Leave one of the files out, or score the video again.",
        )


def _rank(row: Row) -> tuple[bool, bool]:
    status = Status(row["status"])
    return status.has_score, status is not Status.MISSING


def _same_score(one: Row, other: Row) -> bool:
    """Return whether two rows agree up to the rounding of CPUs."""
    difference: float = abs(one["score"] - other["score"])
    return bool(one["label"] == other["label"]) and difference <= _TOLERANCE
