"""Results -> rows of a CSV or JSONL file, one whole line at a time.

A row is in the file as soon as `write` returns, and a line is never left half-written, so what
is there after a power cut or on a full disk can be trusted.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from activity_cli.errors import OutputError
from activity_cli.files import encode_text, output_error
from activity_cli.types import FileResult

SCORE_DIGITS = 6
SECONDS_DIGITS = 3


class RowFormat(Protocol):
    """How rows become text."""

    def header(self, columns: Sequence[str]) -> str:
        """What stands before the first row."""

    def line(self, row: Mapping[str, object]) -> str:
        """One row with its line end."""


class CsvFormat:
    """Comma-separated, quoted where needed; None is an empty field."""

    def header(self, columns: Sequence[str]) -> str:
        """The names of the columns."""
        return self._join(columns)

    def line(self, row: Mapping[str, object]) -> str:
        """The values in the order of the columns."""
        return self._join(list(row.values()))

    def _join(self, values: Sequence[object]) -> str:
        text = io.StringIO()
        csv.writer(text).writerow(values)  # ends in \r\n, so it quotes values with either
        return text.getvalue().removesuffix("\r\n") + "\n"


class JsonlFormat:
    """One JSON object per line, in ASCII; None is null."""

    def header(self, columns: Sequence[str]) -> str:
        """Nothing: every row names its values."""
        del columns
        return ""

    def line(self, row: Mapping[str, object]) -> str:
        """The row as an object."""
        return json.dumps(row, allow_nan=False) + "\n"


FORMATS: Mapping[str, type[RowFormat]] = {".csv": CsvFormat, ".jsonl": JsonlFormat}


class RowWriter:
    """Writes rows with the given columns to a file that is open for it. Made by `open_rows`."""

    def __init__(
        self, path: Path, file: io.FileIO, columns: Sequence[str], row_format: RowFormat
    ) -> None:
        self._path = path
        self._file = file
        self._columns = tuple(columns)
        self._format = row_format
        self._append(row_format.header(columns))

    def write(self, row: Mapping[str, object]) -> None:
        """Add a row.

        Args:
            row: A value or None for each column.

        Raises:
            OutputError: the disk is full or gone. All rows before are in the file.
        """
        self._append(self._format.line({column: row[column] for column in self._columns}))

    def _append(self, text: str) -> None:
        content = memoryview(encode_text(text))
        begin = self._file.tell()
        try:
            while content:  # the system may take less than the whole
                content = content[self._file.write(content) :]
        except OSError as error:
            with suppress(OSError):  # a device cannot be cut
                self._file.truncate(begin)
                self._file.seek(begin)
            raise output_error(self._path, error) from error


class ResultWriter:
    """Writes results as rows. Made by `open_writer`."""

    def __init__(self, rows: RowWriter, top_k: int) -> None:
        self._rows = rows
        self._top_k = top_k

    def write(self, result: FileResult) -> None:
        """Add the row of a result.

        Raises:
            OutputError: the disk is full or gone. All rows before are in the file.
        """
        self._rows.write(result_row(result, self._top_k))


def result_columns(top_k: int) -> tuple[str, ...]:
    """Columns of result rows: the best label, then further ones up to the k-th."""
    further = [name for rank in range(2, top_k + 1) for name in (f"label_{rank}", f"score_{rank}")]
    return ("path", "status", "reason", "label", "score", *further, "seconds", "frames", "model")


def result_row(result: FileResult, top_k: int) -> dict[str, object]:
    """A result as a row, with None where there is no value.

    Args:
        result: What became of a file.
        top_k: How many labels to give, best first; at least 1.
    """
    top = result.prediction.top(top_k) if result.prediction is not None else []
    row: dict[str, object] = dict.fromkeys(result_columns(top_k))
    row |= {"path": result.path, "status": result.status.value, "reason": result.reason}
    for rank, (label, score) in enumerate(top, start=1):
        suffix = f"_{rank}" if rank > 1 else ""
        row |= {f"label{suffix}": label, f"score{suffix}": round(score, SCORE_DIGITS)}
    if result.duration_seconds is not None:
        row["seconds"] = round(result.duration_seconds, SECONDS_DIGITS)
    return row | {"frames": result.num_frames, "model": result.model}


@contextmanager
def open_rows(path: Path, columns: Sequence[str], *, overwrite: bool) -> Iterator[RowWriter]:
    """Open a new file for rows; its parent folder is made where it is missing.

    Args:
        path: The file. Its suffix chooses the format, `.csv` or `.jsonl`.
        columns: Names of the values of a row, in order.
        overwrite: Replace a file that exists.

    Raises:
        OutputError: the suffix is not known, the file exists, or it cannot be written.
    """
    row_format = FORMATS.get(path.suffix.lower())
    if row_format is None:
        raise OutputError(
            f"Cannot write {path}: the format {path.suffix or '(no suffix)'} is not known.",
            hint=f"Use a file that ends in {' or '.join(FORMATS)}.",
        )
    with _open_new(path, overwrite) as file:
        yield RowWriter(path, file, columns, row_format())


def _open_new(path: Path, overwrite: bool) -> io.FileIO:
    """Open for writing without a buffer, so that each row reaches the system."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(path, error) from error
    try:
        return io.FileIO(path, "w" if overwrite else "x")
    except FileExistsError as error:
        raise OutputError(
            f"{path} exists already.", hint="Choose another file, or add --overwrite."
        ) from error
    except OSError as error:
        raise output_error(path, error) from error


@contextmanager
def open_writer(path: Path, *, top_k: int, overwrite: bool) -> Iterator[ResultWriter]:
    """Open a new file for result rows, as `open_rows` does.

    Args:
        path: The file. Its suffix chooses the format, `.csv` or `.jsonl`.
        top_k: How many labels a row gives, best first; at least 1.
        overwrite: Replace a file that exists.

    Raises:
        OutputError: the suffix is not known, the file exists, or it cannot be written.
    """
    with open_rows(path, result_columns(top_k), overwrite=overwrite) as rows:
        yield ResultWriter(rows, top_k)
