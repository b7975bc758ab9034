"""One fold of one candidate, in a worker process: encoded clips from disk -> held-out scores.

What the classifier reads of the features (means, principal components) depends on which clips are
learned from and on the number of frames, but on no setting that is searched. So it is measured
once per fold and kept on disk, where all workers find it; fitting to that takes less than half of
the time. N is clips of a fold, those to learn from first, then those that choose the best epoch,
then those held out; S, T, D, R, C as in `network`.
"""

import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from activity_cli.common.files import output_error
from activity_cli.model.encoding import ViewIndex, encode_rows, measure_features
from activity_cli.model.network import Encoded, FeatureStatistics, SequenceClassifier
from activity_cli.settings import NetworkSettings, Stream, TrainSettings
from activity_cli.training.head import (
    fit_encoded,
    new_network,
    one_thread,
    score_encoded,
    score_rows,
)
from activity_cli.training.inner_folds import fit_clips
from activity_cli.training.tuning.frames import FramesFrom

_SUMMARY, _CHANGES = "summary.npy", "changes.npy"

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Features of all clips on disk, for every number of frames."""

    folder: Path
    streams: tuple[Stream, ...]
    """Those that were read."""
    sources: dict[int, FramesFrom]
    """By number of frames."""

    def features(self, num_frames: int) -> NDArray[np.float16]:
        """(N, S, T, D) of all clips, mapped from disk."""
        source = self.sources[num_frames]
        values = np.load(self.path(source.num_read), mmap_mode="r")
        return cast(NDArray[np.float16], values[:, :, source.taken])

    def forget(self, folds: Sequence["Fold"]) -> None:
        """Free the disk of what was measured for folds that are done."""
        for fold in folds:
            for num_frames in self.sources:
                shutil.rmtree(self.encoded(fold, num_frames), ignore_errors=True)

    def encoded(self, fold: "Fold", num_frames: int) -> Path:
        """The folder of a fold's encoded clips."""
        return self.folder / f"{fold.name}-{num_frames}"

    def path(self, num_read: int) -> Path:
        """The file of one reading."""
        return self.folder / f"features-{num_read}.npy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Clips that a candidate learns from, and those that it is judged by."""

    name: str
    """Of its folder; no two folds of a search share one."""
    train: Rows
    val: Rows
    """They choose the best epoch, and are no part of what is judged. None: inner folds do."""
    held_out: Rows
    groups: Rows | None = None
    """(N,) group of each of all clips, if there are groups."""


def score_fold(
    readings: Readings,
    fold: Fold,
    targets: NDArray[np.int64],
    *,
    num_labels: int,
    num_frames: int,
    streams: tuple[Stream, ...],
    network: NetworkSettings,
    training: TrainSettings,
) -> NDArray[np.float32]:
    """Fit a candidate to a fold and score the held-out clips: (len(held_out), C).

    The scores are those that `crossval.cross_validate` gives with these settings, bit for bit.

    Args:
        readings: the features.
        fold: rows of them.
        targets: (N,) of all rows.
        num_labels: C.
        num_frames: T.
        streams: S of those that were read.
        network: shape of the network.
        training: how it is fitted.

    Raises:
        OutputError: what is measured cannot be kept.
    """
    if not len(fold.val):  # few clips: each inner fold measures its own, and soon
        features = readings.features(num_frames)[:, [readings.streams.index(s) for s in streams]]
        fitted = fit_clips(
            features,
            targets,
            train_rows=fold.train,
            val_rows=fold.val,
            groups=fold.groups,
            num_labels=num_labels,
            streams=streams,
            network_settings=network,
            settings=training,
        )
        return score_rows(fitted.network, features, fold.held_out)
    with one_thread():
        folder = _prepared(readings, fold, num_frames, network.num_components)
        clips = _load(folder, [readings.streams.index(stream) for stream in streams])
        unfitted = new_network(network, _shape_of(clips), num_labels, seed=training.seed)
        rows = np.concatenate([fold.train, fold.val])
        fitted = fit_encoded(
            unfitted,
            clips.rows(torch.arange(len(rows))),
            targets[rows],
            ViewIndex(len(fold.train), len(rows)),
            streams=streams,
            settings=training,
        )
        held_out = torch.arange(len(rows), len(rows) + len(fold.held_out))
        return score_encoded(fitted.network, clips.rows(held_out))


def _prepared(readings: Readings, fold: Fold, num_frames: int, num_components: int) -> Path:
    """The folder with the fold's encoded clips; made by whoever comes first."""
    folder = readings.encoded(fold, num_frames)
    if folder.is_dir():
        return folder
    features = readings.features(num_frames)
    statistics = measure_features(features, fold.train, num_components)
    # Any network of this shape encodes alike; one without an LSTM is made quickest.
    settings = NetworkSettings(temporal="mean")
    network = SequenceClassifier(settings, num_labels=2, statistics=statistics)
    rows = np.concatenate([fold.train, fold.val, fold.held_out])
    clips = encode_rows(network, features, rows)
    unfinished = readings.folder / f".{secrets.token_hex(8)}"
    try:
        unfinished.mkdir()
        np.save(unfinished / _SUMMARY, clips.summary.numpy())
        np.save(unfinished / _CHANGES, clips.changes.numpy())
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():  # it is if another worker was quicker
                raise
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise output_error(folder, error) from error
    return folder


def _load(folder: Path, streams: Sequence[int]) -> Encoded:
    """Some streams of the encoded clips."""
    summary, changes = (torch.from_numpy(np.load(folder / name)) for name in (_SUMMARY, _CHANGES))
    if list(streams) == list(range(summary.shape[1])):
        return Encoded(summary=summary, changes=changes)
    return Encoded(summary=summary[:, streams], changes=changes[:, streams])


def _shape_of(clips: Encoded) -> FeatureStatistics:
    """Statistics that fit clips in shape. Their values were used when these were encoded."""
    num_streams, size = clips.summary.shape[1:]
    return FeatureStatistics(
        mean=torch.zeros(num_streams, size),
        scale=torch.ones(num_streams, size),
        components=torch.zeros(num_streams, size, clips.changes.shape[-1]),
    )
