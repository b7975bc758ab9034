"""Fitting the sequence classifier to features: the summary at once, the LSTM by epochs.

B is clips in a batch, N all clips, K augmented views of each, C labels; S, T, D, R as in `network`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from activity_cli.errors import DataError
from activity_cli.model.encoding import (
    Features,
    Rows,
    ViewIndex,
    encode_rows,
    encode_views,
    measure_features,
)
from activity_cli.model.folder import Weights
from activity_cli.model.frame_order_ablation import OrderScores, score_orders
from activity_cli.model.network import (
    Encoded,
    FeatureStatistics,
    SequenceClassifier,
)
from activity_cli.settings import REFERENCE_NUM_CLIPS, NetworkSettings, Stream, TrainSettings
from activity_cli.training.loop.loop import ALONE, Epoch, Session, TrainResult
from activity_cli.training.loop.losses import ClipLoss, EpochMetrics
from activity_cli.training.loop.progress import Ending
from activity_cli.training.temporal_head import TemporalHeadTask, fit_temporal_head

_SUMMARY_STEPS = 60  # L-BFGS steps; it has settled by then


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerFolds:
    """Who judged which clip where no validation part was kept; see `inner_folds`."""

    rows: Rows
    """(V,) clips that were held out once, fold by fold; those of `val_scores`."""
    index: NDArray[np.int64]
    """(V,) the fold that each was held out in, from 0."""
    networks: tuple[SequenceClassifier, ...]
    """By fold, each learned from all clips but those of the fold."""

    def parts(self, learned: Rows) -> Iterator[tuple[SequenceClassifier, Rows, Rows]]:
        """Each network, what it learned from and what not, of all that was learned from."""
        for number, network in enumerate(self.networks):
            held_out = self.rows[self.index == number]
            yield network, np.setdiff1d(learned, held_out), held_out


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedNetwork:
    """The best network of a training run, and how it came about."""

    network: SequenceClassifier
    history: tuple[Epoch, ...]
    best_epoch: int
    """0 where reading the order of the frames did not help on the validation clips."""
    val_scores: NDArray[np.float32]
    """(V, C) of the validation rows, before the summary learned from them too: to calibrate on.
    With inner folds those of `inner.rows`, each by the network that did not learn from it."""
    ending: Ending = "epochs"
    notes: tuple[str, ...] = ()
    """What happened that whoever reads the figures should know."""
    inner: InnerFolds | None = None
    """None where a validation part chose the epoch."""

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
    views: Features | None = None,
    session: Session = ALONE,
    learns_from_val: bool = True,
) -> FittedNetwork:
    """Fit a network to the training rows, keep the weights that do best on the validation rows.

    First the summary is fitted, then the LSTM learns on top of it, with early stopping; at the
    end the summary, which needs no early stopping, is fitted once more to both parts.

    With augmented views the summary is fitted to all K + 1 views of a clip, each counting as much,
    and every epoch shows the LSTM one of them, by chance. Statistics and principal components are
    those of the plain clips, which validation and prediction see.

    Args:
        features: (N, S, T, D), often a memory map: batches are read from it as they are needed.
        targets: (N,) index of each clip's label.
        train_rows: rows to learn from.
        val_rows: rows that choose the best epoch; never the rows that a result is quoted on.
        num_labels: C.
        streams: what the S streams are.
        network_settings: shape of the network.
        settings: how it is fitted.
        views: (N, K, S, T, D) of each clip's augmented views; those of validation rows teach only
            the last summary.
        session: who hears of the epochs, where the LSTM's state is kept. All else is fitted anew
            by a resumed training, from the same start to the same numbers.
        learns_from_val: whether the summary learns from the validation rows as well in the end.
            Not where they are to choose something else afterwards.

    Raises:
        DataError: there are no validation rows.
        TrainingError, CheckpointError, OutputError: as `learning.loop.train`.
    """
    if not len(val_rows):
        raise DataError(
            "No clips are left to choose the best epoch.",
            hint="Add clips, or raise --val-fraction.",
        )
    with one_thread():
        statistics = measure_features(features, train_rows, network_settings.num_components)
        network = new_network(network_settings, statistics, num_labels, seed=settings.seed)
        clips, places = encode_views(
            network, features, views, train_rows=train_rows, val_rows=val_rows
        )
        return fit_encoded(
            network,
            clips,
            targets[np.concatenate([train_rows, val_rows])],
            places,
            streams=streams,
            settings=settings,
            session=session,
            learns_from_val=learns_from_val,
        )


def new_network(
    settings: NetworkSettings, statistics: FeatureStatistics, num_labels: int, *, seed: int
) -> SequenceClassifier:
    """An unfitted network. Seeds torch's generator, which goes on to shuffle and to drop out."""
    torch.manual_seed(seed)
    return SequenceClassifier(settings, num_labels=num_labels, statistics=statistics)


def fit_encoded(
    network: SequenceClassifier,
    clips: Encoded,
    targets: NDArray[np.int64],
    places: ViewIndex,
    *,
    streams: Sequence[Stream],
    settings: TrainSettings,
    session: Session = ALONE,
    learns_from_val: bool = True,
) -> FittedNetwork:
    """Fit a new network to clips that are encoded already; otherwise as `fit`.

    Args:
        network: from `new_network`, called just before: its seed is that of the training too.
        clips: as the network encodes them, from `encode_views`.
        targets: (N,) index of each plain clip's label, those to learn from first.
        places: where clips and their views stand.
        streams: what the S streams are.
        settings: how it is fitted.
        session: who hears of the epochs.
        learns_from_val: as for `fit`.
    """
    with one_thread():
        plain = torch.from_numpy(targets)
        labels = plain[places.clips]
        num_labels = network.summary.out_features
        weights = label_weights(targets[: places.num_train], num_labels, settings)
        penalties = summary_penalties(network, streams, settings, num_clips=places.num_train)
        fit_summary(network, clips.rows(places.train), labels[places.train], weights, penalties)
        with torch.no_grad():
            summary = network.summary_logits(clips)
        if network.temporal == "lstm":
            lesson = TemporalHeadTask(
                module=network.order,
                changes=clips.changes,
                summary=summary,
                targets=plain,
                places=places,
                loss=ClipLoss.of(settings, weights),
            )
            course = fit_temporal_head(lesson, settings, session)
        else:
            standing = EpochMetrics.of(summary[: len(plain)], plain, places.num_train)
            course = TrainResult.without_training(standing)
        val_clips = clips.rows(torch.arange(places.num_train, len(plain)))
        val_scores = score_encoded(network, val_clips)
        if learns_from_val:
            fit_summary(network, clips, labels, weights, penalties)
    return FittedNetwork(
        network=network.eval(),
        history=course.history,
        best_epoch=course.best_epoch,
        val_scores=val_scores,
        ending=course.ending,
        notes=course.notes,
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
        penalties: as of `summary_penalties`.
    """
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


@torch.inference_mode()
def score_rows(network: SequenceClassifier, features: Features, rows: Rows) -> NDArray[np.float32]:
    """Scores (len(rows), C) of rows of (N, S, T, D) features, in torch, without a temperature."""
    with one_thread():
        return score_encoded(network, encode_rows(network, features, rows))


def score_with_baseline(
    network: SequenceClassifier,
    features: Features,
    targets: NDArray[np.int64],
    *,
    learn_rows: Rows,
    rows: Rows,
    streams: Sequence[Stream],
    settings: TrainSettings,
) -> OrderScores:
    """Score held-out rows with the frames in other orders, and by a single-frame classifier.

    Args:
        network: fitted to `learn_rows`.
        features: (N, S, T, D)
        targets: (N,)
        learn_rows: rows to learn from, validation clips included.
        rows: rows to score.
        streams: what the S streams are.
        settings: how the network was fitted.
    """
    frame = score_single_frames(
        network,
        features,
        targets,
        learn_rows=learn_rows,
        rows=rows,
        streams=streams,
        settings=settings,
    )
    return replace(score_in_other_orders(network, features, rows), frame=frame)


@torch.inference_mode()
def score_in_other_orders(
    network: SequenceClassifier, features: Features, rows: Rows
) -> OrderScores:
    """Score rows of (N, S, T, D) features in other orders, by a network with an LSTM."""

    def classify(clips: Features) -> NDArray[np.float32]:
        return score_encoded(network, encode_rows(network, clips, np.arange(len(clips))))

    def pooled_head(clips: Features) -> NDArray[np.float32]:
        encoded = encode_rows(network, clips, np.arange(len(clips)))
        shares: NDArray[np.float32] = network.summary_logits(encoded).softmax(dim=-1).numpy()
        return shares

    with one_thread():
        return score_orders(classify, features, rows, pooled_head=pooled_head)


def score_single_frames(
    network: SequenceClassifier,
    features: Features,
    targets: NDArray[np.int64],
    *,
    learn_rows: Rows,
    rows: Rows,
    streams: Sequence[Stream],
    settings: TrainSettings,
) -> NDArray[np.float32]:
    """Fit an image classifier of middle frames: no motion, no other frame; (len(rows), C) scores.

    It reuses the feature statistics of the network. Arguments as for `score_with_baseline`.
    """
    statistics = FeatureStatistics(
        mean=network.mean, scale=network.scale, components=network.components[:, :, :1]
    )
    num_labels = network.summary.out_features
    frame = SequenceClassifier(
        NetworkSettings(temporal="frame"), num_labels=num_labels, statistics=statistics
    )
    weights = label_weights(targets[learn_rows], num_labels, settings)
    with one_thread():
        clips = encode_rows(frame, features, learn_rows)
        labels = torch.from_numpy(targets[learn_rows])
        penalties = summary_penalties(frame, streams, settings, num_clips=len(learn_rows))
        fit_summary(frame, clips, labels, weights, penalties)
        return score_encoded(frame, encode_rows(frame, features, rows))


@torch.no_grad()
def score_encoded(network: SequenceClassifier, clips: Encoded) -> NDArray[np.float32]:
    """(B, C), without dropout and without a temperature."""
    scores: NDArray[np.float32] = torch.softmax(network.eval().logits(clips), dim=-1).numpy()
    return scores


def label_weights(
    targets: NDArray[np.int64], num_labels: int, settings: TrainSettings
) -> Tensor | None:
    """(C,) weight of each label in the loss: the rarer the heavier, 1 on average over clips."""
    if settings.class_weights == "none":
        return None
    counts = np.bincount(targets, minlength=num_labels)
    return torch.tensor(len(targets) / (num_labels * np.maximum(counts, 1)), dtype=torch.float32)


def summary_penalties(
    network: SequenceClassifier,
    streams: Sequence[Stream],
    settings: TrainSettings,
    *,
    num_clips: int,
) -> Tensor:
    """Penalty of the squared coefficient of each of the summary's inputs.

    The settings hold it for `REFERENCE_NUM_CLIPS`. The loss is a mean over clips, so with as many
    times fewer clips the penalty is as many times higher: the same normal prior of the coefficients
    for any number of clips.
    """
    scale = REFERENCE_NUM_CLIPS / num_clips
    penalty = {
        "rgb": settings.rgb_penalty,
        "motion": settings.motion_penalty,
        "flow": settings.flow_penalty,
    }
    each = [
        torch.full_like(network.mean[s], scale * penalty[name]) for s, name in enumerate(streams)
    ]
    return torch.cat(each)[: network.summary.in_features]


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread.

    Networks this small gain nothing from more, which wait for each other for minutes when another
    program uses the cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
