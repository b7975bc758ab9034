"""Runs side by side: figures and significance that another way of computing agrees with."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from activity_cli.evaluation.significance import compare_paired, mcnemar
from scipy.stats import binomtest  # type: ignore[import-untyped]

from activity_cli.errors import SettingsError
from activity_cli.evaluation.comparison import compare_pair, differing_settings, read_run
from activity_cli.report.terminal.comparison import describe_pair
from tests.workplace import Workplace, rows_of


def test_mcnemar_is_the_binomial_test_of_a_fair_coin() -> None:
    for only_first, only_second in ((0, 0), (5, 12), (12, 5), (1, 0), (7, 7), (900, 1100)):
        n = only_first + only_second
        expected = binomtest(only_first, n).pvalue if n else 1.0
        assert mcnemar(only_first, only_second) == pytest.approx(expected, rel=1e-9)


def test_the_interval_covers_the_true_difference_about_as_often_as_it_says() -> None:
    generator, covered = np.random.default_rng(1), 0
    true_difference = 0.3 * 0.4 - 0.7 * 0.05
    for _ in range(400):
        first = generator.random(200) < 0.7
        second = np.where(first, generator.random(200) >= 0.05, generator.random(200) < 0.4)
        low, high = compare_paired(first, second).interval
        covered += low <= true_difference <= high

    assert 0.92 <= covered / 400 <= 0.98


def _write_run(folder: Path, labels: str, *, truth: str = "aabbab", start: int = 0) -> Path:
    """A run that called clips 0.mp4, 1.mp4, ... by these one-letter labels."""
    folder.mkdir()
    rows = [
        f"{start + i}.mp4,,,{true},{said},0.9,ok,,0.9,0.1"
        for i, (true, said) in enumerate(zip(truth, labels, strict=False))
    ]
    header = "path,start,end,true_label,label,score,status,reason,score_a,score_b"
    unread = "gone.mp4,,,a,,,unreadable,damaged,,"
    (folder / "predictions.csv").write_text("\n".join([header, *rows, unread, ""]))
    (folder / "metrics.json").write_text(json.dumps({"measured_on": "test", "accuracy": 0.5}))
    return folder


def test_pairs_are_told_in_words_or_refused(tmp_path: Path) -> None:
    first = read_run(_write_run(tmp_path / "first", "abbbab"))  # wrong on clip 1
    second = read_run(_write_run(tmp_path / "second", "aababb"))  # wrong on clips 3 and 4
    other = read_run(_write_run(tmp_path / "other", "bbabaa", truth="bbabaa", start=2))
    relabelled = read_run(_write_run(tmp_path / "relabelled", "aabbab", truth="bbbbab"))

    pair = compare_pair(first, second)

    assert pair.result is not None
    assert (pair.result.only_first, pair.result.only_second) == (2, 1)
    said = describe_pair(pair)
    assert f"{second.name} names 1 clip right that {first.name} gets wrong, 2 the other way" in said
    assert "p = 1, chance explains it" in said
    assert "-0.167" in said
    assert "(6 and 6, 4 shared), so there is no p-value" in describe_pair(
        compare_pair(first, other)
    )
    assert "other labels: not compared" in describe_pair(compare_pair(first, relabelled))
    assert "the same clips" in describe_pair(compare_pair(first, first))


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not the folder of a run"):
        read_run(tmp_path)
    run = _write_run(tmp_path / "a", "aabbab")
    for name, text in (("metrics.json", "{"), ("predictions.csv", "path,label\n")):
        damaged = tmp_path / f"damaged-{name}"
        shutil.copytree(run, damaged)
        (damaged / name).write_text(text)
        with pytest.raises(SettingsError, match="cannot be read as a run"):
            read_run(damaged)


def test_compare_says_figures_cost_settings_and_what_chance_explains(shared: Workplace) -> None:
    shared.run(
        "train", "clips", "--settings", "runs/first", "--hidden-size", "8", "--name", "small"
    )
    runs = [shared.folder / "runs" / name for name in ("first", "small")]

    done = shared.run("compare", "runs/first", "runs/small", "--output", "both.csv", "--quiet")

    one, other = rows_of(shared.folder / "both.csv")
    metrics = json.loads((runs[0] / "metrics.json").read_text())
    assert float(one["accuracy"]) == metrics["accuracy"]
    assert (one["network.hidden_size"], other["network.hidden_size"]) == ("64", "8")
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
