"""k-fold cross-validation of the classifier, or of CNN and classifier: N clips, C labels.

Every clip is scored once, by a network that saw neither it nor any clip of its group. The part
that chooses the epoch is taken from the training folds, never from the held-out one.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from activity_cli.data.leakage import Leakage
from activity_cli.data.scene_groups import SuggestedGroups
from activity_cli.data.splits import Folds, inner_split, spare_val
from activity_cli.errors import DataError
from activity_cli.features.grouping import audit_parts, settle_groups, with_groups
from activity_cli.features.labelled import DataConfig, FeatureDataset, LabelledClips, announce
from activity_cli.model.calibration import Calibration, calibrate_out_of_fold
from activity_cli.model.encoding import Rows
from activity_cli.model.frame_order_ablation import OrderScores, join_folds
from activity_cli.model.metrics import (
    Evaluation,
    Thresholds,
    correct_clips,
    evaluate_scores,
    majority_scores,
    pair_accuracy,
)
from activity_cli.model.ood import fit_ood_detector
from activity_cli.settings import (
    DEFAULT_AUDIT,
    FROZEN,
    AuditSettings,
    CnnSettings,
    Temporal,
    TrainSettings,
)
from activity_cli.training.finetuning import CnnTrainer
from activity_cli.training.fitting import load_grouped, read_clips_for
from activity_cli.training.head import FittedNetwork, HeadConfig, fit_head
from activity_cli.training.loop.loop import Session
from activity_cli.training.loop.trainer import EpochMetrics
from activity_cli.training.scoring import score_ablations, score_rows
from activity_cli.types import OnProgress, no_progress

# Names of the heads in comparisons, simplest first.
_HEADS: Mapping[Temporal, str] = {"frame": "single frame", "mean": "mean-pool", "lstm": "lstm"}
VAL_FRACTION = 0.15  # of the training folds: chooses the best epoch

FitFunction = Callable[[Rows, Rows], tuple[FittedNetwork, FeatureDataset]]
"""(training rows, validation rows) -> the network, and the features that it reads of all clips."""


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
    """Out-of-fold scores of all clips and their evaluation."""

    scores: NDArray[np.float32]
    """(N, C), each row by the network that did not see the clip, calibrated on the other folds."""
    evaluation: Evaluation
    folds: tuple[FoldResult, ...]
    calibration: Calibration | None = None  # of all folds; None for a baseline without a network
    orders: OrderScores | None = None
    """Scores in other frame orders, and of simpler baselines; None without an LSTM."""
    networks: tuple[FittedNetwork, ...] = ()  # of the folds, in their order
    thresholds: Thresholds | None = None
    """(N, C) of a multi-label model, those of a clip chosen on the other folds."""

    @property
    def seconds(self) -> float:
        """Time for training and scoring all folds."""
        return sum(fold.seconds for fold in self.folds)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairComparison:
    """How well each head separates two labels, leaving other clips and scores aside."""

    labels: tuple[str, str]
    num_clips: int
    accuracy: Mapping[str, float]  # by head; 0.5 is chance


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherFolds:
    """The same clips in folds by suggested groups; or in random ones, if the first are by these."""

    groups: SuggestedGroups
    folds: Folds | None = None
    result: CrossValidation | None = None
    problem: str = ""  # why there is no result

    @property
    def by_group(self) -> bool:
        """Whether these folds are those by groups."""
        return self.folds is None or self.folds.by == "groups"


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossvalRun:
    """A cross-validation of labelled data, with simpler heads beside it if they were asked for."""

    data: LabelledClips
    folds: Folds
    result: CrossValidation
    majority: CrossValidation  # always the most frequent label of the training folds
    rounds: Mapping[str, CrossValidation]  # by head, simplest first; empty without `compare`
    hard_pairs: Sequence[PairComparison]  # empty for multi-label data
    leakage: Leakage  # clips that are in several folds
    other: "OtherFolds | None" = None  # where the data has no groups, but some are suggested
    background: str | None = None  # the label that stands for no event


def run_crossval(
    data: Path,
    data_config: DataConfig,
    *,
    deal: Callable[..., Folds],
    head: HeadConfig,
    cnn: CnnSettings = FROZEN,
    compare: bool = False,
    background: str | None = None,
    audit: AuditSettings = DEFAULT_AUDIT,
    multi_label: bool | None = False,
) -> CrossvalRun:
    """Read labelled data (folder or CSV) and cross-validate on it.

    `deal` assigns every sample of a data set to a fold, and takes the keyword `num_folds`. Where
    the data has no groups, but some are suggested, folds by these are run as well. `compare` runs
    the simpler heads as well; `background` is the label that stands for no event. `multi_label` is
    as for `load_dataset`.

    Raises:
        DataError: the data cannot be used, has too few clips for the folds, or leaks and must not.
    """
    dataset = load_grouped(data, audit, background, data_config.videos, multi_label=multi_label)
    announce(dataset, data_config, head.training, in_folds=True)
    deal(dataset)  # reports errors before minutes of decoding
    plain = read_clips_for(dataset, data_config, cnn)
    labelled, applied = settle_groups(plain, audit, data_config)
    random = deal(plain.dataset)

    def deal_groups(data: LabelledClips) -> Folds:  # into as many folds as the groups allow
        assert data.features.groups is not None
        num_groups = len(np.unique(data.features.groups))
        return deal(data.dataset, num_folds=min(len(random.names), num_groups))

    folds = deal_groups(labelled) if applied else random
    leakage = audit_parts(labelled, folds.index, folds.names, audit=audit, data_config=data_config)

    def run(
        data: LabelledClips, folds: Folds, temporal: Temporal, name: str, *, baselines: bool = False
    ) -> CrossValidation:
        config = replace(head, network=replace(head.network, temporal=temporal))
        return cross_validate(
            data,
            folds,
            make_fit_function(data.features, data_config, config, cnn),
            head.training,
            name=name,
            baselines=baselines,
            on_progress=data_config.on_progress,
        )

    own = head.network.temporal
    rounds = {
        name: run(labelled, folds, temporal, name if compare else "folds", baselines=not compare)
        for temporal, name in _HEADS.items()
        if compare or temporal == own
    }
    other = None
    if applied:
        result = run(plain, random, own, "random folds")
        other = OtherFolds(groups=applied, folds=random, result=result)
    elif leakage.suggestion and folds.by == "clips":
        other = OtherFolds(groups=leakage.suggestion)
        grouped = with_groups(plain, other.groups)
        try:
            if cnn.mode != "frozen":
                raise DataError("a trained CNN would be trained twice. Use --groups auto.")
            by_group = deal_groups(grouped)
        except DataError as error:
            other = replace(other, problem=error.message)
        else:
            result = run(grouped, by_group, own, "folds by group")
            other = replace(other, folds=by_group, result=result)
    majority = majority_baseline(labelled, folds)
    heads = {"majority": majority, **rounds} if compare else {}
    return CrossvalRun(
        data=labelled,
        folds=folds,
        result=rounds[_HEADS[head.network.temporal]],
        majority=majority,
        rounds=heads,
        hard_pairs=compare_on_hard_pairs(heads, labelled.targets)
        if compare and not dataset.multi_label
        else (),
        leakage=leakage,
        other=other,
        background=background,
    )


def make_fit_function(
    data: FeatureDataset, data_config: DataConfig, head: HeadConfig, cnn: CnnSettings
) -> FitFunction:
    """Return the function that fits to any part of the clips: the head alone, or with the CNN."""
    trainer = None if cnn.mode == "frozen" else CnnTrainer(data, data_config, head, cnn)

    def report(epoch: EpochMetrics) -> None:
        data_config.on_progress("cnn", epoch.epoch, cnn.most_epochs)

    def fit_fold(train_rows: Rows, val_rows: Rows) -> tuple[FittedNetwork, FeatureDataset]:
        if trainer is None:
            return fit_head(data, head, train_rows, val_rows), data
        found = trainer.fit(train_rows, val_rows, Session(on_epoch=report))
        return found.fitted, trainer.features(found)

    return fit_fold


def split_fold(data: FeatureDataset, folds: Folds, number: int, seed: int) -> tuple[Rows, Rows]:
    """Return the training and validation rows for a held-out fold; no validation if few clips."""
    others = np.flatnonzero(folds.index != number)
    groups = None if data.groups is None else data.groups[others]
    train, val = inner_split(data.targets[others], groups, fraction=VAL_FRACTION, seed=seed)
    if not data.holds_frames:
        train, val = spare_val(train, val)
    return others[train], others[val]


def cross_validate(
    labelled: LabelledClips,
    folds: Folds,
    fit: FitFunction,
    settings: TrainSettings,
    *,
    name: str = "folds",
    baselines: bool = True,
    on_progress: OnProgress = no_progress,
) -> CrossValidation:
    """Score every clip by a network trained on the other folds, with simpler baselines beside it.

    `name` is for progress reports.
    """
    targets, labels, multi_label = labelled.targets, labelled.dataset.labels, labelled.multi_label
    scores = np.zeros((len(targets), len(labels)), np.float32)
    ood_score = np.zeros(len(targets), np.float32)
    results, networks, orders = [], [], []
    on_progress(name, 0, len(folds.names))
    for number, fold_name in enumerate(folds.names):
        started = time.perf_counter()
        others, held_out = (np.flatnonzero((folds.index == number) == side) for side in (0, 1))
        fitted, data = fit(*split_fold(labelled.features, folds, number, settings.seed))
        features = data.values
        networks.append(fitted)
        scores[held_out] = score_rows(fitted.network, features, held_out, multi_label=multi_label)
        # Held-out clips are compared with the clips of the other folds.
        ood_score[held_out] = fit_ood_detector(features, others).ood_score(features[held_out])
        if fitted.network.temporal == "lstm" and not multi_label:
            orders.append(
                score_ablations(
                    fitted.network,
                    data,
                    learned=others,
                    rows=held_out,
                    settings=settings,
                    mean_head=fitted.mean_heads[0] if fitted.mean_heads else None,
                    baselines=baselines,
                )
            )
        results.append(
            FoldResult(
                name=fold_name,
                num_clips=len(held_out),
                accuracy=float(correct_clips(scores[held_out], targets[held_out]).mean()),
                best_epoch=fitted.best_epoch,
                seconds=time.perf_counter() - started,
            )
        )
        on_progress(name, number + 1, len(folds.names))
    calibration, scores, thresholds = calibrate_out_of_fold(scores, targets, ood_score, folds.index)
    if multi_label:  # with the thresholds, which had to be chosen first
        correct = correct_clips(scores, targets, thresholds)
        accuracies = [float(correct[folds.index == n].mean()) for n in range(len(results))]
        results = [replace(r, accuracy=a) for r, a in zip(results, accuracies, strict=True)]
    return CrossValidation(
        scores=scores,
        evaluation=evaluate_scores(scores, targets, labels, thresholds),
        thresholds=thresholds,
        folds=tuple(results),
        calibration=calibration,
        orders=join_folds(orders, folds.index) if orders else None,
        networks=tuple(networks),
    )


def majority_baseline(labelled: LabelledClips, folds: Folds) -> CrossValidation:
    """Predict for each fold the most frequent label of the others."""
    targets, labels = labelled.targets, labelled.dataset.labels
    scores = np.zeros((len(targets), len(labels)), np.float32)
    for number in range(len(folds.names)):
        held_out = folds.index == number
        scores[held_out] = majority_scores(targets[~held_out], int(held_out.sum()), len(labels))
    evaluation = evaluate_scores(scores, targets, labels)
    return CrossValidation(scores=scores, evaluation=evaluation, folds=())


def compare_on_hard_pairs(
    rounds: Mapping[str, CrossValidation], targets: NDArray[np.int64], *, num_pairs: int = 3
) -> list[PairComparison]:
    """Compare all heads on the pairs of labels that a single frame separates worst."""
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
