"""Fit the sequence classifier to features: the pooled linear head at once, the LSTM by epochs.

B clips of a batch, N of training and validation, V of validation, K views, C labels.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from activity_cli.data.splits import choosing_folds
from activity_cli.errors import DataError
from activity_cli.features.engines.torch import torch_threads
from activity_cli.features.labelled import FeatureDataset
from activity_cli.model.encoding import NUM_COEFFICIENTS, Rows, encode_views, measure_features
from activity_cli.model.folder import Weights
from activity_cli.model.network import SequenceClassifier
from activity_cli.settings import NetworkSettings, Temporal, TrainSettings
from activity_cli.training.linear import LinearClips, LinearHead, LinearStrengths
from activity_cli.training.loop.loop import NO_SESSION, Session, TrainResult
from activity_cli.training.loop.trainer import ClipLoss
from activity_cli.training.tasks import HeadTask, fit_temporal_heads

_LINEAR_FOLDS, _LINEAR_DEALS = 5, 3  # a linear head is fitted in a moment

Fold = NDArray[np.int64]


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
    inner: InnerFolds | None = None  # None for a network that is trained together with its CNN
    lstm_weight: float = 1.0  # factor of the LSTM's logits, contained in its weights; 0: not used
    penalties: Tensor | None = None  # (S * K * D,) L2 penalties of the pooled head's weights
    mean_heads: tuple[LinearHead, ...] = ()
    """Baselines that read the mean over time alone: of the network and of each of `inner`. Empty
    where their pooled heads read no more, or were trained with a CNN."""

    @classmethod
    def of(
        cls,
        network: SequenceClassifier,
        result: TrainResult,
        val_logits: Tensor,
        inner: InnerFolds | None = None,
        *,
        multi_label: bool = False,
        **more: Any,
    ) -> Self:
        """Join a network with the result of its training; `val_logits` are (V, C)."""
        values = more | {field.name: getattr(result, field.name) for field in fields(result)}
        scores = torch.sigmoid(val_logits) if multi_label else torch.softmax(val_logits, dim=-1)
        val_scores = scores.numpy()
        return cls(network=network.eval(), val_scores=val_scores, inner=inner, **values)

    def weights(self) -> Weights:
        """Return the tensors by name, for the model folder."""
        return {name: t.detach().numpy() for name, t in self.network.state_dict().items()}


def fit_head(
    data: FeatureDataset,
    config: HeadConfig,
    train_rows: Rows,
    val_rows: Rows,
    session: Session = NO_SESSION,
) -> FittedNetwork:
    """Fit a network to all rows, and for each inner fold one to the others.

    The validation rows are the only inner fold, if there are any; else the training rows are dealt
    to folds. What the folds hold out chooses the epoch and the weight of the LSTM, and calibrates.

    Raises:
        DataError: no clip can be spared for that; and the errors of `loop.train`.
    """
    rows = np.concatenate([train_rows, val_rows])
    seed = config.training.seed
    fold, deals = _deal(data, rows, seed, num_val=len(val_rows))
    with one_thread(), seeded(seed):
        tasks, strengths, mean_heads = _fit_pooled_heads(data, config, rows, fold, deals)
        result, factor = fit_temporal_heads(tasks, config.training, session)
        found = [t.pooled_logits(t.held_out) + t.temporal_logits(t.held_out) for t in tasks]
        logits = torch.cat(found)  # (V, C)
    held_out = np.concatenate([task.held_out.numpy() for task in tasks])
    networks = tuple(task.network.eval() for task in tasks[1:])
    return FittedNetwork.of(
        tasks[0].network,
        result,
        logits,
        InnerFolds(rows=rows[held_out], index=fold[held_out], networks=networks),
        multi_label=data.multi_label,
        lstm_weight=factor,
        penalties=strengths.feature_penalties(),
        mean_heads=tuple(mean_heads),
    )


def _fit_pooled_heads(
    data: FeatureDataset, config: HeadConfig, rows: Rows, fold: Fold, deals: Sequence[Fold]
) -> tuple[list[HeadTask], LinearStrengths, list[LinearHead]]:
    """Fit pooled linear heads to all rows (N,), and to those that each fold leaves.

    Folds are (N,), -1 for clips of none; those of `deals` choose the strengths. Where the heads
    read changes over time, heads of the mean alone are fitted too.
    """
    num_components, num_coefficients = 0, 1
    if config.network.temporal == "lstm":
        num_components, num_coefficients = config.network.num_components, NUM_COEFFICIENTS
    statistics = measure_features(
        data.values, rows, num_components, num_coefficients=num_coefficients
    )
    parts = [fold != number for number in (-2, *range(int(fold.max()) + 1))]  # the first is all
    networks = [
        SequenceClassifier(config.network, num_labels=len(data.labels), statistics=statistics)
        for _ in parts
    ]
    clips, index = encode_views(networks[0], data.values, data.views, rows)
    targets, clip_of = torch.from_numpy(data.targets[rows]), index.clips.numpy()
    weights = label_weights(targets.numpy(), len(data.labels), config.training)
    loss = ClipLoss(label_weights=weights, label_smoothing=config.training.label_smoothing)
    linear_clips = LinearClips(
        pooled=clips.pooled[:, : networks[0].num_pooled],
        targets=targets[clip_of],
        weights=_weights_in_loss(loss, targets[clip_of]),
        deals=[deal[clip_of] for deal in deals],
        num_labels=len(data.labels),
    )
    strengths = LinearStrengths.choose(linear_clips)
    tasks = []
    parts_of_clips = [part[clip_of] for part in parts]
    fitted = strengths.fit(parts_of_clips)
    mean_heads = strengths.of_mean.fit(parts_of_clips) if strengths.of_mean else []
    for network, part, (weight, bias) in zip(networks, parts, fitted, strict=True):
        network.pooled_head.weight.data.copy_(weight)
        network.pooled_head.bias.data.copy_(bias)
        train, held_out = (torch.from_numpy(np.flatnonzero(side)) for side in (part, ~part))
        task = HeadTask(
            network=network,
            clips=clips,
            index=index,
            targets=targets,
            train=train,
            held_out=held_out,
            loss=loss,
        )
        tasks.append(task)
    return tasks, strengths, mean_heads


def fit_linear_head(
    data: FeatureDataset, temporal: Temporal, rows: Rows, settings: TrainSettings
) -> SequenceClassifier:
    """Fit a classifier without an LSTM: of the mean over time, or of a single frame."""
    config = HeadConfig(network=NetworkSettings(temporal=temporal), training=settings)
    fold, deals = _deal(data, rows, settings.seed)
    with one_thread(), seeded(settings.seed):
        [task], *_ = _fit_pooled_heads(data, config, rows, np.full_like(fold, -1), deals)
    return task.network.eval()


def _deal(
    data: FeatureDataset, rows: Rows, seed: int, *, num_val: int = 0
) -> tuple[Fold, list[Fold]]:
    """Deal rows (N,) to inner folds, which choose the epoch, and several times to smaller ones.

    The last rows, if they are for validation, are the only fold of the first kind.

    Raises:
        DataError: no clip can be held out.
    """
    targets = data.targets[rows]
    groups = None if data.groups is None else data.groups[rows]
    fold = choosing_folds(targets, groups, seed=seed)
    if num_val:
        fold = np.where(np.arange(len(rows)) < len(rows) - num_val, -1, 0)
    if not (fold >= 0).any():
        raise DataError(
            "No clips are left to choose the best epoch: no label has two to learn from.",
            hint="Add clips.",
        )
    deals = [
        choosing_folds(targets, groups, _LINEAR_FOLDS, seed=seed + n) for n in range(_LINEAR_DEALS)
    ]
    return fold, [deal for deal in deals if (deal >= 0).any()] or [fold]


def _weights_in_loss(loss: ClipLoss, targets: Tensor) -> Tensor:
    """Return the weights of clips (N, 1), or of each label of multi-label clips (N, C)."""
    if targets.dim() == 2 and loss.label_weights is not None:
        return loss.label_weights.expand(len(targets), -1)
    return loss.clip_weights(targets).unsqueeze(1)


def label_weights(targets: NDArray[Any], num_labels: int, settings: TrainSettings) -> Tensor | None:
    """(C,) weight of each label in the loss: inverse to its frequency, 1 on average over clips.

    Of multi-label clips inverse to the loss of always answering by a label's frequency, so that a
    rare label counts as much as a frequent one; scores stay probabilities.
    """
    if settings.class_weights == "none":
        return None
    if targets.ndim == 2:
        share = torch.from_numpy(targets).mean(dim=0).clamp(1e-3, 1 - 1e-3)
        entropy = F.binary_cross_entropy(share, share, reduction="none")
        return entropy.mean() / entropy
    counts = np.bincount(targets, minlength=num_labels)
    return torch.tensor(len(targets) / (num_labels * np.maximum(counts, 1)), dtype=torch.float32)


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
