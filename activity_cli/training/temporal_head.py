"""The LSTM's part of the classifier as the loop trains it, on top of a fixed summary.

N clips, K augmented views of each, B clips of a batch, V clips to judge by; S, T, R, C as in
`network`.
"""

import copy
import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from activity_cli.model.encoding import ENCODING_BATCH, ViewIndex
from activity_cli.model.network import TemporalHead
from activity_cli.settings import TrainSettings
from activity_cli.training.loop.loop import Session, TrainResult, train
from activity_cli.training.loop.losses import ClipLoss, EpochMetrics
from activity_cli.training.loop.schedules import ParameterGroups


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporalHeadTask:
    """The LSTM on top of a fixed summary, as the loop trains it: N clips, those to learn first."""

    module: TemporalHead
    changes: Tensor
    """(N * (K + 1), S, T, R), as `places` says."""
    summary: Tensor
    """(N * (K + 1), C) logits of the summary, fixed while the LSTM learns."""
    targets: Tensor
    """(N,) labels of all clips."""
    places: ViewIndex
    loss: ClipLoss

    @property
    def labels(self) -> Tensor:
        """Of the clips to learn from."""
        return self.targets[: self.places.num_train]

    @property
    def clip_weights(self) -> Tensor:
        """By label."""
        return self.loss.clip_weights(self.labels)

    def parameter_groups(self) -> ParameterGroups:
        """All of the LSTM's part, at one learning rate."""
        return [{"params": list(self.module.parameters())}]

    def batch_loss(self, rows: Tensor) -> Tensor:
        """Of one view of each clip, drawn anew each time."""
        drawn = self.places.draw(rows)
        logits = self.summary[drawn] + self.module(self.changes[drawn])  # (B, C)
        return self.loss(logits, self.targets[rows])

    def evaluate(self) -> EpochMetrics:
        """On both parts, plain."""
        return EpochMetrics.of(self.logits(), self.targets, self.places.num_train)

    @property
    def plain_summary(self) -> Tensor:
        """(N, C) logits of the summary for the plain clips."""
        return self.summary[: self.places.num_clips]

    @torch.no_grad()
    def logits(self, rows: Tensor | None = None) -> Tensor:
        """(N, C) of the plain clips, without dropout; or of some of them."""
        self.module.eval()
        num_clips = self.places.num_clips
        rows = torch.arange(num_clips) if rows is None else rows
        parts = [self.module(self.changes[part]) for part in torch.split(rows, ENCODING_BATCH)]
        return self.summary[rows] + torch.cat(parts)


def fit_temporal_head(
    lesson: TemporalHeadTask, settings: TrainSettings, session: Session
) -> TrainResult:
    """Train the LSTM on top of the summary; leaves the best weights in it, or none.

    The best are those of the lowest validation loss, if they gain enough.
    """
    untrained = copy.deepcopy(lesson.module.state_dict())
    course = train(lesson, settings, session, name="lstm")
    judged = slice(lesson.places.num_train, lesson.places.num_clips)
    summary, targets = lesson.summary[judged], lesson.targets[judged]
    if not gains_enough(summary, lesson.logits()[judged], targets):
        lesson.module.load_state_dict(untrained)
        return replace(course, best_epoch=0)
    return course


def gains_enough(summary: Tensor, logits: Tensor, targets: Tensor) -> bool:
    """Whether the LSTM beats the summary by more than chance would.

    The rule of one standard error: Breiman et al., "Classification and Regression Trees" (1984).

    Args:
        summary: (V, C) logits of the summary alone, of clips that neither learned from.
        logits: (V, C) of both.
        targets: (V,)
    """
    before, after = (F.cross_entropy(x, targets, reduction="none") for x in (summary, logits))
    gain = before - after
    return bool(gain.mean() > gain.std(correction=0) / math.sqrt(len(gain)))
