"""Labelled data -> a network fitted to it, not yet saved: what a run does first."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from activity_cli.dataset import Dataset, load_dataset
from activity_cli.labelled import LabelledFeatures, Reading, read_labelled
from activity_cli.learning.loop import ALONE, Epoch, Session
from activity_cli.resuming import check_same, describe_run, remember
from activity_cli.settings import NetworkSettings, TrainSettings
from activity_cli.splits import Split, split_train_val_test
from activity_cli.training import FittedNetwork, fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be learned, and how."""

    data: Path
    """Folder or CSV of labelled clips."""
    reading: Reading
    network: NetworkSettings
    settings: TrainSettings
    val_fraction: float = 0.15
    """Share of the clips that chooses the best epoch."""
    test_fraction: float = 0.15
    """Share of the clips held out to measure on."""
    background: str | None = None
    """The label that stands for no event: learned like any other, named in the model."""

    def load(self) -> Dataset:
        """The data, which has clips of the background label.

        Raises:
            DataError: it cannot be used.
        """
        dataset = load_dataset(self.data)
        dataset.check_label(self.background)
        return dataset

    def split(self, dataset: Dataset) -> Split:
        """The parts to learn from, to choose the best epoch by, and to measure on.

        Raises:
            DataError, SettingsError: the data cannot be split like that.
        """
        return split_train_val_test(
            dataset,
            val_fraction=self.val_fraction,
            test_fraction=self.test_fraction,
            seed=self.settings.seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """A fitted network, not yet saved, and what it was fitted to."""

    plan: Plan
    data: LabelledFeatures
    split: Split
    fitted: FittedNetwork
    seconds: float
    """For the fitting."""


def learn(
    plan: Plan, session: Session = ALONE, *, on_begin: Callable[[], None] = lambda: None
) -> Learned:
    """Read, split and fit. With several processes, all of them do, and come to the same.

    Args:
        plan: what is to be learned.
        session: where the state of the training is kept; what it already holds goes on.
        on_begin: called when everything is read and the training begins.

    Raises:
        DataError: the data cannot be used, or is too small to be split.
        BackboneError: the CNN is unknown or its weights are not to be had.
        SettingsError: the session's folder holds a training with other data or settings.
        TrainingError: the loss is no number any more, or memory does not do.
        OutputError: the cache or the session's folder cannot be written.
    """
    dataset = plan.load()
    # What cannot be split, or is not what was begun, is said before minutes of decoding.
    parts = describe_run(
        dataset,
        plan.split(dataset),
        plan.reading,
        network=plan.network,
        settings=plan.settings,
        background=plan.background,
    )
    if session.folder:
        check_same(session.folder, parts)
    with session.team.main_first():  # the others find all features in the cache
        labelled = read_labelled(dataset, plan.reading)
    if session.folder and session.team.is_main:
        parts = {**parts, "engine": {"name": labelled.extractor.identity}}
        check_same(session.folder, parts)
        remember(session.folder, parts)
        on_begin()
    return learn_from(plan, labelled, plan.split(labelled.dataset), session)


def learn_from(
    plan: Plan, labelled: LabelledFeatures, split: Split, session: Session = ALONE
) -> Learned:
    """Fit a network to features that were read and split.

    Raises:
        TrainingError, OutputError: as `learn`.
    """
    started = time.perf_counter()
    on_progress, num_epochs = plan.reading.on_progress, plan.settings.epochs

    def on_epoch(epoch: Epoch) -> None:
        session.on_epoch(epoch)
        on_progress("epochs", epoch.epoch, num_epochs)

    fitted = fit(
        labelled.features,
        labelled.targets,
        train_rows=split.train,
        val_rows=split.val,
        num_labels=len(labelled.dataset.labels),
        streams=labelled.clip.streams,
        network_settings=plan.network,
        settings=plan.settings,
        session=replace(session, on_epoch=on_epoch),
    )
    on_progress("epochs", num_epochs, num_epochs)  # early stopping is an end as well
    return Learned(
        plan=plan,
        data=labelled,
        split=split,
        fitted=fitted,
        seconds=time.perf_counter() - started,
    )
