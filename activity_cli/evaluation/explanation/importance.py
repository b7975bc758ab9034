"""How much each frame speaks for a label, through the summary and through the LSTM.

B clips, S streams, T frames, D CNN features, C labels, R components, as in `network`.

The summary is linear in every frame, so its contributions are exact. The LSTM's are integrated
gradients: Sundararajan et al., "Axiomatic Attribution for Deep Networks" (2017).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from activity_cli.evaluation.explanation.values import Floats, Importance
from activity_cli.model.network import SequenceClassifier

_STEPS = 256  # of the integral; contributions of drawn clips then add up to 4 digits


def members_of(classifier: nn.Module) -> list[SequenceClassifier]:
    """The networks whose mean logits a classifier gives: itself, or an ensemble's members."""
    if isinstance(classifier, SequenceClassifier):
        return [classifier]
    return [m for m in classifier.modules() if isinstance(m, SequenceClassifier)]


def evidence_weights(num_labels: int, label: int, temperature: float) -> Tensor:
    """(C,) whose product with logits is the evidence for a label; see `values`."""
    weights = torch.full((num_labels,), -1 / (num_labels - 1))
    weights[label] = 1
    return weights / temperature


def speaks(network: SequenceClassifier) -> bool:
    """Whether its LSTM can change any score: it begins as nothing, and training may leave it so."""
    if network.temporal != "lstm":
        return False
    last = network.order.classifier
    return bool(last.weight.any() or last.bias.any())


def measure_importance(
    members: Sequence[SequenceClassifier], features: Tensor, weights: Tensor
) -> Importance:
    """How much each frame of a clip contributes to the evidence; the mean over all members.

    Args:
        members: in eval mode; their weights need no gradients.
        features: (S, T, D) of the clip.
        weights: (C,) from `evidence_weights`.
    """
    parts = [_of_member(network, features, weights) for network in members]

    looked = [part.attention for part in parts if part.attention is not None]
    return Importance(
        summary=_mean([part.summary for part in parts]),
        order=_mean([part.order for part in parts]),
        constant=sum(part.constant for part in parts) / len(parts),
        evidence=sum(part.evidence for part in parts) / len(parts),
        occlusion=_mean([part.occlusion for part in parts]),
        attention=_mean(looked) if looked else None,
    )


def _mean(values: Sequence[Floats]) -> Floats:
    return np.asarray(np.mean(values, axis=0), np.float32)


def _of_member(network: SequenceClassifier, features: Tensor, weights: Tensor) -> Importance:
    with torch.no_grad():
        evidence = float(network(features[None])[0] @ weights)
        summary, constant = _summary(network, features, weights)
        occlusion = _occlusion(network, features, weights)
        attention = _attention(network, features)
    order = torch.zeros_like(summary)
    if speaks(network):
        order, unchanged = _order(network, features, weights)
        constant += unchanged
    return Importance(
        summary=summary.numpy(),
        order=order.numpy(),
        constant=constant,
        evidence=evidence,
        occlusion=occlusion.numpy(),
        attention=None if attention is None else attention.numpy(),
    )


def _summary(
    network: SequenceClassifier, features: Tensor, weights: Tensor
) -> tuple[Tensor, float]:
    """(S, T) contributions to the mean over time, and what is said of the mean training frame."""
    num_streams, num_frames, size = features.shape
    deviations = (features - network.mean[:, None]) / network.scale[:, None]
    per_feature = torch.zeros(num_streams, size)
    read = weights @ network.summary.weight  # (S * D,)
    per_feature[: network.num_summarised] = read.view(network.num_summarised, size)
    contributions = torch.einsum("std,sd->st", deviations, per_feature)
    if network.temporal == "frame":  # it reads the middle one and no other
        middle = torch.arange(num_frames) == num_frames // 2
        contributions = contributions * middle
    else:
        contributions = contributions / num_frames
    return contributions, float(weights @ network.summary.bias)


def _order(network: SequenceClassifier, features: Tensor, weights: Tensor) -> tuple[Tensor, float]:
    """(S, T) contributions through the LSTM, and what it says of a clip without any change."""
    changes = network.encode(features[None]).changes  # (1, S, T, R)
    steps = (torch.arange(_STEPS) + 0.5) / _STEPS
    path = (steps.view(-1, 1, 1, 1) * changes).requires_grad_(True)
    said: Tensor = (network.order(path) @ weights).sum()
    [gradients] = torch.autograd.grad(said, path)
    contributions = (gradients.mean(dim=0) * changes[0]).sum(dim=-1)
    with torch.no_grad():
        unchanged = float(network.order(torch.zeros_like(changes))[0] @ weights)
    return contributions, unchanged


def _occlusion(network: SequenceClassifier, features: Tensor, weights: Tensor) -> Tensor:
    """(T,) by how much the evidence falls where a frame is as the mean of the others."""
    num_frames = features.shape[1]
    if num_frames == 1:
        others = network.mean[:, None]
    else:
        others = (features.sum(dim=1, keepdim=True) - features) / (num_frames - 1)  # (S, T, D)
    occluded = features.repeat(num_frames, 1, 1, 1)  # (T, S, T, D)
    each = torch.arange(num_frames)
    occluded[each, :, each] = others.transpose(0, 1)
    fall: Tensor = network(features[None]) @ weights - network(occluded) @ weights
    return fall


def _attention(network: SequenceClassifier, features: Tensor) -> Tensor | None:
    """(T,) weights of the attention; None where it decides nothing."""
    if not speaks(network) or network.order.pooling != "attention":
        return None
    order = network.order
    outputs, _ = order.lstm(order.fuse(network.encode(features[None]).changes))
    return order.attention.weights(outputs, order.ends(outputs))[0]
