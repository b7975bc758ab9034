"""Few clips: inner folds choose the epoch, and all clips are learned from.

A handful of validation clips cannot tell one epoch from the next, and is missed where every clip
counts. So several networks learn side by side, step by step alike: one from all clips, and one for
each fold from all clips but those of the fold. After every epoch each clip is judged by the network
that did not learn from it; the epoch that does best is that of all of them. The network that
learned from all clips is the result, and the scores of the others are what it is calibrated by:
nothing is measured on clips that were learned from.

N is the clips to learn from, K augmented views of each, B clips of a batch, V those that are held
out once; C labels.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from activity_cli.data.splits import choosing_folds
from activity_cli.errors import DataError
from activity_cli.model.encoding import Features, Rows, ViewIndex, encode_views, measure_features
from activity_cli.model.network import SequenceClassifier
from activity_cli.settings import NetworkSettings, Stream, TrainSettings
from activity_cli.training.head import (
    FittedNetwork,
    InnerFolds,
    fit,
    fit_summary,
    label_weights,
    one_thread,
    summary_penalties,
)
from activity_cli.training.loop.loop import ALONE, Session, TrainResult, train
from activity_cli.training.loop.losses import ClipLoss, EpochMetrics
from activity_cli.training.loop.schedules import ParameterGroups
from activity_cli.training.temporal_head import TemporalHeadTask, gains_enough


def fit_clips(
    features: Features,
    targets: NDArray[np.int64],
    *,
    train_rows: Rows,
    val_rows: Rows,
    groups: NDArray[np.int64] | None,
    num_labels: int,
    streams: Sequence[Stream],
    network_settings: NetworkSettings,
    settings: TrainSettings,
    views: Features | None = None,
    session: Session = ALONE,
) -> FittedNetwork:
    """Fit a network as `training.fit` does, or by inner folds where there are no validation rows.

    Args:
        features: (N, S, T, D) of all clips.
        targets: (N,)
        train_rows: rows to learn from.
        val_rows: rows that choose the best epoch; none leaves that to inner folds.
        groups: (N,) clips of a group are never split apart; None where there are no groups.
        num_labels: C.
        streams: what the S streams are.
        network_settings: shape of the network.
        settings: how it is fitted.
        views: (N, K, S, T, D) of each clip's augmented views.
        session: who hears of the epochs, where the state is kept.

    Raises:
        DataError: no clip can be spared to choose the epoch.
        TrainingError, CheckpointError, OutputError: as `learning.loop.train`.
    """
    if len(val_rows):
        return fit(
            features,
            targets,
            train_rows=train_rows,
            val_rows=val_rows,
            num_labels=num_labels,
            streams=streams,
            network_settings=network_settings,
            settings=settings,
            views=views,
            session=session,
        )
    fold = choosing_folds(
        targets[train_rows], None if groups is None else groups[train_rows], seed=settings.seed
    )
    if not (fold >= 0).any():
        raise DataError(
            "No clips are left to choose the best epoch: no label has two to learn from.",
            hint="Add clips.",
        )
    begin = partial(
        _Member.begin,
        features,
        targets,
        train_rows,
        num_labels=num_labels,
        streams=streams,
        network_settings=network_settings,
        settings=settings,
        views=views,
    )
    with one_thread():
        return _fit_by_folds(begin, train_rows, fold, settings, session)


def _fit_by_folds(
    begin: "Callable[[Tensor], _Member]",
    train_rows: Rows,
    fold: NDArray[np.int64],
    settings: TrainSettings,
    session: Session,
) -> FittedNetwork:
    """A network from all clips, and of each fold one from the others.

    Args:
        begin: makes a network of the clips that (N,) says.
        train_rows: (N,) rows of the clips.
        fold: (N,) of each clip, -1 for none.
        settings: how they are fitted.
        session: who hears of the epochs.
    """
    folds = torch.from_numpy(fold)
    taught = [torch.ones(len(fold), dtype=torch.bool)]
    taught += [folds != number for number in range(int(fold.max()) + 1)]
    torch.manual_seed(settings.seed)
    members = [begin(mask) for mask in taught]
    held_out = [torch.nonzero(~mask).squeeze(1) for mask in taught[1:]]
    course, logits = _fit_orders(members, held_out, settings, session)
    judged = torch.cat(held_out).numpy()
    return FittedNetwork(
        network=members[0].network.eval(),
        history=course.history,
        best_epoch=course.best_epoch,
        val_scores=torch.softmax(logits, dim=-1).numpy(),
        ending=course.ending,
        notes=course.notes,
        inner=InnerFolds(
            rows=train_rows[judged],
            index=fold[judged],
            networks=tuple(member.network.eval() for member in members[1:]),
        ),
    )


def _fit_orders(
    members: "Sequence[_Member]",
    held_out: Sequence[Tensor],
    settings: TrainSettings,
    session: Session,
) -> tuple[TrainResult, Tensor]:
    """Train the LSTMs; leave the weights of the best epoch in them, or none.

    Args:
        members: the first learns from all clips.
        held_out: positions of the clips that each of the others did not learn from.
        settings: how they are fitted.
        session: who hears of the epochs.

    Returns:
        How it went, and the (V, C) logits of the clips held out.
    """
    labels = members[0].targets
    targets = labels[torch.cat(list(held_out))]
    summary = torch.cat([m.summary[rows] for m, rows in zip(members[1:], held_out, strict=True)])
    if members[0].network.temporal != "lstm":
        both = torch.cat([members[0].summary[: len(labels)], summary])
        standing = EpochMetrics.of(both, torch.cat([labels, targets]), len(labels))
        return TrainResult.without_training(standing), summary
    weights = label_weights(labels.numpy(), summary.shape[1], settings)
    lesson = _SideBySide(
        module=nn.ModuleList(member.network.order for member in members),
        lessons=[member.lesson(ClipLoss.of(settings, weights)) for member in members],
        taught=[member.taught for member in members],
        held_out=held_out,
    )
    untrained = copy.deepcopy(lesson.module.state_dict())
    course = train(lesson, settings, session, name="lstm")
    logits = lesson.out_of_fold()
    if gains_enough(summary, logits, targets):
        return course, logits
    lesson.module.load_state_dict(untrained)
    return replace(course, best_epoch=0), summary


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """A network whose summary has learned from some clips, and all clips as it reads them."""

    network: SequenceClassifier
    taught: Tensor
    """(N,) whether it learns from each clip."""
    places: ViewIndex
    changes: Tensor
    """(N * (K + 1), S, T, R)"""
    summary: Tensor
    """(N * (K + 1), C) logits of the summary."""
    targets: Tensor
    """(N,)"""

    @classmethod
    def begin(
        cls,
        features: Features,
        targets: NDArray[np.int64],
        rows: Rows,
        taught: Tensor,
        *,
        num_labels: int,
        streams: Sequence[Stream],
        network_settings: NetworkSettings,
        settings: TrainSettings,
        views: Features | None,
    ) -> "_Member":
        """All that is known without steps, from the clips that it learns from alone."""
        learned = rows[taught.numpy()]
        statistics = measure_features(features, learned, network_settings.num_components)
        network = SequenceClassifier(network_settings, num_labels=num_labels, statistics=statistics)
        clips, places = encode_views(network, features, views, train_rows=rows, val_rows=rows[:0])
        labels = torch.from_numpy(targets[rows])
        places_taught = torch.nonzero(taught[places.clips]).squeeze(1)
        fit_summary(
            network,
            clips.rows(places_taught),
            labels[places.clips][places_taught],
            label_weights(targets[learned], num_labels, settings),
            summary_penalties(network, streams, settings, num_clips=len(learned)),
        )
        with torch.no_grad():
            summary = network.summary_logits(clips)
        return cls(
            network=network,
            taught=taught,
            places=places,
            changes=clips.changes,
            summary=summary,
            targets=labels,
        )

    def lesson(self, loss: ClipLoss) -> TemporalHeadTask:
        """What its LSTM is trained by."""
        return TemporalHeadTask(
            module=self.network.order,
            changes=self.changes,
            summary=self.summary,
            targets=self.targets,
            places=self.places,
            loss=loss,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _SideBySide:
    """The LSTMs of several networks as the loop trains them, as if they were one."""

    module: nn.ModuleList
    lessons: Sequence[TemporalHeadTask]
    """The first learns from all clips, each of the others from all but a fold's."""
    taught: Sequence[Tensor]
    """(N,) of each, whether it learns from a clip."""
    held_out: Sequence[Tensor]
    """Positions of the clips that each but the first does not learn from."""

    @property
    def labels(self) -> Tensor:
        """Of all clips."""
        return self.lessons[0].targets

    @property
    def clip_weights(self) -> Tensor:
        """By label."""
        return self.lessons[0].clip_weights

    def parameter_groups(self) -> ParameterGroups:
        """All LSTMs, at one learning rate."""
        return [{"params": list(self.module.parameters())}]

    def batch_loss(self, rows: Tensor) -> Tensor:
        """Of all networks, each by those of the batch's clips that it learns from."""
        whole = self.clip_weights[rows].sum()
        losses = []
        for lesson, taught in zip(self.lessons, self.taught, strict=True):
            part = rows[taught[rows]]
            if len(part):  # a sum over clips, so that the parts of a batch can be added up
                share = self.clip_weights[part].sum() / whole
                losses.append(lesson.batch_loss(part) * share)
            else:  # no gradient is one of 0, however the batch is shared out among processes
                losses += [0 * weight.sum() for weight in lesson.module.parameters()]
        return torch.stack(losses).sum()

    def evaluate(self) -> EpochMetrics:
        """The first network on what it learned from, the others on what they did not."""
        targets = torch.cat([self.labels, *(self.labels[rows] for rows in self.held_out)])
        logits = torch.cat([self.lessons[0].logits(), self.out_of_fold()])
        return EpochMetrics.of(logits, targets, len(self.labels))

    def out_of_fold(self) -> Tensor:
        """(V, C) logits of the clips held out, fold by fold."""
        others = zip(self.lessons[1:], self.held_out, strict=True)
        return torch.cat([lesson.logits(rows) for lesson, rows in others])
