"""A batch: files -> rows in a result file, with the journal beside it that lets a run resume.

`.csv` and `.jsonl` grow row by row: a row is in the file as soon as `write` returns, and no line is
ever half-written. `.parquet` cannot be appended to: it is written from the journal when a run ends,
also by Ctrl-C.
"""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from activity_cli.common.files import LineFile
from activity_cli.errors import ActivityError, OutputError, SettingsError
from activity_cli.features.extraction import ClipRequest
from activity_cli.predict.predictor import Predictor
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

SHARD = "shard"
"""Key in a journal's provenance: the part of the list that its rows are of."""


@dataclass(frozen=True, slots=True)
class FailureLimit:
    """How many files without a score stop a batch."""

    most: float
    is_share: bool
    """Whether `most` is a percentage."""

    _FEWEST_FILES: ClassVar[int] = 20
    """A percentage of fewer files means nothing."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `10` or `5%`.

        Raises:
            SettingsError: it is not of that form.
        """
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", text.strip())
        if match is None or (match[2] and float(match[1]) > 100):
            raise SettingsError(
                f"{text!r} is not a number of failures.",
                hint="Write a number, 10, or a percentage, 5%.",
            )
        return cls(float(match[1]), bool(match[2]))

    def is_exceeded(self, num_failed: int, num_files: int) -> bool:
        """Return whether to stop after `num_files` files."""
        if self.is_share:
            return num_files >= self._FEWEST_FILES and 100 * num_failed > self.most * num_files
        return num_failed > self.most


class TooManyFailuresError(ActivityError):
    """More files than allowed have no score."""


def score_files(
    predictor: Predictor,
    paths: Iterable[Path],
    *,
    results: "ResultFile | None" = None,
    limit: FailureLimit | None = None,
    look: bool = True,
    before_row: Callable[[FileResult], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> Iterator[FileResult]:
    """Score files; each result is on disk before it is yielded.

    Args:
        predictor: the model.
        paths: the files; those with a row in `results` are left out.
        results: where rows are written.
        limit: how many files without a score stop the batch.
        look: whether to record the state of each file here; workers of a cluster do it themselves.
        before_row: called with each result before its row is written, so that a row means that
            everything about its file is done.
        stop: once it is set, files that are begun are finished and no others are begun.

    Raises:
        OutputError: a row cannot be written. All earlier rows are safe.
        TooManyFailuresError: the limit is exceeded. All rows so far are safe.
    """
    requests: Iterable[ClipRequest] = (ClipRequest(path=path) for path in paths)
    if results is not None:
        requests = results.requests(paths, look=look)
    num_failed = 0
    for num_files, result in enumerate(predictor.predict(requests, stop=stop), start=1):
        before_row(result)
        if results is not None:
            results.write(result)
        yield result
        num_failed += not result.status.has_score
        if limit is not None and limit.is_exceeded(num_failed, num_files):
            raise TooManyFailuresError(
                f"Stopped: {num_failed} of {num_files} files have no score. The last one is "
                f"{result.path}: {result.reason}",
                hint="Finished rows are kept. To resume, run the same command again with a higher "
                "--max-failures.",
            )


@dataclass(slots=True)
class Tally:
    """Counts results as they come, so that none has to be kept for the summary."""

    by_status: Counter[Status] = field(default_factory=Counter)
    stage_seconds: Counter[str] = field(default_factory=Counter)
    first_failures: list[FileResult] = field(default_factory=list)
    """The first few files without a score."""
    num_unknown: int = 0
    """Files with a score that were rejected as unknown."""

    _MOST_FAILURES: ClassVar[int] = 5

    def add(self, result: FileResult) -> None:
        """Count one result."""
        self.by_status[result.status] += 1
        self.stage_seconds.update(result.stage_seconds)
        self.num_unknown += bool(result.rejected)
        if not result.status.has_score and len(self.first_failures) < self._MOST_FAILURES:
            self.first_failures.append(result)

    @property
    def num_files(self) -> int:
        """Number of results so far."""
        return self.by_status.total()

    @property
    def num_without_score(self) -> int:
        """Results without a prediction."""
        return sum(n for status, n in self.by_status.items() if not status.has_score)


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
