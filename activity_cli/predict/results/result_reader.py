"""Result rows read back, typed as they were when they were written.

Where a journal lies beside the results, it is read in their place: it holds the same rows, also the
one that a crash may have kept out of the results, with what each file was like.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activity_cli.errors import DataError
from activity_cli.predict.results.journal import journal_path, read_entries, read_provenance
from activity_cli.predict.results.result_file import PARQUET, import_parquet
from activity_cli.predict.results.writers import FORMATS, result_columns
from activity_cli.types import FileState, Segment, Status

Row = Mapping[str, Any]
NumberedRows = Iterator[tuple[int, Row]]
"""Rows, each with its line in the file (in Parquet its number), from 1."""

_FIRST, _LAST = result_columns(1)[:5], result_columns(1)[5:]
_TEXT = {"path", "status", "reason", "model"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRow:
    """A row, and where it stands."""

    row: Row
    line: int
    state: FileState | None
    segments: tuple[Segment, ...] = ()
    """Of the file when it was read; None where only the results are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResults:
    """A file of results. Made by `open_stored`."""

    path: Path
    columns: tuple[str, ...]
    """None at all where a .jsonl without a journal has no rows."""
    provenance: Mapping[str, Any] | None
    """What the rows depend on; None without a journal."""

    def rows(self) -> Iterator[StoredRow]:
        """All rows, in order.

        Raises:
            DataError: a row is not whole, or not one of results.
            OutputError: the journal is damaged.
        """
        if self.provenance is not None:
            # The first line is what the rows were made with.
            for line, entry in enumerate(read_entries(journal_path(self.path)), start=2):
                _check(self.path, line, entry.row, self.columns)
                yield StoredRow(
                    row=entry.row, line=line, state=entry.state, segments=entry.segments
                )
            return
        for line, row in _reader(self.path)(self.path):
            _check(self.path, line, row, self.columns)
            yield StoredRow(row=row, line=line, state=None)


def open_stored(path: Path) -> StoredResults:
    """Open a file of results: .csv, .jsonl or .parquet.

    Raises:
        DataError: it cannot be read, or is no file of results.
        OutputError: its journal is damaged.
        MissingExtraError: .parquet needs a package that is not installed.
    """
    reader = _reader(path)
    if not path.is_file():
        raise DataError(f"There is no file {path}.", hint="Check the path.")
    journal = journal_path(path)
    if journal.exists():
        provenance = read_provenance(journal)
        columns = tuple(provenance.get("columns", ()))
    else:
        provenance, columns = None, _columns(path, reader)
    is_result = columns[: len(_FIRST)] == _FIRST and columns[-len(_LAST) :] == _LAST
    is_empty = provenance is None and not columns and path.suffix.lower() == ".jsonl"
    if not is_result and not is_empty:
        raise DataError(
            f"{path} is no file of results; its columns are {', '.join(columns) or 'none'}.",
            hint="activity predict FOLDER --output FILE writes such files.",
        )
    return StoredResults(path=path, columns=columns, provenance=provenance)


def _reader(path: Path) -> Callable[[Path], NumberedRows]:
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl, PARQUET: _read_parquet}
    try:
        return readers[path.suffix.lower()]
    except KeyError:
        known = " or ".join([*FORMATS, PARQUET])
        raise DataError(
            f"{path} is no file of results.", hint=f"Give files that end in {known}."
        ) from None


def _columns(path: Path, reader: Callable[[Path], NumberedRows]) -> tuple[str, ...]:
    if path.suffix.lower() == PARQUET:
        return tuple(_open_parquet(path).schema_arrow.names)
    if path.suffix.lower() == ".csv":
        try:
            with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
                return tuple(next(csv.reader(file), ()))
        except (OSError, csv.Error) as error:
            raise _unreadable(path, error) from error
    return next((tuple(row) for _, row in reader(path)), ())


def _read_csv(path: Path) -> NumberedRows:
    try:
        _check_last_line(path)
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            reader = csv.reader(file, strict=True)
            columns = next(reader, [])
            line = reader.line_num + 1
            for fields in reader:
                if len(fields) != len(columns):
                    raise _bad_row(path, line, f"{len(fields)} values for {len(columns)} columns")
                texts = dict(zip(columns, fields, strict=True))
                yield line, {name: _value(path, line, name, text) for name, text in texts.items()}
                line = reader.line_num + 1
    except (OSError, csv.Error) as error:
        raise _unreadable(path, error) from error


def _value(path: Path, line: int, column: str, text: str) -> str | float | None:
    """A CSV's text as the value that it was written from."""
    if column in _TEXT:
        return text
    if not text:
        return None
    try:
        if column == "frames":
            return int(text)
        return float(text) if column.startswith(("score", "seconds")) else text
    except ValueError:
        raise _bad_row(path, line, f"{column} is {text!r}, which is no number") from None


def _read_jsonl(path: Path) -> NumberedRows:
    try:
        _check_last_line(path)
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise _bad_row(path, number, "it is no JSON object")
                yield number, row
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _read_parquet(path: Path) -> NumberedRows:
    number = 0
    for batch in _open_parquet(path).iter_batches(batch_size=10_000):
        for row in batch.to_pylist():
            number += 1
            yield number, row


def _open_parquet(path: Path) -> Any:
    pyarrow, parquet = import_parquet()
    try:
        return parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise _unreadable(path, error) from error


def _check_last_line(path: Path) -> None:
    """See that the last line has its end: a crash, or a copy made too early, cuts it."""
    with path.open("rb") as file:
        if file.seek(0, 2) and (file.seek(-1, 2), file.read(1))[1] != b"\n":
            raise DataError(
                f"The last row of {path} is cut off.",
                hint="The command that writes it mends that when it goes on.",
            )


def _check(path: Path, line: int, row: Row, columns: Sequence[str]) -> None:
    """See that a row is one of results, whole."""
    if tuple(row) != tuple(columns):
        raise _bad_row(path, line, "it has other columns than the rows before")
    if not row["path"] or not isinstance(row["path"], str):
        raise _bad_row(path, line, "it has no path")
    try:
        status = Status(row["status"])
    except ValueError:
        raise _bad_row(path, line, f"there is no status {row['status']!r}") from None
    has_score = row["label"] is not None and isinstance(row["score"], float | int)
    if status.has_score != has_score:
        raise _bad_row(
            path,
            line,
            f"status {status} {'without' if status.has_score else 'with'} a label and score",
        )


def _bad_row(path: Path, line: int, why: str) -> DataError:
    return DataError(
        f"{path}, line {line}: {why}.", hint="Score it anew, or remove the row from the file."
    )


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or error
    return DataError(f"{path} cannot be read: {reason}.", hint="Check the path and the file.")
