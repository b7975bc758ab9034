"""Fitting the sequence classifier to features. The loop reads top to bottom.

B is clips in a batch, N all clips; S, T, D as in `types`; C labels.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from activity_cli.bundle import MODEL_FILE, Model, Weights
from activity_cli.errors import ModelError
from activity_cli.network import ClipScorer, SequenceClassifier
from activity_cli.settings import NetworkSettings, TrainSettings

_SCORING_BATCH = 256

Features = NDArray[np.float16]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One pass over the training clips: a row of history.csv."""

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedNetwork:
    """The best network of a training run, and how it came about."""

    network: SequenceClassifier
    history: tuple[Epoch, ...]
    best_epoch: int

    def weights(self) -> Weights:
        """Tensors by name, for the model folder."""
        return {name: t.detach().numpy() for name, t in self.network.state_dict().items()}


def fit(
    features: Features,
    targets: NDArray[np.int64],
    *,
    train_rows: Rows,
    val_rows: Rows,
    num_labels: int,
    network_settings: NetworkSettings,
    settings: TrainSettings,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> FittedNetwork:
    """Fit a network to the training rows, keep the weights that do best on the validation rows.

    Args:
        features: (N, S, T, D), often a memory map: batches are read from it as they are needed.
        targets: (N,) index of each clip's label.
        train_rows: rows to learn from.
        val_rows: rows that choose the best epoch; never the rows that a result is quoted on.
        num_labels: C.
        network_settings: shape of the network.
        settings: how it is fitted.
        on_epoch: called after each epoch.
    """
    torch.manual_seed(settings.seed)
    shuffler = np.random.default_rng(settings.seed)
    network = SequenceClassifier(
        network_settings,
        num_streams=features.shape[1],
        feature_size=features.shape[3],
        num_labels=num_labels,
    )
    loss_of = nn.CrossEntropyLoss(
        weight=_label_weights(targets[train_rows], num_labels, settings),
        label_smoothing=settings.label_smoothing,
    )
    optimizer = _optimizer(network, settings)
    steps_per_epoch = -(-len(train_rows) // settings.batch_size)
    schedule = _schedule(optimizer, settings, steps_per_epoch)

    history: list[Epoch] = []
    best_loss, best_weights, best_epoch = float("inf"), network.state_dict(), 0
    for epoch in range(1, settings.epochs + 1):
        started = time.perf_counter()
        network.train()
        total_loss = num_correct = 0.0
        for batch in _batches(shuffler.permutation(train_rows), settings.batch_size):
            clips, labels = _take(features, targets, batch)  # (B, S, T, D), (B,)
            logits = network(clips)  # (B, C)
            loss = loss_of(logits, labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip)
            optimizer.step()
            if isinstance(schedule, LambdaLR):
                schedule.step()
            total_loss += float(loss.detach()) * len(batch)
            num_correct += int((logits.argmax(dim=1) == labels).sum())

        scores = score_rows(network, features, val_rows)
        val_loss = _log_loss(scores, targets[val_rows])
        record = Epoch(
            epoch=epoch,
            learning_rate=optimizer.param_groups[0]["lr"],
            train_loss=total_loss / len(train_rows),
            train_accuracy=num_correct / len(train_rows),
            val_loss=val_loss,
            val_accuracy=float((scores.argmax(axis=1) == targets[val_rows]).mean()),
            seconds=time.perf_counter() - started,
        )
        if isinstance(schedule, ReduceLROnPlateau):
            schedule.step(val_loss)
        history.append(record)
        on_epoch(record)
        if val_loss < best_loss:
            best_loss, best_epoch = val_loss, epoch
            best_weights = copy.deepcopy(network.state_dict())
        elif epoch - best_epoch >= settings.patience:
            break
    network.load_state_dict(best_weights)
    network.eval()
    return FittedNetwork(network=network, history=tuple(history), best_epoch=best_epoch)


@torch.inference_mode()
def score_rows(network: SequenceClassifier, features: Features, rows: Rows) -> NDArray[np.float32]:
    """Scores (len(rows), C) of rows of (N, S, T, D) features, in torch."""
    scorer = ClipScorer(network).eval()
    scores = [
        scorer(torch.from_numpy(features[batch].astype(np.float32)))
        for batch in _batches(rows, _SCORING_BATCH)
    ]
    merged: NDArray[np.float32] = torch.cat(scores).numpy()
    return merged


def load_scorer(model: Model) -> ClipScorer:
    """The network of a saved model, in eval mode, as engines convert it.

    Raises:
        ModelError: the weights are gone, changed or of another network.
    """
    description = model.description
    network = SequenceClassifier(
        description.network,
        num_streams=len(description.clip.streams),
        feature_size=description.backbone.feature_size,
        num_labels=len(description.labels),
    )
    tensors = {name: torch.from_numpy(tensor) for name, tensor in model.weights().items()}
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(
            f"The weights in {model.folder} are not those of the network in {MODEL_FILE}.",
            hint="Restore the folder from a copy, or train again.",
        ) from error
    return ClipScorer(network).eval()


def _batches(rows: Rows, size: int) -> Iterator[Rows]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _take(features: Features, targets: NDArray[np.int64], rows: Rows) -> tuple[Tensor, Tensor]:
    """The rows as a float batch (B, S, T, D) and its targets (B,)."""
    return torch.from_numpy(features[rows].astype(np.float32)), torch.from_numpy(targets[rows])


def _label_weights(
    targets: NDArray[np.int64], num_labels: int, settings: TrainSettings
) -> Tensor | None:
    """(C,) weight of each label in the loss: the rarer the heavier, 1 on average over clips."""
    if settings.class_weights == "none":
        return None
    counts = np.bincount(targets, minlength=num_labels)
    return torch.tensor(len(targets) / (num_labels * np.maximum(counts, 1)), dtype=torch.float32)


def _optimizer(network: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)


def _schedule(
    optimizer: torch.optim.Optimizer, settings: TrainSettings, steps_per_epoch: int
) -> LambdaLR | ReduceLROnPlateau:
    """Course of the learning rate: per step, or with `plateau` per epoch."""
    if settings.schedule == "plateau":
        return ReduceLROnPlateau(optimizer, factor=0.3, patience=max(1, settings.patience // 3))
    total = settings.epochs * steps_per_epoch

    def share_of_peak(step: int) -> float:
        if settings.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * min(step / total, 1.0)))

    return LambdaLR(optimizer, share_of_peak)


def _log_loss(scores: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    chosen = scores[np.arange(len(targets)), targets]
    return float(-np.log(np.clip(chosen, 1e-7, None)).mean())
