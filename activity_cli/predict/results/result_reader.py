"""Result rows read back, with the types that they were written with.

A journal beside the results is read in their place: it also has the state of each file, and the row
that a crash may have kept out of the results.
"""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from activity_cli.common.files import parse_json
from activity_cli.common.optional_dependencies import import_parquet
from activity_cli.common.tables import unguarded
from activity_cli.errors import DataError
from activity_cli.predict.results import PARQUET, SUFFIXES, RowSchema
from activity_cli.predict.results.journal import (
    NO_STATE,
    Entry,
    journal_path,
    read_entries,
    read_header,
)
from activity_cli.types import Status

Row = Mapping[str, Any]
NumberedRows = Iterator[tuple[int, Row]]
"""Rows with their lines in the file (in Parquet their numbers), from 1."""

_SHAPES = tuple(RowSchema(top_k=1, captions=captions).columns for captions in (False, True))
_TEXT = {"path", "status", "reason", "model"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResults:
    """A result file. Made by `open_stored`."""

    path: Path
    columns: tuple[str, ...]  # empty for a .jsonl without a journal and without rows
    provenance: Mapping[str, Any] | None  # what the rows depend on; None without a journal

    def entries(self) -> Iterator[Entry]:
        """Yield all rows, in order; those without a journal have no state.

        Raises:
            DataError, OutputError: a row is not a whole result row; the journal is damaged.
        """
        if self.provenance is None:
            for line, row in islice(_read(self.path), 1, None):
                _check(self.path, line, row, self.columns)
                yield Entry(path=row["path"], state=NO_STATE, row=row)
            return
        for line, entry in enumerate(read_entries(journal_path(self.path)), start=2):
            _check(self.path, line, entry.row, self.columns)
            yield entry


def open_stored(path: Path) -> StoredResults:
    """Open a result file: .csv, .jsonl or .parquet.

    Raises:
        DataError, OutputError: it cannot be read or is not a result file; its journal is damaged.
        MissingExtraError: .parquet needs a package that is not installed.
    """
    if path.suffix.lower() not in _READERS:
        raise DataError(
            f"{path} is not a result file.", hint=f"Give files that end in {', '.join(SUFFIXES)}."
        )
    if not path.is_file():
        raise DataError(f"There is no file {path}.", hint="Check the path.")
    provenance, journal = None, journal_path(path)
    if journal.exists():
        provenance, _ = read_header(journal)
        stored = provenance.get("columns", ())
        columns = tuple(map(str, stored)) if isinstance(stored, list | tuple) else ()
        has_rows = True
    else:
        first = next((tuple(row) for _, row in _read(path)), None)
        columns, has_rows = first or (), first is not None
    is_result = (*columns[:5], *columns[5:][-3:]) in _SHAPES
    is_empty = not has_rows and path.suffix.lower() == ".jsonl"
    if not is_result and not is_empty:
        raise DataError(
            f"{path} is not a result file; its columns are {', '.join(columns) or 'none'}.",
            hint="activity predict FOLDER --output FILE writes such files.",
        )
    return StoredResults(path=path, columns=columns, provenance=provenance)


def _read(path: Path) -> NumberedRows:
    """Yield a row 0, whose keys are the columns, then the rows with their numbers."""
    try:
        yield from _READERS[path.suffix.lower()](path)
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path} cannot be read: {reason}.", hint="Check the path and the file."
        ) from error


def _read_csv(path: Path) -> NumberedRows:
    _check_last_line(path)
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        reader = csv.reader(file, strict=True)
        columns = next(reader, [])
        yield 0, dict.fromkeys(columns)
        line = reader.line_num + 1
        for fields in reader:
            if len(fields) != len(columns):
                raise _bad_row(path, line, f"{len(fields)} values for {len(columns)} columns")
            texts = dict(zip(columns, fields, strict=True))
            yield (
                line,
                {name: _value(path, line, name, unguarded(t)) for name, t in texts.items()},
            )
            line = reader.line_num + 1


def _value(path: Path, line: int, column: str, text: str) -> str | float | None:
    """Return the value that a field of a CSV was written from."""
    if column in _TEXT:
        return text
    if not text:
        return None
    try:
        if column == "frames":
            return int(text)
        return float(text) if column.startswith(("score", "seconds", "probability")) else text
    except ValueError:
        raise _bad_row(path, line, f"{column} is {text!r}, which is not a number") from None


def _read_jsonl(path: Path) -> NumberedRows:
    _check_last_line(path)
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            row = parse_json(line)
            if not isinstance(row, dict):
                raise _bad_row(path, number, "it is not a JSON object")
            if number == 1:
                yield 0, row
            yield number, row


def _read_parquet(path: Path) -> NumberedRows:
    _, parquet = import_parquet()
    file = parquet.ParquetFile(path)
    yield 0, dict.fromkeys(file.schema_arrow.names)
    batches = file.iter_batches(batch_size=10_000)
    yield from enumerate((row for batch in batches for row in batch.to_pylist()), start=1)


_READERS = {".csv": _read_csv, ".jsonl": _read_jsonl, PARQUET: _read_parquet}


def _check_last_line(path: Path) -> None:
    """Check that the last line is complete: a crash, or a copy made too early, cuts it off."""
    with path.open("rb") as file:
        if file.seek(0, 2) and (file.seek(-1, 2), file.read(1))[1] != b"\n":
            raise DataError(
                f"The last row of {path} is cut off.",
                hint="Run the command that writes it again: it repairs the file as it resumes.",
            )


def answer_of(row: Row) -> tuple[Any, Any]:
    """Return the label and its score, or the sentence and its probability."""
    label, score = tuple(row.values())[3:5]
    return label, score


def _check(path: Path, line: int, row: Row, columns: Sequence[str]) -> None:
    """Check that a row is a complete result row."""
    if tuple(row) != tuple(columns):
        raise _bad_row(path, line, "its columns differ from those of the rows before")
    if not row["path"] or not isinstance(row["path"], str):
        raise _bad_row(path, line, "it has no path")
    try:
        status = Status(row["status"])
    except ValueError:
        raise _bad_row(path, line, f"there is no status {row['status']!r}") from None
    label, score = answer_of(row)
    has_score = label is not None and isinstance(score, float | int) and abs(score) < math.inf
    if status.has_score != has_score:
        with_or_without = "without" if status.has_score else "with"
        raise _bad_row(path, line, f"status {status} {with_or_without} a label and score")


def _bad_row(path: Path, line: int, why: str) -> DataError:
    return DataError(
        f"{path}, line {line}: {why}.", hint="Score it again, or remove the row from the file."
    )
