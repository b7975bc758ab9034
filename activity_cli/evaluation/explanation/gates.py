"""What an LSTM lets in, keeps and gives out, frame by frame, recomputed from its weights.

T is frames, F numbers that a layer reads per frame, H units per direction, C labels. Torch gives
only what an LSTM says; its gates follow from its weights by the equations of `torch.nn.LSTM`.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from activity_cli.evaluation.explanation.values import Direction, GateTrace, InnerLife, Unit
from activity_cli.model.network import TemporalHead

_NUM_TELLING = 3


def read_gates(lstm: nn.LSTM, sequence: Tensor) -> tuple[GateTrace, ...]:
    """The gates of every layer and direction while an LSTM in eval mode reads (T, F)."""
    traces: list[GateTrace] = []
    with torch.no_grad():
        for layer in range(lstm.num_layers):
            directions: tuple[Direction, ...] = ("forward", "backward")
            found = [
                _read_layer(lstm, sequence, layer, direction)
                for direction in directions[: 2 if lstm.bidirectional else 1]
            ]
            sequence = torch.cat([torch.from_numpy(trace.hidden) for trace in found], dim=-1)
            traces += found
    return tuple(traces)


def _read_layer(lstm: nn.LSTM, sequence: Tensor, layer: int, direction: Direction) -> GateTrace:
    suffix = f"l{layer}{'_reverse' if direction == 'backward' else ''}"
    of_frame, of_state = getattr(lstm, f"weight_ih_{suffix}"), getattr(lstm, f"weight_hh_{suffix}")
    bias = getattr(lstm, f"bias_ih_{suffix}") + getattr(lstm, f"bias_hh_{suffix}")
    frames = sequence.flip(0) if direction == "backward" else sequence
    steps = torch.stack(list(_steps(frames, of_frame, of_state, bias)), dim=1)  # (6, T, H)
    parts = (steps.flip(1) if direction == "backward" else steps).numpy()
    return GateTrace(
        layer=layer,
        direction=direction,
        input=parts[0],
        forget=parts[1],
        output=parts[2],
        candidate=parts[3],
        cell=parts[4],
        hidden=parts[5],
    )


def _steps(frames: Tensor, of_frame: Tensor, of_state: Tensor, bias: Tensor) -> Iterator[Tensor]:
    """(6, H) after each frame: input, forget and output gate, candidate, cell, hidden state."""
    hidden = cell = torch.zeros(of_state.shape[1])
    for frame in frames:
        asked = of_frame @ frame + of_state @ hidden + bias  # (4H,), in torch's order
        entry, kept, candidate, said = asked.chunk(4)
        entry, kept, said = entry.sigmoid(), kept.sigmoid(), said.sigmoid()
        candidate = candidate.tanh()
        cell = kept * cell + entry * candidate
        hidden = said * cell.tanh()
        yield torch.stack([entry, kept, said, candidate, cell, hidden])


def inner_life(order: TemporalHead, changes: Tensor, weights: Tensor) -> InnerLife:
    """What the LSTM did while it read a clip.

    Args:
        order: in eval mode.
        changes: (S, T, R) of the clip.
        weights: (C,) from `importance.evidence_weights`.
    """
    with torch.no_grad():
        fused = order.fuse(changes[None])
        outputs, _ = order.lstm(fused)
    outputs = outputs.detach().requires_grad_(True)  # (1, T, 2H)
    [gradients] = torch.autograd.grad((order.decide(outputs) @ weights).sum(), outputs)
    effects = (gradients * outputs.detach())[0].sum(dim=0).numpy()  # (2H,)
    most = np.argsort(-np.abs(effects), kind="stable")[:_NUM_TELLING]
    return InnerLife(
        traces=read_gates(order.lstm, fused[0]),
        telling=tuple(
            Unit(
                direction="backward" if index >= order.hidden_size else "forward",
                index=index % order.hidden_size,
                effect=float(effects[index]),
            )
            for index in most.tolist()
        ),
    )
