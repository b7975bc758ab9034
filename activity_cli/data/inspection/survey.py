"""Sources -> everything that `activity check` knows: each file, the whole, and what is there twice.

The one place where the parts meet; it neither prints nor writes.
"""

import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from activity_cli.data.inspection.checks import DEFAULT_TIMEOUT_SECONDS, FileCheck, check_files
from activity_cli.data.inspection.duplicates import DuplicateSet, crossed_columns, find_duplicates
from activity_cli.data.inspection.fingerprints import FingerprintStore
from activity_cli.data.inspection.inventory import LABEL, Entry
from activity_cli.data.inspection.overview import Overview, look_over


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDuplicates:
    """Files that show the same, and what they should agree in but do not."""

    files: DuplicateSet
    crosses: Mapping[str, tuple[str, ...]]
    """Columns with their values: a label, a group, a split, a source or a fold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was found."""

    entries: tuple[Entry, ...]
    """The files that were checked. Fewer than asked for after an interruption."""
    checks: tuple[FileCheck, ...]
    """One for each entry."""
    overview: Overview
    duplicates: tuple[FoundDuplicates, ...]

    @property
    def leaks(self) -> tuple[FoundDuplicates, ...]:
        """Duplicates that cross something."""
        return tuple(one for one in self.duplicates if one.crosses)


def survey(
    entries: tuple[Entry, ...],
    *,
    num_workers: int | None = None,
    timeout_seconds: float | None = DEFAULT_TIMEOUT_SECONDS,
    stop: threading.Event | None = None,
    on_check: Callable[[FileCheck], None] = lambda _: None,
    on_compare: Callable[[int], None] = lambda _: None,
) -> Survey:
    """Check all files, then compare them with each other.

    Args:
        entries: the files.
        num_workers: files decoded at a time; None is one per core.
        timeout_seconds: how long one may take.
        stop: once it is set, files that are not begun are left out.
        on_check: told of each file, in order.
        on_compare: told 0 when all are checked, and 1 when they are compared.

    Raises:
        OutputError: the temporary folder is full.
        ActivityError: no worker can be started.
    """
    checks: list[FileCheck] = []
    with FingerprintStore(Path(tempfile.gettempdir())) as store:
        for check in check_files(
            [entry.found.path for entry in entries],
            store,
            num_workers=num_workers,
            num_threads=0 if len(entries) == 1 else 1,
            timeout_seconds=timeout_seconds,
            stop=stop,
        ):
            checks.append(check)
            on_check(check)
        on_compare(0)
        sets = find_duplicates(checks, store)
        on_compare(1)
    done = entries[: len(checks)]
    columns = [entry.columns for entry in done]
    return Survey(
        entries=done,
        checks=tuple(checks),
        overview=look_over(checks, [own.get(LABEL, ()) for own in columns]),
        duplicates=tuple(
            FoundDuplicates(files=one, crosses=crossed_columns(one, columns)) for one in sets
        ),
    )
