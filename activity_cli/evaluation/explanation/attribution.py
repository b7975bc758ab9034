"""Contribution of each frame to the evidence for a label, and what the LSTM did meanwhile.

B clips, S streams, T frames, D CNN features, C labels, R components, as in `network`; H units per
direction.

The pooled head is linear in every frame, so its contributions are exact. Those of the LSTM are
integrated gradients: Sundararajan et al., "Axiomatic Attribution for Deep Networks" (2017).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from activity_cli.evaluation.explanation.values import (
    Direction,
    GateTrace,
    Importance,
    LstmTrace,
    Unit,
)
from activity_cli.features.action_weights import POOLED_SIZE
from activity_cli.features.movinet import Kinetics600Classifier
from activity_cli.model.network import (
    FeatureStatistics,
    SequenceClassifier,
    TemporalHead,
    time_basis,
)
from activity_cli.settings import NetworkSettings

_STEPS = 256  # of the integral: contributions of drawn clips then add up to 4 digits
_NUM_TOP_UNITS = 3
_DIRECTIONS: tuple[Direction, ...] = ("forward", "backward")


def members_of(classifier: nn.Module) -> list[SequenceClassifier]:
    """Return the members of an ensemble, or the network itself."""
    if isinstance(classifier, SequenceClassifier):
        return [classifier]
    return [m for m in classifier.modules() if isinstance(m, SequenceClassifier)]


def linear_at(
    classifier: Kinetics600Classifier, features: Tensor
) -> tuple[SequenceClassifier, Tensor]:
    """Return a linear network with the logits of kinetics600 for a clip (1, T, D), and its input.

    Around a clip the logits are linear in the means of each frame's maps: a hidden unit that ReLU6
    clips stays as it is. The input (1, T, D) has these means in place of their roots.
    """
    roots, rest = features[..., :POOLED_SIZE], features[..., POOLED_SIZE:]
    means = roots.detach() * roots  # the root is taken as a division by a constant
    head = classifier.head
    with torch.no_grad():
        mean = means.mean(dim=(0, 1))  # (P,)
        units = head.hidden(mean)
        is_linear = ((units > 0) & (units < 6)).float()
        weight = (head.classifier.weight * is_linear) @ head.hidden.weight  # (C, P)
        logits = classifier(features[None])[0]
    size, no_mean = features.shape[-1], torch.zeros(1, 1, features.shape[-1])
    network = SequenceClassifier(
        NetworkSettings(temporal="mean"),
        num_labels=len(logits),
        statistics=FeatureStatistics(
            mean=no_mean, scale=torch.ones_like(no_mean), components=torch.zeros(1, size, 0)
        ),
    )
    network.pooled_head.weight.data[:, :POOLED_SIZE] = weight
    network.pooled_head.bias.data = logits - weight @ mean
    return network.eval().requires_grad_(False), torch.cat([means, rest], dim=-1)


def evidence_weights(
    num_labels: int, label: int, temperature: float, *, multi_label: bool = False
) -> Tensor:
    """Return (C,) weights whose product with logits is the evidence for a label; see `values`.

    That of a multi-label model is the label's logit: the log-odds of its score.
    """
    weights = torch.zeros(num_labels)
    if not multi_label:
        weights = torch.full((num_labels,), -1 / (num_labels - 1))
    weights[label] = 1
    return weights / temperature


def uses_lstm(network: SequenceClassifier) -> bool:
    """Return whether the LSTM affects scores: its output layer starts at 0 and may stay there."""
    if network.temporal != "lstm":
        return False
    last = network.temporal_head.classifier
    return bool(last.weight.any() or last.bias.any())


def measure_importance(
    members: Sequence[SequenceClassifier], features: Tensor, weights: Tensor
) -> Importance:
    """Return the contribution of each frame of a clip (S, T, D); the mean over all members."""
    parts: dict[str, list[Tensor]] = defaultdict(list)
    for network in members:
        with torch.no_grad():
            parts["evidence"].append(network(features[None])[0] @ weights)
            parts["pooled"].append(_pooled(network, features, weights))
            parts["occlusion"].append(_occlusion(network, features, weights))
        temporal, unchanged = torch.zeros(features.shape[:2]), torch.zeros(())
        if uses_lstm(network):
            temporal, unchanged = _integrated_gradients(network, features, weights)
            if network.temporal_head.pooling == "attention":
                parts["attention"].append(_attention(network, features))
        parts["temporal"].append(temporal)
        parts["constant"].append(weights @ network.pooled_head.bias + unchanged)
    means = {name: torch.stack(values).mean(dim=0) for name, values in parts.items()}
    arrays = {name: mean.detach().numpy() for name, mean in means.items()}
    constant, evidence = float(arrays.pop("constant")), float(arrays.pop("evidence"))
    return Importance(constant=constant, evidence=evidence, **arrays)


def _pooled(network: SequenceClassifier, features: Tensor, weights: Tensor) -> Tensor:
    """Return (S, T) contributions through the mean over time."""
    num_frames = features.shape[1]
    per_feature = torch.zeros_like(network.mean)  # (S, K, D)
    weight = weights @ network.pooled_head.weight  # (S * K * D,)
    per_feature[: network.num_pooled] = weight.view(network.num_pooled, *per_feature.shape[1:])
    per_feature /= network.scale
    basis = time_basis(num_frames, network.num_coefficients)  # (K, T)
    if network.temporal == "frame":  # the single-frame baseline uses the middle frame only
        basis = num_frames * (torch.arange(num_frames) == num_frames // 2).float()[None]
    contributions = torch.einsum("std,skd,kt->st", features, per_feature, basis)
    shared = (network.mean * per_feature).sum(dim=(1, 2))  # (S,) of an average clip
    return (contributions - shared[:, None] * basis[0]) / num_frames


def _integrated_gradients(
    network: SequenceClassifier, features: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return (S, T) contributions through the LSTM, and its evidence for an unchanging clip."""
    changes = network.encode(features[None]).centred  # (1, S, T, R)
    steps = (torch.arange(_STEPS) + 0.5) / _STEPS
    path = (steps.view(-1, 1, 1, 1) * changes).requires_grad_(True)
    evidence: Tensor = (network.temporal_head(path) @ weights).sum()
    [gradients] = torch.autograd.grad(evidence, path)
    contributions = (gradients.mean(dim=0) * changes[0]).sum(dim=-1)
    with torch.no_grad():
        unchanged = network.temporal_head(torch.zeros_like(changes))[0] @ weights
    return contributions, unchanged


def _occlusion(network: SequenceClassifier, features: Tensor, weights: Tensor) -> Tensor:
    """Return (T,) decreases of the evidence when a frame is replaced by the others' mean."""
    num_frames = features.shape[1]
    if num_frames == 1:
        others = network.mean[:, :1]
    else:
        others = (features.sum(dim=1, keepdim=True) - features) / (num_frames - 1)  # (S, T, D)
    occluded = features.repeat(num_frames, 1, 1, 1)  # (T, S, T, D)
    each = torch.arange(num_frames)
    occluded[each, :, each] = others.transpose(0, 1)
    decrease: Tensor = network(features[None]) @ weights - network(occluded) @ weights
    return decrease


def _attention(network: SequenceClassifier, features: Tensor) -> Tensor:
    """Return (T,) attention weights."""
    head = network.temporal_head
    outputs, _ = head.lstm(head.fuse(network.encode(features[None]).centred))
    return head.attention.weights(outputs, head.ends(outputs))[0]


def _trace_lstm(head: TemporalHead, changes: Tensor, weights: Tensor) -> LstmTrace:
    """Return an LSTM's gates while it reads (S, T, R), and the units with the largest effect."""
    with torch.no_grad():
        fused = head.fuse(changes[None])
        outputs, _ = head.lstm(fused)
    outputs = outputs.detach().requires_grad_(True)  # (1, T, 2H)
    [gradients] = torch.autograd.grad((head.decide(outputs) @ weights).sum(), outputs)
    effects = (gradients * outputs.detach())[0].sum(dim=0).numpy()  # (2H,)
    largest = np.argsort(-np.abs(effects), kind="stable")[:_NUM_TOP_UNITS]
    return LstmTrace(
        traces=read_gates(head.lstm, fused[0]),
        top_units=tuple(
            Unit(_DIRECTIONS[index // head.hidden_size], index % head.hidden_size, effect)
            for index, effect in zip(largest.tolist(), effects[largest].tolist(), strict=True)
        ),
    )


def trace_members(
    members: Sequence[SequenceClassifier], features: Tensor, weights: Tensor
) -> LstmTrace | None:
    """Return the trace of the member whose LSTM has the largest effect; None if it is unused."""
    traces = [
        _trace_lstm(network.temporal_head, network.encode(features[None]).centred[0], weights)
        for network in members
        if uses_lstm(network)
    ]
    return max(traces, key=lambda trace: abs(trace.top_units[0].effect), default=None)


def read_gates(lstm: nn.LSTM, sequence: Tensor) -> tuple[GateTrace, ...]:
    """Return the gates of every layer and direction while an LSTM in eval mode reads (T, F).

    Torch returns outputs only; gates are recomputed by the equations of `torch.nn.LSTM`.
    """
    traces: list[GateTrace] = []
    directions = _DIRECTIONS[: 2 if lstm.bidirectional else 1]
    with torch.no_grad():
        for layer in range(lstm.num_layers):
            found = [_read_layer(lstm, sequence, layer, each) for each in directions]
            sequence = torch.cat([torch.from_numpy(trace.hidden) for trace in found], dim=-1)
            traces += found
    return tuple(traces)


def _read_layer(lstm: nn.LSTM, sequence: Tensor, layer: int, direction: Direction) -> GateTrace:
    suffix = f"l{layer}{'_reverse' if direction == 'backward' else ''}"
    of_input, of_state = getattr(lstm, f"weight_ih_{suffix}"), getattr(lstm, f"weight_hh_{suffix}")
    bias = getattr(lstm, f"bias_ih_{suffix}") + getattr(lstm, f"bias_hh_{suffix}")
    frames = sequence.flip(0) if direction == "backward" else sequence
    steps = torch.stack(list(_steps(frames, of_input, of_state, bias)), dim=1)  # (5, T, H)
    parts = (steps.flip(1) if direction == "backward" else steps).numpy()
    names = ("input", "forget", "output", "cell", "hidden")
    return GateTrace(layer=layer, direction=direction, **dict(zip(names, parts, strict=True)))


def _steps(frames: Tensor, of_input: Tensor, of_state: Tensor, bias: Tensor) -> Iterator[Tensor]:
    """Yield (5, H) after each frame: input, forget and output gate, cell, hidden state."""
    hidden = cell = torch.zeros(of_state.shape[1])
    for frame in frames:
        gates = of_input @ frame + of_state @ hidden + bias  # (4H,), in torch's order
        entry, forget, candidate, output = gates.chunk(4)
        entry, forget, output = entry.sigmoid(), forget.sigmoid(), output.sigmoid()
        cell = forget * cell + entry * candidate.tanh()
        hidden = output * cell.tanh()
        yield torch.stack([entry, forget, output, cell, hidden])
