"""Score clips with networks that were just fitted, and with the baselines: N clips, C labels."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from activity_cli.features.labelled import FeatureDataset
from activity_cli.model.encoding import Features, Rows, encode_rows
from activity_cli.model.frame_order_ablation import OrderScores, score_orders
from activity_cli.model.network import Encoded, FeatureStatistics, SequenceClassifier
from activity_cli.settings import NetworkSettings, TrainSettings
from activity_cli.training.head import fit_pooled_head, label_weights, one_thread, pooled_penalties


@torch.no_grad()
def score_encoded(network: SequenceClassifier, clips: Encoded) -> NDArray[np.float32]:
    """Return scores (B, C), without dropout and without a temperature."""
    scores: NDArray[np.float32] = torch.softmax(network.eval().logits(clips), dim=-1).numpy()
    return scores


@torch.inference_mode()
def score_rows(network: SequenceClassifier, features: Features, rows: Rows) -> NDArray[np.float32]:
    """Return scores (len(rows), C) of rows of (N, S, T, D) features, without a temperature."""
    with one_thread():
        return score_encoded(network, encode_rows(network, features, rows))


def score_ablations(
    network: SequenceClassifier,
    data: FeatureDataset,
    *,
    learned: Rows,
    rows: Rows,
    settings: TrainSettings,
) -> OrderScores:
    """Score rows with frames in other orders, by the mean alone, and by a single frame.

    The network has an LSTM; it is fitted to `learned`, and so is the single-frame baseline.
    """
    frame = score_single_frames(network, data, learned=learned, rows=rows, settings=settings)
    return replace(score_in_other_orders(network, data.values, rows), frame=frame)


@torch.inference_mode()
def score_in_other_orders(
    network: SequenceClassifier, features: Features, rows: Rows
) -> OrderScores:
    """Score rows of (N, S, T, D) features with their frames in other orders, and their mean."""

    def classify(clips: Features) -> NDArray[np.float32]:
        return score_rows(network, clips, np.arange(len(clips)))

    def classify_mean(clips: Features) -> NDArray[np.float32]:
        encoded = encode_rows(network, clips, np.arange(len(clips)))
        scores: NDArray[np.float32] = network.pooled_logits(encoded).softmax(dim=-1).numpy()
        return scores

    with one_thread():
        return score_orders(classify, features, rows, pooled_head=classify_mean)


def score_single_frames(
    network: SequenceClassifier,
    data: FeatureDataset,
    *,
    learned: Rows,
    rows: Rows,
    settings: TrainSettings,
) -> NDArray[np.float32]:
    """Fit a classifier of the middle frame, without motion; return its scores (len(rows), C).

    It takes the statistics of the features from the network, so it is fitted in a moment.
    """
    statistics = FeatureStatistics(
        mean=network.mean, scale=network.scale, components=network.components[:, :, :1]
    )
    num_labels, targets = len(data.labels), data.targets[learned]
    baseline = SequenceClassifier(
        NetworkSettings(temporal="frame"), num_labels=num_labels, statistics=statistics
    )
    weights = label_weights(targets, num_labels, settings)
    with one_thread():
        clips = encode_rows(baseline, data.values, learned)
        penalties = pooled_penalties(baseline, data.streams, settings, num_clips=len(learned))
        fit_pooled_head(baseline, clips, torch.from_numpy(targets), weights, penalties)
        return score_encoded(baseline, encode_rows(baseline, data.values, rows))
