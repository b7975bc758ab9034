"""Result rows in files: one suite over all formats."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from activity_cli.errors import OutputError
from activity_cli.predict.results.writers import RowWriter, open_rows, result_columns, result_row
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


class Writer:
    """Writes results as rows."""

    def __init__(self, rows: RowWriter, top_k: int) -> None:
        self.rows, self.top_k = rows, top_k

    def write(self, result: FileResult) -> None:
        self.rows.write(result_row(result, self.top_k))


@contextmanager
def open_writer(path: Path, *, top_k: int, overwrite: bool) -> Iterator[Writer]:
    with open_rows(path, result_columns(top_k), overwrite=overwrite) as rows:
        yield Writer(rows, top_k)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_row_has_the_promised_columns() -> None:
    row = result_row(SCORED, 2)

    assert ",".join(row) == "path,status,reason,label,score,label_2,score_2,seconds,frames,model"
    assert row == EXPECTED[0]
    # More labels asked for than the model has: the columns stay, empty.
    assert result_row(SCORED, 4)["label_4"] is None
    assert tuple(result_row(MISSING, 1)) == result_columns(1)


@pytest.mark.parametrize("name", ["new/folder/rows.csv", "rows.CSV"])
def test_csv_gives_back_what_was_written(tmp_path: Path, name: str) -> None:
    with open_writer(tmp_path / name, top_k=2, overwrite=False) as writer:
        for result in (SCORED, MISSING):
            writer.write(result)

    as_text = [{k: "" if v is None else str(v) for k, v in row.items()} for row in EXPECTED]
    assert read_csv(tmp_path / name) == as_text
    assert (tmp_path / name).read_bytes().endswith(b",no such file,,,,,,,\n")


def test_jsonl_gives_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    with open_writer(path, top_k=2, overwrite=False) as writer:
        for result in (SCORED, MISSING):
            writer.write(result)

    assert read_jsonl(path) == EXPECTED


@pytest.mark.parametrize(("suffix", "read"), [(".csv", read_csv), (".jsonl", read_jsonl)])
def test_a_row_is_in_the_file_at_once(
    tmp_path: Path, suffix: str, read: Callable[[Path], list[dict[str, Any]]]
) -> None:
    path = tmp_path / f"rows{suffix}"

    with open_writer(path, top_k=1, overwrite=False) as writer:
        assert read(path) == []
        for number in (1, 2):
            writer.write(MISSING)
            assert len(read(path)) == number


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_existing_results_are_refused_unless_told(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    path.write_text("precious, and longer than what comes after it" * 20)

    with (
        pytest.raises(OutputError, match="exists already") as error,
        open_writer(path, top_k=1, overwrite=False),
    ):
        pass
    assert "--overwrite" in error.value.hint
    assert path.read_text().startswith("precious")

    with open_writer(path, top_k=1, overwrite=True) as writer:
        writer.write(MISSING)
    assert "precious" not in path.read_text(errors="replace")


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("rows.xlsx", "format .xlsx is not known", ".csv or .jsonl"),
        ("rows", r"\(no suffix\) is not known", ".csv or .jsonl"),
        ("file/rows.csv", "Cannot write .*rows.csv: ", "another place"),
        ("folder.csv", "Cannot write .*folder.csv: ", "another place"),
    ],
)
def test_a_file_that_cannot_be_written_says_why(
    tmp_path: Path, name: str, message: str, hint: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.csv").mkdir()

    with (
        pytest.raises(OutputError, match=message) as error,
        open_writer(tmp_path / name, top_k=1, overwrite=True),
    ):
        pass

    assert hint in error.value.hint


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's always full device")
def test_a_full_disk_is_an_error_in_words(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.symlink_to("/dev/full")

    with (
        pytest.raises(OutputError, match="No space left on device"),
        open_writer(path, top_k=1, overwrite=True) as writer,
    ):
        writer.write(MISSING)


def write_many(path: Path) -> None:
    with open_rows(path, ("n", "text"), overwrite=False) as rows:
        for number in range(100):
            rows.write({"n": number, "text": "x" * 40})


def test_a_disk_that_fills_up_leaves_whole_lines(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    path = tmp_path / "rows.csv"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # bytes: about 20 rows fit
    try:
        with pytest.raises(OutputError, match="Cannot write"):
            write_many(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)

    found = read_csv(path)
    assert len(found) > 10
    assert all(row["text"] == "x" * 40 for row in found)
    assert path.read_bytes().endswith(b"x\n")


def test_columns_may_be_others_than_those_of_results(tmp_path: Path) -> None:
    path = tmp_path / "segments.csv"

    with open_rows(path, ("path", "start"), overwrite=False) as rows:
        rows.write({"start": 1.5, "path": "a.mp4"})

    assert path.read_text() == "path,start\na.mp4,1.5\n"
