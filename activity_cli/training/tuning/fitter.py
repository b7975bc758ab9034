"""Folds of candidates, fitted in worker processes: torch's generator is one per process."""

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.closeable import Closeable
from activity_cli.common.processes.pool import WorkerPool
from activity_cli.errors import ActivityError, WorkerCrashError
from activity_cli.training.tuning.folds import Fold, Readings, score_fold
from activity_cli.training.tuning.space import Candidate


class Fitter(Closeable):
    """Fits folds, several at a time. A context manager; its workers end with this process.

    Args:
        readings: features of all clips.
        targets: (N,) of all clips.
        num_labels: C.
        num_workers: folds fitted at a time.
    """

    def __init__(
        self,
        readings: Readings,
        targets: NDArray[np.int64],
        *,
        num_labels: int,
        num_workers: int,
    ) -> None:
        self._readings = readings
        self._targets = targets
        self._num_labels = num_labels
        self._pool = WorkerPool(num_workers, imports=["activity_cli.training.tuning.folds"])
        self._threads = ThreadPoolExecutor(num_workers)

    def scores(self, candidate: Candidate, folds: Sequence[Fold]) -> Generator[NDArray[np.float32]]:
        """Scores (H, C) of each fold's held-out clips, in the order of the folds.

        Folds ahead of the one that is waited for are begun; whoever stops early wastes these, but
        gets the same numbers whatever the number of workers.

        Raises:
            ActivityError: a worker ended, or cannot keep what it measures.
        """
        waiting = [self._threads.submit(self._score, candidate, fold) for fold in folds]
        try:
            for future in waiting:
                yield future.result()
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        """End the workers, busy or not."""
        self._pool.close()
        self._threads.shutdown(cancel_futures=True)

    def _score(self, candidate: Candidate, fold: Fold) -> NDArray[np.float32]:
        try:
            return self._pool.call(
                score_fold,
                self._readings,
                fold,
                self._targets,
                num_labels=self._num_labels,
                num_frames=candidate.clip.num_frames,
                streams=candidate.clip.streams,
                network=candidate.network,
                training=candidate.training,
            )
        except WorkerCrashError as error:
            raise ActivityError(
                "A process that fits a fold was ended.",
                hint="The system may be short of memory: try --workers 1. "
                "The same command goes on.",
            ) from error
