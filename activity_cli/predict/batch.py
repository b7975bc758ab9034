"""A batch: which of the files are this machine's share, and when to give up."""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

from activity_cli.errors import ActivityError, SettingsError
from activity_cli.features.extraction import ClipRequest
from activity_cli.predict.predictor import Predictor
from activity_cli.predict.results.result_file import ResultFile
from activity_cli.types import FileResult, Status

SHARD = "shard"
"""The name under which a journal says which part of a list its rows are."""


@dataclass(frozen=True, slots=True)
class FailureLimit:
    """How many files without a score are too many."""

    most: float
    is_share: bool

    _FEWEST_FILES = 20
    """Before so many files a share of them means nothing."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `10` or `5%`.

        Raises:
            SettingsError: it is not of that form.
        """
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", text.strip())
        if match is None or (match[2] and float(match[1]) > 100):
            raise SettingsError(
                f"{text!r} is no number of failures.", hint="Write a number, 10, or a share, 5%."
            )
        return cls(float(match[1]), bool(match[2]))

    def is_exceeded(self, num_failed: int, num_files: int) -> bool:
        """Whether to stop after so many files, so many of them without a score."""
        if self.is_share:
            return num_files >= self._FEWEST_FILES and 100 * num_failed > self.most * num_files
        return num_failed > self.most


class TooManyFailuresError(ActivityError):
    """More files than allowed have no score."""


def score_files(
    predictor: Predictor,
    paths: Iterable[Path],
    *,
    results: ResultFile | None = None,
    limit: FailureLimit | None = None,
    look: bool = True,
    before_row: Callable[[FileResult], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> Iterator[FileResult]:
    """Score files, each result on disk before it is given.

    Args:
        predictor: what scores.
        paths: the files; those that have a row in `results` are left out.
        results: where rows go.
        limit: how many files without a score are too many.
        look: whether to look here at what the files are like; workers elsewhere do that themselves.
        before_row: called with each result before its row is written, so that a row says that all
            about its file is done.
        stop: once it is set, what has begun is finished and no more.

    Raises:
        OutputError: a row cannot be written. All rows before are safe.
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
                f"Stopped: {num_failed} of {num_files} files have no score; the last one: "
                f"{result.path}: {result.reason}",
                hint="Rows so far are kept. The same command goes on, with --max-failures raised.",
            )


@dataclass(slots=True)
class Tally:
    """Counts results as they come, so that none needs to be kept for the summary."""

    by_status: Counter[Status] = field(default_factory=Counter)
    stage_seconds: Counter[str] = field(default_factory=Counter)
    first_failures: list[FileResult] = field(default_factory=list)
    """The first few files without a score."""
    num_unknown: int = 0
    """Files with a score that were called unknown."""

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
        """All results so far."""
        return self.by_status.total()

    @property
    def num_without_score(self) -> int:
        """Results without a prediction."""
        return sum(n for status, n in self.by_status.items() if not status.has_score)
