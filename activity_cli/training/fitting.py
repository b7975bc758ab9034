"""Labelled data -> a network fitted to it, not yet saved: what a run does first."""

import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from activity_cli.data.dataset import Dataset
from activity_cli.data.leakage import Leakage
from activity_cli.data.loading import load_dataset
from activity_cli.data.name_groups import group_by_name
from activity_cli.data.splits import PARTS, Split, spare_val, split_train_val_test
from activity_cli.features.audit import announce, audit_parts
from activity_cli.features.engines.loading import load_extractor
from activity_cli.features.labelled import DataConfig, LabelledFeatures, read_labelled
from activity_cli.features.pictures import LabelledPictures, read_pictures, see_pictures
from activity_cli.model.folder import CNN_FILE
from activity_cli.settings import (
    DEFAULT_AUDIT,
    FROZEN,
    AuditSettings,
    CnnSettings,
    NetworkSettings,
    TrainSettings,
)
from activity_cli.training.finetuning import CnnTrainer, FittedCnn
from activity_cli.training.head import FittedNetwork
from activity_cli.training.inner_folds import fit_clips
from activity_cli.training.loop.loop import ALONE, Epoch, Session
from activity_cli.training.resuming import check_same, describe_run, remember


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be learned, and how."""

    data: Path
    """Folder or CSV of labelled clips."""
    data_config: DataConfig
    network: NetworkSettings
    settings: TrainSettings
    cnn: CnnSettings = FROZEN
    val_fraction: float = 0.15
    """Share of the clips that chooses the best epoch, where they are not few."""
    test_fraction: float = 0.15
    """Share of the clips held out to measure on."""
    background: str | None = None
    """The label that stands for no event: learned like any other, named in the model."""
    audit: AuditSettings = DEFAULT_AUDIT
    """Groups that names say, and whether leakage stops it."""

    def load(self) -> Dataset:
        """The data, which has clips of the background label.

        Raises:
            DataError: it cannot be used.
        """
        dataset = group_by_name(load_dataset(self.data), self.audit.groups)
        dataset.check_label(self.background)
        return dataset

    def settled(self, num_clips: int) -> TrainSettings:
        """How the classifier is fitted, with so many clips to learn from."""
        return self.settings.for_clips(num_clips) if self.cnn.mode == "frozen" else self.settings

    def num_epochs(self, num_clips: int) -> int:
        """The most that there will be."""
        return self.cnn.most_epochs or self.settled(num_clips).most_epochs

    def read(self, dataset: Dataset) -> LabelledFeatures | LabelledPictures:
        """Features, or the pictures themselves where the CNN learns as well.

        Raises:
            DataError, BackboneError, OutputError: as `read_labelled`.
        """
        read = read_labelled if self.cnn.mode == "frozen" else read_pictures
        return read(dataset, self.data_config)

    def split(self, dataset: Dataset) -> Split:
        """The parts to learn from, to choose the best epoch by, and to measure on.

        Where the first two are few clips, inner folds of both choose it, and the second is empty;
        not where the CNN learns as well, which would take hours.

        Raises:
            DataError, SettingsError: the data cannot be split like that.
        """
        split = split_train_val_test(
            dataset,
            val_fraction=self.val_fraction,
            test_fraction=self.test_fraction,
            seed=self.settings.seed,
        )
        if self.cnn.mode != "frozen":
            return split
        train, val = spare_val(split.train, split.val)
        return replace(split, train=train, val=val)


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """A fitted network, not yet saved, and what it was fitted to."""

    plan: Plan
    data: LabelledFeatures
    """The features are those of the CNN as it is after learning."""
    split: Split
    fitted: FittedNetwork
    seconds: float
    """For the fitting."""
    leakage: Leakage | None = None
    """What was found on both sides of the split; None where nobody looked."""
    cnn: bytes | None = None
    """The CNN's weights file, if they changed."""


def learn(
    plan: Plan, session: Session = ALONE, *, on_begin: Callable[[], None] = lambda: None
) -> Learned:
    """Read, split and fit. With several processes, all of them do, and come to the same.

    Args:
        plan: what is to be learned.
        session: where the state of the training is kept; what it already holds goes on.
        on_begin: called when everything is read and the training begins.

    Raises:
        DataError: the data cannot be used, is too small to be split, or leaks and must not.
        BackboneError: the CNN is unknown or its weights are not to be had.
        SettingsError: the session's folder holds a training with other data or settings.
        TrainingError: the loss is no number any more, or memory does not do.
        OutputError: the cache or the session's folder cannot be written.
    """
    # The main process first: what is wrong is said once, and the others find all features cached.
    with session.team.main_first():
        dataset = plan.load()
        announce(dataset, plan.data_config, plan.settings)
        # What cannot be split, or is not what was begun, is said before minutes of decoding.
        parts = describe_run(
            dataset,
            plan.split(dataset),
            plan.data_config,
            network=plan.network,
            settings=plan.settings,
            cnn=plan.cnn,
            background=plan.background,
        )
        if session.folder:
            check_same(session.folder, parts)
        labelled = plan.read(dataset)
        split = plan.split(labelled.dataset)
        leakage = audit_parts(
            labelled, split.part, PARTS, audit=plan.audit, data_config=plan.data_config
        )
    if session.folder and session.team.is_main:
        parts = {**parts, "engine": {"name": labelled.engine}}
        check_same(session.folder, parts)
        remember(session.folder, parts)
        on_begin()
    return replace(learn_from(plan, labelled, split, session), leakage=leakage)


def learn_from(
    plan: Plan,
    labelled: LabelledFeatures | LabelledPictures,
    split: Split,
    session: Session = ALONE,
) -> Learned:
    """Fit a network to features or pictures that were read and split.

    Raises:
        TrainingError, OutputError: as `learn`.
    """
    on_progress, num_epochs = plan.data_config.on_progress, plan.num_epochs(len(split.train))

    def on_epoch(epoch: Epoch) -> None:
        session.on_epoch(epoch)
        on_progress("epochs", epoch.epoch, num_epochs)

    watched = replace(session, on_epoch=on_epoch)
    if isinstance(labelled, LabelledPictures):
        return _learn_cnn(plan, labelled, split, watched)
    started = time.perf_counter()
    fitted = fit_clips(
        labelled.features,
        labelled.targets,
        train_rows=split.train,
        val_rows=split.val,
        groups=labelled.dataset.groups(),
        num_labels=len(labelled.dataset.labels),
        streams=labelled.clip.streams,
        network_settings=plan.network,
        settings=plan.settings,
        views=labelled.views,
        session=watched,
    )
    on_progress("epochs", num_epochs, num_epochs)  # early stopping is an end as well
    return Learned(
        plan=plan,
        data=labelled,
        split=split,
        fitted=fitted,
        seconds=time.perf_counter() - started,
    )


def _learn_cnn(plan: Plan, shown: LabelledPictures, split: Split, session: Session) -> Learned:
    """CNN and classifier from pictures, then features by that CNN in the engine that predicts."""
    data_config = plan.data_config
    trainer = CnnTrainer(
        shown,
        data_config.backbone,
        network=plan.network,
        settings=plan.settings,
        cnn=plan.cnn,
        device=data_config.engine.device,
        on_progress=data_config.on_progress,
    )
    started = time.perf_counter()
    found = trainer.fit(split.train, split.val, session)
    seconds = time.perf_counter() - started
    num_epochs = plan.num_epochs(len(split.train))
    data_config.on_progress("epochs", num_epochs, num_epochs)
    data, weights = _see_again(found, shown, data_config)
    stages = {**data.stage_seconds, "first stages": trainer.seconds}
    return Learned(
        plan=plan,
        data=replace(data, stage_seconds=stages),
        split=split,
        fitted=found.fitted,
        seconds=seconds,
        cnn=weights,
    )


def _see_again(
    found: FittedCnn, shown: LabelledPictures, data_config: DataConfig
) -> tuple[LabelledFeatures, bytes | None]:
    """Features of all clips by the CNN as it is now, and its weights file if it changed."""
    backbone, weights = found.backbone, None
    with tempfile.TemporaryDirectory() as scratch:
        if backbone.mode != "frozen":
            file, weights = Path(scratch, CNN_FILE), found.weights()
            file.write_bytes(weights)
            digest = hashlib.sha256(weights).hexdigest()
            backbone = replace(backbone, weights_sha256=digest, file=file)
        extractor = load_extractor(
            backbone,
            data_config.engine,
            cache_dir=data_config.cache_dir,
            frame_size=data_config.clip.frame_size,
            on_prepare=data_config.on_prepare,
        )
    return see_pictures(shown, extractor, backbone, on_progress=data_config.on_progress), weights
