"""A batch: files -> rows in a result file, with the journal beside it that lets a run resume.

`.csv` and `.jsonl` grow by whole lines. `.parquet` cannot be appended to: it is written from the
journal when a run ends, also by Ctrl-C.
"""

import logging
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from activity_cli.common.files import LineFile
from activity_cli.errors import ActivityError, OutputError, SettingsError
from activity_cli.features.extraction import ClipRequest
from activity_cli.predict.predictor import Predictor
from activity_cli.predict.results import PARQUET, RowSchema, encode_row, rows_suffix, write_rows
from activity_cli.predict.results.journal import (
    Entry,
    entry_line,
    journal_path,
    look_at,
    read_entries,
    resume_journal,
    write_journal,
)
from activity_cli.types import FileResult, FileState, Status, VideoSegments

_LOG = logging.getLogger(__name__)
SHARD = "shard"
"""Key in a journal's provenance: the part of the list that its rows are of."""


@dataclass(frozen=True, slots=True)
class FailureLimit:
    """How many files without a score stop a batch."""

    most: float
    is_share: bool  # whether `most` is a percentage

    _FEWEST_FILES: ClassVar[int] = 20  # a percentage of fewer files means nothing

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `10` or `5%`; a SettingsError if it is not of that form."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", text.strip())
        if match is None or (match[2] and float(match[1]) > 100):
            raise SettingsError(
                f"{text!r} is not a number of failures.",
                hint="Write a number, 10, or a percentage, 5%.",
            )
        return cls(float(match[1]), bool(match[2]))

    def is_exceeded(self, num_failed: int, num_files: int) -> bool:
        """Return whether to stop."""
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

    Files that have a row in `results` are left out; `look` is as for `ResultFile.requests`.
    `before_row` is called before a row is written: a row means that all about its file is done.
    Once `stop` is set, files that are begun are finished and no others are begun.

    Raises:
        OutputError: a row cannot be written. All earlier rows are safe.
        TooManyFailuresError: the limit is exceeded. All rows so far are safe.
    """
    requests: Iterable[ClipRequest] = (ClipRequest(path=path) for path in paths)
    if results is not None:
        requests = results.requests(look=look)
    num_failed = 0
    for num_files, result in enumerate(predictor.predict(requests, stop=stop), start=1):
        _LOG.debug("%s: %s", result.path, result.status)
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
    """Counts of results, for the summary."""

    by_status: Counter[Status] = field(default_factory=Counter)
    stage_seconds: Counter[str] = field(default_factory=Counter)
    first_failures: list[FileResult] = field(default_factory=list)
    """The first few files without a score."""
    num_unknown: int = 0  # files with a score that were rejected as unknown

    _MOST_FAILURES: ClassVar[int] = 5

    def add(self, result: FileResult) -> None:
        """Count a result."""
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


class ResultFile(AbstractContextManager["ResultFile"]):
    """Rows on disk: a new file, or one that an earlier run of the same command began.

    Rows of files other than `asked` are kept as they are. Rows with another `provenance` are never
    mixed. `outputs` are further files that will be made of the rows. `overwrite` starts over,
    `retry_failed` scores files without a score again, `verify_content` compares the content of
    files, not only their size and modification time.

    Raises:
        OutputError: the format is not supported; the file exists without a journal, or its rows
            have another provenance; or it cannot be written.
        MissingExtraError: .parquet needs a package that is not installed.
    """

    def __init__(
        self,
        path: Path,
        asked: Iterable[Path],
        schema: RowSchema,
        *,
        provenance: Mapping[str, Any],
        outputs: Sequence[Path] = (),
        overwrite: bool = False,
        retry_failed: bool = False,
        verify_content: bool = False,
    ) -> None:
        self._path, self._schema = path, schema
        self._retry_failed, self._verify_content = retry_failed, verify_content
        self._suffix = rows_suffix(path)
        self._asked = {str(path): path for path in asked}
        self._journal_path = journal = journal_path(path)
        provenance = {**provenance, "columns": list(schema.columns)}
        names = [str(output) for output in outputs]
        if overwrite or (not path.exists() and not journal.exists()):
            write_journal(journal, provenance, (), outputs=names)
        elif journal.exists():
            resume_journal(journal, provenance, outputs=names, keep=self._is_kept)
        else:
            raise OutputError(
                f"{path} exists already and has no {journal.name} to resume from.",
                hint="Choose another file, or add --overwrite to replace it.",
            )
        kept = {entry.path: Status(entry.row["status"]) for entry in read_entries(journal)}
        self._done = kept.keys() & self._asked.keys()
        self._begun: dict[str, FileState] = {}
        self.num_kept = len(self._done)
        """Files of this run that have a row already."""
        self.num_kept_without_score = sum(not status.has_score for status in kept.values())
        # Rows are written anew: a crash may have come between a journal entry and its row.
        self._rows: LineFile | None = None
        if self._suffix != PARQUET:
            self._write_all()
            self._rows = LineFile(path)
        self._journal = LineFile(journal)

    def __exit__(self, *error: object) -> None:
        """Close the file; write it if it is Parquet."""
        self._journal.close()
        if self._rows is not None:
            self._rows.close()
        else:
            self._write_all()

    def requests(self, *, look: bool = True) -> Iterator[ClipRequest]:
        """Yield the files that have no row yet; `look` records the state of each.

        Without it, each result must have the state that its file had: workers of a cluster do that.
        """
        for name, path in self._asked.items():
            if name not in self._done:
                if look:
                    self._begun[name] = look_at(path, hash_content=self._verify_content)
                yield ClipRequest(path=path)

    def write(self, result: FileResult) -> None:
        """Add the row of a file that `requests` gave; an OutputError if the disk is full."""
        row = self._schema.row(result)
        state = result.state or self._begun.pop(result.path)
        entry = Entry(path=result.path, state=state, row=row, segments=result.segments)
        self._journal.write(entry_line(entry))
        if self._rows is not None:
            self._rows.write(encode_row(self._suffix, self._schema.columns, row))

    def videos(self) -> Iterator[VideoSegments]:
        """Yield the segments of the files of this run with a score, in the order of the rows."""
        for entry in read_entries(self._journal_path):
            row = entry.row
            if entry.path in self._asked and Status(row["status"]).has_score:
                yield VideoSegments(
                    path=entry.path,
                    duration_seconds=row["seconds"],
                    fps=row["frames"] / row["seconds"],
                    segments=entry.segments,
                )

    def _write_all(self) -> None:
        rows = (entry.row for entry in read_entries(self._journal_path))
        write_rows(self._path, self._schema.columns, rows)

    def _is_kept(self, entry: Entry) -> bool:
        """Return whether a row is kept. A file that is not of this run may have been deleted."""
        if entry.path not in self._asked:
            return True
        if self._retry_failed and not Status(entry.row["status"]).has_score:
            return False
        now = look_at(self._asked[entry.path], hash_content=self._verify_content)
        if self._verify_content:
            return now == entry.state
        return (now.num_bytes, now.mtime_ns) == (entry.state.num_bytes, entry.state.mtime_ns)
