"""Comparison of runs: significance by group, settings that differ, refusals."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from activity_cli.errors import SettingsError
from activity_cli.evaluation.comparison import compare_pair, differing_settings, read_run
from activity_cli.evaluation.intervals import mean_with_interval
from activity_cli.report.terminal.comparison import describe_pair
from tests.workplace import Workplace, rows_of


def _write_run(
    folder: Path, labels: str, *, truth: str = "aabbab", start: int = 0, group_size: int = 0
) -> Path:
    """Write a run that predicted these one-letter labels for clips 0.mp4, 1.mp4, ..."""
    folder.mkdir()
    columns = ["path", "start", "end", "true_label", "label", "score", "status", "reason"]
    with (folder / "predictions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*columns, *(["group"] if group_size else [])])
        writer.writeheader()
        for i, (true, label) in enumerate(zip(truth, labels, strict=False)):
            row = {"path": f"{start + i}.mp4", "true_label": true, "label": label, "score": 0.9}
            writer.writerow(row | ({"group": i // group_size} if group_size else {}))
        writer.writerow({"path": "gone.mp4", "true_label": "a", "status": "unreadable"})
    (folder / "metrics.json").write_text(json.dumps({"measured_on": "test", "accuracy": 0.5}))
    return folder


def test_pairs_are_described_or_refused(tmp_path: Path) -> None:
    first = read_run(_write_run(tmp_path / "first", "abbbab"))  # wrong on clip 1
    second = read_run(_write_run(tmp_path / "second", "aababb"))  # wrong on clips 3 and 4
    other = read_run(_write_run(tmp_path / "other", "bbabaa", truth="bbabaa", start=2))
    relabelled = read_run(_write_run(tmp_path / "relabelled", "aabbab", truth="bbbbab"))

    pair = compare_pair(first, second)

    assert pair.result is not None
    assert (pair.result.only_first, pair.result.only_second) == (2, 1)
    text = describe_pair(pair)
    assert (
        f"{second.name}: -16.7 points of accuracy vs {first.name}, not significant (p = 1" in text
    )
    assert f"Only {second.name} is correct on 1 clip, only {first.name} on 2." in text
    assert "(6 and 6, 4 shared): not compared" in describe_pair(compare_pair(first, other))
    assert "different true labels" in describe_pair(compare_pair(first, relabelled))
    assert "no difference" in describe_pair(compare_pair(first, first))


def test_significance_counts_groups_like_the_report(tmp_path: Path) -> None:
    # 12 clips in 3 groups; the second run is better in two of them, on all 4 clips each.
    truth, names = "a" * 12, ("b" * 12, "aaaabbbbaaaa")
    first, second = (
        read_run(_write_run(tmp_path / str(i), labels, truth=truth, group_size=4))
        for i, labels in enumerate(names)
    )

    result = compare_pair(first, second).result

    assert result is not None
    assert result.num_groups == 3
    assert result.p_value == pytest.approx(0.5)  # by clip it would be 2 / 2^8
    gains = np.array([label == "a" for label in names[1]], float)
    expected = mean_with_interval(gains, np.repeat(np.arange(3), 4))
    assert result.difference == expected
    assert "not significant" in describe_pair(compare_pair(first, second))


def test_runs_of_an_earlier_version_have_their_groups_in_the_split(
    tmp_path: Path,
) -> None:
    runs = [
        _write_run(tmp_path / name, labels) for name, labels in (("x", "aabbab"), ("y", "b" * 6))
    ]
    for run in runs:
        rows = [f"{i}.mp4,,,a,camera {i % 2},test" for i in range(6)]
        (run / "split.csv").write_text("\n".join(["path,start,end,label,group,split", *rows, ""]))

    result = compare_pair(*map(read_run, runs)).result

    assert result is not None
    assert result.num_groups == 2


def test_folders_that_are_no_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not the folder of a run"):
        read_run(tmp_path)
    run = _write_run(tmp_path / "a", "aabbab")
    for name, text in (("metrics.json", "{"), ("predictions.csv", "path,label\n")):
        damaged = tmp_path / f"damaged-{name}"
        shutil.copytree(run, damaged)
        (damaged / name).write_text(text)
        with pytest.raises(SettingsError, match="cannot be read as a run"):
            read_run(damaged)


@pytest.mark.slow
def test_compare_shows_metrics_cost_and_settings(shared: Workplace) -> None:
    shared.run(
        "train", "clips", "--settings", "runs/first", "--hidden-size", "8", "--name", "small"
    )
    runs = [shared.folder / "runs" / name for name in ("first", "small")]

    done = shared.run("compare", "runs/first", "runs/small", "--output", "both.csv", "--quiet")

    one, other = rows_of(shared.folder / "both.csv")
    metrics = json.loads((runs[0] / "metrics.json").read_text())
    assert float(one["accuracy"]) == metrics["accuracy"]
    assert (one["network.hidden_size"], other["network.hidden_size"]) == ("32", "8")
    assert list(differing_settings([read_run(run) for run in runs])) == ["network.hidden_size"]
    assert 0 < int(other["parameters"]) < int(one["parameters"])
    assert float(one["ms_per_clip"]) > 0
    assert one["p_value"] == ""
    assert float(other["p_value"]) <= 1
    assert "network.hidden_size" in done.stdout
    assert "runs/small" in done.stdout
    assert (
        "exists"
        in shared.run(
            "compare", "runs/first", "runs/small", "--output", "both.csv", "--no-speed", code=1
        ).stderr
    )
