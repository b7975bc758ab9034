"""One fold of one candidate: fit the head to features from disk, score the held-out clips.

Folds run in worker processes, because torch's random generator is one per process. Axes as in
`network`.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.processes.pool import WorkerPool
from activity_cli.errors import ActivityError, WorkerCrashError
from activity_cli.features.labelled import FeatureDataset
from activity_cli.training.head import HeadConfig, fit_head
from activity_cli.training.scoring import score_rows
from activity_cli.training.tuning.data import FeatureStore, Fold
from activity_cli.training.tuning.space import Candidate


class FoldScorer:
    """Scores folds in worker processes. A context manager; closing ends the workers."""

    def __init__(
        self, store: FeatureStore, targets: NDArray[Any], *, num_labels: int, num_workers: int
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
        """Yield the scores (H, C) of each fold's held-out clips, in the order of the folds.

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
    targets: NDArray[Any],
    candidate: Candidate,
    *,
    num_labels: int,
) -> NDArray[np.float32]:
    """Fit a candidate to a fold and return the scores (H, C) of the held-out clips.

    They equal those of `crossval.cross_validate` with the same settings, bit for bit.
    """
    clip = candidate.clip
    streams = [store.streams.index(stream) for stream in clip.streams]
    features = store.features(clip.num_frames)[:, streams]
    data = FeatureDataset(
        values=features,
        targets=targets,
        labels=tuple(map(str, range(num_labels))),
        streams=clip.streams,
        groups=fold.groups,
    )
    config = HeadConfig(network=candidate.network, training=candidate.training)
    fitted = fit_head(data, config, train_rows=fold.train, val_rows=fold.val)
    return score_rows(fitted.network, features, fold.held_out, multi_label=data.multi_label)
