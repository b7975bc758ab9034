"""The training loop, on clips that are points: what it promises holds for whatever it trains."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from activity_cli.errors import CheckpointError, TrainingError
from activity_cli.settings import TrainSettings
from activity_cli.training.loop import loop
from activity_cli.training.loop.loop import NO_SESSION, Session, TrainResult, train
from activity_cli.training.loop.trainer import ClipLoss, EpochMetrics, ParameterGroups

NUM_TRAIN = 61
"""No multiple of a batch size, so that the last batch of an epoch is smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointTask:
    """Points of three clouds, one of them rare, classified by a small network with dropout."""

    module: nn.Sequential
    points: Tensor
    targets: Tensor
    loss: ClipLoss
    on_batch: Callable[[Tensor], None] = lambda _: None

    @property
    def labels(self) -> Tensor:
        return self.targets[:NUM_TRAIN]

    def parameter_groups(self) -> ParameterGroups:
        first, *others = self.module.parameters()
        return [{"params": others}, {"params": [first], "lr": 1e-2}]

    def batch_loss(self, rows: Tensor) -> Tensor:
        self.on_batch(rows)
        return self.loss(self.module(self.points[rows]), self.targets[rows])

    @torch.no_grad()
    def evaluate(self) -> EpochMetrics:
        return EpochMetrics.of(self.module(self.points), self.targets, NUM_TRAIN)


BASE = TrainSettings(epochs=12, patience=12, batch_size=16, learning_rate=2e-2)


def make_task(
    settings: TrainSettings = BASE,
    *,
    dropout: float = 0.2,
    on_batch: Callable[[Tensor], None] = lambda _: None,
) -> PointTask:
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(0)
    targets = np.array([0, 1, 0, 1, 2, 0, 1] * 15)
    centres = np.array([[2, 0], [-2, 0], [0, 2.5]])
    points = centres[targets] + rng.normal(size=(len(targets), 2))
    return PointTask(
        module=nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 3)),
        points=torch.from_numpy(points.astype(np.float32)),
        targets=torch.from_numpy(targets),
        loss=ClipLoss(
            label_weights=torch.tensor([0.8, 0.8, 2.3]), label_smoothing=settings.label_smoothing
        ),
        on_batch=on_batch,
    )


def train_one(
    task: PointTask, settings: TrainSettings = BASE, session: Session = NO_SESSION
) -> TrainResult:
    return train([task], task.evaluate, settings, session)


def run(
    settings: TrainSettings = BASE, session: Session = NO_SESSION
) -> tuple[TrainResult, PointTask]:
    task = make_task(settings)
    return train_one(task, settings, session), task


def metrics_of(result: TrainResult) -> list[EpochMetrics]:
    """All of the history but how long it took."""
    return [replace(epoch, seconds=0) for epoch in result.history]


def assert_same(one: tuple[TrainResult, PointTask], other: tuple[TrainResult, PointTask]) -> None:
    assert metrics_of(one[0]) == metrics_of(other[0])
    assert one[0].best_epoch == other[0].best_epoch
    for name, tensor in one[1].module.state_dict().items():
        assert torch.equal(tensor, other[1].module.state_dict()[name])


class StopError(Exception):
    pass


def stop_after(number: int) -> Callable[[EpochMetrics], None]:
    def stop(epoch: EpochMetrics) -> None:
        if epoch.epoch == number:
            raise StopError

    return stop


WAYS: dict[str, dict[str, Any]] = {
    "default": {},
    "constant": {"schedule": "constant", "optimizer": "adam"},
    "accumulate": {"accumulate": 2, "batch_size": 8},
}


@pytest.fixture(autouse=True)
def _keep_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """These epochs are shorter than the time between two checkpoints."""
    monkeypatch.setattr(loop, "SECONDS_PER_CHECKPOINT", 0.0)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_training_learns_and_resumes_to_the_last_bit(way: str, tmp_path: Path) -> None:
    settings = replace(BASE, **WAYS[way])
    unbroken = run(settings)
    best = unbroken[0].history[unbroken[0].best_epoch]
    assert best.val_accuracy > 0.85  # chance is 0.43
    assert best.val_loss < 0.6 * unbroken[0].history[0].val_loss

    for number in (0, 4):
        with pytest.raises(StopError):
            run(settings, Session(folder=tmp_path / way, on_epoch=stop_after(number)))
    heard: list[int] = []
    session = Session(folder=tmp_path / way, on_epoch=lambda epoch: heard.append(epoch.epoch))

    assert_same(unbroken, run(settings, session))
    assert heard == [epoch.epoch for epoch in unbroken[0].history]  # earlier ones are repeated


def test_several_tasks_share_the_epoch_and_resume_to_the_last_bit(tmp_path: Path) -> None:
    def run_two(session: Session = NO_SESSION) -> tuple[TrainResult, list[PointTask]]:
        tasks = [make_task(), make_task(replace(BASE, seed=1))]
        return train(tasks, tasks[1].evaluate, BASE, session), tasks

    unbroken, tasks = run_two()
    with pytest.raises(StopError):
        run_two(Session(folder=tmp_path, on_epoch=stop_after(3)))
    resumed, again = run_two(Session(folder=tmp_path))

    assert metrics_of(resumed) == metrics_of(unbroken)
    for one, other in zip(tasks, again, strict=True):
        assert_same((unbroken, one), (resumed, other))
    weights = [next(task.module.parameters()) for task in tasks]
    assert not torch.equal(weights[0], weights[1])


def rewrite_state(file: Path, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    state = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["state"])
    save_file(load_file(file), file, {"state": json.dumps(change(state))})


def test_a_checkpoint_of_the_first_version_is_resumed(tmp_path: Path) -> None:
    def as_format_1(state: dict[str, Any]) -> dict[str, Any]:
        [trainer] = state.pop("trainers")
        return {**state, **trainer, "format": 1, "scaler": {}, "average_count": 0}

    with pytest.raises(StopError):
        run(session=Session(folder=tmp_path, on_epoch=stop_after(4)))
    [file] = tmp_path.iterdir()
    rewrite_state(file, as_format_1)
    assert_same(run(), run(session=Session(folder=tmp_path)))

    # It does not hold what several tasks need.
    rewrite_state(file, as_format_1)
    tasks = [make_task(), make_task()]
    with pytest.raises(CheckpointError, match="from an earlier version of activity"):
        train(tasks, tasks[0].evaluate, BASE, Session(folder=tmp_path))


def test_the_weights_of_the_best_epoch_are_kept() -> None:
    settings = replace(BASE, learning_rate=1.0, schedule="constant", epochs=30)
    result, task = run(settings)

    assert 0 < result.best_epoch < result.history[-1].epoch
    best = result.history[result.best_epoch]
    assert best.val_loss == min(epoch.val_loss for epoch in result.history)
    task.module.eval()
    assert task.evaluate().val_loss == best.val_loss


def test_a_finished_training_continues_with_more_epochs(tmp_path: Path) -> None:
    # A constant learning rate does not depend on how many epochs there will be.
    longer = replace(BASE, schedule="constant")
    session = Session(folder=tmp_path)
    short, _ = run(replace(longer, epochs=5), session)
    assert short.ending == "epochs"

    assert_same(run(longer), run(longer, session))


def test_a_time_limit_ends_after_an_epoch_and_a_resumed_training_has_the_same_result(
    tmp_path: Path,
) -> None:
    over = Session(folder=tmp_path, deadline=-math.inf)
    for number in (1, 2):  # however short the time, there is one more epoch each time
        result, _ = run(session=over)
        assert (result.ending, result.history[-1].epoch) == ("time limit", number)

    assert_same(run(), run(session=Session(folder=tmp_path)))


@pytest.mark.parametrize("damage", ["cut", "other network"])
def test_a_damaged_checkpoint_is_an_error_in_a_line(damage: str, tmp_path: Path) -> None:
    run(replace(BASE, epochs=1), Session(folder=tmp_path))
    (file,) = tmp_path.iterdir()
    task = make_task()
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    else:
        task = replace(task, module=nn.Sequential(nn.Linear(2, 9), nn.Tanh(), nn.Linear(9, 3)))

    with pytest.raises(CheckpointError, match=r"training\.safetensors is not a ch") as caught:
        train_one(task, session=Session(folder=tmp_path))
    assert "\n" not in caught.value.message


def test_parts_of_a_batch_add_up_to_the_gradient_of_the_whole() -> None:
    """Rare labels weigh more, and a batch's parts hold them unevenly."""
    expected = train_one(make_task(dropout=0))

    def refuse(rows: Tensor) -> None:  # a machine on which only 8 clips at once have room
        if len(rows) > 8:
            torch.empty(10**15)

    task = make_task(dropout=0, on_batch=refuse)
    result = train_one(task, replace(BASE, accumulate=2, batch_size=8))

    assert [e.val_loss for e in result.history] == pytest.approx(
        [e.val_loss for e in expected.history], rel=1e-4
    )


def test_short_memory_halves_the_batch_once_and_reports_it(tmp_path: Path) -> None:
    sizes: list[int] = []

    def refuse(rows: Tensor) -> None:
        if len(rows) > 8:
            torch.empty(10**15)  # torch's own error, whatever its text
        sizes.append(len(rows))

    notes: list[str] = []
    session = Session(folder=tmp_path, on_note=notes.append)
    result = train_one(make_task(on_batch=refuse), BASE, session)

    assert max(sizes) == 8
    assert result.notes == tuple(notes)
    assert "epoch 1: from here on 8 clips at a time" in notes[0]
    again = train_one(make_task(on_batch=refuse), replace(BASE, epochs=14), session)
    assert again.notes == result.notes  # a resumed training reports it too

    def refuse_all(rows: Tensor) -> None:
        del rows
        torch.empty(10**15)

    with pytest.raises(TrainingError, match="Memory ran out in epoch 1") as caught:
        train_one(make_task(on_batch=refuse_all))
    assert "--batch-size" in caught.value.hint


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory.")])
def test_all_kinds_of_short_memory_are_recognised(error: Exception) -> None:
    def refuse(rows: Tensor) -> None:
        if len(rows) > 8:
            raise error

    assert train_one(make_task(on_batch=refuse), replace(BASE, epochs=2)).notes


def test_other_errors_are_not_taken_for_short_memory() -> None:
    def refuse(rows: Tensor) -> None:
        raise RuntimeError(f"a bug at {len(rows)}")

    with pytest.raises(RuntimeError, match="a bug at 16"):
        train_one(make_task(on_batch=refuse))


def test_a_loss_that_is_not_finite_ends_with_advice() -> None:
    with pytest.raises(TrainingError, match=r"became (nan|inf) in epoch \d+") as caught:
        run(replace(BASE, learning_rate=1e37, schedule="constant"))
    assert "Lower --learning-rate (now 1e+37)" in caught.value.hint

    task = make_task()
    task.points[3] = math.nan
    with pytest.raises(TrainingError, match="before the first step"):
        train_one(task)


def test_the_learning_rate_follows_the_schedule() -> None:
    rates = {
        name: [epoch.learning_rate for epoch in run(replace(BASE, **WAYS[name]))[0].history[1:]]
        for name in ("default", "constant")
    }
    peak = BASE.learning_rate

    assert rates["constant"] == [peak] * 12
    assert rates["default"][-1] < 1e-3 * peak
    assert max(rates["default"]) > 0.9 * peak
