"""Shards that become one file: the same rows as without shards, and nothing joined that differs."""

import csv
import json
import os
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from activity_cli.errors import ActivityError, DataError, OutputError
from activity_cli.predict.batch import ResultFile
from activity_cli.predict.results import RowSchema
from activity_cli.predict.results.journal import journal_path
from activity_cli.predict.results.merging import merge_results
from activity_cli.types import FileResult, Prediction, Status

SHAPE = RowSchema(top_k=2, labels=("run", "wave"))
MADE_WITH = {"model": "gym 1234", "engine": "openvino-fp32"}
SUFFIXES = (".csv", ".jsonl", ".parquet")


def result_of(path: Path, score: float | None = None, *, model: str = "gym") -> FileResult:
    """A result that depends on the name; every fifth file has no score."""
    seed = sum(path.name.encode("utf-8", "surrogateescape"))
    if score is None and seed % 5 == 0:
        return FileResult(path=str(path), status=Status.UNREADABLE, reason="empty", model=model)
    share = seed % 97 / 97 if score is None else score
    scores = np.array([share, 1 - share], np.float32)
    return FileResult(
        path=str(path),
        status=Status.OK,
        prediction=Prediction(labels=("run", "wave"), scores=scores),
        duration_seconds=seed / 7,
        num_frames=seed,
        model=model,
    )


def score(
    output: Path,
    results: Sequence[FileResult],
    *,
    shard: str | None = None,
    shape: RowSchema = SHAPE,
    **provenance: str,
) -> Path:
    """A batch that wrote these results."""
    paths = [Path(result.path) for result in results]
    made = {**MADE_WITH, **provenance, **({"shard": shard} if shard else {})}
    with ResultFile(output, paths, shape, provenance=made) as file:
        by_path = {result.path: result for result in results}
        for request in file.requests():
            file.write(by_path[str(request.path)])
    return output


def rows_of(output: Path) -> list[dict[str, Any]]:
    if output.suffix == ".csv":
        with output.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return list(csv.DictReader(file))
    if output.suffix == ".jsonl":
        return [json.loads(line) for line in output.read_text().splitlines()]
    parquet = pytest.importorskip("pyarrow.parquet")
    rows: list[dict[str, Any]] = parquet.read_table(output).to_pylist()
    return rows


def thirds(results: Sequence[FileResult]) -> list[Sequence[FileResult]]:
    """Three shards of them."""
    return [results[:15], results[15:30], results[30:]]


@pytest.fixture
def videos(tmp_path: Path) -> list[Path]:
    """Names that commas, quotes, line ends and bytes that are no text make difficult."""
    names = [*(f"{number}.mp4" for number in range(40)), 'a,"b"\n.mp4', "café.mp4", "no\udcff.mp4"]
    paths = [tmp_path / "in" / name for name in names]
    random.Random(1).shuffle(paths)
    return paths


@pytest.mark.parametrize("has_journals", [True, False])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_merged_shards_are_the_rows_of_one_run(
    tmp_path: Path, videos: list[Path], suffix: str, has_journals: bool
) -> None:
    if not has_journals:  # Parquet alone cannot say which bytes a name has that is no text
        videos = [path for path in videos if "\udcff" not in path.name]
    results = [result_of(path) for path in videos]
    whole = score(tmp_path / f"whole{suffix}", results)
    shards = [
        score(tmp_path / f"{number}{kind}", part, shard=f"{number}/3")
        for number, (kind, part) in enumerate(zip(SUFFIXES, thirds(results), strict=True), 1)
    ]
    if not has_journals:
        for shard in shards:
            journal_path(shard).unlink()

    merged = merge_results(shards, tmp_path / f"all{suffix}")
    merge_results(shards[::-1], tmp_path / f"again{suffix}")

    def by_path(row: dict[str, Any]) -> bytes:
        text: str = row["path"]
        return text.encode("utf-8", "surrogateescape")

    assert rows_of(tmp_path / f"all{suffix}") == sorted(rows_of(whole), key=by_path)
    if suffix != ".parquet":  # these two name their bytes
        lines = sorted(whole.read_bytes().split(b"\n"))
        assert sorted((tmp_path / f"all{suffix}").read_bytes().split(b"\n")) == lines
    assert (tmp_path / f"all{suffix}").read_bytes() == (tmp_path / f"again{suffix}").read_bytes()
    assert merged.num_rows == len(videos)
    assert merged.by_status == Counter(result.status for result in results)
    assert len(merged.by_status) == 2
    assert journal_path(tmp_path / f"all{suffix}").exists() == has_journals


def test_a_merge_of_some_shards_says_so_and_is_gone_on_from(
    tmp_path: Path, videos: list[Path]
) -> None:
    results = [result_of(path) for path in videos]
    parts = thirds(results)
    shards = [
        score(tmp_path / f"{number}.csv", parts[number - 1], shard=f"{number}/3")
        for number in (1, 3)
    ]
    output = tmp_path / "all.csv"

    with pytest.raises(DataError, match="Missing: shard 2 of 3") as error:
        merge_results(shards, output)
    assert "--partial" in error.value.hint
    assert not output.exists()
    assert merge_results(shards, output, partial=True).missing_shards == ("2/3",)

    with ResultFile(output, videos, SHAPE, provenance=MADE_WITH) as file:
        left = [request.path for request in file.requests()]
        for path in left:
            file.write(result_of(path))
    assert left == [Path(result.path) for result in parts[1]]
    whole = score(tmp_path / "whole.csv", results)
    assert sorted(output.read_bytes().split(b"\n")) == sorted(whole.read_bytes().split(b"\n"))


def test_shards_of_different_splits_are_no_whole(tmp_path: Path, videos: list[Path]) -> None:
    first = score(tmp_path / "1.csv", [result_of(videos[0])], shard="1/2")
    other = score(tmp_path / "2.csv", [result_of(videos[1])], shard="2/3")

    with pytest.raises(DataError, match="different splits: 2 and 3"):
        merge_results([first, other], tmp_path / "all.csv", partial=True)
    with pytest.raises(OutputError, match="another shard: 1/2, not 2/2"):
        score(first, [result_of(videos[0])], shard="2/2")


def test_of_two_rows_of_a_path_the_better_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    other = tmp_path / "b.mp4"
    missing = FileResult(path=str(path), status=Status.MISSING, reason="no file")
    crashed = FileResult(path=str(path), status=Status.CRASHED, reason="SIGSEGV")
    files = [
        score(tmp_path / "1.csv", [missing, result_of(other, 0.5)]),
        score(tmp_path / "2.csv", [crashed]),
        score(tmp_path / "3.csv", [result_of(path, 0.25), result_of(other, 0.5)]),
        # The last digit of a score is a matter of the CPU.
        score(tmp_path / "4.csv", [result_of(other, 0.500001)]),
    ]

    for order in (files, files[::-1]):
        done = merge_results(order, tmp_path / "all.csv", overwrite=True)
        rows = rows_of(tmp_path / "all.csv")
        assert [row["status"] for row in rows] == ["ok", "ok"]
        assert (done.num_rows, done.num_same, done.num_settled) == (2, 1, 3)
    merge_results(files[:2], tmp_path / "all.csv", overwrite=True)
    assert rows_of(tmp_path / "all.csv")[0]["status"] == "crashed"


def test_scores_that_differ_are_settled_by_the_later_video_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"first")
    os.utime(path, ns=(0, 1_000))
    old = score(tmp_path / "old.csv", [result_of(path, 0.25)])
    os.utime(path, ns=(0, 2_000))
    new = score(tmp_path / "new.csv", [result_of(path, 0.75)])
    same = score(tmp_path / "same.csv", [result_of(path, 0.5)])

    for order in ([old, new], [new, old]):
        merge_results(order, tmp_path / "all.csv", overwrite=True)
        assert rows_of(tmp_path / "all.csv")[0]["label"] == "run"
    before = (tmp_path / "all.csv").read_bytes()
    with pytest.raises(DataError, match="different scores") as error:
        merge_results([new, same], tmp_path / "all.csv", overwrite=True)
    assert "new.csv" in error.value.message
    assert "same.csv" in error.value.message
    journal_path(old).unlink()
    with pytest.raises(DataError, match="different scores"):
        merge_results([old, new], tmp_path / "all.csv", overwrite=True)
    assert (tmp_path / "all.csv").read_bytes() == before


def test_what_a_crash_kept_out_of_the_rows_comes_from_the_journal(tmp_path: Path) -> None:
    file = score(tmp_path / "1.csv", [result_of(tmp_path / "a.mp4"), result_of(tmp_path / "b.mp4")])
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])

    merge_results([file], tmp_path / "all.csv")
    assert (tmp_path / "all.csv").read_bytes() == whole

    journal_path(file).unlink()
    with pytest.raises(DataError, match="is cut off"):
        merge_results([file], tmp_path / "all.csv", overwrite=True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "path,label\na.mp4,run\n", "is not a result file; its columns are path, label"),
        ("x.csv", "", "its columns are none"),
        ("x.csv", "{header}\na.mp4,ok\n", "line 2: 2 values for 10 columns"),
        ("x.csv", "{header}\na.mp4,good,,run,0.9,,,1,9,gym\n", "line 2: there is no status 'good'"),
        ("x.csv", "{header}\na.mp4,ok,,,,,,1,9,gym\n", "status ok without a label and score"),
        ("x.csv", "{header}\na.mp4,missing,,run,0.9,,,,,gym\n", "status missing with a label"),
        ("x.csv", "{header}\na.mp4,ok,,run,much,,,1,9,gym\n", "score is 'much'"),
        ("x.csv", '{header}\n"a.mp4,ok,,run,0.9,,,1,9,gym\n', "cannot be read"),
        ("x.csv", "{header}\n,ok,,run,0.9,,,1,9,gym\n", "it has no path"),
        ("x.csv", "{header}\na.mp4,ok,,run,0.9,,,1,9,dance\n", r"model dance, and .* of gym"),
        ("x.csv", "path,status,reason,label,score,seconds,frames,model\n", "other columns than"),
        ("x.jsonl", "[1]\n", "not a JSON object"),
        ("x.jsonl", '{"path": "a.mp4"\n', "cannot be read"),
        ("x.parquet", "no Parquet", "cannot be read"),
        ("x.txt", "", "not a result file"),
        ("gone.csv", None, "There is no file"),
    ],
)
def test_what_is_no_result_is_named_and_refused(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    shape = RowSchema(top_k=2)
    good = score(tmp_path / "good.csv", [result_of(tmp_path / "b.mp4", 0.5)], shape=shape)
    if content is not None:
        (tmp_path / name).write_text(content.replace("{header}", ",".join(shape.columns)))

    with pytest.raises(ActivityError, match=message) as error:
        merge_results([good, tmp_path / name], tmp_path / "all.csv")

    assert name in error.value.message
    assert error.value.hint
    assert not (tmp_path / "all.csv").exists()


def test_other_engines_are_never_mixed(tmp_path: Path) -> None:
    first = score(tmp_path / "1.csv", [result_of(tmp_path / "a.mp4")])
    other = score(tmp_path / "2.csv", [result_of(tmp_path / "b.mp4")], engine="onnx-fp32")

    with pytest.raises(DataError, match=r"another engine than .*: onnx-fp32, not openvino-fp32"):
        merge_results([first, other], tmp_path / "all.csv")


def test_the_command_counts_and_never_overwrites(tmp_path: Path) -> None:
    from activity_cli.cli.app import app

    first = score(tmp_path / "1.csv", [result_of(tmp_path / f"{n}.mp4") for n in range(4)])
    output = tmp_path / "out" / "all.jsonl"

    def merge(*arguments: object, code: int) -> str:
        done = CliRunner().invoke(app, ["merge", *map(str, arguments), "--output", str(output)])
        assert done.exit_code == code, done.output
        return done.stdout

    said = json.loads(merge(first, first, "--json", code=3))
    assert (said["num_files"], said["num_rows"], said["num_without_score"]) == (1, 4, 1)
    assert said["by_status"] == {"ok": 3, "unreadable": 1}
    merge(first, code=1)
    merge(first, "--overwrite", "--quiet", code=3)
    with pytest.raises(OutputError, match="one of the files to merge"):
        merge_results([first], first, overwrite=True)
    with pytest.raises(OutputError, match="exists already"):
        merge_results([first], output)
