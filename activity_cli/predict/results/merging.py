"""Several result files -> one, with one row per path: what shards are scored for.

The rows are sorted by path, whatever the order of the files.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from activity_cli.common.files import output_error
from activity_cli.errors import DataError, OutputError
from activity_cli.predict.batch import SHARD
from activity_cli.predict.results.journal import journal_path, write_journal
from activity_cli.predict.results.merged_rows import MergedRows
from activity_cli.predict.results.result_reader import StoredResults, open_stored
from activity_cli.predict.results.rows import rows_suffix, write_rows
from activity_cli.types import Status
from activity_cli.video.sources import Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """What a merge did."""

    num_files: int
    """Files that were joined."""
    num_rows: int
    num_same: int
    """Rows left out because an equal row exists."""
    num_settled: int
    """Rows left out for a better or newer row of the same path."""
    missing_shards: tuple[str, ...]
    without_journal: tuple[str, ...]
    """Files without a journal; if there are any, the merged file has none either."""
    by_status: Mapping[Status, int] = field(default_factory=Counter)

    @property
    def num_without_score(self) -> int:
        """Rows without a prediction."""
        return sum(n for status, n in self.by_status.items() if not status.has_score)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        plain = asdict(replace(self, by_status={}))
        by_status = {str(status): count for status, count in self.by_status.items()}
        return {**plain, "by_status": by_status, "num_without_score": self.num_without_score}


def merge_results(
    paths: Sequence[Path], output: Path, *, overwrite: bool = False, partial: bool = False
) -> MergeReport:
    """Merge result files into one, and their journals if all have one.

    Of several different rows of one path, a row with a score comes before one without, and any
    status before `missing`. Of two with scores the one counts that was made from a later state of
    the file, according to the journals; without them, different scores are an error. Scores within
    0.001 of each other count as equal, since CPUs round differently.

    Args:
        paths: .csv, .jsonl and .parquet in any mix; a file that is given twice counts once.
        output: likewise.
        overwrite: replace an existing output.
        partial: merge even if shards are missing.

    Raises:
        DataError: a file is damaged or not a result file; columns or models differ; scores of the
            same file differ; a shard is missing.
        OutputError: the output exists, or cannot be written. An older one is unchanged.
        MissingExtraError: .parquet needs a package that is not installed.
    """
    _check_output(paths, output, overwrite=overwrite)
    by_file: dict[Path, Path] = {}
    for path in paths:
        by_file.setdefault(path.resolve(), path)
    sources = [open_stored(path) for path in by_file.values()]
    columns = _common_columns(sources)
    provenance = _common_provenance(sources)
    missing = _missing_shards(sources)
    if missing and not partial:
        raise DataError(
            f"Missing: {_describe_shards(missing)}.",
            hint="Add the files, or --partial to merge without them.",
        )
    without_journal = tuple(str(source.path) for source in sources if source.provenance is None)
    try:
        with closing(MergedRows(sources)) as rows:
            num_same, num_settled = rows.remove_duplicates()
            # The journal first: a crash between both then leaves what `predict` can resume from.
            journal = journal_path(output)
            if without_journal:
                _remove(journal)
            else:
                write_journal(journal, {**provenance, "columns": list(columns)}, rows.entries())
            write_rows(output, columns, rows.rows())
            return MergeReport(
                num_files=len(sources),
                num_rows=sum(rows.by_status.values()),
                num_same=num_same,
                num_settled=num_settled,
                missing_shards=tuple(map(str, missing)),
                without_journal=without_journal,
                by_status=rows.by_status,
            )
    except sqlite3.Error as error:
        raise OutputError(
            f"Rows cannot be sorted in a temporary file: {error}.",
            hint="Free space in the folder for temporary files, or set TMPDIR to another one.",
        ) from error


def _missing_shards(sources: Iterable[StoredResults]) -> list[Shard]:
    """Return the shards that no file is of, according to the journals.

    Raises:
        DataError: the files are shards of different splits.
    """
    names = [(source.provenance or {}).get(SHARD) for source in sources]
    shards = {Shard.parse(name) for name in names if name is not None}
    if None in names or not shards:  # a file that is of no shard may hold any row
        return []
    counts = sorted({shard.count for shard in shards})
    if len(counts) > 1:
        raise DataError(
            f"The files are shards of different splits: {' and '.join(map(str, counts))} in all.",
            hint="Merge the shards of one split at a time.",
        )
    whole = [Shard(number, counts[0]) for number in range(1, counts[0] + 1)]
    return [shard for shard in whole if shard not in shards]


def _describe_shards(shards: Sequence[Shard]) -> str:
    numbers = ", ".join(str(shard.number) for shard in shards)
    return f"shard{'s' * (len(shards) > 1)} {numbers} of {shards[0].count}"


def _check_output(paths: Sequence[Path], output: Path, *, overwrite: bool) -> None:
    rows_suffix(output)
    if output.resolve() in {path.resolve() for path in paths}:
        raise OutputError(
            f"{output} is one of the files to merge.",
            hint="Write to another folder than theirs, so that a pattern does not match it.",
        )
    if not overwrite and (output.exists() or journal_path(output).exists()):
        raise OutputError(
            f"{output} exists already, or its journal does.",
            hint="Choose another file, or add --overwrite to replace it.",
        )


def _common_columns(sources: Sequence[StoredResults]) -> tuple[str, ...]:
    with_columns = [source for source in sources if source.columns]
    if not with_columns:
        raise DataError("There are no rows to merge.", hint="Give result files.")
    first = with_columns[0]
    for source in with_columns:
        if source.columns != first.columns:
            raise DataError(
                f"{source.path} has other columns than {first.path}: "
                f"{', '.join(source.columns)}; not {', '.join(first.columns)}.",
                hint="Score both with the same --top-k and --all-scores.",
            )
    return first.columns


def _common_provenance(sources: Iterable[StoredResults]) -> dict[str, Any]:
    """Return what all rows depend on, according to the journals; without the shard."""
    first: StoredResults | None = None
    common: dict[str, Any] = {}
    for source in sources:
        if source.provenance is None:
            continue
        own = {k: v for k, v in source.provenance.items() if k not in {SHARD, "columns"}}
        if first is None:
            first, common = source, own
        for name in sorted({*own, *common}):
            if own.get(name) != common.get(name):
                raise DataError(
                    f"{source.path} was made with another {name} than {first.path}: "
                    f"{own.get(name, 'none')}, not {common.get(name, 'none')}.",
                    hint="Score both with the same --model, --engine and --precision.",
                )
    return common


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(path, error) from error
