"""The commands as a user runs them: real processes, the real CNN, clips drawn here."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.media import noise_pictures, plain_pictures, write_video
from tests.processes import PATIENCE_SECONDS, stop_once
from tests.workplace import FEW_PIXELS, LABELS, QUICK, Workplace, rows_of


def test_a_run_folder_is_complete(shared: Workplace) -> None:
    run = shared.folder / "runs" / "first"
    assert {p.name for p in run.iterdir()} == {
        *("metrics.json", "settings.toml", "history.csv", "split.csv", "predictions.csv"),
        *("curves.png", "report.html", "model", "checkpoint", "tensorboard"),
    }
    assert {p.name for p in (run / "model").iterdir()} == {
        *("model.json", "weights.safetensors", "ood.safetensors"),
        *("README.md", "confusion.png"),
    }
    split = rows_of(run / "split.csv")
    assert len(split) == 36
    # No person is in two parts.
    parts = {(row["group"], row["split"]) for row in split}
    assert len(parts) == len({group for group, _ in parts}) == 6


def test_evaluate_agrees_with_training_on_the_same_clips(shared: Workplace) -> None:
    run = shared.folder / "runs" / "first"
    held_out = {row["path"]: row for row in rows_of(run / "predictions.csv")}
    with (shared.folder / "clips" / "held_out.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        writer.writerows([path, row["true_label"]] for path, row in held_out.items())

    shared.run("evaluate", "runs/first", "clips/held_out.csv", "--output", "measured")

    metrics = json.loads((shared.folder / "measured" / "metrics.json").read_text())
    assert metrics["accuracy"] == json.loads((run / "metrics.json").read_text())["accuracy"]
    for row in rows_of(shared.folder / "measured" / "predictions.csv"):
        assert float(row["score_walk"]) == pytest.approx(
            float(held_out[row["path"]]["score_walk"]), abs=1e-5
        )


@pytest.mark.parametrize("options", [(), ("--no-cache",)])
def test_predict_one_file_shows_labels_with_bars_and_loads_little(
    shared: Workplace, options: tuple[str, ...]
) -> None:
    # The features are in the cache since training: only --no-cache needs a process that decodes.
    clip = next((shared.folder / "clips" / "walk").glob("*.mp4"))
    script = (
        "import sys; sys.argv = ['activity', 'predict', *sys.argv[1:], '--model', 'runs/first']\n"
        "started = []\n"
        "sys.addaudithook(lambda event, _: event == 'subprocess.Popen' and started.append(event))\n"
        "from activity_cli.cli import run\n"
        "code = run()\n"
        "heavy = {'torch', 'torchvision', 'sklearn', 'cv2', 'pydantic', 'PIL', 'matplotlib'}\n"
        "heavy |= {'importlib.metadata', 'multiprocessing'}\n"
        "print(code, len(started), *heavy & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(clip), *options],
        cwd=shared.folder,
        env=shared.environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.splitlines()[-1] == f"0 {len(options)}", done.stderr
    for label in LABELS:
        assert re.search(rf"{label} .*\d\.\d%", done.stdout)
    assert re.search(r"can only answer jump, walk or wave", done.stderr)
    assert re.search(r"decoding \d+ ms · CNN \d+ ms · classifier \d+ ms", done.stderr)


def test_every_file_gets_one_row_and_unreadable_files_no_score(
    shared: Workplace, workplace: Workplace
) -> None:
    footage = workplace.folder / "footage"
    footage.mkdir()
    names = [
        "plain.mp4",
        "two words.mp4",
        "größe 日本.mp4",
        "a [b] [red].mp4",
        "-dash.mp4",
        "c:d.mp4",
    ]
    for number, name in enumerate(names):
        write_video(footage / name, noise_pictures(20, seed=number), fps=10)
    write_video(footage / "short.avi", plain_pictures(5), fps=10)
    whole = write_video(footage / "cut.avi", noise_pictures(60), fps=10)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (footage / "text.mp4").write_text("not a video\n" * 100)
    (footage / "empty.mkv").touch()
    (footage / "folder.mp4").mkdir()
    model = str(shared.folder / "runs" / "first")

    done = workplace.run(
        "predict", "footage", "gone.mp4", "--model", model, "--output", "out/rows.csv", code=3
    )

    rows = {Path(row["path"]).name: row for row in rows_of(workplace.folder / "out" / "rows.csv")}
    assert len(rows) == len(names) + 6
    for name in names:
        assert rows[name]["status"] == "ok"
        assert 1 / 3 <= float(rows[name]["score"]) <= 1
    assert rows["short.avi"]["status"] == "short"
    assert rows["short.avi"]["frames"] == "5"
    assert rows["cut.avi"]["status"] == "truncated"
    for name, status in {
        "text.mp4": "unreadable",
        "empty.mkv": "unreadable",
        "folder.mp4": "unreadable",
        "gone.mp4": "missing",
    }.items():
        assert rows[name]["status"] == status
        assert rows[name]["reason"]
        assert rows[name]["label"] == rows[name]["score"] == ""
    assert "1 missing" in done.stderr
    assert "3 unreadable" in done.stderr
    assert re.search(r"No score: .*text\.mp4: .+", done.stderr)
    # The same once more does nothing, or what failed, or all of it; the rows stay the same.
    before = (workplace.folder / "out" / "rows.csv").read_bytes()
    again = ("predict", "footage", "gone.mp4", "--model", model, "--output", "out/rows.csv")
    for options, plan in (
        ((), "12 scored before: 0 to score"),
        (("--retry-failed",), "8 scored before: 4 to score"),
        (("--overwrite",), "12 files to score"),
    ):
        assert plan in workplace.run(*again, *options, code=3).stderr
        after = (workplace.folder / "out" / "rows.csv").read_bytes()
        assert sorted(after.splitlines()) == sorted(before.splitlines())
    # Rows of another kind are never mixed with them.
    refused = workplace.run(*again, "--engine", "torch", code=1).stderr
    assert "made with another engine" in refused
    assert "--overwrite" in refused


@pytest.mark.slow
def test_killed_and_resumed_gives_the_rows_of_an_unbroken_run(
    tmp_path: Path, prepared: Path
) -> None:
    workplace = Workplace(tmp_path, prepared)
    for number in range(16):
        path = workplace.folder / "footage" / f"{number}.mp4"
        write_video(path, noise_pictures(20, seed=number), fps=10)
    # A model that takes so long for each clip that rows come one by one.
    command = ("predict", "footage", "--no-cache", "--model", "surveillance-fight")
    workplace.run(*command, "--output", "whole.csv")
    output = workplace.folder / "rows.csv"

    for least, stop_with in ((2, signal.SIGKILL), (4, signal.SIGINT)):
        process = workplace.start(*command, "--output", "rows.csv")
        stop_once(process, lambda: num_lines(output) > least)  # noqa: B023 - called at once
        process.send_signal(stop_with)
        process.send_signal(signal.SIGCONT)
        _, stderr = process.communicate(timeout=PATIENCE_SECONDS)
        assert "Traceback" not in stderr
        if stop_with == signal.SIGINT:
            assert process.returncode == 130
            assert "Run the same command again to resume" in stderr
        assert len(rows_of(output)) < 16  # it was really cut short
    workplace.run(*command, "--output", "rows.csv")

    whole = (workplace.folder / "whole.csv").read_bytes().splitlines()
    assert sorted(output.read_bytes().splitlines()) == sorted(whole)


def test_shards_and_patterns_share_the_files(shared: Workplace, workplace: Workplace) -> None:
    for number in range(12):
        write_video(workplace.folder / "in" / f"{number}.mp4", noise_pictures(20), fps=10)
    (workplace.folder / "in" / "broken.mp4").write_text("no video")
    model = ("--model", str(shared.folder / "runs" / "first"))

    seen = []
    for shard in ("1/2", "2/2"):
        command = ("predict", "in", *model, "--shard", shard, "--exclude", "broken*", "--json")
        done = workplace.run(*command)
        seen += [json.loads(line)["path"] for line in done.stdout.splitlines()]

    assert sorted(seen) == sorted(f"in/{number}.mp4" for number in range(12))
    planned = workplace.run("predict", "in", *model, "--pattern", "1*.mp4", "--dry-run").stdout
    assert planned.startswith("3 files")  # 1, 10, 11
    stopped = workplace.run("predict", "in", *model, "--max-failures", "0", code=1).stderr
    assert "1 of 13 files have no score" in stopped


def test_a_list_on_stdin_is_a_source(shared: Workplace, workplace: Workplace) -> None:
    write_video(workplace.folder / "a b.mp4", noise_pictures(20), fps=10)
    command = [sys.executable, "-m", "activity_cli", "predict", "-", "--json"]

    done = subprocess.run(
        [*command, "--model", str(shared.folder / "runs" / "first")],
        input="a b.mp4\ngone.mp4\n",
        cwd=workplace.folder,
        env=workplace.environment,
        capture_output=True,
        text=True,
        check=False,
    )

    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["path"], row["status"]) for row in rows] == [
        ("a b.mp4", "ok"),
        ("gone.mp4", "missing"),
    ]
    assert done.returncode == 3


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="makes the pipe small, as Linux can")
def test_predict_ends_quietly_when_nobody_reads_on(shared: Workplace) -> None:
    process = shared.start("predict", "clips", "--model", "runs/first", "--json", "--quiet")
    assert process.stdout is not None

    import fcntl

    # The rows are more than the pipe holds, so it cannot have written all before that.
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)

    first = os.read(process.stdout.fileno(), 100)
    process.stdout.close()
    _, stderr = process.communicate(timeout=PATIENCE_SECONDS)

    assert first.startswith(b'{"path":')
    assert (process.returncode, stderr) == (1, "")


def test_leading_dash_comes_after_two_dashes(shared: Workplace, workplace: Workplace) -> None:
    write_video(workplace.folder / "-odd.mp4", noise_pictures(20), fps=10)
    model = str(shared.folder / "runs" / "first")

    done = workplace.run("predict", "--model", model, "--json", "--", "-odd.mp4")

    row = json.loads(done.stdout)
    assert (row["path"], row["status"], row["frames"]) == ("-odd.mp4", "ok", 20)


def test_a_changed_video_is_not_served_from_the_cache(
    shared: Workplace, workplace: Workplace
) -> None:
    clip = workplace.folder / "clip.mp4"
    model = str(shared.folder / "runs" / "first")
    scores = []
    for seed in (1, 2, 1):
        write_video(clip, noise_pictures(20, seed=seed), fps=10)
        os.utime(clip, (1, 1))  # not even the time of change tells them apart
        said = workplace.run("predict", "clip.mp4", "--model", model, "--json").stdout
        scores.append(json.loads(said))

    assert scores[0]["score"] != scores[1]["score"]
    assert scores[0] == scores[2]


def test_crossval_scores_every_clip_once_and_compares_heads(
    shared: Workplace, workplace: Workplace
) -> None:
    data = str(shared.folder / "clips")

    done = workplace.run(*("crossval", data, "--folds", "2", "--compare", "--output", "cv", *QUICK))

    metrics = json.loads((workplace.folder / "cv" / "metrics.json").read_text())
    rows = rows_of(workplace.folder / "cv" / "predictions.csv")
    assert len({row["path"] for row in rows}) == len(rows) == 36
    right = sum(row["label"] == row["true_label"] for row in rows)
    assert metrics["accuracy"] == pytest.approx(right / 36, abs=1e-4)
    assert sum(fold["num_clips"] for fold in metrics["folds"]) == 36
    assert list(metrics["heads"]) == ["majority", "single frame", "mean-pool", "lstm"]
    # Three labels of 12 clips each: whoever names only the most frequent one is right in a third.
    assert metrics["heads"]["majority"]["accuracy"] == pytest.approx(1 / 3, abs=1e-4)
    assert metrics["heads"]["lstm"]["accuracy"] == metrics["accuracy"] > 0.6
    low, high = metrics["confidence_interval"]
    assert low < metrics["accuracy"] <= high
    for text in ("mean-pool", "single frame", "95% CI", "macro F1"):
        assert text in done.stdout
    # One person is never on both sides.
    people = {row["path"]: re.sub(r".*/(.+)_\d+\.mp4", r"\1", row["path"]) for row in rows}
    assert len({(people[row["path"]], row["fold"]) for row in rows}) == 6


@pytest.mark.slow
def test_an_interrupted_training_resumes_from_the_cache(shared: Workplace, tmp_path: Path) -> None:
    workplace = Workplace(tmp_path, tmp_path / "cache")
    shutil.copytree(shared.cache / "engines", workplace.cache / "engines")
    clips = str(shared.folder / "clips")
    command = ("train", clips, "--epochs", "1", "--workers", "1", *FEW_PIXELS)
    found: dict[Path, int] = {}

    for least, stop_with in ((5, signal.SIGINT), (14, signal.SIGKILL)):
        process = workplace.start(*command)
        stop_once(
            process,
            lambda: len(features_in(workplace.cache)) >= least,  # noqa: B023 - called at once
        )
        done = features_in(workplace.cache)
        process.send_signal(stop_with)
        process.send_signal(signal.SIGCONT)
        _, stderr = process.communicate(timeout=PATIENCE_SECONDS)
        if stop_with == signal.SIGINT:
            assert process.returncode == 130
            assert "Run the same command again to resume" in stderr
            assert "Traceback" not in stderr
            assert list((tmp_path / "runs").iterdir()) == []
        assert len(done) < 36  # it was really cut short
        found = {path: found.get(path, path.stat().st_mtime_ns) for path in done}
    workplace.run(*command)

    assert len(features_in(workplace.cache)) == 36
    assert {path: path.stat().st_mtime_ns for path in found} == found


def num_lines(path: Path) -> int:
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def features_in(cache: Path) -> list[Path]:
    return list((cache / "features").rglob("*.features"))


def test_cache_is_measured_and_cleared(shared: Workplace, workplace: Workplace) -> None:
    workplace.cache = workplace.folder / "cache"
    shutil.copytree(shared.cache, workplace.cache)
    (workplace.cache / "mine.txt").write_text("not ours to remove")
    workplace.environment["ACTIVITY_CACHE_DIR"] = str(workplace.cache)

    shown = json.loads(workplace.run("cache", "--json").stdout)
    workplace.run("cache", "--clear")

    kept = [path for path in (shared.cache / "features").rglob("*") if path.is_file()]
    assert shown["features_files"] == len(kept) >= 36  # those of long videos are pieces
    assert json.loads(workplace.run("cache", "--json").stdout)["features_bytes"] == 0
    assert [path.name for path in workplace.cache.iterdir()] == ["mine.txt"]


def test_models_lists_the_included_ones_own_runs_and_on_request_the_cnns(
    shared: Workplace,
) -> None:
    models = json.loads(shared.run("models", "--json").stdout)
    listed = json.loads(shared.run("models", "--backbones", "--json").stdout)

    assert "first" in " ".join(run["folder"] for run in models["runs"])
    assert listed["backbones"][0]["name"] == "efficientnet_lite0"
    assert listed["backbones"][0]["is_local"] is True
    assert {"resnet18", "mobilenet_v3_small", "convnext_tiny"} <= {
        backbone["name"] for backbone in listed["backbones"]
    }
    assert [model["name"] for model in models["models"]] == ["kinetics600", "surveillance-fight"]


@pytest.mark.parametrize("damage", ["weights gone", "weights changed", "json gone", "json cut"])
def test_a_damaged_model_folder_is_refused(
    shared: Workplace, workplace: Workplace, damage: str
) -> None:
    shutil.copytree(shared.folder / "runs" / "first", workplace.folder / "run")
    write_video(workplace.folder / "clip.mp4", noise_pictures(20), fps=10)
    weights = workplace.folder / "run" / "model" / "weights.safetensors"
    description = workplace.folder / "run" / "model" / "model.json"
    match damage:
        case "weights gone":
            weights.unlink()
        case "weights changed":
            data = bytearray(weights.read_bytes())
            data[-1] ^= 1
            weights.write_bytes(data)
        case "json gone":
            description.unlink()
        case "json cut":
            description.write_text(description.read_text()[:200])

    done = workplace.run("predict", "clip.mp4", "--model", "run", code=1)

    assert done.stderr.startswith("Error: ")
    assert "run" in done.stderr
    assert len(done.stderr.splitlines()) == 2
