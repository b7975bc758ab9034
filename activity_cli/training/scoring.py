"""Score clips with networks that were just fitted, and with the baselines: N clips, C labels."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from activity_cli.features.labelled import FeatureDataset
from activity_cli.model.encoding import Features, Rows, encode_rows
from activity_cli.model.frame_order_ablation import OrderScores, score_orders
from activity_cli.model.network import SequenceClassifier
from activity_cli.settings import TrainSettings
from activity_cli.training.head import fit_linear_head, one_thread


@torch.inference_mode()
def score_rows(
    network: SequenceClassifier, features: Features, rows: Rows, *, multi_label: bool = False
) -> NDArray[np.float32]:
    """Return scores (len(rows), C) of rows of (N, S, T, D) features, without a temperature."""
    with one_thread():
        logits = network.eval().logits(encode_rows(network, features, rows))
        return torch.sigmoid(logits).numpy() if multi_label else _softmax(logits)


def score_ablations(
    network: SequenceClassifier,
    data: FeatureDataset,
    *,
    learned: Rows,
    rows: Rows,
    settings: TrainSettings,
    baselines: bool = True,
) -> OrderScores:
    """Score rows with frames in other orders and, as baselines, by the mean or a frame alone.

    The network has an LSTM; it is fitted to `learned`, and so are the two baselines.
    """
    frame = mean = None
    if baselines:
        frame = score_rows(fit_linear_head(data, "frame", learned, settings), data.values, rows)
        mean = _score_by_mean(network, data, learned, rows, settings)
    with one_thread():
        orders = score_orders(
            lambda clips: score_rows(network, clips, np.arange(len(clips))), data.values, rows
        )
    return replace(orders, frame=frame, pooled=mean)


def _score_by_mean(
    network: SequenceClassifier,
    data: FeatureDataset,
    learned: Rows,
    rows: Rows,
    settings: TrainSettings,
) -> NDArray[np.float32]:
    """Score by the mean over time: by the network's own linear head, where that reads no more."""
    shape = (-1, network.num_pooled, network.num_coefficients, network.mean.shape[2])
    if network.pooled_head.weight.detach().view(shape)[:, :, 1:].any():
        return score_rows(fit_linear_head(data, "mean", learned, settings), data.values, rows)
    with one_thread(), torch.inference_mode():
        return _softmax(network.pooled_logits(encode_rows(network, data.values, rows)))


def _softmax(logits: Tensor) -> NDArray[np.float32]:
    scores: NDArray[np.float32] = torch.softmax(logits, dim=-1).numpy()
    return scores
