"""Fitting the sequence classifier to features. The loop reads top to bottom.

B is clips in a batch, N all clips, C labels; S, T, D, R as in `network`.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from activity_cli.bundle import MODEL_FILE, Model, Weights
from activity_cli.encoding import (
    ENCODING_BATCH,
    Features,
    Rows,
    encode_rows,
    measure_features,
)
from activity_cli.errors import DataError, ModelError
from activity_cli.network import (
    ClipScorer,
    Encoded,
    FeatureStatistics,
    OrderReader,
    SequenceClassifier,
)
from activity_cli.settings import NetworkSettings, Stream, TrainSettings

_SUMMARY_STEPS = 60  # L-BFGS steps; it has settled by then


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One pass over the training clips: a row of history.csv. Epoch 0 is the summary alone."""

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
    """0 where reading the order of the frames did not help on the validation clips."""
    val_scores: NDArray[np.float32]
    """(V, C) of the validation rows, before the summary learned from them too: to calibrate on."""

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
    streams: Sequence[Stream],
    network_settings: NetworkSettings,
    settings: TrainSettings,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> FittedNetwork:
    """Fit a network to the training rows, keep the weights that do best on the validation rows.

    First the summary is fitted, then the LSTM learns on top of it, with early stopping; at the
    end the summary, which needs no early stopping, is fitted once more to both parts.

    Args:
        features: (N, S, T, D), often a memory map: batches are read from it as they are needed.
        targets: (N,) index of each clip's label.
        train_rows: rows to learn from.
        val_rows: rows that choose the best epoch; never the rows that a result is quoted on.
        num_labels: C.
        streams: what the S streams are.
        network_settings: shape of the network.
        settings: how it is fitted.
        on_epoch: called after each epoch.

    Raises:
        DataError: there are no validation rows.
    """
    if not len(val_rows):
        raise DataError(
            "No clips are left to choose the best epoch.",
            hint="Add clips, or raise --val-fraction.",
        )
    # Networks this small gain nothing from threads, which wait for each other for minutes when
    # another program uses the cores.
    with _one_thread():
        torch.manual_seed(settings.seed)
        statistics = measure_features(features, train_rows, network_settings.num_components)
        network = SequenceClassifier(network_settings, num_labels=num_labels, statistics=statistics)
        rows = np.concatenate([train_rows, val_rows])
        clips = encode_rows(network, features, rows)
        labels = torch.from_numpy(targets[rows])
        train = torch.arange(len(train_rows))
        weights = _label_weights(targets[train_rows], num_labels, settings)
        penalties = _penalties(streams, statistics, settings)
        fit_summary(network, clips.rows(train), labels[train], weights, penalties)
        with torch.no_grad():
            summary = network.summary_logits(clips)
        lesson = _Lesson(
            changes=clips.changes, summary=summary, labels=labels, num_train=len(train)
        )
        if network_settings.temporal == "lstm":
            history, best_epoch = _fit_order(
                network.order, lesson, weights=weights, settings=settings, on_epoch=on_epoch
            )
        else:
            history, best_epoch = (lesson.record(0, 0.0, summary, time.perf_counter()),), 0
        val_scores = _scores(network, clips.rows(torch.arange(len(train_rows), len(rows))))
        fit_summary(network, clips, labels, weights, penalties)
    return FittedNetwork(
        network=network.eval(), history=history, best_epoch=best_epoch, val_scores=val_scores
    )


def fit_summary(
    network: SequenceClassifier,
    clips: Encoded,
    labels: Tensor,
    weights: Tensor | None,
    penalties: Tensor,
) -> None:
    """Fit the linear path alone: penalised logistic regression, which has one best answer.

    Args:
        network: whose `summary` is set.
        clips: B clips.
        labels: (B,)
        weights: (C,) weight of each label in the loss.
        penalties: (S * D,) weight of each input's squared coefficient in the loss.
    """
    penalties = penalties[: network.summary.in_features]
    optimizer = torch.optim.LBFGS(
        network.summary.parameters(), max_iter=_SUMMARY_STEPS, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(network.summary_logits(clips), labels, weight=weights)
        loss = loss + 0.5 * (penalties * network.summary.weight.square()).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    optimizer.step(closure)  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lesson:
    """What the LSTM learns from and is judged by: N clips, those of training first."""

    changes: Tensor
    """(N, S, T, R)"""
    summary: Tensor
    """(N, C) logits of the summary, fixed while the LSTM learns."""
    labels: Tensor
    """(N,)"""
    num_train: int

    def losses(self, logits: Tensor) -> Tensor:
        """(N,) of (N, C) logits."""
        return F.cross_entropy(logits, self.labels, reduction="none")

    def record(self, epoch: int, learning_rate: float, logits: Tensor, started: float) -> Epoch:
        """How the network does on both parts, without dropout, so that they can be compared."""
        right = (logits.argmax(dim=1) == self.labels).float()
        losses, n = self.losses(logits), self.num_train
        return Epoch(
            epoch=epoch,
            learning_rate=learning_rate,
            train_loss=float(losses[:n].mean()),
            train_accuracy=float(right[:n].mean()),
            val_loss=float(losses[n:].mean()),
            val_accuracy=float(right[n:].mean()),
            seconds=time.perf_counter() - started,
        )


def _fit_order(
    order: OrderReader,
    lesson: _Lesson,
    *,
    weights: Tensor | None,
    settings: TrainSettings,
    on_epoch: Callable[[Epoch], None],
) -> tuple[tuple[Epoch, ...], int]:
    """Train the LSTM on top of the summary; leaves the best weights in it.

    The best are those of the lowest validation loss, or none at all: by the rule of one standard
    error (Breiman et al., 1984) the LSTM has to beat the summary by more than chance would.
    """
    history = [lesson.record(0, 0.0, lesson.summary, time.perf_counter())]
    on_epoch(history[0])
    untrained = copy.deepcopy(order.state_dict())
    best, best_weights, best_logits = history[0], untrained, lesson.summary
    loss_of = nn.CrossEntropyLoss(weight=weights, label_smoothing=settings.label_smoothing)
    optimizer = _optimizer(order, settings)
    schedule = _schedule(optimizer, settings, -(-lesson.num_train // settings.batch_size))
    for epoch in range(1, settings.epochs + 1):
        started = time.perf_counter()
        order.train()
        for batch in torch.split(torch.randperm(lesson.num_train), settings.batch_size):
            logits = lesson.summary[batch] + order(lesson.changes[batch])  # (B, C)
            loss = loss_of(logits, lesson.labels[batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(order.parameters(), settings.gradient_clip)
            optimizer.step()
            if isinstance(schedule, LambdaLR):
                schedule.step()
        logits = lesson.summary + _read_order(order, lesson.changes)  # (N, C)
        record = lesson.record(epoch, optimizer.param_groups[0]["lr"], logits, started)
        if isinstance(schedule, ReduceLROnPlateau):
            schedule.step(record.val_loss)
        history.append(record)
        on_epoch(record)
        if record.val_loss < best.val_loss:
            best, best_weights, best_logits = record, copy.deepcopy(order.state_dict()), logits
        elif epoch - best.epoch >= settings.patience:
            break
    gain = (lesson.losses(lesson.summary) - lesson.losses(best_logits))[lesson.num_train :]
    if gain.mean() <= gain.std(correction=0) / math.sqrt(len(gain)):
        best, best_weights = history[0], untrained
    order.load_state_dict(best_weights)
    return tuple(history), best.epoch


@torch.no_grad()
def _read_order(order: OrderReader, changes: Tensor) -> Tensor:
    """(N, C) logits of (N, S, T, R), without dropout."""
    order.eval()
    return torch.cat([order(part) for part in torch.split(changes, ENCODING_BATCH)])


@torch.inference_mode()
def score_rows(network: SequenceClassifier, features: Features, rows: Rows) -> NDArray[np.float32]:
    """Scores (len(rows), C) of rows of (N, S, T, D) features, in torch, without a temperature."""
    with _one_thread():
        return _scores(network, encode_rows(network, features, rows))


@torch.no_grad()
def _scores(network: SequenceClassifier, clips: Encoded) -> NDArray[np.float32]:
    """(B, C), without dropout and without a temperature."""
    scores: NDArray[np.float32] = torch.softmax(network.eval().logits(clips), dim=-1).numpy()
    return scores


def load_scorer(model: Model) -> ClipScorer:
    """The network of a saved model, in eval mode, as engines convert it.

    Raises:
        ModelError: the weights are gone, changed or of another network.
    """
    description = model.description
    tensors = {name: torch.from_numpy(tensor) for name, tensor in model.weights().items()}
    try:
        statistics = FeatureStatistics(
            **{field.name: tensors[field.name] for field in fields(FeatureStatistics)}
        )
        network = SequenceClassifier(
            description.network, num_labels=len(description.labels), statistics=statistics
        )
        network.load_state_dict(tensors)
    except (KeyError, RuntimeError) as error:
        raise ModelError(
            f"The weights in {model.folder} are not those of the network in {MODEL_FILE}.",
            hint="Restore the folder from a copy, or train again.",
        ) from error
    return ClipScorer(network, temperature=description.temperature).eval()


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
    warm_up = 0.1 * total

    def share_of_peak(step: int) -> float:
        if settings.schedule == "constant":
            return 1.0
        cosine = 0.5 * (1 + math.cos(math.pi * min(step / total, 1.0)))
        return cosine * min(1.0, (step + 1) / warm_up)

    return LambdaLR(optimizer, share_of_peak)


def _penalties(
    streams: Sequence[Stream], statistics: FeatureStatistics, settings: TrainSettings
) -> Tensor:
    """(S * D,) penalty of each of the summary's inputs."""
    penalty = {"rgb": settings.rgb_penalty, "motion": settings.motion_penalty}
    return torch.cat(
        [torch.full_like(statistics.mean[s], penalty[name]) for s, name in enumerate(streams)]
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
