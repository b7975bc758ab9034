"""Result rows in files, in all formats."""

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from activity_cli.errors import OutputError
from activity_cli.predict.batch import ResultFile
from activity_cli.predict.results import RowSchema, write_rows
from activity_cli.types import FileResult, Prediction, Status

SCORED = FileResult(
    path='a, "b"\n\r.mp4',
    status=Status.SHORT,
    reason="3 frames only",
    prediction=Prediction(
        labels=("run", "sit", "wave"), scores=np.array([0.2, 0.1, 0.7], np.float32)
    ),
    duration_seconds=0.30000001,
    num_frames=3,
    model="demo",
)
MISSING = FileResult(path="no\udcff.mp4", status=Status.MISSING, reason="no such file")

EXPECTED: list[dict[str, object]] = [
    {
        "path": 'a, "b"\n\r.mp4',
        "status": "short",
        "reason": "3 frames only",
        "label": "wave",
        "score": 0.7,
        "label_2": "run",
        "score_2": 0.2,
        "seconds": 0.3,
        "frames": 3,
        "model": "demo",
    },
    {
        "path": "no\udcff.mp4",
        "status": "missing",
        "reason": "no such file",
        "label": None,
        "score": None,
        "label_2": None,
        "score_2": None,
        "seconds": None,
        "frames": None,
        "model": "",
    },
]


SCHEMA = RowSchema(top_k=2)


def write(path: Path, *results: FileResult) -> Iterator[FileResult]:
    """A run that writes these results; gives each one once it is written."""
    videos = [Path(result.path) for result in results]
    with ResultFile(path, videos, SCHEMA, provenance={}, overwrite=True) as rows:
        for _, result in zip(rows.requests(), results, strict=True):
            rows.write(result)
            yield result


def read_csv(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_row_has_the_promised_columns() -> None:
    row = SCHEMA.row(SCORED)

    assert ",".join(row) == "path,status,reason,label,score,label_2,score_2,seconds,frames,model"
    assert row == EXPECTED[0]
    # More labels are requested than the model has: the columns stay, empty.
    assert RowSchema(top_k=4).row(SCORED)["label_4"] is None
    assert tuple(SCHEMA.row(MISSING)) == SCHEMA.columns


@pytest.mark.parametrize("name", ["new/folder/rows.csv", "rows.CSV"])
def test_csv_gives_back_what_was_written(tmp_path: Path, name: str) -> None:
    list(write(tmp_path / name, SCORED, MISSING))

    as_text = [{k: "" if v is None else str(v) for k, v in row.items()} for row in EXPECTED]
    assert read_csv(tmp_path / name) == as_text
    assert (tmp_path / name).read_bytes().endswith(b",no such file,,,,,,,\n")


def test_jsonl_gives_back_what_was_written(tmp_path: Path) -> None:
    list(write(tmp_path / "new" / "rows.jsonl", SCORED, MISSING))

    assert read_jsonl(tmp_path / "new" / "rows.jsonl") == EXPECTED


@pytest.mark.parametrize(("suffix", "read"), [(".csv", read_csv), (".jsonl", read_jsonl)])
def test_a_row_is_in_the_file_at_once(
    tmp_path: Path, suffix: str, read: Callable[[Path], list[dict[str, Any]]]
) -> None:
    path = tmp_path / f"rows{suffix}"

    for number, _ in enumerate(write(path, SCORED, MISSING), start=1):
        assert len(read(path)) == number


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("rows.xlsx", "format .xlsx is not supported", ".csv, .jsonl or .parquet"),
        ("rows", r"\(no suffix\) is not supported", ".csv, .jsonl or .parquet"),
        ("file/rows.csv", "Cannot write .*rows.csv: ", "another place"),
        ("folder.csv", "Cannot write .*folder.csv: ", "another place"),
    ],
)
def test_a_file_that_cannot_be_written_says_why(
    tmp_path: Path, name: str, message: str, hint: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.csv").mkdir()

    with pytest.raises(OutputError, match=message) as error:
        write_rows(tmp_path / name, ("path",), ())

    assert hint in error.value.hint


def test_a_disk_that_fills_up_leaves_whole_lines(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    path = tmp_path / "rows.csv"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))  # bytes: some rows fit
    try:
        with pytest.raises(OutputError, match="Cannot write"):
            list(write(path, *(replace(MISSING, path=f"{n}.mp4") for n in range(200))))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)

    found = read_csv(path)
    assert len(found) > 10
    assert all(row["reason"] == "no such file" for row in found)
    assert path.read_bytes().endswith(b",,,,,,,\n")
