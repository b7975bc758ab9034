"""Fit the sequence classifier to features: the pooled linear head at once, the LSTM by epochs.

B clips of a batch, N of training and validation, V of validation, K views, C labels.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from activity_cli.data.splits import choosing_folds
from activity_cli.errors import DataError
from activity_cli.features.engines.torch import torch_threads
from activity_cli.features.labelled import FeatureDataset
from activity_cli.model.encoding import Rows, ViewIndex, encode_views, measure_features
from activity_cli.model.folder import Weights
from activity_cli.model.network import Encoded, SequenceClassifier
from activity_cli.settings import REFERENCE_NUM_CLIPS, NetworkSettings, Stream, TrainSettings
from activity_cli.training.loop.loop import NO_SESSION, Session, TrainResult
from activity_cli.training.loop.trainer import ClipLoss
from activity_cli.training.tasks import HeadTask, fit_temporal_heads

_LBFGS_STEPS = 60  # of the pooled linear head, which has converged by then


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadConfig:
    """The classifier on top of the features: its network, and how it is trained."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    training: TrainSettings = field(default_factory=TrainSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerFolds:
    """The folds that chose the epoch where no validation part was kept."""

    rows: Rows  # (V,) clips that were held out once, fold by fold; those of `val_scores`
    index: NDArray[np.int64]  # (V,) the fold that each was held out in, from 0
    networks: tuple[SequenceClassifier, ...]
    """For each fold, the one that was fitted to all clips but those of the fold."""

    def parts(self, learned: Rows) -> Iterator[tuple[SequenceClassifier, Rows, Rows]]:
        """Yield each network with the rows of `learned` it was fitted to, and those held out."""
        for number, network in enumerate(self.networks):
            held_out = self.rows[self.index == number]
            yield network, np.setdiff1d(learned, held_out), held_out


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedNetwork(TrainResult):
    """The best network of a training; epoch 0 is best where the LSTM did not improve the loss."""

    network: SequenceClassifier
    val_scores: NDArray[np.float32]
    """(V, C) of the validation rows or `inner.rows`, by networks that were not fitted to them."""
    inner: InnerFolds | None = None  # None where a validation part chose the epoch

    @classmethod
    def of(
        cls,
        network: SequenceClassifier,
        result: TrainResult,
        val_logits: Tensor,
        inner: InnerFolds | None = None,
    ) -> Self:
        """Join a network with the result of its training; `val_logits` are (V, C)."""
        values = {field.name: getattr(result, field.name) for field in fields(result)}
        val_scores = torch.softmax(val_logits, dim=-1).numpy()
        return cls(network=network.eval(), val_scores=val_scores, inner=inner, **values)

    def weights(self) -> Weights:
        """Return the tensors by name, for the model folder."""
        return {name: t.detach().numpy() for name, t in self.network.state_dict().items()}


def fit_with_validation(
    data: FeatureDataset,
    config: HeadConfig,
    train_rows: Rows,
    val_rows: Rows,
    session: Session = NO_SESSION,
    *,
    learns_from_val: bool = True,
) -> FittedNetwork:
    """Fit a network to the training rows, keep the weights that are best on the validation rows.

    First the pooled linear head is fitted to all views, then the LSTM is trained on top of it, on
    a random view of each clip per epoch, with early stopping. In the end (with `learns_from_val`)
    the pooled head, which needs no early stopping, is fitted to both parts. The checkpoint is that
    of the LSTM; a resumed training fits the rest again, to the same numbers.

    Raises:
        DataError: there are no validation rows.
    """
    check_val_rows(val_rows)
    with one_thread(), seeded(config.training.seed):
        task = start_task(data, config, train_rows, val_rows)
        return fit_task(task, config.training, session, learns_from_val=learns_from_val)


def check_val_rows(val_rows: Rows) -> None:
    """Raise a DataError where no clips are left to choose the best epoch."""
    if not len(val_rows):
        raise DataError(
            "No clips are left to choose the best epoch.",
            hint="Add clips, or raise --val-fraction.",
        )


def fit_task(
    task: HeadTask,
    settings: TrainSettings,
    session: Session = NO_SESSION,
    *,
    learns_from_val: bool = True,
) -> FittedNetwork:
    """Train the LSTM of a task that was made in the same `seeded` block."""
    result = fit_temporal_heads([task], settings, session)
    val_logits = task.logits(task.val_rows)
    if learns_from_val:
        labels, weights = task.targets[task.index.clips], task.loss.label_weights
        fit_pooled_head(task.network, task.clips, labels, weights, task.penalties)
    return FittedNetwork.of(task.network, result, val_logits)


def start_task(
    data: FeatureDataset, config: HeadConfig, train_rows: Rows, val_rows: Rows
) -> HeadTask:
    """Measure the training clips, encode both parts, and fit the pooled linear head."""
    statistics = measure_features(data.values, train_rows, config.network.num_components)
    network = SequenceClassifier(config.network, num_labels=len(data.labels), statistics=statistics)
    clips, index = encode_views(
        network, data.values, data.views, train_rows=train_rows, val_rows=val_rows
    )
    targets = data.targets[np.concatenate([train_rows, val_rows])]
    return encoded_task(network, clips, targets, index, data.streams, settings=config.training)


def encoded_task(
    network: SequenceClassifier,
    clips: Encoded,
    targets: NDArray[np.int64],
    index: ViewIndex,
    streams: Sequence[Stream],
    *,
    settings: TrainSettings,
) -> HeadTask:
    """Fit the pooled linear head; `targets` (N,) are those of training, then validation clips."""
    labels, train = torch.from_numpy(targets), index.train
    weights = label_weights(targets[: index.num_train], network.pooled_head.out_features, settings)
    penalties = pooled_penalties(network, streams, settings, num_clips=index.num_train)
    fit_pooled_head(network, clips.rows(train), labels[index.clips][train], weights, penalties)
    return HeadTask(
        network=network,
        clips=clips,
        pooled_logits=network.pooled_logits(clips).detach(),
        penalties=penalties,
        targets=labels,
        index=index,
        loss=ClipLoss(label_weights=weights, label_smoothing=settings.label_smoothing),
    )


def fit_pooled_head(
    network: SequenceClassifier,
    clips: Encoded,
    labels: Tensor,
    weights: Tensor | None,
    penalties: Tensor,
) -> None:
    """Fit the pooled linear head to clips (B,): penalised logistic regression."""
    optimizer = torch.optim.LBFGS(
        network.pooled_head.parameters(), max_iter=_LBFGS_STEPS, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(network.pooled_logits(clips), labels, weight=weights)
        loss = loss + 0.5 * (penalties * network.pooled_head.weight.square()).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    optimizer.step(closure)  # type: ignore[no-untyped-call]


def label_weights(
    targets: NDArray[np.int64], num_labels: int, settings: TrainSettings
) -> Tensor | None:
    """(C,) weight of each label in the loss: inverse to its frequency, 1 on average over clips."""
    if settings.class_weights == "none":
        return None
    counts = np.bincount(targets, minlength=num_labels)
    return torch.tensor(len(targets) / (num_labels * np.maximum(counts, 1)), dtype=torch.float32)


def pooled_penalties(
    network: SequenceClassifier,
    streams: Sequence[Stream],
    settings: TrainSettings,
    *,
    num_clips: int,
) -> Tensor:
    """Return the L2 penalty of each weight of the pooled linear head, by the stream it reads.

    The settings hold for `REFERENCE_NUM_CLIPS`. The loss is a mean over clips, so fewer clips need
    a higher penalty: that is one normal prior of the weights for any number of clips.
    """
    scale = REFERENCE_NUM_CLIPS / num_clips
    penalties = torch.tensor([scale * getattr(settings, f"{name}_penalty") for name in streams])
    return penalties.repeat_interleave(network.mean.shape[1])[: network.pooled_head.in_features]


def one_thread() -> AbstractContextManager[None]:
    """Compute with one thread in the block: small networks gain nothing from more.

    Where other programs use the cores, threads wait for each other for minutes.
    """
    return torch_threads(1)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's random generators in the block, and restore them afterwards."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def fit_head(
    data: FeatureDataset,
    config: HeadConfig,
    train_rows: Rows,
    val_rows: Rows,
    session: Session = NO_SESSION,
) -> FittedNetwork:
    """Fit a network to the training rows; without validation rows, inner folds choose the epoch.

    Raises a DataError where no clip can be spared for that, and the errors of `loop.train`.
    """
    if len(val_rows):
        return fit_with_validation(data, config, train_rows, val_rows, session)
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
    data: FeatureDataset, config: HeadConfig, rows: Rows, fold: NDArray[np.int64], session: Session
) -> FittedNetwork:
    """Fit to all rows, and for each fold to the others; `fold` is -1 for clips of no fold.

    A handful of validation clips cannot tell one epoch from the next, so every clip is evaluated,
    by the fit that did not see it. Each epoch trains all fits one after the other, so they share
    the choice of the epoch. The fit to all rows is the result; the others' scores calibrate it.
    """
    numbers = range(int(fold.max()) + 1)
    tasks = [start_task(data, config, rows, rows[:0])]
    tasks += [start_task(data, config, rows[fold != n], rows[fold == n]) for n in numbers]
    result = fit_temporal_heads(tasks, config.training, session)
    logits = torch.cat([task.logits(task.val_rows) for task in tasks[1:]])
    held_out = np.concatenate([np.flatnonzero(fold == n) for n in numbers])
    networks = tuple(task.network.eval() for task in tasks[1:])
    inner = InnerFolds(rows=rows[held_out], index=fold[held_out], networks=networks)
    return FittedNetwork.of(tasks[0].network, result, logits, inner)
