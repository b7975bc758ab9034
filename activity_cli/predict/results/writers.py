"""Results -> rows of a CSV or JSONL file, one whole line at a time.

A row is in the file as soon as `write` returns, and a line is never left half-written, so what
is there after a power cut or on a full disk can be trusted.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from activity_cli.common.files import LineFile, encode_text
from activity_cli.errors import OutputError
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

    def __init__(self, file: LineFile, columns: Sequence[str], row_format: RowFormat) -> None:
        self._file = file
        self._columns = tuple(columns)
        self._format = row_format

    def write_header(self) -> None:
        """Add what stands before the first row.

        Raises:
            OutputError: the disk is full or gone.
        """
        self._file.write(encode_text(self._format.header(self._columns)))

    def write(self, row: Mapping[str, object]) -> None:
        """Add a row.

        Args:
            row: A value or None for each column.

        Raises:
            OutputError: the disk is full or gone. All rows before are in the file.
        """
        self._file.write(encode_text(self._format.line({c: row[c] for c in self._columns})))


def result_columns(top_k: int, labels: Sequence[str] = ()) -> tuple[str, ...]:
    """Columns of result rows.

    Args:
        top_k: labels that a row names, best first; at least 1.
        labels: labels that have a column with their score.
    """
    further = [name for rank in range(2, top_k + 1) for name in (f"label_{rank}", f"score_{rank}")]
    scores = [f"score:{label}" for label in labels]
    return (
        *("path", "status", "reason", "label", "score", *further, *scores),
        *("seconds", "frames", "model"),
    )


def result_row(result: FileResult, top_k: int, labels: Sequence[str] = ()) -> dict[str, Any]:
    """A result as a row, with None where there is no value.

    Args:
        result: What became of a file.
        top_k: How many labels to give, best first; at least 1.
        labels: labels whose scores are given one by one.
    """
    row: dict[str, Any] = dict.fromkeys(result_columns(top_k, labels))
    reason = "; ".join(filter(None, [result.reason, result.rejected]))
    row |= {"path": result.path, "status": result.status.value, "reason": reason}
    if (prediction := result.prediction) is not None:
        for rank, (label, score) in enumerate(prediction.top(top_k), start=1):
            suffix = f"_{rank}" if rank > 1 else ""
            row |= {f"label{suffix}": label, f"score{suffix}": round(score, SCORE_DIGITS)}
        row["label"] = result.label
        each = dict(zip(prediction.labels, prediction.scores.tolist(), strict=True))
        row |= {f"score:{label}": round(each[label], SCORE_DIGITS) for label in labels}
    if result.duration_seconds is not None:
        row["seconds"] = round(result.duration_seconds, SECONDS_DIGITS)
    return row | {"frames": result.num_frames, "model": result.model}


def row_format_of(path: Path, *more: str) -> RowFormat | None:
    """The format that a file's suffix stands for, or None for those of `more`.

    Args:
        path: the file.
        more: further suffixes that the caller knows.

    Raises:
        OutputError: the suffix is not known.
    """
    suffix = path.suffix.lower()
    if suffix in more:
        return None
    if suffix not in FORMATS:
        raise OutputError(
            f"Cannot write {path}: the format {path.suffix or '(no suffix)'} is not known.",
            hint=f"Use a file that ends in {' or '.join([*FORMATS, *more])}.",
        )
    return FORMATS[suffix]()


def write_lines(
    path: Path,
    columns: Sequence[str],
    row_format: RowFormat,
    rows: Iterable[Mapping[str, object]],
) -> None:
    """Write a whole file of rows; one that is there is replaced.

    Raises:
        OutputError: it cannot be written.
    """
    file = LineFile(path, "w")
    try:
        writer = RowWriter(file, columns, row_format)
        writer.write_header()
        for row in rows:
            writer.write(row)
    finally:
        file.close()


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
    row_format = row_format_of(path)
    assert row_format is not None
    try:
        file = LineFile(path, "w" if overwrite else "x")
    except FileExistsError as error:
        raise OutputError(
            f"{path} exists already.", hint="Choose another file, or add --overwrite."
        ) from error
    try:
        rows = RowWriter(file, columns, row_format)
        rows.write_header()
        yield rows
    finally:
        file.close()
