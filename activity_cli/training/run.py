"""Save what was fitted as a model folder, and measure it on clips it was not fitted to."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.files import numbered_folder
from activity_cli.data.leakage import Leakage
from activity_cli.data.splits import PARTS, Split
from activity_cli.errors import SettingsError
from activity_cli.features.engines.choice import Engine, load_classifier
from activity_cli.features.labelled import LabelledClips
from activity_cli.model.calibration import (
    Calibration,
    calibrate,
    calibrate_out_of_fold,
    measure,
    tempered,
)
from activity_cli.model.encoding import batches_of
from activity_cli.model.folder import (
    MODEL_SUBFOLDER,
    Model,
    ModelDescription,
    member_name,
    save_model,
    write_description,
)
from activity_cli.model.frame_order_ablation import OrderScores, join_orders
from activity_cli.model.metrics import Evaluation, Thresholds, evaluate_scores
from activity_cli.model.network import load_scorer
from activity_cli.model.ood import OodDetector, fit_ood_detector, mean_over_time
from activity_cli.settings import NetworkSettings, TrainSettings
from activity_cli.training.crossval import CrossvalRun
from activity_cli.training.fitting import FitResult
from activity_cli.training.head import FittedNetwork, HeadConfig
from activity_cli.training.loop.distributed import SINGLE_PROCESS, DistributedContext
from activity_cli.training.scoring import score_ablations

_SCORING_BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """The result of a run: the model, how it was fitted, and its metrics on held-out clips."""

    folder: Path
    model: Model
    data: LabelledClips
    split: Split
    settings: TrainSettings
    fitted: FittedNetwork
    measured_on: str  # `test`; without test clips `inner-fold`, or `val`, which overestimates
    measured_rows: NDArray[np.int64]  # (M,) rows of the clips that were measured on
    scores: NDArray[np.float32]
    """(M, C) by the saved model; of inner folds, by the networks not fitted to the clips."""
    evaluation: Evaluation
    thresholds: Thresholds | None  # (C,) or (M, C) of a multi-label model
    orders: OrderScores | None
    """Scores in other frame orders, and of simpler baselines; None without an LSTM."""
    leakage: Leakage | None  # clips that are in several parts; None if that was not checked
    stage_seconds: Mapping[str, float]


@contextmanager
def run_folder(
    parent: Path,
    name: str,
    *,
    old: Path | None = None,
    context: DistributedContext = SINGLE_PROCESS,
    on_note: Callable[[str], None] = lambda _: None,
) -> Iterator[Path]:
    """Make a new folder for a run, `parent/name` or `parent/name-2` and so on, or take an old one.

    It is made before the work, to find out early if it can be, and removed if it stays empty.

    Raises:
        SettingsError: the name cannot be that of a folder.
        OutputError: the folder cannot be made.
    """
    if not name or name in {".", ".."} or Path(name).name != name:
        raise SettingsError(f"{name!r} cannot be the name of a run.", hint="Use --name gym.")
    if old is not None or not context.is_main:
        yield old or parent / name
        return
    folder = numbered_folder(parent, name)
    if folder.name != name:
        on_note(f"{parent / name} exists: this run is {folder}.")
    try:
        yield folder
    finally:
        with suppress(OSError):  # not empty
            folder.rmdir()


def save_run(fit: FitResult, folder: Path) -> TrainingRun:
    """Calibrate, save (an earlier model of the run is replaced), and measure the saved model.

    Raises:
        OutputError: the model folder or the cache cannot be written.
    """
    plan, labelled, split, fitted = fit.plan, fit.data, fit.split, fit.fitted
    features, targets = labelled.features.values, labelled.targets
    settings = plan.settled(len(split.train))
    started = time.perf_counter()
    means = mean_over_time(features)
    ood_detector = fit_ood_detector(means, split.train)
    calibration, out_of_fold, thresholds = _calibrate(fit, means, ood_detector)
    model = _save_model(fit, folder, settings, calibration, ood_detector)
    if fitted.inner and not len(split.test):
        measured_on = "val" if len(split.val) else "inner-fold"
        rows, scores = fitted.inner.rows, out_of_fold
    else:
        thresholds = model.description.thresholds
        measured_on, rows = ("test", split.test) if len(split.test) else ("val", split.val)
        scores = score_with_engine(
            model, plan.data_config.engine, features[rows], cache_dir=plan.data_config.cache_dir
        )
    evaluation = evaluate_scores(scores, targets[rows], labelled.dataset.labels, thresholds)
    if measured_on == "test":  # the pooled head was fitted to all other clips
        calibration = measure(
            calibration,
            # Undoes the temperature.
            tempered(scores, 1 / calibration.temperature, multi_label=labelled.multi_label),
            targets[rows],
            ood_detector.ood_score(means[rows]),
            measured_on="test clips",
        )
    metrics = {"measured_on": measured_on, **evaluation.to_json(interval=False)}
    described = replace(model.description, metrics=metrics, calibration=calibration)
    model = write_description(replace(model, description=described))
    return TrainingRun(
        folder=folder,
        model=model,
        data=labelled,
        split=split,
        settings=settings,
        fitted=fitted,
        measured_on=measured_on,
        measured_rows=rows,
        scores=scores,
        evaluation=evaluation,
        thresholds=thresholds,
        orders=_score_baselines(fit, settings, rows, measured_on),
        leakage=fit.leakage,
        stage_seconds={
            **labelled.stage_seconds,
            "training": fit.seconds,
            "measuring": time.perf_counter() - started,
        },
    )


def _save_model(
    fit: FitResult,
    folder: Path,
    settings: TrainSettings,
    calibration: Calibration,
    ood_detector: OodDetector,
) -> Model:
    sizes = {part: len(getattr(fit.split, part)) for part in PARTS}
    description = describe(
        fit.data,
        name=folder.name,
        network=fit.plan.head.network,
        data={
            "split": {**sizes, "by": fit.split.by},
            "leakage": fit.leakage.lines() if fit.leakage else [],
        },
        training={
            **settings.to_json(),
            "best_epoch": fit.fitted.best_epoch,
            "lstm_weight": fit.fitted.lstm_weight,
        },
    )
    return save_model(
        folder / MODEL_SUBFOLDER,
        replace(description, calibration=calibration, background=fit.plan.background),
        fit.fitted.weights(),
        ood_detector,
        cnn=fit.cnn,
        overwrite=True,
    )


def save_ensemble(run: CrossvalRun, folder: Path, *, name: str, head: HeadConfig) -> Model:
    """Save the networks of a cross-validation's folds as one model: the mean of their logits.

    Logits, so that one temperature divides their mean. The out-of-fold scores calibrate the model.

    Raises:
        SettingsError: the folds' CNNs differ.
        OutputError: the folder cannot be written.
    """
    data, result = run.data, run.result
    if data.features.holds_frames:
        raise SettingsError(
            "Every fold trained a CNN of its own, so the networks cannot be one model.",
            hint="Leave out --ensemble, or use --cnn frozen.",
        )
    sizes = {fold.name: fold.num_clips for fold in result.folds}
    description = describe(
        data,
        name=name,
        network=head.network,
        data={"folds": {"clips": sizes, "by": run.folds.by}},
        training={**head.training.to_json(), "best_epoch": [f.best_epoch for f in result.folds]},
    )
    description = replace(
        description,
        num_members=len(result.networks),
        metrics={"measured_on": "out of fold", **result.evaluation.to_json(interval=False)},
        calibration=result.calibration,
        background=run.background,
    )
    ood_detector = fit_ood_detector(data.features.values, np.arange(len(data.targets)))
    weights = {
        member_name(number, tensor_name): tensor
        for number, fitted in enumerate(result.networks)
        for tensor_name, tensor in fitted.weights().items()
    }
    return save_model(folder, description, weights, ood_detector)


def describe(
    labelled: LabelledClips,
    *,
    name: str,
    network: NetworkSettings,
    data: Mapping[str, Any],
    training: Mapping[str, Any],
) -> ModelDescription:
    """Describe a model of some clips, except for its metrics; `data` and `training` are added."""
    augment = labelled.augment
    return ModelDescription(
        name=name,
        labels=labelled.dataset.labels,
        clip=labelled.clip,
        network=network,
        backbone=labelled.backbone,
        engine=labelled.engine,
        multi_label=labelled.multi_label,
        data={
            "source": labelled.dataset.root.name,
            "num_clips": len(labelled.targets),
            "clips_per_label": labelled.dataset.counts(),
            "clip_seconds": labelled.clip_seconds(),
            "num_left_out": len(labelled.left_out),
            **data,
        },
        training={**training, **({"augment": augment.to_json()} if augment.num_views else {})},
    )


def score_with_engine(
    model: Model, engine: Engine, features: NDArray[np.float16], *, cache_dir: Path
) -> NDArray[np.float32]:
    """Return scores (N, C) of (N, S, T, D) features, by the engine that predicts."""
    classifier = load_classifier(
        lambda: load_scorer(model),
        engine,
        key=model.identity,
        cache_dir=cache_dir,
        example_shape=(1, *model.description.feature_shape),
    )
    batches = batches_of(np.arange(len(features)), _SCORING_BATCH)
    return np.concatenate([classifier.classify(features[rows]) for rows in batches])


def _calibrate(
    fit: FitResult, means: NDArray[np.float32], ood_detector: OodDetector
) -> tuple[Calibration, NDArray[np.float32], Thresholds | None]:
    """Calibrate on clips that were not learned from; return their (V, C) scores as well.

    Of a multi-label model also the thresholds, (C,) or (V, C). `means` are those over time.
    """
    labelled, split, fitted, inner = fit.data, fit.split, fit.fitted, fit.fitted.inner
    if inner is None or len(split.val):
        ood_score = ood_detector.ood_score(means[split.val])
        calibration = calibrate(
            fitted.val_scores, labelled.targets[split.val], ood_score, fitted_on="validation clips"
        )
        scores = tempered(
            fitted.val_scores, calibration.temperature, multi_label=labelled.multi_label
        )
        found = calibration.thresholds
        return calibration, scores, None if found is None else np.array(found)
    # Each clip is compared with the clips of the other folds.
    novelties = [
        fit_ood_detector(means, learned).ood_score(means[held_out])
        for _, learned, held_out in inner.parts(split.train)
    ]
    return calibrate_out_of_fold(
        fitted.val_scores, labelled.targets[inner.rows], np.concatenate(novelties), inner.index
    )


def _score_baselines(
    fit: FitResult, settings: TrainSettings, rows: NDArray[np.int64], measured_on: str
) -> OrderScores | None:
    """Score the measured rows with frames in other orders, and by simpler baselines."""
    fitted = fit.fitted
    if fitted.network.temporal != "lstm" or fit.data.multi_label:
        return None
    learned = np.concatenate([fit.split.train, fit.split.val])
    parts, mean_heads = [(fitted.network, learned, rows)], fitted.mean_heads[:1]
    if fitted.inner and measured_on != "test":
        parts, mean_heads = list(fitted.inner.parts(learned)), fitted.mean_heads[1:]
    orders = [
        score_ablations(
            network,
            fit.data.features,
            learned=others,
            rows=held_out,
            settings=settings,
            mean_head=mean_head,
        )
        for (network, others, held_out), mean_head in zip_longest(parts, mean_heads)
    ]
    return join_orders(orders)
