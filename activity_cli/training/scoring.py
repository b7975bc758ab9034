"""Score clips with networks that were just fitted, and with the baselines: N clips, C labels."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from activity_cli.features.labelled import FeatureDataset
from activity_cli.model.encoding import Features, Rows, encode_rows
from activity_cli.model.frame_order_ablation import OrderScores, score_orders
from activity_cli.model.network import SequenceClassifier
from activity_cli.settings import TrainSettings
from activity_cli.training.head import fit_linear_head, one_thread
from activity_cli.training.linear import LinearHead


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
    mean_head: LinearHead | None = None,
    baselines: bool = True,
) -> OrderScores:
    """Score rows with frames in other orders and, as baselines, by the mean or a frame alone.

    The network has an LSTM; it is fitted to `learned`, and so are the two baselines. `mean_head`
    is one of `FittedNetwork.mean_heads`.
    """
    frame = mean = None
    if baselines:
        frame = score_rows(fit_linear_head(data, "frame", learned, settings), data.values, rows)
        if mean_head is None and _reads_changes(network):
            mean = score_rows(fit_linear_head(data, "mean", learned, settings), data.values, rows)
        else:
            head = mean_head or (network.pooled_head.weight, network.pooled_head.bias)
            mean = _score_by_pooled(network, head, data.values, rows)
    with one_thread():
        orders = score_orders(
            lambda clips: score_rows(network, clips, np.arange(len(clips))), data.values, rows
        )
    return replace(orders, frame=frame, pooled=mean)


def _reads_changes(network: SequenceClassifier) -> bool:
    shape = (-1, network.num_pooled, network.num_coefficients, network.mean.shape[2])
    return bool(network.pooled_head.weight.detach().view(shape)[:, :, 1:].any())


@torch.inference_mode()
def _score_by_pooled(
    network: SequenceClassifier, head: LinearHead, features: Features, rows: Rows
) -> NDArray[np.float32]:
    """Score by a linear head in place of the network's own, without the LSTM."""
    with one_thread():
        pooled = encode_rows(network, features, rows).pooled
        return _softmax(F.linear(pooled.flatten(1), *head))


def _softmax(logits: Tensor) -> NDArray[np.float32]:
    scores: NDArray[np.float32] = torch.softmax(logits, dim=-1).numpy()
    return scores
