"""A table or a list that a user wrote -> its rows, with line numbers.

Spreadsheets write such files in many ways, so a byte order mark, Windows line ends, semicolons
and tabs between the fields, blank lines and spaces around values are all accepted.
"""

import codecs
import csv
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from activity_cli.common import count_of
from activity_cli.common.files import write_text_atomically
from activity_cli.errors import DataError

TABLE_SUFFIXES = (".csv", ".tsv")
SEPARATORS = (",", ";", "\t")
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


class RowError(DataError):
    """One row of a table cannot be used. The message names the file, line and column."""

    def __init__(self, path: Path, line: int, column: str, problem: str, *, hint: str) -> None:
        super().__init__(f"{path}, line {line}, column {column}: {problem}", hint=hint)
        self.line = line


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row: its values by column, without the spaces around them."""

    line: int  # where the row begins; the first line of a file is 1
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table with its valid rows, and an error for each of the others."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    bad_rows: tuple[RowError, ...]


def raise_first(bad_rows: Sequence[RowError], *notes: str) -> NoReturn:
    """Raise the error of the first bad row, with notes and the number of the others."""
    worst, *others = sorted(bad_rows, key=lambda error: error.line)
    if others:
        notes = (*notes, count_of(len(others), "more bad row"))
    if notes:
        worst.message += f" ({'; '.join(notes)})"
        worst.args = (worst.message,)
    raise worst


def guarded(value: object) -> object:
    """Return a field of a CSV; of a text that a spreadsheet would run as a formula, with a ' first.

    Names of files and labels may come from others. `unguarded` takes the ' away again.
    """
    if not isinstance(value, str) or not _FORMULA.match(value):
        return value
    with suppress(ValueError):
        float(value)
        return value  # -1 is a number
    return f"'{value}"


def unguarded(text: str) -> str:
    """Return the text of which `guarded` made a field."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a CSV with a header; None is an empty field. Texts are guarded, see `guarded`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([guarded(value) for value in row] for row in (columns, *rows))
    write_text_atomically(path, text.getvalue())


def read_text(path: Path, *, errors: str = "strict") -> str:
    """Read a UTF-8 file, or a UTF-16 one that begins with a byte order mark.

    It is a DataError if the file cannot be read or decoded; `errors` is as for `bytes.decode`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        hint = "Check the path."
        raise DataError(f"Cannot read {path}: {error.strerror or error}.", hint=hint) from error
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if utf16 else "utf-8-sig", errors)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: this is not UTF-8 text (byte 0x{content[error.start]:02x}).",
            hint="Save the file as UTF-8; spreadsheets call it 'CSV UTF-8'.",
        ) from error


def read_table(path: Path, *, required: Sequence[str], errors: str = "strict") -> Table:
    """Read a CSV with a header, with commas, semicolons or tabs between the fields.

    It is a DataError if the file as a whole is not such a table with the required columns.
    """
    text = read_text(path, errors=errors)
    if not text.strip():
        raise DataError(f"{path} is empty.", hint=f"Its first line must be {','.join(required)}")
    # The separator is the one that gives the required columns, else the most columns.
    header = next(line for line in text.splitlines() if line.strip())
    found = {
        s: [c for _, fields in _read_rows(path, header, s) for c in fields] for s in SEPARATORS
    }
    best = max(SEPARATORS, key=lambda s: (set(required) <= set(found[s]), len(found[s])))
    lines = _read_rows(path, text, best)
    _, columns = lines[0]
    _check_columns(path, columns, required)
    rows: list[Row] = []
    bad_rows: list[RowError] = []
    for line, fields in lines[1:]:
        if len(fields) == len(columns):
            rows.append(Row(line=line, values=dict(zip(columns, fields, strict=True))))
        else:
            bad_rows.append(_wrong_length(path, line, fields, columns))
    if not lines[1:]:
        raise DataError(f"{path} has a header but no rows.", hint="Add a row for each clip.")
    return Table(columns=tuple(columns), rows=tuple(rows), bad_rows=tuple(bad_rows))


def _read_rows(path: Path, text: str, separator: str) -> list[tuple[int, list[str]]]:
    """Return the line number and the fields of every row that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for fields in reader:
            values = [unguarded(field.strip()) for field in fields]
            if any(values):
                rows.append((line, values))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}, line {line}: quotes that do not match, or a too long value ({error}).",
            hint='Quote a whole value or nothing of it, and write a quote inside as "".',
        ) from error
    return rows


def _check_columns(path: Path, columns: Sequence[str], required: Sequence[str]) -> None:
    if missing := [name for name in required if name not in columns]:
        raise DataError(
            f"{path}, line 1: there is no column {' or '.join(missing)}; "
            f"the columns are {', '.join(columns)}.",
            hint=f"The first line must name the columns, among them {','.join(required)}",
        )
    if twice := [name for i, name in enumerate(columns) if name and name in columns[:i]]:
        hint = "Rename or remove one of them."
        raise DataError(f"{path}, line 1: the column {twice[0]} is listed twice.", hint=hint)
    if "" in columns:
        hint = "Name it, or remove the separator that makes it."
        raise DataError(f"{path}, line 1: column {columns.index('') + 1} has no name.", hint=hint)


def _wrong_length(path: Path, line: int, fields: list[str], columns: Sequence[str]) -> RowError:
    problem = f"{len(fields)} fields where the header has {len(columns)}."
    if len(fields) > len(columns):
        column, hint = columns[-1], "Put a value that contains the separator in double quotes."
        return RowError(path, line, f"after {column}", problem, hint=hint)
    hint = "Add the missing value, or an empty one with its separator."
    return RowError(path, line, columns[len(fields)], problem, hint=hint)
