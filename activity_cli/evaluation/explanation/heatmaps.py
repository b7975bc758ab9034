"""Grad-CAM (Selvaraju et al., 2017) through the classifier and the CNN.

In the element-wise form of HiResCAM (Draelos and Carin, 2020), which is exact for every CNN: each
cell's activation times its own gradient. N is frames, D CNN features, K channels; h and w the cells
of the CNN's last feature maps.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from activity_cli.evaluation.explanation.attribution import uses_lstm
from activity_cli.evaluation.explanation.values import Floats
from activity_cli.features.cnn import FrameFeatures
from activity_cli.features.movinet import ActionFeatures
from activity_cli.model.network import SequenceClassifier
from activity_cli.types import Images

_BATCH_SIZE = 16  # frames
_POOLING = (nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


class Activations(NamedTuple):
    """Feature maps and features of frames."""

    features: Tensor  # (N, D), with a graph that reaches back to the maps
    maps: tuple[Tensor, ...]  # (n, K, h, w) of each batch of frames
    constant: Tensor | float = 0.0  # (N, D) part of the features that is no sum over the cells


EvidenceTerm = tuple[Tensor, Tensor]
"""The evidence () of a part of the classifier, with a graph that reaches back to the features, and
the baseline features (N, D) from which contributions are counted."""


def last_stage(cnn: FrameFeatures, frames: Tensor) -> str:
    """Return the name of the CNN's last module whose output has more than one cell.

    Pooling does not count: the cells before it are finer. One frame (1, H, W, channels) is enough.
    """
    done: list[str] = []

    def record(name: str, module: nn.Module, given: object, output: object) -> None:
        del module, given
        if isinstance(output, Tensor) and output.ndim == 4 and max(output.shape[2:]) > 1:
            done.append(name)  # a module comes after the modules inside it

    with ExitStack() as hooks, torch.no_grad():
        for name, module in cnn.network.named_modules():
            if name and not isinstance(module, _POOLING):
                hooks.callback(module.register_forward_hook(partial(record, name)).remove)
        cnn(frames)
    if not done:
        raise ValueError(f"{type(cnn.network).__name__} has no maps of several cells")
    return done[-1]


def run_cnn(cnn: FrameFeatures, stage: str, images: Images) -> Activations:
    """Run frames (N, H, W, channels) through the CNN and keep the feature maps of a stage."""
    cnn.requires_grad_(False)
    with _keep_maps(cnn.network.get_submodule(stage)) as maps:
        batches = torch.split(torch.from_numpy(images), _BATCH_SIZE)
        features = torch.cat([cnn(frames) for frames in batches])
    return Activations(features=features, maps=tuple(maps))


def run_action(network: ActionFeatures, frames: Images) -> Activations:
    """Run a clip (T, H, W, 3) through the action network and keep the maps of its last stage.

    The root of a mean is taken as a division by a constant: its slope at 0 has no bound, and so
    the cells of a frame add up to the root. What they do not add up to is a hidden unit's bias.
    """
    network.requires_grad_(False)
    with _keep_maps(network.network.last) as maps:
        pooled = network.pooled(torch.from_numpy(frames)[None])[0]
    roots, units = pooled.detach().sqrt().clamp(min=1e-6), network.hidden(pooled)
    is_linear = ((units > 0) & (units < 6)).float()
    from_cells = is_linear * F.linear(pooled.detach(), network.hidden.weight)
    hidden = F.relu6(units)
    features = torch.cat([pooled / roots, hidden], dim=1)
    constant = torch.cat([torch.zeros_like(roots), hidden.detach() - from_cells], dim=1)
    return Activations(features=features, maps=tuple(maps), constant=constant)


@contextmanager
def _keep_maps(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a module gives, as leaves of the graph of all that follows."""
    maps: list[Tensor] = []

    def keep(module: nn.Module, given: object, output: Tensor) -> Tensor:
        del module, given
        maps.append(output.detach().requires_grad_(True))
        return maps[-1].clone()  # a module that follows may change it in place

    hook = module.register_forward_hook(keep)
    try:
        yield maps
    finally:
        hook.remove()


def join_features(parts: Sequence[Activations], shape: tuple[int, int, int]) -> Tensor:
    """Return the features (S, T, D) of the parts' streams; narrower ones end in zeros."""
    padded = [F.pad(part.features, (0, shape[-1] - part.features.shape[1])) for part in parts]
    return torch.cat(padded).view(shape)


def heat_by_part(parts: Sequence[Activations], terms: Iterable[EvidenceTerm]) -> Floats:
    """Return (S * T, h, w), see `heat_of`, on the finest grid of the parts.

    The baselines of the terms are those of all streams, (S * T, D).
    """
    terms, start, heats = list(terms), 0, list[Tensor]()
    for part in parts:
        rows, width = part.features.shape
        own = [(evidence, base[start : start + rows, :width]) for evidence, base in terms]
        heats.append(torch.from_numpy(heat_of(part, own))[:, None])  # (n, 1, h, w)
        start += rows
    size = max(heat.shape[2:] for heat in heats)
    # More cells have less heat each, so that a frame keeps about its sum.
    shares = [heat * heat[0].numel() / size.numel() for heat in heats]
    scaled = torch.cat([F.interpolate(share, size, mode="bilinear") for share in shares])
    return cast(Floats, scaled[:, 0].numpy())


def heat_of(activations: Activations, terms: Iterable[EvidenceTerm]) -> Floats:
    """Return (N, h, w) evidence by cell; negative where it is against the label.

    Where the CNN takes the mean over its last maps, the cells of a frame add up to the frame's
    contribution, to first order: cells that equal the baseline have no heat.
    """
    cells = [torch.zeros_like(maps[:, 0]) for maps in activations.maps]  # (n, h, w) each
    sizes = [len(maps) for maps in activations.maps]
    for evidence, baseline in terms:
        of_features, *of_maps = torch.autograd.grad(
            evidence, (activations.features, *activations.maps), retain_graph=True
        )
        apart = baseline - activations.constant  # spread over the cells of a frame
        of_baseline = torch.split((of_features * apart).sum(dim=1), sizes)  # (n,) each
        each = zip(cells, activations.maps, of_maps, of_baseline, strict=True)
        for total, maps, gradient, base in each:
            heat = (maps.detach() * gradient).sum(dim=1)  # (n, h, w)
            total.add_(heat - (base / heat[0].numel()).view(-1, 1, 1))
    return cast(Floats, torch.cat(cells).numpy())


def evidence_terms(
    members: Sequence[SequenceClassifier], features: Tensor, weights: Tensor
) -> Iterator[EvidenceTerm]:
    """Yield the evidence of the pooled head and of the LSTM of each member, for (S, T, D)."""
    share, unchanging = weights / len(members), features.detach().mean(dim=1, keepdim=True)
    for network in members:
        encoded = network.encode(features[None])
        mean = network.mean[:, :1].expand_as(features).flatten(0, 1)
        yield network.pooled_logits(encoded)[0] @ share, mean
        if uses_lstm(network):
            baseline = unchanging.expand_as(features).flatten(0, 1)
            yield network.temporal_head(encoded.centred)[0] @ share, baseline
