"""Several result files, such as those of shards -> one, with one row per path, sorted by path."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from activity_cli.common.files import encode_text, output_error
from activity_cli.errors import DataError, OutputError
from activity_cli.predict.batch import SHARD
from activity_cli.predict.results import rows_suffix, write_rows
from activity_cli.predict.results.journal import (
    Entry,
    entry_line,
    journal_path,
    parse_entry,
    write_journal,
)
from activity_cli.predict.results.result_reader import StoredResults, answer_of, open_stored
from activity_cli.types import Status
from activity_cli.video.sources import Shard

_TOLERANCE = 1e-3
"""Largest difference of one model's scores for one file on different CPUs, as for exports."""

_TABLE = """CREATE TABLE rows (
    path BLOB PRIMARY KEY, source INTEGER, status TEXT, entry BLOB
) WITHOUT ROWID"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """What a merge did."""

    num_files: int
    num_rows: int
    num_same: int  # rows left out because an equal row exists
    num_settled: int  # rows left out for a better or newer row of the same path
    missing_shards: tuple[str, ...]
    without_journal: tuple[str, ...]
    """Files without a journal; if there are any, the merged file has none either."""
    by_status: Mapping[Status, int]

    @property
    def num_without_score(self) -> int:
        """Rows without a prediction."""
        return sum(n for status, n in self.by_status.items() if not status.has_score)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {**asdict(self), "num_without_score": self.num_without_score}


def merge_results(
    paths: Sequence[Path], output: Path, *, overwrite: bool = False, partial: bool = False
) -> MergeReport:
    """Merge result files into one, and their journals if all have one.

    Of several rows of one path, one with a score comes before one without, and any status before
    `missing`; of two with scores the one from a later state of the file, according to the journals.
    Without journals, scores that differ by more than 0.001 are an error: CPUs round differently.
    The files may be .csv, .jsonl and .parquet in any mix; one that is given twice counts once.

    Raises:
        DataError: a file is damaged or not a result file; columns or models differ; scores of the
            same file differ; a shard is missing.
        OutputError: the output exists, or cannot be written. An older one is unchanged.
        MissingExtraError: .parquet needs a package that is not installed.
    """
    _check_output(paths, output, overwrite=overwrite)
    sources = [open_stored(path) for path in {path.resolve(): path for path in paths}.values()]
    columns, provenance = _common_columns(sources), _common_provenance(sources)
    missing = _missing_shards(sources)
    if missing and not partial:
        numbers = ", ".join(str(shard.number) for shard in missing)
        raise DataError(
            f"Missing: shard{'s' * (len(missing) > 1)} {numbers} of {missing[0].count}.",
            hint="Add the files, or --partial to merge without them.",
        )
    without_journal = tuple(str(source.path) for source in sources if source.provenance is None)
    try:
        # A file of its own in the temporary folder, so that memory stays flat.
        with closing(sqlite3.connect("")) as database:
            num_same, num_settled = _collect(database, sources)
            # The journal first: a crash between both then leaves what `predict` can resume from.
            journal = journal_path(output)
            if without_journal:
                journal.unlink(missing_ok=True)
            else:
                write_journal(journal, {**provenance, "columns": list(columns)}, _entries(database))
            write_rows(output, columns, (entry.row for entry in _entries(database)))
            counts = database.execute("SELECT status, count(*) FROM rows GROUP BY status")
            by_status = {Status(name): count for name, count in counts}
            return MergeReport(
                num_files=len(sources),
                num_rows=sum(by_status.values()),
                num_same=num_same,
                num_settled=num_settled,
                missing_shards=tuple(map(str, missing)),
                without_journal=without_journal,
                by_status=by_status,
            )
    except OSError as error:
        raise output_error(output, error) from error
    except sqlite3.Error as error:
        raise OutputError(
            f"Rows cannot be sorted in a temporary file: {error}.",
            hint="Free space in the folder for temporary files, or set TMPDIR to another one.",
        ) from error


def _missing_shards(sources: Iterable[StoredResults]) -> list[Shard]:
    """Return the shards that no file is of, according to the journals."""
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
    known = [(source.path, dict(source.provenance)) for source in sources if source.provenance]
    if not known:
        return {}
    first, common = known[0]
    for path, own in known:
        for name in sorted({*own, *common} - {SHARD, "columns"}):
            if own.get(name) != common.get(name):
                raise DataError(
                    f"{path} was made with another {name} than {first}: "
                    f"{own.get(name, 'none')}, not {common.get(name, 'none')}.",
                    hint="Score both with the same --model, --engine and --precision.",
                )
    return {name: value for name, value in common.items() if name != SHARD}


def _collect(database: sqlite3.Connection, sources: Sequence[StoredResults]) -> tuple[int, int]:
    """Put one row per path into the table; return how many equal and different ones were left."""
    database.execute("PRAGMA journal_mode = OFF")
    database.execute(_TABLE)
    models: dict[str, Path] = {}
    num_same = num_different = 0
    for number, source in enumerate(sources):
        for entry in source.entries():
            if name := entry.row["model"]:
                models.setdefault(name, source.path)
            if len(models) > 1:
                (one, first), (other, second) = models.items()
                raise DataError(
                    f"{second} has rows of the model {other}, and {first} of {one}.",
                    hint="Score both with the same --model.",
                )
            key = encode_text(entry.path)
            values = key, number, entry.row["status"], entry_line(entry)
            if database.execute("INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?)", values).rowcount:
                continue
            [(earlier, line)] = database.execute(
                "SELECT source, entry FROM rows WHERE path = ?", (key,)
            )
            old = parse_entry(line)
            num_same += old.row == entry.row
            num_different += old.row != entry.row
            if _choose(old, entry, (sources[earlier].path, source.path)) is entry:
                database.execute("REPLACE INTO rows VALUES (?, ?, ?, ?)", values)
    return num_same, num_different


def _choose(one: Entry, other: Entry, files: tuple[Path, Path]) -> Entry:
    """Return the one of two rows of a path that counts, whatever their order."""
    ranks = []
    for entry in (one, other):
        status = Status(entry.row["status"])
        ranks.append((status.has_score, status is not Status.MISSING))
    if ranks[0] != ranks[1]:
        return one if ranks[0] > ranks[1] else other
    (label, score), (other_label, other_score) = map(answer_of, (one.row, other.row))
    is_same_score = label == other_label and abs((score or 0) - (other_score or 0)) <= _TOLERANCE
    if is_same_score:  # or neither has one
        return min(one, other, key=lambda entry: json.dumps(entry.row))
    times = one.state.mtime_ns, other.state.mtime_ns
    if times[0] is not None and times[1] is not None and times[0] != times[1]:
        return one if times[0] > times[1] else other
    scores = (
        "{} {} in {}".format(*answer_of(entry.row), file)
        for entry, file in zip((one, other), files, strict=True)
    )
    raise DataError(
        f"{one.path} has different scores: {' and '.join(scores)}.",
        hint="Leave one of the files out, or score the video again.",
    )


def _entries(database: sqlite3.Connection) -> Iterator[Entry]:
    """Yield the rows by path."""
    for (line,) in database.execute("SELECT entry FROM rows ORDER BY path"):
        yield parse_entry(line)
