"""Result rows, and the formats of files of rows: .csv, .jsonl and .parquet.

Names that are not valid Unicode keep their bytes in .csv and .jsonl; .parquet gets escapes.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from activity_cli.common.files import check_new, encode_text, writing
from activity_cli.common.optional_dependencies import import_parquet
from activity_cli.common.tables import guarded
from activity_cli.errors import OutputError
from activity_cli.types import FileResult

SCORE_DIGITS = 6
SECONDS_DIGITS = 3

PARQUET = ".parquet"
SUFFIXES = (".csv", ".jsonl", PARQUET)

_OF_CAPTION = ("caption", "probability")
_ROWS_PER_GROUP = 50_000
# Types of columns in Parquet, by name.
_INTEGERS = frozenset({"frames", "frames_promised", "width", "height", "rotation", "bytes"})
_NUMBERS = frozenset(
    {"seconds", "longest_gap", "fps", "fps_measured", "fps_variation", "start", "end", "peak"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSchema:
    """The columns of a result row."""

    top_k: int = 3  # labels in a row, best first; at least 1
    labels: tuple[str, ...] = ()  # labels with a column for their score
    captions: bool = False  # whether the labels are sentences, in columns of another name

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the values, in order."""
        if self.captions:
            more = [f"{name}_{n}" for n in range(2, self.top_k + 1) for name in _OF_CAPTION]
            return ("path", "status", "reason", *_OF_CAPTION, *more, "seconds", "frames", "model")
        ranks = range(2, self.top_k + 1)
        further = [name for rank in ranks for name in (f"label_{rank}", f"score_{rank}")]
        scores = [f"score:{label}" for label in self.labels]
        return (
            *("path", "status", "reason", "label", "score", *further, *scores),
            *("seconds", "frames", "model"),
        )

    def row(self, result: FileResult) -> dict[str, Any]:
        """Return a result as a row, with None where there is no value."""
        row: dict[str, Any] = dict.fromkeys(self.columns)
        reason = "; ".join(filter(None, [result.reason, result.rejected]))
        row |= {"path": result.path, "status": result.status.value, "reason": reason}
        if self.captions:
            for rank, caption in enumerate(result.captions[: self.top_k], start=1):
                values = caption.text, round(caption.probability, SCORE_DIGITS)
                suffix = f"_{rank}" if rank > 1 else ""
                row |= {f"{n}{suffix}": v for n, v in zip(_OF_CAPTION, values, strict=True)}
        elif (prediction := result.prediction) is not None:
            for rank, (label, score) in enumerate(prediction.top(self.top_k), start=1):
                suffix = f"_{rank}" if rank > 1 else ""
                row |= {f"label{suffix}": label, f"score{suffix}": round(score, SCORE_DIGITS)}
            row["label"] = result.label
            each = dict(zip(prediction.labels, prediction.scores.tolist(), strict=True))
            row |= {f"score:{label}": round(each[label], SCORE_DIGITS) for label in self.labels}
        if result.duration_seconds is not None:
            row["seconds"] = round(result.duration_seconds, SECONDS_DIGITS)
        return row | {"frames": result.num_frames, "model": result.model}


def rows_suffix(path: Path) -> str:
    """Return the suffix of a file of rows, which chooses its format.

    Raises:
        OutputError: the format is not supported.
        MissingExtraError: it needs a package that is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise OutputError(
            f"Cannot write {path}: the format {path.suffix or '(no suffix)'} is not supported.",
            hint=f"Use a file that ends in {', '.join(SUFFIXES[:-1])} or {PARQUET}.",
        )
    if suffix == PARQUET:
        import_parquet()
    return suffix


def check_rows_file(path: Path, *, overwrite: bool = False) -> None:
    """Check, before the work begins, that a file for rows can be written; errors as `rows_suffix`.

    A file that is there is an OutputError, unless it may be replaced.
    """
    rows_suffix(path)
    check_new(path, overwrite=overwrite)


def encode_row(suffix: str, columns: Sequence[str], row: Mapping[str, object]) -> bytes:
    """Return a row as one line of .csv (None is an empty field) or .jsonl (None is null)."""
    if suffix == ".csv":
        return _csv_line([row[name] for name in columns])
    return encode_text(json.dumps({name: row[name] for name in columns}, allow_nan=False) + "\n")


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a whole file of rows in place of an older one, or not at all; or an OutputError."""
    suffix = rows_suffix(path)
    with writing(path) as temporary:
        if suffix == PARQUET:
            _write_parquet(temporary, columns, rows)
            return
        with temporary.open("wb") as file:
            if suffix == ".csv":
                file.write(_csv_line(columns))
            file.writelines(encode_row(suffix, columns, row) for row in rows)


def _csv_line(values: Sequence[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(map(guarded, values))  # ends in \r\n, so it quotes values with either
    return encode_text(text.getvalue().removesuffix("\r\n") + "\n")


def _write_parquet(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a group of rows at a time, so that memory stays flat."""
    pyarrow, parquet = import_parquet()
    numbers = [
        name for name in columns if name in _NUMBERS or name.startswith(("score", "probability"))
    ]
    types = dict.fromkeys(columns, pyarrow.string()) | dict.fromkeys(numbers, pyarrow.float64())
    types |= {name: pyarrow.int64() for name in columns if name in _INTEGERS}
    schema = pyarrow.schema(types)
    with parquet.ParquetWriter(path, schema) as file:
        valid = ({name: _valid_text(row[name]) for name in columns} for row in rows)
        while group := list(islice(valid, _ROWS_PER_GROUP)):
            file.write_table(pyarrow.Table.from_pylist(group, schema=schema))


def _valid_text(value: Any) -> Any:
    is_text = isinstance(value, str)
    return value.encode("utf-8", "backslashreplace").decode() if is_text else value
