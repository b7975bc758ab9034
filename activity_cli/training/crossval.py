"""k-fold cross-validation, on features that were extracted once, or of CNN and classifier.

Every clip is scored once, by a network that saw neither it nor anything of its group. The part
that early stopping watches is carved out of the training folds, never out of the held-out one.
N is clips, C labels.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from activity_cli.data.dataset import Dataset
from activity_cli.data.leakage import Leakage
from activity_cli.data.loading import load_dataset
from activity_cli.data.name_groups import group_by_name
from activity_cli.data.splits import Folds, inner_split, spare_val
from activity_cli.features.audit import announce, audit_parts
from activity_cli.features.labelled import DataConfig, LabelledFeatures, read_labelled
from activity_cli.features.pictures import LabelledPictures, read_pictures
from activity_cli.model.calibration import Calibration, calibrate_out_of_fold
from activity_cli.model.frame_order_ablation import OrderScores, join_folds
from activity_cli.model.metrics import (
    Evaluation,
    evaluate_scores,
    majority_scores,
    pair_accuracy,
)
from activity_cli.model.ood import learn_familiarity
from activity_cli.settings import (
    DEFAULT_AUDIT,
    FROZEN,
    AuditSettings,
    CnnSettings,
    NetworkSettings,
    Temporal,
    TrainSettings,
)
from activity_cli.training.fold_models import FitFunction, make_fit_function
from activity_cli.training.head import (
    FittedNetwork,
    score_rows,
    score_with_baseline,
)
from activity_cli.types import OnProgress, no_progress

_HEADS: Mapping[Temporal, str] = {"frame": "single frame", "mean": "mean-pool", "lstm": "lstm"}
"""Names of the heads in comparisons, simplest first."""

VAL_FRACTION = 0.15
"""Share of the training folds that chooses the best epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldResult:
    """One held-out fold."""

    name: str
    num_clips: int
    accuracy: float
    best_epoch: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossValidation:
    """Out-of-fold scores of all clips and what they amount to."""

    scores: NDArray[np.float32]
    """(N, C), each row by the network that did not see the clip, with the temperature that the
    other folds say."""
    evaluation: Evaluation
    folds: tuple[FoldResult, ...]
    calibration: Calibration | None = None
    """What all folds say about the scores; None for a baseline that has no network."""
    orders: OrderScores | None = None
    """What the same networks say of the same clips in other orders; None where they read none."""
    networks: tuple[FittedNetwork, ...] = ()
    """Of the folds, in their order."""

    @property
    def seconds(self) -> float:
        """Time for training and scoring all folds."""
        return sum(fold.seconds for fold in self.folds)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairComparison:
    """How well each head tells two labels apart, clips and scores of other labels left aside."""

    labels: tuple[str, str]
    num_clips: int
    accuracy: Mapping[str, float]
    """By head; 0.5 is chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossvalRun:
    """A cross-validation of labelled data, with other heads beside it when asked for."""

    data: LabelledFeatures | LabelledPictures
    folds: Folds
    result: CrossValidation
    rounds: Mapping[str, CrossValidation]
    """By head, simplest first; empty without `compare`."""
    hard_pairs: Sequence[PairComparison]
    leakage: Leakage
    """What was found in several folds."""
    background: str | None = None
    """The label that stands for no event."""


def run_crossval(
    data: Path,
    data_config: DataConfig,
    *,
    deal: Callable[[Dataset], Folds],
    network: NetworkSettings,
    settings: TrainSettings,
    cnn: CnnSettings = FROZEN,
    compare: bool = False,
    background: str | None = None,
    audit: AuditSettings = DEFAULT_AUDIT,
) -> CrossvalRun:
    """Read labelled data and cross-validate on it.

    Args:
        data: folder or CSV of labelled clips.
        data_config: how videos are read.
        deal: says the fold of every sample.
        network: shape of the network.
        settings: how each fold's network is fitted.
        cnn: whether and how each fold's CNN learns as well.
        compare: also run the simpler heads of `compare_heads`.
        background: the label that stands for no event.
        audit: groups in names, and whether leakage stops it.

    Raises:
        DataError: the data cannot be used, has too few clips for the folds, or leaks and must not.
        BackboneError: the CNN is unknown or its weights are not to be had.
        OutputError: the cache folder cannot be written.
    """
    dataset = group_by_name(load_dataset(data), audit.groups)
    dataset.check_label(background)
    announce(dataset, data_config, settings)
    deal(dataset)  # what cannot be dealt is said before minutes of decoding
    labelled = (read_labelled if cnn.mode == "frozen" else read_pictures)(dataset, data_config)
    folds = deal(labelled.dataset)
    leakage = audit_parts(labelled, folds.index, folds.names, audit=audit, data_config=data_config)
    teach = partial(make_fit_function, labelled, data_config, settings=settings, cnn=cnn)
    on_progress = data_config.on_progress
    if not compare:
        result = cross_validate(labelled, folds, teach(network), settings, on_progress=on_progress)
        return CrossvalRun(
            data=labelled,
            folds=folds,
            result=result,
            rounds={},
            hard_pairs=(),
            leakage=leakage,
            background=background,
        )
    rounds = compare_heads(labelled, folds, teach, network, settings, on_progress=on_progress)
    return CrossvalRun(
        data=labelled,
        folds=folds,
        result=rounds[_HEADS[network.temporal]],
        rounds=rounds,
        hard_pairs=compare_on_hard_pairs(rounds, labelled.targets),
        leakage=leakage,
        background=background,
    )


def cross_validate(
    data: LabelledFeatures | LabelledPictures,
    folds: Folds,
    teach: FitFunction,
    settings: TrainSettings,
    *,
    name: str = "folds",
    on_progress: OnProgress = no_progress,
) -> CrossValidation:
    """Score every clip by a network trained on the other folds.

    Args:
        data: all clips.
        folds: the fold in which each clip is held out.
        teach: trains on some of them.
        settings: of the training; their seed draws the validation clips.
        name: what progress calls this round.
        on_progress: told after each fold.
    """
    groups = data.dataset.groups()
    scores = np.zeros((len(data.targets), len(data.dataset.labels)), np.float32)
    novelty = np.zeros(len(data.targets), np.float32)
    results, networks, orders = [], [], []
    on_progress(name, 0, len(folds.names))
    for number, fold_name in enumerate(folds.names):
        started = time.perf_counter()
        others = np.flatnonzero(folds.index != number)
        held_out = np.flatnonzero(folds.index == number)
        inner_train, inner_val = inner_split(
            data.targets[others],
            None if groups is None else groups[others],
            fraction=VAL_FRACTION,
            seed=settings.seed,
        )
        if isinstance(data, LabelledFeatures):
            inner_train, inner_val = spare_val(inner_train, inner_val)
        taught = teach(others[inner_train], others[inner_val], on_progress)
        networks.append(taught.fitted)
        scores[held_out] = score_rows(taught.fitted.network, taught.features, held_out)
        # How unlike the clips of the other folds the held-out ones are.
        known = learn_familiarity(taught.features, others)
        novelty[held_out] = known.novelty(taught.features[held_out])
        if taught.fitted.network.temporal == "lstm":
            orders.append(
                score_with_baseline(
                    taught.fitted.network,
                    taught.features,
                    data.targets,
                    learn_rows=others,
                    rows=held_out,
                    streams=data.clip.streams,
                    settings=settings,
                )
            )
        correct = scores[held_out].argmax(axis=1) == data.targets[held_out]
        results.append(
            FoldResult(
                name=fold_name,
                num_clips=len(held_out),
                accuracy=float(correct.mean()),
                best_epoch=taught.fitted.best_epoch,
                seconds=time.perf_counter() - started,
            )
        )
        on_progress(name, number + 1, len(folds.names))
    calibration, scores = calibrate_out_of_fold(scores, data.targets, novelty, folds.index)
    return CrossValidation(
        scores=scores,
        evaluation=evaluate_scores(scores, data.targets, data.dataset.labels),
        folds=tuple(results),
        calibration=calibration,
        orders=join_folds(orders, folds.index) if orders else None,
        networks=tuple(networks),
    )


def majority_baseline(data: LabelledFeatures | LabelledPictures, folds: Folds) -> CrossValidation:
    """What always naming the most frequent training label reaches on the same folds."""
    num_labels = len(data.dataset.labels)
    scores = np.zeros((len(data.targets), num_labels), np.float32)
    for number in range(len(folds.names)):
        held_out = folds.index == number
        train_targets = data.targets[~held_out]
        scores[held_out] = majority_scores(train_targets, int(held_out.sum()), num_labels)
    evaluation = evaluate_scores(scores, data.targets, data.dataset.labels)
    return CrossValidation(scores=scores, evaluation=evaluation, folds=())


def compare_heads(
    data: LabelledFeatures | LabelledPictures,
    folds: Folds,
    teach: Callable[[NetworkSettings], FitFunction],
    network: NetworkSettings,
    settings: TrainSettings,
    *,
    on_progress: OnProgress = no_progress,
) -> dict[str, CrossValidation]:
    """The same folds and features, read by ever more capable heads, simplest first.

    `single frame` sees one picture from the middle of the clip, as an image classifier would;
    `mean-pool` sees all frames but not their order; `lstm` sees all of it.
    """
    rounds = {"majority": majority_baseline(data, folds)}
    for temporal, name in _HEADS.items():
        head = replace(network, temporal=temporal)
        rounds[name] = cross_validate(
            data, folds, teach(head), settings, name=name, on_progress=on_progress
        )
    return rounds


def compare_on_hard_pairs(
    rounds: Mapping[str, CrossValidation], targets: NDArray[np.int64], *, num_pairs: int = 3
) -> list[PairComparison]:
    """The pairs of labels that a single frame tells apart worst, and how every head does there.

    Actions that differ only in the order of time show here: a picture cannot tell them apart.
    """
    frame = rounds["single frame"]
    labels = frame.evaluation.labels
    pairs = combinations(range(len(labels)), 2)
    ranked = sorted(pairs, key=lambda pair: pair_accuracy(frame.scores, targets, *pair))
    return [
        PairComparison(
            labels=(labels[i], labels[j]),
            num_clips=int(np.isin(targets, (i, j)).sum()),
            accuracy={
                name: pair_accuracy(result.scores, targets, i, j) for name, result in rounds.items()
            },
        )
        for i, j in ranked[:num_pairs]
    ]
