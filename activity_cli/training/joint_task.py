"""CNN and classifier as the loop trains them: what it reads, what is descended, how it is judged.

N clips, B clips of a batch, K views; S, T, C as in `network`; A the shape of what the CNN's last
stages read of one picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from activity_cli.model.encoding import Rows
from activity_cli.training.joint_network import JointNetwork
from activity_cli.training.loop.losses import ClipLoss, EpochMetrics
from activity_cli.training.loop.schedules import ParameterGroups

CLIPS_AT_ONCE = 4
"""Without gradients: they are many pictures each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipImages:
    """Something of every picture of all clips, plain and in their views."""

    plain: NDArray[Any]
    """(N, S, T, *A)"""
    views: NDArray[Any]
    """(N, K, S, T, *A); K may be 0."""

    @property
    def num_views(self) -> int:
        """K."""
        return int(self.views.shape[1])

    def read(self, rows: Rows, views: Rows | None = None) -> NDArray[Any]:
        """(len(rows), S, T, *A): plain where there is no view or its number is 0."""
        images = np.array(self.plain[rows])
        if views is not None:
            for place in np.flatnonzero(views):
                images[place] = self.views[rows[place], views[place] - 1]
        return images


@dataclass(frozen=True, slots=True, kw_only=True)
class JointLesson:
    """CNN and classifier as the loop trains them."""

    module: JointNetwork
    images: ClipImages
    targets: NDArray[np.int64]
    """(N,)"""
    train_rows: Rows
    val_rows: Rows
    loss: ClipLoss
    stages: Sequence[Sequence[nn.Parameter]]
    penalties: Tensor | None
    learning_rate: float
    stage_decay: float

    @property
    def labels(self) -> Tensor:
        """Of the clips to learn from."""
        return torch.from_numpy(self.targets[self.train_rows])

    @property
    def clip_weights(self) -> Tensor:
        """By label."""
        return self.loss.clip_weights(self.labels)

    def parameter_groups(self) -> ParameterGroups:
        """The classifier and the CNN's last stage at the full rate, each stage before at less."""
        groups: ParameterGroups = [{"params": list(self.module.classifier.parameters())}]
        for distance, stage in enumerate(reversed(self.stages)):
            rate = self.learning_rate * self.stage_decay**distance
            groups.append({"params": list(stage), "lr": rate})
        return groups

    def batch_loss(self, rows: Tensor) -> Tensor:
        """Of one view of each clip, drawn anew each time, and of the summary's weights."""
        loss = self.loss(self.module(self._draw(rows)), self.labels[rows])
        if self.penalties is not None:
            weights = self.module.classifier.summary.weight
            loss = loss + 0.5 * (self.penalties * weights.square()).sum()
        return loss

    def evaluate(self) -> EpochMetrics:
        """On the validation clips and as many of the training clips: passes cost seconds."""
        few = self.train_rows[:: max(1, len(self.train_rows) // len(self.val_rows))]
        rows = np.concatenate([few, self.val_rows])
        return EpochMetrics.of(self.logits(rows), torch.from_numpy(self.targets[rows]), len(few))

    @torch.no_grad()
    def logits(self, rows: Rows) -> Tensor:
        """(len(rows), C), without dropout."""
        starts = range(0, len(rows), CLIPS_AT_ONCE)
        return torch.cat(
            [self.module(self._read(rows[i : i + CLIPS_AT_ONCE])).cpu() for i in starts]
        )

    def _draw(self, rows: Tensor) -> Tensor:
        """(B, S, T, *A) of training clips, each in one of its views by torch's chance."""
        views = torch.randint(1 + self.images.num_views, rows.shape)
        return self._read(self.train_rows[rows.numpy()], views.numpy())

    def _read(self, rows: Rows, views: Rows | None = None) -> Tensor:
        device = next(self.module.classifier.parameters()).device
        return torch.from_numpy(self.images.read(rows, views)).to(device)
