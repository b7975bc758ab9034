"""Batches that are interrupted, repeated and shared between machines: nothing lost or doubled."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from activity_cli.errors import ActivityError, OutputError, SettingsError
from activity_cli.predict.batch import FailureLimit, ResultFile
from activity_cli.predict.results import RowSchema
from activity_cli.predict.results.journal import journal_path
from activity_cli.types import FileResult, Prediction, Status
from activity_cli.video.sources import Found, Shard, find_sources, select

SHAPE = RowSchema(top_k=1, labels=("run", "wave"))
MADE_WITH = {"model": "gym 1234", "engine": "openvino-fp32"}


def result_of(path: Path) -> FileResult:
    """A result that depends on the content, as a real one does."""
    content = path.read_bytes() if path.exists() else b""
    if not content:
        return FileResult(path=str(path), status=Status.UNREADABLE, reason="empty")
    share = content[0] / 256
    scores = np.array([share, 1 - share], np.float32)
    prediction = Prediction(labels=("run", "wave"), scores=scores)
    return FileResult(path=str(path), status=Status.OK, prediction=prediction, num_frames=5)


def run(output: Path, files: Sequence[Path], *, stop_after: int = 10**6, **again: Any) -> int:
    """One run of a batch; returns how many files it did."""
    done = 0
    with ResultFile(output, files, SHAPE, provenance=MADE_WITH, **again) as results:
        for request in results.requests():
            if done == stop_after:
                break
            results.write(result_of(request.path))
            done += 1
    return done


def rows_of(output: Path) -> list[dict[str, Any]]:
    if output.suffix == ".csv":
        with output.open(newline="") as file:
            return list(csv.DictReader(file))
    if output.suffix == ".jsonl":
        return [json.loads(line) for line in output.read_text().splitlines()]
    parquet = pytest.importorskip("pyarrow.parquet")
    rows: list[dict[str, Any]] = parquet.read_table(output).to_pylist()
    return rows


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Ten files, the fourth of them empty."""
    paths = [tmp_path / "in" / f"{number}.mp4" for number in range(10)]
    paths[0].parent.mkdir()
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number * 20]) * (number != 3))
    return paths


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_run_that_was_cut_short_goes_on(suffix: str, files: list[Path], tmp_path: Path) -> None:
    unbroken, broken = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    run(unbroken, files)

    assert run(broken, files, stop_after=4) == 4
    assert len(rows_of(broken)) == 4
    # What a kill in the middle of a write leaves, and a row without its twin in the journal.
    with journal_path(broken).open("ab") as journal:
        journal.write(b'{"file": [1, 2, nul')
    if suffix != ".parquet":
        with broken.open("ab") as rows:
            rows.write(b"torn row without end")
    assert run(broken, files) == 6

    assert rows_of(broken) == rows_of(unbroken)
    assert len(rows_of(broken)) == 10
    assert run(broken, files) == 0


def test_only_what_changed_or_failed_is_done_again(files: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "rows.csv"
    run(output, files)

    files[5].write_bytes(b"longer than before")
    assert run(output, files) == 1
    assert run(output, files) == 0
    assert run(output, files, retry_failed=True) == 1
    files[3].write_bytes(b"\xc0")
    assert run(output, files) == 1
    assert len(rows_of(output)) == 10
    assert {row["path"]: row["status"] for row in rows_of(output)}[str(files[3])] == "ok"


def test_rows_of_files_that_are_not_asked_for_again_stay(files: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "rows.csv"
    run(output, files[:5])
    before = rows_of(output)
    for path in files[:4]:
        path.unlink()  # scored, then archived

    assert run(output, files[5:], retry_failed=True) == 5

    assert rows_of(output)[:5] == before
    assert len(rows_of(output)) == 10


def test_content_tells_where_size_and_time_do_not(files: list[Path], tmp_path: Path) -> None:
    import os

    output = tmp_path / "rows.csv"
    run(output, files, verify_content=True)
    stat = files[1].stat()
    files[1].write_bytes(b"\xff")
    os.utime(files[1], ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert run(output, files) == 0
    assert run(output, files, verify_content=True) == 1


def test_other_models_are_never_mixed(files: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "rows.csv"
    run(output, files)
    before = output.read_bytes()
    other = {**MADE_WITH, "model": "gym 5678"}

    with (
        pytest.raises(OutputError, match="another model: gym 1234, not gym 5678") as error,
        ResultFile(output, files, SHAPE, provenance=other),
    ):
        pass
    assert "--overwrite" in error.value.hint
    assert output.read_bytes() == before
    with ResultFile(output, files, SHAPE, provenance=other, overwrite=True) as results:
        assert results.num_kept == 0


def test_results_without_a_journal_are_not_touched(files: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "rows.csv"
    output.write_text("precious")

    with pytest.raises(OutputError, match="exists already"):
        run(output, files)
    journal_path(output).write_text("no journal")
    with pytest.raises(OutputError, match="first line is not that of a journal"):
        run(output, files)
    assert output.read_text() == "precious"


def test_shards_share_a_list_without_loss_wherever_it_is_mounted(tmp_path: Path) -> None:
    places = [tmp_path / "mnt" / "a", tmp_path / "data"]
    for place in places:
        (place / "cam 1").mkdir(parents=True)
        for number in range(60):
            (place / "cam 1" / f"{number}.mp4").touch()

    def names(place: Path, number: int) -> set[str]:
        return {p.name for p in select(find_sources([str(place)]), shard=Shard(number, 3))}

    parts = [names(places[number % 2], number) for number in (1, 2, 3)]

    assert len(set.union(*parts)) == sum(map(len, parts)) == 60
    assert min(map(len, parts)) > 8
    assert names(places[0], 1) == names(places[1], 1)


@pytest.mark.parametrize(
    ("patterns", "exclude", "expected"),
    [
        (["*.avi"], [], ["b.avi"]),
        ([], ["old/*"], ["a.mp4", "b.avi"]),
        (["*.mp4"], ["*old*"], ["a.mp4"]),
    ],
)
def test_patterns_choose_by_name_or_by_path(
    patterns: list[str], exclude: list[str], expected: list[str]
) -> None:
    found = [Found(Path("x", name), name) for name in ("a.mp4", "b.avi", "old/c.mp4")]

    chosen = select(found, patterns=patterns, exclude=exclude)

    assert [path.name for path in chosen] == expected
    with pytest.raises(ActivityError, match="leave none of the 3 files"):
        select(found, patterns=["*.webm"])


def test_a_limit_is_a_number_or_a_share() -> None:
    assert not FailureLimit.parse("2").is_exceeded(2, 3)
    assert FailureLimit.parse("2").is_exceeded(3, 3)
    assert not FailureLimit.parse("5%").is_exceeded(1, 1)  # one file says nothing about a share
    assert FailureLimit.parse("5%").is_exceeded(3, 40)
    for text in ("-1", "many", "101%", ""):
        with pytest.raises(SettingsError):
            FailureLimit.parse(text)
    for text in ("0/3", "4/3", "1", "a/b"):
        with pytest.raises(SettingsError):
            Shard.parse(text)
