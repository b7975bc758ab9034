"""Labelled data -> a fitted network that is not saved yet: the first part of a training run."""

import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from activity_cli.data.dataset import Dataset
from activity_cli.data.leakage import Leakage
from activity_cli.data.loading import load_dataset
from activity_cli.data.name_groups import group_by_name
from activity_cli.data.splits import PARTS, Split, spare_val, split_train_val_test
from activity_cli.errors import SettingsError
from activity_cli.features.backbones import Backbone
from activity_cli.features.engines.choice import load_extractor
from activity_cli.features.frames import extract_from_frames, read_frames
from activity_cli.features.grouping import audit_parts, settle_groups
from activity_cli.features.labelled import DataConfig, LabelledClips, announce, read_labelled
from activity_cli.model.folder import CNN_FILE
from activity_cli.settings import (
    DEFAULT_AUDIT,
    FROZEN,
    AuditSettings,
    CaptionSettings,
    CnnSettings,
    TrainSettings,
)
from activity_cli.training.finetuning import CnnTrainer
from activity_cli.training.head import FittedNetwork, HeadConfig, fit_head
from activity_cli.training.loop.loop import NO_SESSION, Session
from activity_cli.training.resuming import check_same, describe_run, write_run_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be trained, on which data."""

    data: Path  # folder or CSV of labelled clips
    data_config: DataConfig
    head: HeadConfig
    cnn: CnnSettings = FROZEN
    val_fraction: float = 0.15
    """Share of the clips that chooses the best epoch, unless the clips are few."""
    test_fraction: float = 0.15  # share of the clips held out to measure on
    background: str | None = None
    """The label that stands for no event: trained like any other, marked in the model."""
    captions: CaptionSettings = field(default_factory=CaptionSettings)
    """What is learned, labels or sentences, and how sentences are."""
    audit: AuditSettings = DEFAULT_AUDIT  # groups in names, and whether leakage stops the training
    multi_label: bool | None = None  # None: where pieces of different labels overlap

    def settled(self, num_clips: int) -> TrainSettings:
        """Return the settings of the classifier for so many training clips."""
        training = self.head.training
        return training.for_clips(num_clips) if self.cnn.mode == "frozen" else training

    def num_epochs(self, num_clips: int) -> int:
        """Return the maximum number of epochs for so many training clips."""
        return self.cnn.most_epochs or self.settled(num_clips).most_epochs

    def load(self) -> Dataset:
        """Read the data without decoding it; errors are those of `load_grouped`."""
        return load_grouped(
            self.data,
            self.audit,
            self.background,
            self.data_config.videos,
            multi_label=self.multi_label,
        )

    def split(self, dataset: Dataset) -> Split:
        """Split the data into training, validation and test clips.

        Where the first two are few clips, inner folds of both choose the epoch and the second is
        empty; not where the CNN is trained too, which would take hours.

        Raises:
            DataError, SettingsError: the data cannot be split like that.
        """
        shares = {"val_fraction": self.val_fraction, "test_fraction": self.test_fraction}
        split = split_train_val_test(dataset, **shares, seed=self.head.training.seed)
        if self.cnn.mode != "frozen":
            return split
        train, val = spare_val(split.train, split.val)
        return replace(split, train=train, val=val)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """A fitted network that is not saved yet, and its data."""

    plan: Plan
    data: LabelledClips  # with the features of the CNN as it is after training
    split: Split
    fitted: FittedNetwork
    seconds: float  # for the fit
    leakage: Leakage | None = None  # clips that are in several parts; None if that was not checked
    cnn: bytes | None = None  # the CNN's weights file, if they changed


def load_grouped(
    data: Path,
    audit: AuditSettings,
    background: str | None,
    videos: Path | None = None,
    *,
    multi_label: bool | None = False,
) -> Dataset:
    """Load labelled data, take groups from names, and check the background label."""
    dataset = group_by_name(
        load_dataset(data, videos=videos, multi_label=multi_label), audit.groups
    )
    dataset.check_label(background)
    return dataset


def read_clips_for(dataset: Dataset, data_config: DataConfig, cnn: CnnSettings) -> LabelledClips:
    """Read features, or frames where the CNN is trained too.

    Raises:
        SettingsError: the CNN is to be trained on multi-label data.
    """
    if dataset.multi_label and cnn.mode != "frozen":
        raise SettingsError(
            f"--cnn {cnn.mode} takes clips of one label, and the data is multi-label.",
            hint="Use --cnn frozen.",
        )
    return (read_labelled if cnn.mode == "frozen" else read_frames)(dataset, data_config)


def read_and_split(
    plan: Plan, dataset: Dataset, split_of: Callable[[Dataset], Split]
) -> tuple[LabelledClips, Split, Leakage]:
    """Read clips, settle their groups, split them, and look for what is in several parts."""
    labelled = read_clips_for(dataset, plan.data_config, plan.cnn)
    labelled, _ = settle_groups(labelled, plan.audit, plan.data_config)
    split = split_of(labelled.dataset)
    leakage = audit_parts(
        labelled, split.part, PARTS, audit=plan.audit, data_config=plan.data_config
    )
    return labelled, split, leakage


def fit_plan(
    plan: Plan, session: Session = NO_SESSION, *, on_begin: Callable[[], None] = lambda: None
) -> FitResult:
    """Read, split and fit, in every process with the same result; call `on_begin` before the fit.

    Raises:
        DataError: the data cannot be used, is too small to be split, or leaks and must not.
        SettingsError: the session's folder holds a training with other data or settings.
        CheckpointError: the session's folder holds a training that cannot be resumed.
    """
    # The main process first: errors are reported once, and the others find all features cached.
    with session.context.main_first():
        dataset = plan.load()
        announce(dataset, plan.data_config, plan.head.training)
        # Before minutes of decoding: can the data be split, and is it what was begun?
        parts = describe_run(dataset, plan.split(dataset), plan)
        if session.folder:
            check_same(session.folder, parts)
        labelled, split, leakage = read_and_split(plan, dataset, plan.split)
    if session.folder and session.context.is_main:
        parts = {**parts, "engine": {"name": labelled.engine}}
        check_same(session.folder, parts)
        write_run_file(session.folder, parts)
        on_begin()
    return replace(fit_split(plan, labelled, split, session), leakage=leakage)


def fit_split(
    plan: Plan, labelled: LabelledClips, split: Split, session: Session = NO_SESSION
) -> FitResult:
    """Fit to clips that were read and split."""
    on_progress, num_epochs = plan.data_config.on_progress, plan.num_epochs(len(split.train))
    session = session.reporting(on_progress, num_epochs)
    started = time.perf_counter()
    if plan.cnn.mode == "frozen":
        fitted = fit_head(labelled.features, plan.head, split.train, split.val, session)
        seconds, cnn = time.perf_counter() - started, None
    else:
        trainer = CnnTrainer(labelled.features, plan.data_config, plan.head, plan.cnn)
        started = time.perf_counter()
        found = trainer.fit(split.train, split.val, session)
        fitted, seconds = found.fitted, time.perf_counter() - started
        cnn = found.weights() if found.backbone.mode != "frozen" else None
        labelled = extract_again(found.backbone, cnn, labelled, plan.data_config)
        stages = {**labelled.stage_seconds, "first stages": trainer.seconds}
        labelled = replace(labelled, stage_seconds=stages)
    on_progress("epochs", num_epochs, num_epochs)  # early stopping is an end as well
    return FitResult(plan=plan, data=labelled, split=split, fitted=fitted, seconds=seconds, cnn=cnn)


def extract_again(
    backbone: Backbone, weights: bytes | None, labelled: LabelledClips, data_config: DataConfig
) -> LabelledClips:
    """Compute the features with the CNN as it is after training; `weights` are its file, if any."""
    with tempfile.TemporaryDirectory() as scratch:
        if weights is not None:
            file = Path(scratch, CNN_FILE)
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
    return extract_from_frames(labelled, extractor, backbone, data_config)
