"""One training run: labelled data -> a model folder, measured on clips it has not seen."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.files import numbered_folder
from activity_cli.data.leakage import Leakage
from activity_cli.data.splits import Split
from activity_cli.errors import SettingsError
from activity_cli.features.engines.choice import Engine
from activity_cli.features.engines.loading import load_classifier
from activity_cli.features.labelled import DataConfig, LabelledFeatures
from activity_cli.model.calibration import (
    Calibration,
    calibrate,
    calibrate_out_of_fold,
    measure,
    tempered,
)
from activity_cli.model.folder import (
    MODEL_SUBFOLDER,
    Model,
    ModelDescription,
    save_model,
    write_description,
)
from activity_cli.model.frame_order_ablation import OrderScores, join_orders
from activity_cli.model.metrics import Evaluation, evaluate_scores
from activity_cli.model.ood import Familiarity, learn_familiarity
from activity_cli.model.rebuilding import load_scorer
from activity_cli.settings import (
    DEFAULT_AUDIT,
    FROZEN,
    AuditSettings,
    CnnSettings,
    NetworkSettings,
    TrainSettings,
)
from activity_cli.training.fitting import Learned, Plan, learn
from activity_cli.training.head import FittedNetwork, score_with_baseline
from activity_cli.training.loop.distributed import SINGLE_PROCESS, DistributedContext

_SCORING_BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """What a run gave: the model, how it was fitted, and how it does on held-out clips."""

    folder: Path
    model: Model
    data: LabelledFeatures
    split: Split
    settings: TrainSettings
    fitted: FittedNetwork
    measured_on: str
    """`test`; without test clips `inner-fold`, or `val`, which flatters."""
    measured_rows: NDArray[np.int64]
    """(M,) rows of the clips that were measured on."""
    scores: NDArray[np.float32]
    """(M, C) by the saved model in the engine that predicts; of inner folds, by the networks that
    did not learn from the clips."""
    evaluation: Evaluation
    orders: OrderScores | None
    """Frame-order ablation and single-frame baseline on the measured clips; None without LSTM."""
    leakage: Leakage | None
    """What was found on both sides of the split; None where nobody looked."""
    stage_seconds: Mapping[str, float]


@contextmanager
def run_folder(
    parent: Path, name: str, *, old: Path | None = None, team: DistributedContext = SINGLE_PROCESS
) -> Iterator[Path]:
    """A new folder for a run, `parent/name` or `parent/name-2` and so on; never an old one.

    It is made first, so that a place that cannot be written is found out before the work, and
    taken away again if the work ends before anything is in it.

    Args:
        parent: folder of the runs.
        name: of the run.
        old: the folder of the run that goes on; none is made then.
        team: in which only the main process makes folders.

    Raises:
        SettingsError: the name is not one of a folder.
        OutputError: the folder cannot be made.
    """
    if not name or name in {".", ".."} or Path(name).name != name:
        raise SettingsError(f"{name!r} cannot be the name of a run.", hint="Use --name gym.")
    if old is not None or not team.is_main:
        yield old or parent / name
        return
    folder = numbered_folder(parent, name)
    try:
        yield folder
    finally:
        with suppress(OSError):  # not empty: there is something to keep
            folder.rmdir()


def train_model(
    data: Path,
    data_config: DataConfig,
    folder: Path,
    *,
    network: NetworkSettings,
    settings: TrainSettings,
    cnn: CnnSettings = FROZEN,
    val_fraction: float = 0.15,
    test_fraction: float = 0.15,
    background: str | None = None,
    audit: AuditSettings = DEFAULT_AUDIT,
) -> TrainingRun:
    """Learn from labelled data, save the model, and measure it the way it will be used.

    Raises:
        DataError, BackboneError, TrainingError, OutputError: as `learn` and `keep`.
    """
    plan = Plan(
        data=data,
        data_config=data_config,
        network=network,
        settings=settings,
        cnn=cnn,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        background=background,
        audit=audit,
    )
    return keep(learn(plan), folder)


def keep(learned: Learned, folder: Path) -> TrainingRun:
    """Calibrate, save, and measure the saved model the way it will be used.

    A model that an earlier part of the same run has left in the folder is replaced.

    Raises:
        OutputError: the model folder or the cache cannot be written.
    """
    plan, labelled = learned.plan, learned.data
    split, fitted = learned.split, learned.fitted
    settings = plan.settled(len(split.train))
    started = time.perf_counter()
    familiarity = learn_familiarity(labelled.features, split.train)
    calibration, out_of_fold = _calibrate(labelled, split, fitted, familiarity)
    description = _describe(
        labelled,
        split,
        fitted,
        name=folder.name,
        network=plan.network,
        settings=settings,
    )
    leakage = learned.leakage.lines() if learned.leakage else []
    description = replace(
        description,
        calibration=calibration,
        background=plan.background,
        data={**description.data, "leakage": leakage},
    )
    model = save_model(
        folder / MODEL_SUBFOLDER,
        description,
        fitted.weights(),
        familiarity,
        cnn=learned.cnn,
        overwrite=True,
    )
    if fitted.inner and not len(split.test):
        measured_on, rows, scores = "inner-fold", fitted.inner.rows, out_of_fold
    else:
        measured_on, rows = ("test", split.test) if len(split.test) else ("val", split.val)
        scores = score_with_engine(
            model,
            plan.data_config.engine,
            labelled.features[rows],
            cache_dir=plan.data_config.cache_dir,
        )
    evaluation = evaluate_scores(scores, labelled.targets[rows], labelled.dataset.labels)
    if measured_on == "test":  # all other clips have taught the summary by now
        calibration = measure(
            calibration,
            tempered(scores, 1 / calibration.temperature),  # takes the temperature away
            labelled.targets[rows],
            familiarity.novelty(labelled.features[rows]),
            measured_on="test clips",
        )
    metrics = {"measured_on": measured_on, **evaluation.to_json()}
    description = replace(model.description, metrics=metrics, calibration=calibration)
    model = write_description(replace(model, description=description))
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
        orders=_score_baselines(learned, settings, rows, inner=measured_on == "inner-fold"),
        leakage=learned.leakage,
        stage_seconds={
            **labelled.stage_seconds,
            "training": learned.seconds,
            "measuring": time.perf_counter() - started,
        },
    )


def _score_baselines(
    learned: Learned, settings: TrainSettings, rows: NDArray[np.int64], *, inner: bool
) -> OrderScores | None:
    """Run the frame-order ablation and fit the single-frame baseline on the measured rows."""
    fitted, data = learned.fitted, learned.data
    if fitted.network.temporal != "lstm":
        return None
    learn_rows = np.concatenate([learned.split.train, learned.split.val])
    parts = [(fitted.network, learn_rows, rows)]
    if inner and fitted.inner:
        parts = list(fitted.inner.parts(learn_rows))
    return join_orders(
        [
            score_with_baseline(
                network,
                data.features,
                data.targets,
                learn_rows=part,
                rows=held_out,
                streams=data.clip.streams,
                settings=settings,
            )
            for network, part, held_out in parts
        ]
    )


def _calibrate(
    data: LabelledFeatures, split: Split, fitted: FittedNetwork, familiarity: Familiarity
) -> tuple[Calibration, NDArray[np.float32]]:
    """Temperature and rule from clips that were not learned from, and their (V, C) scores."""
    features, inner = data.features, fitted.inner
    if inner is None:
        novelty = familiarity.novelty(features[split.val])
        calibration = calibrate(
            fitted.val_scores, data.targets[split.val], novelty, fitted_on="validation clips"
        )
        return calibration, tempered(fitted.val_scores, calibration.temperature)
    # How unlike the clips of the other folds each is.
    novelties = [
        learn_familiarity(features, learned).novelty(features[held_out])
        for _, learned, held_out in inner.parts(split.train)
    ]
    return calibrate_out_of_fold(
        fitted.val_scores, data.targets[inner.rows], np.concatenate(novelties), inner.index
    )


def score_with_engine(
    model: Model, engine: Engine, features: NDArray[np.float16], *, cache_dir: Path
) -> NDArray[np.float32]:
    """Scores (N, C) of (N, S, T, D) features, by the engine that predicts."""
    classifier = load_classifier(
        lambda: load_scorer(model),
        engine,
        key=model.identity,
        cache_dir=cache_dir,
        example_shape=(1, *model.description.feature_shape),
    )
    starts = range(0, len(features), _SCORING_BATCH)
    return np.concatenate([classifier.classify(features[i : i + _SCORING_BATCH]) for i in starts])


def clip_seconds(data: LabelledFeatures) -> dict[str, float]:
    """How long the clips are: windows over longer videos are as long as the typical one."""
    seconds = [clip.decoded.duration_seconds for clip in data.clips if clip.decoded]
    found = {"min": min(seconds), "median": float(np.median(seconds)), "max": max(seconds)}
    return {name: round(value, 3) for name, value in found.items()}


def _describe(
    data: LabelledFeatures,
    split: Split,
    fitted: FittedNetwork,
    *,
    name: str,
    network: NetworkSettings,
    settings: TrainSettings,
) -> ModelDescription:
    """All that model.json says, except how good the model is."""
    parts = {"train": split.train, "val": split.val, "test": split.test}
    return ModelDescription(
        name=name,
        labels=data.dataset.labels,
        clip=data.clip,
        network=network,
        backbone=data.backbone,
        engine=data.extractor.identity,
        data={
            "source": data.dataset.root.name,
            "num_clips": len(data.targets),
            "clips_per_label": data.dataset.counts(),
            "clip_seconds": clip_seconds(data),
            "num_left_out": len(data.left_out),
            "split": {name: len(rows) for name, rows in parts.items()} | {"by": split.by},
        },
        training={
            **settings.to_json(),
            "best_epoch": fitted.best_epoch,
            **({"augment": data.augment.to_json()} if data.augment.num_views else {}),
        },
    )
