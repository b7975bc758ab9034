"""The rows of a batch in a file, with the journal beside it that lets the next run go on.

`.csv` and `.jsonl` grow row by row. `.parquet` cannot be added to: it is written from the journal
whenever a run ends, also by Ctrl-C.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activity_cli.common.files import LineFile, writing
from activity_cli.errors import MissingExtraError, OutputError
from activity_cli.features.extraction import ClipRequest
from activity_cli.predict.results.journal import (
    Entry,
    Journal,
    journal_path,
    look_at,
    read_entries,
)
from activity_cli.predict.results.writers import (
    RowWriter,
    result_columns,
    result_row,
    row_format_of,
    write_lines,
)
from activity_cli.types import FileResult, FileState, Status, VideoSegments

PARQUET = ".parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSchema:
    """What a row of results holds."""

    top_k: int = 3
    labels: tuple[str, ...] = ()
    """Labels with a column for their score."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the values, in order."""
        return result_columns(self.top_k, self.labels)

    def row(self, result: FileResult) -> dict[str, Any]:
        """A result as a row."""
        return result_row(result, self.top_k, self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePolicy:
    """When a file that has a row is done again."""

    overwrite: bool = False
    """Start over: forget the rows that are there."""
    retry_failed: bool = False
    """Do files without a score again."""
    verify_content: bool = False
    """Tell changed files by their content, not only by size and time of change."""


class ResultFile:
    """Rows on disk. Made by `open_results`."""

    def __init__(
        self, journal: Journal, rows: RowWriter | None, shape: RowSchema, *, verify_content: bool
    ) -> None:
        self.num_kept_without_score = 0
        self._journal = journal
        self._rows = rows
        self._shape = shape
        self._verify_content = verify_content
        self._done: set[str] = set()
        self._begun: dict[str, FileState] = {}

    def keep(self, entry: Entry) -> None:
        """Count a row of an earlier run as done."""
        self._done.add(entry.path)
        self.num_kept_without_score += not Status(entry.row["status"]).has_score

    def count_kept(self, paths: Iterable[Path]) -> int:
        """How many of the files have a row already."""
        return sum(str(path) in self._done for path in paths)

    def requests(self, paths: Iterable[Path], *, look: bool = True) -> Iterator[ClipRequest]:
        """Those of the files that are not done yet.

        Args:
            paths: of all files.
            look: whether to look at each file as it is asked for. Without, each result has to say
                what the file was like when it was begun.
        """
        for path in paths:
            if str(path) not in self._done:
                if look:
                    self._begun[str(path)] = look_at(path, hash_content=self._verify_content)
                yield ClipRequest(path=path)

    def write(self, result: FileResult) -> None:
        """Add the row of a file that `requests` gave.

        Raises:
            OutputError: the disk is full or gone. All rows before are safe.
        """
        row = self._shape.row(result)
        state = result.state or self._begun.pop(result.path)
        entry = Entry(path=result.path, state=state, row=row, segments=result.segments)
        self._journal.add(entry)
        if self._rows is not None:
            self._rows.write(row)

    def videos(self, paths: Iterable[Path]) -> Iterator[VideoSegments]:
        """The segments of those of the files that have a score, in the order of the rows."""
        asked = {str(path) for path in paths}
        for entry in read_entries(self._journal.path):
            row = entry.row
            if entry.path in asked and Status(row["status"]).has_score:
                yield VideoSegments.of(entry.path, row["seconds"], row["frames"], entry.segments)


@contextmanager
def open_results(
    path: Path,
    asked: Iterable[Path],
    shape: RowSchema,
    *,
    provenance: Mapping[str, Any],
    going_on: ResumePolicy,
    outputs: Sequence[Path] = (),
) -> Iterator[ResultFile]:
    """Open a file for results: a new one, or one that an earlier run of the same began.

    Args:
        path: `.csv`, `.jsonl` or `.parquet`.
        asked: the files that rows are asked for. Rows of others stay as they are.
        shape: of the rows.
        provenance: what scores depend on; rows made with something else are never mixed.
        going_on: when a file that has a row is done again.
        outputs: further files that will be made of the rows.

    Raises:
        OutputError: the format is not known; there is a file that no such run began, or that was
            made with something else; or it cannot be written.
        MissingExtraError: .parquet needs a package that is not installed.
    """
    row_format = row_format_of(path, PARQUET)
    if row_format is None:
        import_parquet()
    provenance = {**provenance, "columns": list(shape.columns)}
    place = journal_path(path)
    if going_on.overwrite or (not path.exists() and not place.exists()):
        journal = Journal.new(place, provenance, outputs=map(str, outputs))
    elif place.exists():
        keep = _keeper(going_on, asked)
        journal = Journal.go_on(place, provenance, outputs=map(str, outputs), keep=keep)
    else:
        raise OutputError(
            f"{path} exists already, and has no {place.name} to go on from.",
            hint="Choose another file, or add --overwrite to replace it.",
        )
    lines = rows = None
    if row_format is not None:
        # A crash may have come between an entry and its row.
        write_rows(path, shape.columns, (entry.row for entry in read_entries(place)))
        lines = LineFile(path)
        rows = RowWriter(lines, shape.columns, row_format)
    results = ResultFile(journal, rows, shape, verify_content=going_on.verify_content)
    for entry in read_entries(place):
        results.keep(entry)
    try:
        yield results
    finally:
        journal.close()
        if lines is not None:
            lines.close()
        else:
            write_parquet(path, shape.columns, (entry.row for entry in read_entries(place)))


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a whole file of rows, in the format that its suffix stands for.

    Raises:
        OutputError: it cannot be written, an older file is still as it was; or the format is not
            known.
        MissingExtraError: .parquet needs a package that is not installed.
    """
    row_format = row_format_of(path, PARQUET)
    if row_format is None:
        write_parquet(path, columns, rows)
        return
    with writing(path) as temporary:
        write_lines(temporary, columns, row_format, rows)


def _keeper(going_on: ResumePolicy, asked: Iterable[Path]) -> Callable[[Entry], bool]:
    """Whether a file need not be done again. What is not asked for may be gone by now."""
    names = {str(path) for path in asked}

    def keep(entry: Entry) -> bool:
        if entry.path not in names:
            return True
        if going_on.retry_failed and not Status(entry.row["status"]).has_score:
            return False
        now = look_at(Path(entry.path), hash_content=going_on.verify_content)
        if going_on.verify_content:
            return now == entry.state
        return (now.num_bytes, now.mtime_ns) == (entry.state.num_bytes, entry.state.mtime_ns)

    return keep


_ROWS_PER_GROUP = 50_000

# Types of columns, by their names.
_INTEGERS = frozenset({"frames", "frames_promised", "width", "height", "rotation", "bytes"})
_NUMBERS = frozenset(
    {"seconds", "longest_gap", "fps", "fps_measured", "fps_variation", "start", "end", "peak"}
)


def write_parquet(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as Parquet, a group of rows at a time.

    Raises:
        OutputError: it cannot be written; an older file is still as it was.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow, parquet = import_parquet()
    schema = pyarrow.schema([(name, _parquet_type(pyarrow, name)) for name in columns])
    with writing(path) as temporary, parquet.ParquetWriter(temporary, schema) as file:
        group: list[Mapping[str, Any]] = []
        for row in rows:
            group.append({name: _text(row[name]) for name in columns})
            if len(group) == _ROWS_PER_GROUP:
                file.write_table(pyarrow.Table.from_pylist(group, schema=schema))
                group.clear()
        file.write_table(pyarrow.Table.from_pylist(group, schema=schema))


def _parquet_type(pyarrow: Any, column: str) -> Any:
    if column in _INTEGERS:
        return pyarrow.int64()
    is_number = column in _NUMBERS or column.startswith("score")
    return pyarrow.float64() if is_number else pyarrow.string()


def _text(value: Any) -> Any:
    """Parquet holds valid text only; bytes of a name that are none become escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def import_parquet() -> tuple[Any, Any]:
    """Import pyarrow and its part for Parquet.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("A .parquet file", package="pyarrow", extra="parquet") from error
    return pyarrow, parquet
