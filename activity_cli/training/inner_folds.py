"""Few clips: inner folds choose the epoch, and the model is fitted to all clips.

A handful of validation clips cannot tell one epoch from the next. So there is a fit to all clips,
and for each fold one to all clips but those of the fold, each with its own weights, optimizer and
batches. An epoch trains them one after the other, so that a single epoch can be chosen and early
stopping can end all of them. Each clip is evaluated by the fit that did not see it. The fit to all
clips is the result; the scores of the others calibrate it.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from activity_cli.data.splits import choosing_folds
from activity_cli.errors import DataError
from activity_cli.features.labelled import FeatureDataset
from activity_cli.model.encoding import Rows
from activity_cli.training.head import (
    FittedNetwork,
    HeadConfig,
    InnerFolds,
    fit_with_validation,
    one_thread,
    seeded,
    start_task,
)
from activity_cli.training.loop.loop import NO_SESSION, Session
from activity_cli.training.temporal_head import fit_temporal_heads


def fit_head(
    data: FeatureDataset,
    config: HeadConfig,
    *,
    train_rows: Rows,
    val_rows: Rows,
    session: Session = NO_SESSION,
) -> FittedNetwork:
    """Fit a network to the training rows; without validation rows, inner folds choose the epoch.

    Raises:
        DataError: no clip can be spared to choose the epoch.
        TrainingError, CheckpointError, OutputError: as `loop.train`.
    """
    if len(val_rows):
        return fit_with_validation(
            data, config, train_rows=train_rows, val_rows=val_rows, session=session
        )
    groups = None if data.groups is None else data.groups[train_rows]
    fold = choosing_folds(data.targets[train_rows], groups, seed=config.training.seed)
    if not (fold >= 0).any():
        raise DataError(
            "No clips are left to choose the best epoch: no label has two to learn from.",
            hint="Add clips.",
        )
    with one_thread(), seeded(config.training.seed):
        return _fit_by_folds(data, config, train_rows, fold, session)


def _fit_by_folds(
    data: FeatureDataset,
    config: HeadConfig,
    rows: Rows,
    fold: NDArray[np.int64],
    session: Session,
) -> FittedNetwork:
    """Fit to all rows, and for each fold to the others; `fold` is -1 for clips of no fold."""
    numbers = range(int(fold.max()) + 1)
    tasks = [start_task(data, config, rows, rows[:0])]
    tasks += [start_task(data, config, rows[fold != n], rows[fold == n]) for n in numbers]
    result = fit_temporal_heads(tasks, config.training, session)
    logits = torch.cat([task.val_logits() for task in tasks[1:]])
    held_out = np.concatenate([np.flatnonzero(fold == n) for n in numbers])
    inner = InnerFolds(
        rows=rows[held_out],
        index=fold[held_out],
        networks=tuple(task.network.eval() for task in tasks[1:]),
    )
    val_scores = torch.softmax(logits, dim=-1).numpy()
    return FittedNetwork.of(tasks[0].network, result, val_scores, inner)
