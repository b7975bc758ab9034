"""Do scores mean what they say, and is what a model never learned called unknown?

    python -m tests.benchmarks.calibration DATA [--clips-per-label 24]

DATA is the folder with the 300 surveillance fights. Prints the calibration error of out-of-fold
scores before and after the temperature, and which share of unknown clips is rejected at a threshold
that may lose 5% of the known ones: drawn figures given to the fight model, and drawn actions that
were left out of training. Every threshold is chosen on the clips of the other folds; the unknown
clips are judged by the network and the training clips of each fold.
"""

import argparse
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from activity_cli.data.loading import load_dataset
from activity_cli.data.splits import Folds, inner_split, make_folds
from activity_cli.features.backbones import find_backbone
from activity_cli.features.engines.choice import Engine
from activity_cli.features.labelled import DataConfig, LabelledClips, read_labelled
from activity_cli.model.calibration import (
    calibrate,
    calibrate_out_of_fold,
    choose_rule,
    expected_calibration_error,
    tempered,
)
from activity_cli.model.ood import fit_ood_detector
from activity_cli.sampledata import draw_dataset
from activity_cli.settings import ClipSettings, TrainSettings
from activity_cli.training.crossval import VAL_FRACTION
from activity_cli.training.head import HeadConfig, fit_head
from activity_cli.training.scoring import score_rows

FOLD_COLUMNS = ("fold_random", "fold_by_source")
LEFT_OUT = (("put_down", "stand_up", "squat"), ("jump", "run", "wave"))

Values = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class Fold:
    """What one fold's network and training clips say of its held-out and of the unknown clips."""

    held_out: NDArray[np.int64]
    known: Values
    """(N, C) scores."""
    unknown: Values
    known_strangeness: Mapping[str, Values]
    """(N,) per candidate: the higher the less it is like a known clip."""
    unknown_strangeness: Mapping[str, Values]


def main() -> None:
    """Read, cross-validate, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    parser.add_argument("--clips-per-label", type=int, default=24)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clips = Path(folder) / "clips"
        draw_dataset(clips, clips_per_label=arguments.clips_per_label)
        cache = Path(os.environ.get("ACTIVITY_CACHE_DIR", folder))
        fights, drawn = read(arguments.data, cache), read(clips, cache)
    for column in FOLD_COLUMNS:
        folds = make_folds(fights.dataset, fold_column=column)
        print(f"\nfights, {column}; unknown: {len(drawn.targets)} drawn clips")
        report(fights, folds, judge_folds(fights, folds, drawn.features.values))
    for labels in LEFT_OUT:
        is_unknown = np.isin([sample.label for sample in drawn.dataset.samples], labels)
        known = only(drawn, np.flatnonzero(~is_unknown))
        folds = make_folds(known.dataset, group_column="group")
        print(f"\ndrawn actions, by person; unknown: {', '.join(labels)}")
        report(known, folds, judge_folds(known, folds, drawn.features.values[is_unknown]))


def read(data: Path, cache: Path) -> LabelledClips:
    """Features of all clips, in fp32 on any machine."""
    engine = Engine(name="openvino", device="cpu", precision="fp32")
    data_config = DataConfig(
        backbone=find_backbone(), clip=ClipSettings(), cache_dir=cache, engine=engine
    )
    return read_labelled(load_dataset(data), data_config)


def only(data: LabelledClips, rows: NDArray[np.int64]) -> LabelledClips:
    """Some of the clips, and the labels that these have."""
    samples = tuple(data.dataset.samples[row] for row in rows)
    labels = tuple(sorted({sample.label for sample in samples}))
    dataset = replace(data.dataset, samples=samples, labels=labels)
    features = replace(
        data.features,
        values=data.features.values[rows],
        targets=dataset.label_indices(),
        labels=labels,
        groups=dataset.groups(),
    )
    return replace(data, dataset=dataset, features=features)


def judge_folds(data: LabelledClips, folds: Folds, unknown: NDArray[np.float16]) -> list[Fold]:
    """Train on the other folds, as `crossval` does, and judge known and unknown clips."""
    groups, settings, judged = data.dataset.groups(), TrainSettings(), []
    for number in range(len(folds.names)):
        others = np.flatnonzero(folds.index != number)
        held_out = np.flatnonzero(folds.index == number)
        train, val = inner_split(
            data.targets[others],
            None if groups is None else groups[others],
            fraction=VAL_FRACTION,
            seed=settings.seed,
        )
        network = fit_head(
            data.features,
            HeadConfig(training=settings),
            train_rows=others[train],
            val_rows=others[val],
        ).network
        known_scores = score_rows(network, data.features.values, held_out)
        unknown_scores = score_rows(network, unknown, np.arange(len(unknown)))
        learned, clips = data.features.values[others], data.features.values[held_out]
        judged.append(
            Fold(
                held_out=held_out,
                known=known_scores,
                unknown=unknown_scores,
                known_strangeness=strangeness(known_scores, learned, clips),
                unknown_strangeness=strangeness(unknown_scores, learned, unknown),
            )
        )
    return judged


def strangeness(
    scores: Values, learned: NDArray[np.float16], clips: NDArray[np.float16]
) -> dict[str, Values]:
    """(N,) of clips with these scores, by every candidate."""
    two = np.sort(scores, axis=1)[:, -2:]
    shares = np.maximum(scores, 1e-12)
    means = [
        part.astype(np.float32).mean(axis=2).reshape(len(part), -1) for part in (learned, clips)
    ]
    mean, spread = means[0].mean(axis=0), means[0].std(axis=0)
    train, query = ((part - mean) / (spread + 0.05 * spread.mean()) for part in means)
    squares = (query**2).sum(1)[:, None] + (train**2).sum(1) - 2 * query @ train.T
    near = np.sort(np.sqrt(np.maximum(squares, 0)), axis=1)
    return {
        "best score": 1 - two[:, 1],
        "margin": two[:, 0] - two[:, 1],
        "entropy": -(shares * np.log(shares)).sum(axis=1),
        "distance to the mean": np.sqrt((query**2).mean(axis=1)),
        "nearest clip": near[:, 0],
        "5th nearest clip": near[:, 4],
        "ood_score": fit_ood_detector(learned, np.arange(len(learned))).ood_score(clips),
    }


def report(data: LabelledClips, folds: Folds, judged: list[Fold]) -> None:
    """Print the calibration, then every candidate alone, then the rule of `--reject auto`."""
    scores = np.zeros((len(data.targets), len(data.dataset.labels)), np.float32)
    ood_score = np.zeros(len(data.targets), np.float32)
    for fold in judged:
        scores[fold.held_out] = fold.known
        ood_score[fold.held_out] = fold.known_strangeness["ood_score"]
    calibration, after, _ = calibrate_out_of_fold(scores, data.targets, ood_score, folds.index)
    print(
        f"  calibration error {expected_calibration_error(scores, data.targets):.3f} before, "
        f"{expected_calibration_error(after, data.targets):.3f} after "
        f"(temperature {calibration.temperature:.2f}); accuracy "
        f"{(after.argmax(axis=1) == data.targets).mean():.3f}"
    )
    for name in judged[0].known_strangeness:
        show(name, *judge_alone(judged, name), area=area_under_curve(judged, name))
    show("--reject auto", *judge_by_rule(judged, data.targets))


def show(name: str, lost: float, rejected: float, *, area: float | None = None) -> None:
    """A line of the table."""
    note = "" if area is None else f"  AUROC {area:.3f}"
    print(f"  {name:>22}: known lost {lost:5.1%}  unknown rejected {rejected:6.1%}{note}")


def area_under_curve(judged: list[Fold], name: str) -> float:
    """Mean over folds of how often an unknown clip is stranger than a known one."""
    areas = []
    for fold in judged:
        known, unknown = fold.known_strangeness[name], fold.unknown_strangeness[name]
        is_unknown = np.repeat([0, 1], [len(known), len(unknown)])
        areas.append(roc_auc_score(is_unknown, np.concatenate([known, unknown])))
    return float(np.mean(areas))


def judge_alone(judged: list[Fold], name: str) -> tuple[float, float]:
    """Shares of known clips lost and of unknown ones rejected by one candidate."""
    lost, rejected = [], []
    for fold in judged:
        known = np.concatenate([f.known_strangeness[name] for f in judged if f is not fold])
        rule = choose_rule(np.ones((len(known), 2)), known)
        assert rule is not None
        assert rule.max_ood_score is not None
        lost.append(fold.known_strangeness[name] > rule.max_ood_score)
        rejected.append(fold.unknown_strangeness[name] > rule.max_ood_score)
    return float(np.concatenate(lost).mean()), float(np.concatenate(rejected).mean())


def judge_by_rule(judged: list[Fold], targets: NDArray[np.int64]) -> tuple[float, float]:
    """The same by the rule that training chooses."""
    lost: list[NDArray[np.bool_]] = []
    rejected: list[NDArray[np.bool_]] = []
    for fold in judged:
        others = [f for f in judged if f is not fold]
        chosen = calibrate(
            np.concatenate([f.known for f in others]),
            targets[np.concatenate([f.held_out for f in others])],
            np.concatenate([f.known_strangeness["ood_score"] for f in others]),
            fitted_on="the other folds",
        )
        assert chosen.rule is not None
        for scores, strange, into in (
            (fold.known, fold.known_strangeness, lost),
            (fold.unknown, fold.unknown_strangeness, rejected),
        ):
            after = tempered(scores, chosen.temperature)
            into.append(chosen.rule.rejects(after, strange["ood_score"]))
    return float(np.concatenate(lost).mean()), float(np.concatenate(rejected).mean())


if __name__ == "__main__":
    main()
