"""One fold of one candidate: fit the head to features from disk, score the held-out clips.

Folds run in worker processes, because torch's random generator is one per process. The encoded
clips of a fold depend only on the number of frames, so they are computed once and kept on disk:
with 240 clips that takes 3 to 5 s of CPU, a fit 0.1 s, one with an LSTM 10 s. Axes as in `network`.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from activity_cli.common.files import writing
from activity_cli.common.processes.pool import WorkerPool
from activity_cli.errors import ActivityError, WorkerCrashError
from activity_cli.features.labelled import FeatureDataset
from activity_cli.model.encoding import ViewIndex, encode_rows, measure_features
from activity_cli.model.network import Encoded, FeatureStatistics, SequenceClassifier
from activity_cli.settings import NetworkSettings
from activity_cli.training.head import (
    HeadConfig,
    encoded_task,
    fit_head,
    fit_task,
    one_thread,
    seeded,
)
from activity_cli.training.scoring import score_encoded, score_rows
from activity_cli.training.tuning.data import FeatureStore, Fold
from activity_cli.training.tuning.space import Candidate


class FoldScorer:
    """Scores folds in worker processes. A context manager; closing ends the workers."""

    def __init__(
        self, store: FeatureStore, targets: NDArray[np.int64], *, num_labels: int, num_workers: int
    ) -> None:
        self._store, self._targets, self._num_labels = store, targets, num_labels
        self._pool = WorkerPool(num_workers, imports=["activity_cli.training.tuning.folds"])
        self._threads = ThreadPoolExecutor(num_workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._pool.close()
        self._threads.shutdown(cancel_futures=True)

    def scores(self, candidate: Candidate, folds: Sequence[Fold]) -> Iterator[NDArray[np.float32]]:
        """Yield the logits (H, C) of each fold's held-out clips, in the order of the folds.

        Later folds start early, so the numbers are the same with any number of workers.

        Raises:
            ActivityError: a worker crashed, or cannot write to the store.
        """
        return self._threads.map(partial(self._score, candidate), folds)

    def _score(self, candidate: Candidate, fold: Fold) -> NDArray[np.float32]:
        try:
            return self._pool.call(
                score_fold, self._store, fold, self._targets, candidate, num_labels=self._num_labels
            )
        except WorkerCrashError as error:
            raise ActivityError(
                "A process that fits a fold crashed.",
                hint="The system may be out of memory: try --workers 1. "
                "Run the same command again to resume.",
            ) from error


def score_fold(
    store: FeatureStore,
    fold: Fold,
    targets: NDArray[np.int64],
    candidate: Candidate,
    *,
    num_labels: int,
) -> NDArray[np.float32]:
    """Fit a candidate to a fold and return the logits (H, C) of the held-out clips.

    They equal those of `crossval.cross_validate` with the same settings, bit for bit.

    Raises:
        OutputError: the encoded clips cannot be written.
    """
    clip, network, training = candidate.clip, candidate.network, candidate.training
    streams = [store.streams.index(stream) for stream in clip.streams]
    if not len(fold.val):  # few clips: every inner fold computes its own statistics, quickly
        features = store.features(clip.num_frames)[:, streams]
        data = FeatureDataset(
            values=features,
            targets=targets,
            labels=tuple(map(str, range(num_labels))),
            streams=clip.streams,
            groups=fold.groups,
        )
        config = HeadConfig(network=network, training=training)
        fitted = fit_head(data, config, train_rows=fold.train, val_rows=fold.val)
        return score_rows(fitted.network, features, fold.held_out)
    with one_thread():
        clips = _encode(store, fold, clip.num_frames, network.num_components)
        if len(streams) < len(store.streams):
            clips = Encoded(pooled=clips.pooled[:, streams], centred=clips.centred[:, streams])
        rows = np.concatenate([fold.train, fold.val])
        with seeded(training.seed):
            task = encoded_task(
                SequenceClassifier(network, num_labels=num_labels, statistics=_placeholder(clips)),
                clips.rows(torch.arange(len(rows))),
                targets[rows],
                ViewIndex(len(fold.train), len(rows)),
                clip.streams,
                settings=training,
            )
            fitted = fit_task(task, training)
        held_out = torch.arange(len(rows), len(rows) + len(fold.held_out))
        return score_encoded(fitted.network, clips.rows(held_out))


def _encode(store: FeatureStore, fold: Fold, num_frames: int, num_components: int) -> Encoded:
    """Return the fold's encoded clips: train, validation, held out. Compute them only once."""
    path = store.encoded_path(fold, num_frames)
    if not path.is_file():
        features = store.features(num_frames)
        statistics = measure_features(features, fold.train, num_components)
        # All networks with these statistics encode alike; one without an LSTM is built fastest.
        settings = NetworkSettings(temporal="mean")
        network = SequenceClassifier(settings, num_labels=2, statistics=statistics)
        rows = np.concatenate([fold.train, fold.val, fold.held_out])
        clips = encode_rows(network, features, rows)
        # Two workers may do this at the same time: both write the same file, each atomically.
        with writing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, pooled=clips.pooled.numpy(), centred=clips.centred.numpy())
    with np.load(path) as arrays:
        pooled, centred = (torch.from_numpy(arrays[name]) for name in ("pooled", "centred"))
    return Encoded(pooled=pooled, centred=centred)


def _placeholder(clips: Encoded) -> FeatureStatistics:
    """Return statistics of the right shape for clips that are encoded already."""
    num_streams, size = clips.pooled.shape[1:]
    return FeatureStatistics(
        mean=torch.zeros(num_streams, size),
        scale=torch.ones(num_streams, size),
        components=torch.zeros(num_streams, size, clips.centred.shape[-1]),
    )
