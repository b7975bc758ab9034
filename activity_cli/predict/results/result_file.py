"""The rows of a batch in a file, with the journal beside it that lets the next run resume.

`.csv` and `.jsonl` grow row by row: a row is in the file as soon as `write` returns, and no line is
ever half-written. `.parquet` cannot be appended to: it is written from the journal when a run ends,
also by Ctrl-C.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activity_cli.common.files import LineFile
from activity_cli.errors import OutputError
from activity_cli.features.extraction import ClipRequest
from activity_cli.predict.results.journal import (
    Entry,
    entry_line,
    journal_path,
    look_at,
    read_entries,
    resume_journal,
    write_journal,
)
from activity_cli.predict.results.rows import (
    PARQUET,
    RowSchema,
    encode_row,
    rows_suffix,
    write_rows,
)
from activity_cli.types import FileResult, FileState, Status, VideoSegments


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePolicy:
    """When a file that has a row is scored again."""

    overwrite: bool = False
    """Start over and drop the rows that exist."""
    retry_failed: bool = False
    """Score files without a score again."""
    verify_content: bool = False
    """Compare the content of files, not only their size and modification time."""


class ResultFile:
    """Rows on disk. Made by `open_results`."""

    def __init__(
        self, path: Path, journal: LineFile, schema: RowSchema, *, verify_content: bool
    ) -> None:
        self.num_kept_without_score = 0
        self._path = path
        self._suffix = rows_suffix(path)
        self._journal = journal
        self._schema = schema
        self._verify_content = verify_content
        self._done: set[str] = set()
        self._begun: dict[str, FileState] = {}
        for entry in read_entries(journal_path(path)):
            self._done.add(entry.path)
            self.num_kept_without_score += not Status(entry.row["status"]).has_score
        # Written anew, since a crash may have come between a journal entry and its row.
        self._rows: LineFile | None = None
        if self._suffix != PARQUET:
            self._write_all()
            self._rows = LineFile(path)

    def count_kept(self, paths: Iterable[Path]) -> int:
        """Return how many of the files have a row already."""
        return sum(str(path) in self._done for path in paths)

    def requests(self, paths: Iterable[Path], *, look: bool = True) -> Iterator[ClipRequest]:
        """Yield those of the files that have no row yet.

        Args:
            paths: of all files.
            look: whether to record here the state of each file; without it, each result must have
                the state that its file had.
        """
        for path in paths:
            if str(path) not in self._done:
                if look:
                    self._begun[str(path)] = look_at(path, hash_content=self._verify_content)
                yield ClipRequest(path=path)

    def write(self, result: FileResult) -> None:
        """Add the row of a file that `requests` gave.

        Raises:
            OutputError: the disk is full or gone. All earlier rows are safe.
        """
        row = self._schema.row(result)
        state = result.state or self._begun.pop(result.path)
        entry = Entry(path=result.path, state=state, row=row, segments=result.segments)
        self._journal.write(entry_line(entry))
        if self._rows is not None:
            self._rows.write(encode_row(self._suffix, self._schema.columns, row))

    def videos(self, paths: Iterable[Path]) -> Iterator[VideoSegments]:
        """Yield the segments of the files that have a score, in the order of the rows."""
        asked = {str(path) for path in paths}
        for entry in read_entries(journal_path(self._path)):
            row = entry.row
            if entry.path in asked and Status(row["status"]).has_score:
                yield VideoSegments.of(entry.path, row["seconds"], row["frames"], entry.segments)

    def close(self) -> None:
        """Close the file; write it if it is Parquet."""
        if self._rows is not None:
            self._rows.close()
        else:
            self._write_all()

    def _write_all(self) -> None:
        rows = (entry.row for entry in read_entries(journal_path(self._path)))
        write_rows(self._path, self._schema.columns, rows)


@contextmanager
def open_results(
    path: Path,
    asked: Iterable[Path],
    schema: RowSchema,
    *,
    provenance: Mapping[str, Any],
    policy: ResumePolicy,
    outputs: Sequence[Path] = (),
) -> Iterator[ResultFile]:
    """Open a result file: a new one, or one that an earlier run of the same command began.

    Args:
        path: `.csv`, `.jsonl` or `.parquet`.
        asked: the files of this run. Rows of other files are kept as they are.
        schema: of the rows.
        provenance: what scores depend on; rows with another provenance are never mixed.
        policy: when a file that has a row is scored again.
        outputs: further files that will be made of the rows.

    Raises:
        OutputError: the format is not supported; the file exists without a journal, or its rows
            have another provenance; or it cannot be written.
        MissingExtraError: .parquet needs a package that is not installed.
    """
    rows_suffix(path)
    provenance = {**provenance, "columns": list(schema.columns)}
    journal, names = journal_path(path), [str(output) for output in outputs]
    if policy.overwrite or (not path.exists() and not journal.exists()):
        write_journal(journal, provenance, (), outputs=names)
    elif journal.exists():
        resume_journal(journal, provenance, outputs=names, keep=_keeper(policy, asked))
    else:
        raise OutputError(
            f"{path} exists already and has no {journal.name} to resume from.",
            hint="Choose another file, or add --overwrite to replace it.",
        )
    with closing(LineFile(journal)) as lines:
        verify = policy.verify_content
        with closing(ResultFile(path, lines, schema, verify_content=verify)) as results:
            yield results


def _keeper(policy: ResumePolicy, asked: Iterable[Path]) -> Callable[[Entry], bool]:
    """Return whether a row is kept. A file that is not part of this run may have been deleted."""
    names = {str(path) for path in asked}

    def keep(entry: Entry) -> bool:
        if entry.path not in names:
            return True
        if policy.retry_failed and not Status(entry.row["status"]).has_score:
            return False
        now = look_at(Path(entry.path), hash_content=policy.verify_content)
        if policy.verify_content:
            return now == entry.state
        return (now.num_bytes, now.mtime_ns) == (entry.state.num_bytes, entry.state.mtime_ns)

    return keep
