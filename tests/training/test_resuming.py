"""`activity train` interrupted, resumed, shared by processes, rehearsed: real processes."""

import csv
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from activity_cli.errors import CheckpointError
from activity_cli.settings import FROZEN, TrainSettings
from activity_cli.training.loop.checkpoint import TrainingLog
from activity_cli.training.loop.trainer import EpochMetrics
from activity_cli.training.resuming import check_same, write_run_file
from tests.processes import PATIENCE_SECONDS, stop_once
from tests.workplace import FEW_PIXELS, QUICK, Workplace, rows_of


def history_of(run: Path) -> list[dict[str, str]]:
    """All of history.csv but how long it took."""
    return [
        {k: v for k, v in row.items() if k != "seconds"} for row in rows_of(run / "history.csv")
    ]


def files_below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def start_and_signal(shared: Workplace, name: str, number: int) -> "subprocess.Popen[str]":
    """Begin the run that `runs/first` is, and send it a signal once an epoch is over."""
    history = shared.folder / "runs" / name / "history.csv"
    process = shared.start("train", "clips", "--name", name, *QUICK)
    stop_once(process, lambda: history.exists() and len(rows_of(history)) > 1)
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    return process


@pytest.mark.slow
def test_a_killed_run_is_resumed_to_the_same_numbers(shared: Workplace) -> None:
    runs = shared.folder / "runs"
    process = start_and_signal(shared, "killed", signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (runs / "killed" / "model").exists()

    # Its options come from the run: QUICK is not said again.
    done = shared.run_alone("train", "clips", "--resume", "runs/killed", "--json")

    first = json.loads((runs / "first" / "metrics.json").read_text())
    again = json.loads(done.stdout)
    for key in ("accuracy", "log_loss", "best_epoch", "num_epochs", "calibration"):
        assert again[key] == first[key]
    assert history_of(runs / "killed") == history_of(runs / "first")
    weights = [runs / name / "model" / "weights.safetensors" for name in ("first", "killed")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_another_network_is_refused(shared: Workplace) -> None:
    process = start_and_signal(shared, "odd [name]", signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert "activity train clips --resume 'runs/odd [name]'" in said
    run = ("--resume", "runs/odd [name]")

    refused = shared.run("train", "clips", *run, "--hidden-size", "48", code=2)
    assert "begun with network hidden_size 32, not 48." in refused.stderr

    other = shared.folder / "others.csv"
    labels = (shared.folder / "clips" / "labels.csv").read_text().splitlines()
    other.write_text("\n".join([labels[0], *(f"clips/{line}" for line in labels[2:])]) + "\n")
    refused = shared.run("train", other.name, *run, code=2)
    assert "36 clips then, 35 now" in refused.stderr


def test_ctrl_c_in_a_call_of_tensorboard_ends_the_training(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with suppress(KeyboardInterrupt), TrainingLog(tmp_path, tensorboard=True) as log:
        log(EpochMetrics(**{field.name: 0 for field in fields(EpochMetrics)}))
        board: Any = log._board
        queue = board.file_writer.event_writer._async_writer._byte_queue
        queue.mutex.acquire()  # as if Ctrl-C came when a call had just got the lock;
        # to close the board would then wait for ever
        raise KeyboardInterrupt
    queue.mutex.release()
    board.close()


@pytest.mark.usefixtures("_own_stack")
def test_ctrl_c_in_a_call_of_tensorboard_is_heard_after_it(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    epoch, written = EpochMetrics(**{field.name: 0 for field in fields(EpochMetrics)}), list[str]()
    with TrainingLog(tmp_path, tensorboard=True) as log:
        log(epoch)
        board: Any = log._board
        write = board.add_scalar

        def add_scalar(name: str, *rest: Any) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            write(name, *rest)
            written.append(name)

        board.add_scalar = add_scalar
        with pytest.raises(KeyboardInterrupt):
            log(epoch)
    assert len(written) == 5


def test_a_run_of_an_earlier_version_is_resumed_unless_it_used_what_was_removed(
    tmp_path: Path,
) -> None:
    folder, now = tmp_path / "run" / "checkpoint", {"cnn": FROZEN.to_json()}
    now["training"] = TrainSettings().to_json()
    folder.mkdir(parents=True)
    begun = {"average": "none", "amp": "off", **now["training"]}
    older = {name: value for name, value in now["cnn"].items() if name != "conv_kernel"}
    write_run_file(folder, {"cnn": older, "training": begun})
    check_same(folder, now)

    write_run_file(folder, {"cnn": older, "training": {**begun, "average": "ema"}})
    with pytest.raises(CheckpointError, match="begun with average ema, which this version does"):
        check_same(folder, now)


def test_what_is_no_run_cannot_be_resumed(workplace: Workplace) -> None:
    refused = workplace.run("train", "clips", "--resume", "nowhere", code=1)

    assert "nowhere is no folder." in refused.stderr


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(shared: Workplace) -> None:
    """Batches of 9 of 2 processes: 5 and 4 clips, the last 1 and 0; labels are not balanced.

    The clips are few, so four networks are trained: one on all clips, three of inner folds.
    """
    samples = rows_of(shared.folder / "clips" / "labels.csv")
    *others, last = sorted({row["group"] for row in samples})
    parts = {**dict.fromkeys(others, "train"), last: "train", others[0]: "val", others[1]: "test"}
    kept = [row for row in samples if (row["label"], row["group"]) != ("wave", last)]
    with (shared.folder / "uneven.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "group", "split"])
        for row in kept:
            writer.writerow(
                [f"clips/{row['path']}", row["label"], row["group"], parts[row["group"]]]
            )
    options = ["--dropout", "0", "--batch-size", "9", "--epochs", "3", "--no-tensorboard", "-q"]
    options += FEW_PIXELS
    shared.run("train", "uneven.csv", "--name", "alone", *options)

    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "activity_cli"]
    done = subprocess.run(
        [sys.executable, *command, "train", "uneven.csv", "--name", "two", "--json", *options],
        cwd=shared.folder,
        env={**shared.environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)  # by one process only
    runs = shared.folder / "runs"
    assert not (runs / "two-2").exists()
    num_train = sum(row["split"] == "train" for row in rows_of(runs / "two" / "split.csv"))
    assert num_train % 9 == 1
    assert not (runs / "two" / "tensorboard").exists()
    one, two = history_of(runs / "alone"), history_of(runs / "two")
    assert len(one) == len(two) == 4
    for before, after in zip(one, two, strict=True):
        for key, value in before.items():
            assert float(after[key]) == pytest.approx(float(value), rel=1e-4), key
    assert printed["log_loss"] == pytest.approx(
        json.loads((runs / "alone" / "metrics.json").read_text())["log_loss"], rel=1e-3
    )


def test_a_rehearsal_says_how_long_it_takes_and_leaves_nothing(
    shared: Workplace, workplace: Workplace, tmp_path: Path
) -> None:
    cache = files_below(workplace.cache)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    workplace.environment["TMPDIR"] = str(temporary)

    clips = str(shared.folder / "clips")
    small = ("--cnn", "scratch", "--conv-channels", "4,8", *FEW_PIXELS)
    done = workplace.run("train", clips, "--dry-run", "--json", "--streams", "all", *small)

    said = json.loads(done.stdout)
    assert (said["clips"], said["all_clips"], said["batch_size"]) == (9, 36, 24)
    assert said["seconds"] > said["stage_seconds"]["features"] > 0
    assert [path for path in files_below(workplace.folder) if path.is_file()] == []
    assert files_below(workplace.cache) == cache


def test_tensorboard_shows_what_history_says(shared: Workplace) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = shared.folder / "runs" / "first"
    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    shown = [event.value for event in board.Scalars("loss/val")]
    written = [float(row["val_loss"]) for row in rows_of(run / "history.csv")]
    assert shown == pytest.approx(written)
    assert {"loss/train", "accuracy/val", "learning rate"} <= set(board.Tags()["scalars"])
