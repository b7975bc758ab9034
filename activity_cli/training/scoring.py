"""Score clips with networks that were just fitted, and with the baselines: N clips, C labels."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from activity_cli.features.labelled import FeatureDataset
from activity_cli.model.encoding import Features, Rows, encode_rows
from activity_cli.model.frame_order_ablation import OrderScores, score_orders
from activity_cli.model.network import SequenceClassifier
from activity_cli.settings import TrainSettings
from activity_cli.training.head import fit_linear_head, one_thread


@torch.inference_mode()
def score_rows(network: SequenceClassifier, features: Features, rows: Rows) -> NDArray[np.float32]:
    """Return scores (len(rows), C) of rows of (N, S, T, D) features, without a temperature."""
    with one_thread():
        logits = network.eval().logits(encode_rows(network, features, rows))
        scores: NDArray[np.float32] = torch.softmax(logits, dim=-1).numpy()
        return scores


def score_ablations(
    network: SequenceClassifier,
    data: FeatureDataset,
    *,
    learned: Rows,
    rows: Rows,
    settings: TrainSettings,
) -> OrderScores:
    """Score rows with frames in other orders, by the mean alone, and by a single frame.

    The network has an LSTM; it is fitted to `learned`, and so are the two baselines.
    """
    frame, mean = (
        score_rows(fit_linear_head(data, temporal, learned, settings), data.values, rows)
        for temporal in ("frame", "mean")
    )
    with one_thread():
        orders = score_orders(
            lambda clips: score_rows(network, clips, np.arange(len(clips))), data.values, rows
        )
    return replace(orders, frame=frame, pooled=mean)
