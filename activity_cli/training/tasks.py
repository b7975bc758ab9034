"""What the loop trains: the LSTM on top of the pooled linear head, or CNN and classifier together.

N clips, V of validation, B of a batch, K views; A is the shape of what the trained stages of the
CNN read of one frame; S, T, D, C as in `network`.
"""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from activity_cli.features.labelled import FeatureDataset
from activity_cli.model.encoding import ENCODING_BATCH, Rows, ViewIndex, batches_of
from activity_cli.model.network import Encoded, SequenceClassifier, TemporalHead
from activity_cli.settings import TrainSettings
from activity_cli.training.loop.loop import Session, TrainResult, train
from activity_cli.training.loop.trainer import (
    ClipLoss,
    EpochMetrics,
    ParameterGroups,
    cross_entropy,
)

IMAGES_AT_ONCE = 32
CLIPS_AT_ONCE = 4  # without gradients: they are many frames each
_LSTM_WEIGHTS = tuple(index / 20 for index in range(61))
_NATS = 2.0
_NOT_MEASURED = EpochMetrics(train_loss=0.0, train_accuracy=0.0, val_loss=0.0, val_accuracy=0.0)
_LARGE_INPUT = 2**14  # numbers per frame; the activations behind them take a hundred times as much


class JointNetwork(nn.Module):
    """The trained stages of the CNN, (N, *A) -> (N, D), and the classifier behind them.

    `keeps_statistics`: batch norm stays in eval mode, as in a pretrained CNN.
    """

    def __init__(
        self, cnn: nn.Module, classifier: SequenceClassifier, *, keeps_statistics: bool
    ) -> None:
        super().__init__()
        self.cnn, self.classifier, self.keeps_statistics = cnn, classifier, keeps_statistics

    def train(self, mode: bool = True) -> "JointNetwork":
        """Switch training mode; a pretrained CNN stays in eval mode."""
        super().train(mode)
        if self.keeps_statistics:
            self.cnn.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        """(B, S, T, *A) -> (B, S, T, D)."""
        reduced = self.keeps_statistics and images.device.type == "cpu" and has_fast_bf16()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=reduced):
            features = self._run_cnn(images.flatten(0, 2))
        return features.float().view(*images.shape[:3], -1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, S, T, *A) -> (B, C)."""
        logits: Tensor = self.classifier(self.features(images))
        return logits

    def _run_cnn(self, rows: Tensor) -> Tensor:
        """Run the CNN; where memory is short in parts, computed again for their gradients."""
        is_large = rows[0].numel() > _LARGE_INPUT
        if not (is_large and self.keeps_statistics and torch.is_grad_enabled()):
            features: Tensor = self.cnn(_as_images(rows))
            return features
        parts = (_as_images(part) for part in torch.split(rows, IMAGES_AT_ONCE))
        return torch.cat([checkpoint(self.cnn, part, use_reentrant=False) for part in parts])


@dataclass(frozen=True, slots=True, kw_only=True)
class JointTask:
    """CNN and classifier as the loop trains them."""

    module: JointNetwork
    data: FeatureDataset  # frames or activations, (N, S, T, *A)
    train_rows: Rows
    val_rows: Rows
    loss: ClipLoss
    stages: Sequence[Sequence[nn.Parameter]]
    """The trained parameters of the CNN by stage, the first stage first."""
    penalties: Tensor | None  # (S * D,) L2 penalties of the pooled linear head's weights
    learning_rate: float
    stage_decay: float

    @property
    def labels(self) -> Tensor:
        """Of the training clips."""
        return torch.from_numpy(self.data.targets[self.train_rows])

    def parameter_groups(self) -> ParameterGroups:
        """Return classifier and last stage at the full rate, each stage before at a lower one."""
        groups: ParameterGroups = [{"params": list(self.module.classifier.parameters())}]
        for distance, stage in enumerate(reversed(self.stages)):
            rate = self.learning_rate * self.stage_decay**distance
            groups.append({"params": list(stage), "lr": rate})
        return groups

    def batch_loss(self, rows: Tensor) -> Tensor:
        """Return the loss of a random view of each clip, with the penalties."""
        views = torch.randint(1 + self.data.num_views, rows.shape)
        images = self._read(self.train_rows[rows.numpy()], views.numpy())
        loss = self.loss(self.module(images), self.labels[rows])
        if self.penalties is not None:
            weights = self.module.classifier.pooled_head.weight
            loss = loss + 0.5 * (self.penalties * weights.square()).sum()
        return loss

    def evaluate(self) -> EpochMetrics:
        """Evaluate the validation clips and as many training clips: a pass takes seconds."""
        few = self.train_rows[:: max(1, len(self.train_rows) // len(self.val_rows))]
        rows = np.concatenate([few, self.val_rows])
        targets = torch.from_numpy(self.data.targets[rows])
        return EpochMetrics.of(self.logits(rows), targets, len(few))

    @torch.no_grad()
    def logits(self, rows: Rows) -> Tensor:
        """(len(rows), C), in the mode that the module is in."""
        batches = batches_of(rows, CLIPS_AT_ONCE)
        return torch.cat([self.module(self._read(batch)).cpu() for batch in batches])

    def _read(self, rows: Rows, views: NDArray[np.int64] | None = None) -> Tensor:
        device = next(self.module.classifier.parameters()).device
        return torch.from_numpy(self.data.read(rows, views)).to(device)


def has_fast_bf16() -> bool:
    """Whether the CPU computes convolutions in bf16 faster than in fp32."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def as_rows(activations: Tensor) -> Tensor:
    """Return maps (N, channels, H, W) as (N, H, W, channels), which is fastest to read back."""
    if activations.dtype == torch.uint8:
        return activations.cpu()
    if activations.dim() == 4:
        activations = activations.permute(0, 2, 3, 1)
    return activations.clamp(-65504, 65504).half().cpu()  # the range of float16


def _as_images(rows: Tensor) -> Tensor:
    """Undo `as_rows`. Frames (uint8) stay as they are."""
    if rows.dtype == torch.uint8:
        return rows
    rows = rows.float()
    return rows.permute(0, 3, 1, 2) if rows.dim() == 4 else rows


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadTask:
    """A classifier whose pooled linear head is fitted; the loop trains its LSTM by itself."""

    network: SequenceClassifier
    clips: Encoded  # N * (K + 1) clips and views, at the positions of `index`
    index: ViewIndex
    targets: Tensor  # (N,) labels, or (N, C) of multi-label clips
    train: Tensor  # positions of the training clips
    held_out: Tensor  # positions of the clips that this network is not fitted to
    loss: ClipLoss

    @property
    def module(self) -> TemporalHead:
        """The LSTM's part."""
        return self.network.temporal_head

    @property
    def labels(self) -> Tensor:
        """Of the training clips."""
        return self.targets[self.train]

    def parameter_groups(self) -> ParameterGroups:
        """Return all parameters of the LSTM's part, at one learning rate."""
        return [{"params": list(self.module.parameters())}]

    def batch_loss(self, rows: Tensor) -> Tensor:
        """Return the loss of one random view of each clip, by the LSTM alone."""
        drawn = self.index.draw(self.train[rows])
        return self.loss(self.module(self.clips.centred[drawn]), self.labels[rows])

    @torch.no_grad()
    def pooled_logits(self, positions: Tensor) -> Tensor:
        """Return (n, C) logits of the pooled linear head."""
        parts = torch.split(positions, ENCODING_BATCH)
        return torch.cat([self.network.pooled_logits(self.clips.rows(part)) for part in parts])

    @torch.no_grad()
    def temporal_logits(self, positions: Tensor) -> Tensor:
        """Return (n, C) logits of the LSTM, in eval mode; 0 without one."""
        if self.network.temporal != "lstm":
            return torch.zeros(len(positions), self.network.pooled_head.out_features)
        self.module.eval()
        parts = torch.split(positions, ENCODING_BATCH)
        return torch.cat([self.module(self.clips.centred[part]) for part in parts])


def fit_temporal_heads(
    tasks: Sequence[HeadTask], settings: TrainSettings, session: Session
) -> tuple[TrainResult, float]:
    """Train the LSTMs, weigh them against the pooled linear heads, return the weight as well.

    The first task is all clips, the others the inner folds. The best epoch has the lowest loss on
    their held-out clips, by the sum of both. The weight is 0 where the LSTM does not lower it: the
    first task is trained only where it does, up to that epoch. Training metrics are those of the
    first fold.
    """
    whole, *folds = tasks
    first, num_clips = folds[0], len(whole.labels)
    held_out = torch.cat([task.targets[task.held_out] for task in folds])
    targets = torch.cat([first.labels, held_out])
    pooled_of_train = first.pooled_logits(first.train)
    pooled = torch.cat([task.pooled_logits(task.held_out) for task in folds])

    def lstm_logits() -> Tensor:
        return torch.cat([task.temporal_logits(task.held_out) for task in folds])

    def evaluate() -> EpochMetrics:
        lstm = lstm_logits()
        weight = lstm_weight(pooled, lstm, held_out)
        of_train = pooled_of_train + weight * first.temporal_logits(first.train)
        logits = torch.cat([of_train, pooled + weight * lstm])
        return EpochMetrics.of(logits, targets, len(first.train))

    if first.network.temporal != "lstm":
        return TrainResult(history=(evaluate(),), best_epoch=0, ending="nothing to train"), 0.0
    result = train(folds, evaluate, settings, session, name="lstm", num_clips=num_clips)
    weight = lstm_weight(pooled, lstm_logits(), held_out)
    if weight:
        torch.manual_seed(settings.seed)  # the same where the folds were resumed
        on_epoch, stop = (lambda _: None), threading.Event()
        silent = replace(session, on_epoch=on_epoch, deadline=math.inf, stop=stop)
        train(
            [whole],
            lambda: _NOT_MEASURED,
            settings,
            silent,
            name="lstm-of-all-clips",
            num_epochs=result.best_epoch,
        )
    for task in tasks:
        for parameter in task.module.classifier.parameters():
            parameter.data.mul_(weight)
    return (result if weight else replace(result, best_epoch=0)), weight


def lstm_weight(pooled: Tensor, lstm: Tensor, targets: Tensor) -> float:
    """Return the factor of the LSTM's logits that gives clips (V,) the lowest loss.

    `pooled` and `lstm` are (V, C) logits of clips that neither was fitted to. A penalty of a fixed
    number of nats for a factor of 1 pulls it to 0, so few clips need a larger gain.
    """
    losses = [
        float(cross_entropy(pooled + weight * lstm, targets)) + _NATS * weight / len(targets)
        for weight in _LSTM_WEIGHTS
    ]
    return _LSTM_WEIGHTS[int(np.argmin(losses))]
