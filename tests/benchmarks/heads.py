"""The head against logistic regression, its LSTM alone and mean pooling, on several data sets.

    python -m tests.benchmarks.heads SURVEILLANCE_FIGHT WEIZMANN10 [--streams rgb+motion]

Both arguments are folders with a labels.csv. Draws further clips: ten actions at 5, 8, 24 and 40
clips a label, and the four actions of the time-order pairs; persons are held out. Prints accuracy,
log-loss and CPU seconds per fit, the same folds and features for all. Logistic regression is
scikit-learn's, on the standardised means over time, its strength chosen by the same inner folds.
Scores are as fitted, without a temperature.
"""

import argparse
import csv
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from activity_cli.common.cache import default_cache_dir
from activity_cli.data.loading import load_dataset
from activity_cli.data.splits import choosing_folds
from activity_cli.features.backbones import find_backbone
from activity_cli.features.engines.choice import Engine, choose_engine
from activity_cli.features.labelled import DataConfig, FeatureDataset, read_labelled
from activity_cli.model.encoding import encode_rows
from activity_cli.sampledata import draw_dataset
from activity_cli.settings import ClipSettings, parse_streams
from activity_cli.training.head import HeadConfig, fit_head, fit_linear_head, one_thread
from activity_cli.training.scoring import score_rows
from tests.benchmarks.few_shot import deal
from tests.benchmarks.time_order import PAIRS

Rows = NDArray[np.int64]
Fit = Callable[[FeatureDataset, Rows, Rows], NDArray[np.float32]]
"""(data, training rows, held-out rows) -> (n, C) scores."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A data set with the folds that it is measured on: pairs of training and held-out rows."""

    name: str
    data: FeatureDataset
    folds: list[tuple[Rows, Rows]]


def main() -> None:
    """Read, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("fights", type=Path)
    parser.add_argument("weizmann", type=Path)
    parser.add_argument("--streams", default="rgb+motion")
    arguments = parser.parse_args()
    clip = ClipSettings(streams=parse_streams(arguments.streams))
    with tempfile.TemporaryDirectory() as folder:
        for task in tasks(arguments.fights, arguments.weizmann, Path(folder), clip):
            for name, fit in FITS.items():
                found = measure(task, fit)
                print(
                    f"{task.name:22} {name:20} accuracy {found.accuracy:.3f}  "
                    f"log-loss {found.loss:.3f}  {found.cpu_seconds:.1f} s",
                    flush=True,
                )


def tasks(
    fights: Path, weizmann: Path, folder: Path, clip: ClipSettings, engine: Engine | None = None
) -> Iterator[Task]:
    """Yield all data sets, read one after the other, by the engine that `auto` chooses or this."""
    table = fights / "labels.csv"
    data, rows = read(table, clip, engine), list(csv.DictReader(table.open(encoding="utf-8")))
    for column in ("fold_random", "fold_by_source"):
        yield Task(name=column, data=data, folds=by_value([row[column] for row in rows]))
    data = read(weizmann / "labels.csv", clip, engine)
    assert data.groups is not None
    yield Task(name="weizmann", data=data, folds=by_value(data.groups.tolist()))
    table = folder / "drawn" / "labels.csv"
    if not table.exists():
        draw_dataset(table.parent, clips_per_label=40)
    data, rows = read(table, clip, engine), list(csv.DictReader(table.open(encoding="utf-8")))
    for shots in (5, 8):
        folds = []
        for repeat in range(5):
            with deal(table, shots, repeat).open(encoding="utf-8") as file:
                part = {row["path"]: row["split"] for row in csv.DictReader(file)}
            parts = np.array([part.get(row["path"], "") for row in rows])
            folds.append((np.flatnonzero(parts == "train"), np.flatnonzero(parts == "test")))
        yield Task(name=f"drawn, {shots} a label", data=data, folds=folds)
    people = np.array([int(row["group"].removeprefix("person")) for row in rows])
    labels = np.array([row["label"] for row in rows])
    few = np.concatenate([np.flatnonzero(labels == label)[:24] for label in data.labels])
    pairs = np.isin(labels, [label for pair in PAIRS for label in pair])
    for name, kept in (
        ("drawn, 24 a label", few),
        ("drawn, 40 a label", np.arange(len(rows))),
        ("time-order pairs", np.flatnonzero(pairs)),
    ):
        folds = [(kept[a], kept[b]) for a, b in by_value((people[kept] % 5).tolist())]
        yield Task(name=name, data=data, folds=folds)


def read(table: Path, clip: ClipSettings, engine: Engine | None = None) -> FeatureDataset:
    """Features of labelled clips, from the user's cache where they are."""
    cache = Path(os.environ.get("ACTIVITY_CACHE_DIR", default_cache_dir()))
    config = DataConfig(
        backbone=find_backbone(), clip=clip, cache_dir=cache, engine=engine or choose_engine()
    )
    return read_labelled(load_dataset(table), config).features


def by_value(values: list[str] | list[int]) -> list[tuple[Rows, Rows]]:
    """Folds in which each value is held out once."""
    array = np.array(values)
    return [(np.flatnonzero(array != v), np.flatnonzero(array == v)) for v in np.unique(array)]


def fit_product(data: FeatureDataset, train: Rows, held_out: Rows) -> NDArray[np.float32]:
    """The head by its defaults."""
    network = fit_head(data, HeadConfig(), train, train[:0]).network
    return score_rows(network, data.values, held_out)


def fit_lstm_part(data: FeatureDataset, train: Rows, held_out: Rows) -> NDArray[np.float32]:
    """The logits of the LSTM as the head weighs them: chance where it is not used."""
    network = fit_head(data, HeadConfig(), train, train[:0]).network
    with one_thread(), torch.inference_mode():
        logits = network.temporal_head(encode_rows(network, data.values, held_out).centred)
        scores: NDArray[np.float32] = logits.softmax(-1).numpy()
        return scores


def fit_mean(data: FeatureDataset, train: Rows, held_out: Rows) -> NDArray[np.float32]:
    """The head's linear part on the mean over time."""
    network = fit_linear_head(data, "mean", train, HeadConfig().training)
    return score_rows(network, data.values, held_out)


def fit_logistic_regression(
    data: FeatureDataset, train: Rows, held_out: Rows
) -> NDArray[np.float32]:
    """Fit scikit-learn's, in the coordinates that the training clips span: the same, but faster."""
    means = np.asarray(data.values[:], np.float32).mean(axis=2).reshape(len(data.targets), -1)
    means = (means - means[train].mean(axis=0)) / (means[train].std(axis=0) + 1e-6)
    inputs = means @ np.linalg.svd(means[train], full_matrices=False)[2].T
    targets = data.targets[train]
    groups = None if data.groups is None else data.groups[train]
    fold = choosing_folds(targets, groups, 5, seed=0)

    def loss(strength: float) -> float:
        total = 0.0
        for number in range(fold.max() + 1):
            fitted, judged = train[fold != number], train[fold == number]
            model = LogisticRegression(C=strength, max_iter=500)
            scores = model.fit(inputs[fitted], data.targets[fitted]).predict_proba(inputs[judged])
            own = scores[
                np.arange(len(judged)), np.searchsorted(model.classes_, data.targets[judged])
            ]
            total -= float(np.log(np.maximum(own, 1e-12)).sum())
        return total

    best = min((10.0**exponent for exponent in range(-6, 2)), key=loss)
    model = LogisticRegression(C=best, max_iter=500).fit(inputs[train], targets)
    scores = np.zeros((len(held_out), len(data.labels)), np.float32)
    scores[:, model.classes_] = model.predict_proba(inputs[held_out])
    return scores


FITS: dict[str, Fit] = {
    "head": fit_product,
    "logistic regression": fit_logistic_regression,
    "LSTM part": fit_lstm_part,
    "mean pooling": fit_mean,
}


class Measured(NamedTuple):
    """Figures of a fit over all held-out clips."""

    accuracy: float
    loss: float  # mean log-loss
    cpu_seconds: float  # per fold


def measure(task: Task, fit: Fit) -> Measured:
    """Fit on each fold and score the clips that it holds out."""
    right, losses, seconds = [], [], 0.0
    for train, held_out in task.folds:
        started = time.process_time()
        scores = fit(task.data, train, held_out)
        seconds += time.process_time() - started
        targets = task.data.targets[held_out]
        right.append(scores.argmax(axis=1) == targets)
        losses.append(-np.log(np.maximum(scores[np.arange(len(targets)), targets], 1e-12)))
    accuracy, loss = np.concatenate(right).mean(), np.concatenate(losses).mean()
    return Measured(float(accuracy), float(loss), seconds / len(task.folds))


if __name__ == "__main__":
    main()
