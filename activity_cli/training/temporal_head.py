"""Train the LSTM of a classifier on top of its fixed pooled linear head.

N training and validation clips, K augmented views of each, B clips of a batch, V validation clips;
S, T, R, C as in `network`.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from activity_cli.model.encoding import ENCODING_BATCH, ViewIndex
from activity_cli.model.network import Encoded, SequenceClassifier, TemporalHead
from activity_cli.settings import TrainSettings
from activity_cli.training.loop.loop import Session, TrainResult, train
from activity_cli.training.loop.trainer import ClipLoss, EpochMetrics, ParameterGroups


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadTask:
    """A classifier whose pooled linear head is fitted; the loop trains its LSTM on top of it."""

    network: SequenceClassifier
    clips: Encoded
    """N * (K + 1) clips and views, at the positions of `index`."""
    pooled_logits: Tensor
    """(N * (K + 1), C) of the pooled linear head, fixed while the LSTM is trained."""
    penalties: Tensor
    """(S * D,) L2 penalties of the pooled linear head's weights."""
    targets: Tensor
    """(N,) labels, those of the training clips first."""
    index: ViewIndex
    loss: ClipLoss

    @property
    def module(self) -> TemporalHead:
        """The LSTM's part."""
        return self.network.temporal_head

    @property
    def labels(self) -> Tensor:
        """Of the training clips."""
        return self.targets[: self.index.num_train]

    @property
    def val_targets(self) -> Tensor:
        """(V,) labels of the validation clips."""
        return self.targets[self.index.num_train :]

    def parameter_groups(self) -> ParameterGroups:
        """Return all parameters of the LSTM's part, at one learning rate."""
        return [{"params": list(self.module.parameters())}]

    def batch_loss(self, rows: Tensor) -> Tensor:
        """Return the loss of one random view of each clip."""
        drawn = self.index.draw(rows)
        logits = self.pooled_logits[drawn] + self.module(self.clips.centred[drawn])  # (B, C)
        return self.loss(logits, self.targets[rows])

    @torch.no_grad()
    def train_logits(self) -> Tensor:
        """(N - V, C) of the unchanged training clips."""
        return self._logits(torch.arange(self.index.num_train))

    @torch.no_grad()
    def val_logits(self) -> Tensor:
        """(V, C) of the unchanged validation clips."""
        return self._logits(torch.arange(self.index.num_train, self.index.num_clips))

    @property
    def val_pooled_logits(self) -> Tensor:
        """(V, C) of the pooled linear head alone."""
        return self.pooled_logits[self.index.num_train : self.index.num_clips]

    def _logits(self, rows: Tensor) -> Tensor:
        if self.network.temporal != "lstm":
            return self.pooled_logits[rows]
        self.module.eval()
        parts = [
            self.module(self.clips.centred[part]) for part in torch.split(rows, ENCODING_BATCH)
        ]
        return self.pooled_logits[rows] + torch.cat(parts)


def fit_temporal_heads(
    tasks: Sequence[HeadTask], settings: TrainSettings, session: Session
) -> TrainResult:
    """Train the LSTMs; leave the weights of the best epoch in them, or the untrained ones.

    The best epoch has the lowest loss on the validation clips of all tasks, and it counts only if
    it improves on the pooled linear head by more than one standard error. Training metrics are
    those of the first task.
    """
    first = tasks[0]
    targets = torch.cat([first.labels, *(task.val_targets for task in tasks)])

    def evaluate() -> EpochMetrics:
        logits = torch.cat([first.train_logits(), *(task.val_logits() for task in tasks)])
        return EpochMetrics.of(logits, targets, len(first.labels))

    if first.network.temporal != "lstm":
        return TrainResult.without_training(evaluate())
    untrained = [copy.deepcopy(task.module.state_dict()) for task in tasks]
    result = train(tasks, evaluate, settings, session, name="lstm")
    pooled = torch.cat([task.val_pooled_logits for task in tasks])
    logits = torch.cat([task.val_logits() for task in tasks])
    if improves(pooled, logits, targets[len(first.labels) :]):
        return result
    for task, weights in zip(tasks, untrained, strict=True):
        task.module.load_state_dict(weights)
    return replace(result, best_epoch=0)


def improves(pooled: Tensor, logits: Tensor, targets: Tensor) -> bool:
    """Whether the LSTM lowers the loss of the pooled linear head by more than chance would.

    The rule of one standard error: Breiman et al., "Classification and Regression Trees" (1984).

    Args:
        pooled: (V, C) logits of the pooled head alone, of clips that neither was fitted to.
        logits: (V, C) of both.
        targets: (V,)
    """
    before, after = (F.cross_entropy(x, targets, reduction="none") for x in (pooled, logits))
    gain = before - after
    return bool(gain.mean() > gain.std(correction=0) / math.sqrt(len(gain)))
