"""A batch: which of the files are this machine's share, and when to give up."""

import hashlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Self

from activity_cli.errors import ActivityError, DataError, SettingsError
from activity_cli.features.extraction import ClipRequest
from activity_cli.predict.predictor import Predictor
from activity_cli.predict.results.result_file import ResultFile
from activity_cli.types import FileResult
from activity_cli.video.sources import Found

SHARD = "shard"
"""The name under which a journal says which part of a list its rows are."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several parts of a list that machines work on without talking to each other."""

    number: int
    """From 1."""
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `2/3`.

        Raises:
            SettingsError: it is not of that form.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise SettingsError(f"{text!r} is no shard.", hint="Write 1/3, 2/3 and 3/3.")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def has(self, name: str) -> bool:
        """Whether a file belongs to this part.

        Args:
            name: as it is called within its source, so that it matters neither where a machine
                has mounted the folder nor which other files are there.
        """
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1


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


def select(
    found: Iterable[Found],
    *,
    patterns: Sequence[str] = (),
    exclude: Sequence[str] = (),
    shard: Shard | None = None,
) -> list[Path]:
    """The files to score.

    Args:
        found: what the sources stand for.
        patterns: where there are any, a file's name or its path within the source matches one.
        exclude: neither may match any of these.
        shard: only this part.

    Raises:
        DataError: the patterns leave nothing.
    """
    found = list(found)
    kept = [
        one
        for one in found
        if (not patterns or _matches(one, patterns)) and not _matches(one, exclude)
    ]
    if found and not kept:
        raise DataError(
            f"--pattern and --exclude leave none of the {len(found)} files.",
            hint="* stands for any characters, as in --pattern '*.mp4' --exclude '*/old/*'.",
        )
    return [one.path for one in kept if shard is None or shard.has(one.name)]


def _matches(one: Found, patterns: Sequence[str]) -> bool:
    return any(fnmatch(text, p) for p in patterns for text in (one.path.name, one.name))
