"""How cross-validation trains on part of the clips: the classifier alone, or the CNN with it."""

from collections.abc import Callable
from dataclasses import dataclass

from activity_cli.features.labelled import DataConfig, LabelledFeatures
from activity_cli.features.pictures import LabelledPictures
from activity_cli.model.encoding import Features, Rows
from activity_cli.settings import CnnSettings, NetworkSettings, TrainSettings
from activity_cli.training.finetuning import CnnTrainer
from activity_cli.training.head import FittedNetwork
from activity_cli.training.inner_folds import fit_clips
from activity_cli.training.loop.loop import Session
from activity_cli.types import OnProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldModel:
    """What was learned from some of the clips, and what it makes of all of them."""

    fitted: FittedNetwork
    features: Features
    """(N, S, T, D) of all clips, by the CNN as it is afterwards."""


FitFunction = Callable[[Rows, Rows, OnProgress], FoldModel]
"""Learns from some rows and chooses the best epoch by others, or where these are none, by inner
folds. Told of its epochs as (stage, done, total)."""


def make_fit_function(
    data: LabelledFeatures | LabelledPictures,
    data_config: DataConfig,
    network: NetworkSettings,
    *,
    settings: TrainSettings,
    cnn: CnnSettings,
) -> FitFunction:
    """How a network of this shape is trained on any part of the clips."""
    if isinstance(data, LabelledFeatures):
        return _frozen_teacher(data, network, settings)
    trainer = CnnTrainer(
        data,
        data_config.backbone,
        network=network,
        settings=settings,
        cnn=cnn,
        device=data_config.engine.device,
        on_progress=data_config.on_progress,
    )

    def teach(train_rows: Rows, val_rows: Rows, on_progress: OnProgress) -> FoldModel:
        session = Session(on_epoch=lambda e: on_progress("cnn", e.epoch, cnn.most_epochs))
        found = trainer.fit(train_rows, val_rows, session)
        return FoldModel(fitted=found.fitted, features=trainer.features(found))

    return teach


def _frozen_teacher(
    data: LabelledFeatures, network: NetworkSettings, settings: TrainSettings
) -> FitFunction:
    """Training of the classifier alone: the CNN's features stay as they are."""

    def teach(train_rows: Rows, val_rows: Rows, on_progress: OnProgress) -> FoldModel:
        del on_progress  # a fold takes seconds
        fitted = fit_clips(
            data.features,
            data.targets,
            train_rows=train_rows,
            val_rows=val_rows,
            groups=data.dataset.groups(),
            num_labels=len(data.dataset.labels),
            streams=data.clip.streams,
            network_settings=network,
            settings=settings,
            views=data.views,
        )
        return FoldModel(fitted=fitted, features=data.features)

    return teach
