"""Where in the pictures the evidence comes from: Grad-CAM through classifier and LSTM to the CNN.

N is frames, D CNN features, K channels; h and w the cells of the CNN's last maps.

Selvaraju et al., "Grad-CAM" (2017), taken cell by cell as in Draelos and Carin, "HiResCAM" (2020):
each cell's activation times its own gradient. Behind a mean over all cells, as in most CNNs, that
is the same; behind layers that tell one place from another it is what these layers read.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from activity_cli.evaluation.explanation.values import Floats
from activity_cli.features.cnn import FrameFeatures
from activity_cli.types import Images

_FRAMES_AT_ONCE = 16
_POOLING = (nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Frames that went through a CNN as far as its last maps, and on to features."""

    features: Tensor
    """(N, D), with a graph that reaches back to the maps."""
    maps: tuple[Tensor, ...]
    """(n, K, h, w) each, the frames in runs."""


def last_stage(cnn: FrameFeatures, frames: Tensor) -> str:
    """The name of the part of a CNN that gives its last maps, of more than one cell.

    Pooling does not count: before it the cells are finer.

    Args:
        cnn: in eval mode.
        frames: (N, H, W, channels) uint8; one will do.
    """
    done: list[str] = []

    def listen(name: str) -> Callable[[nn.Module, object, object], None]:
        def on_done(module: nn.Module, given: object, result: object) -> None:
            del module, given
            if isinstance(result, Tensor) and result.ndim == 4 and max(result.shape[2:]) > 1:
                done.append(name)  # parts before the whole that they are part of

        return on_done

    with ExitStack() as hooks, torch.no_grad():
        for name, module in cnn.network.named_modules():
            if name and not isinstance(module, _POOLING):
                hooks.callback(module.register_forward_hook(listen(name)).remove)
        cnn(frames)
    if not done:
        raise ValueError(f"{type(cnn.network).__name__} has no maps of several cells")
    return done[-1]


def see(cnn: FrameFeatures, stage: str, images: Images) -> Seen:
    """Run frames (N, H, W, channels) through the CNN; gradients reach back to a stage's maps."""
    maps: list[Tensor] = []

    def keep(module: nn.Module, given: object, result: Tensor) -> Tensor:
        del module, given
        maps.append(result.detach().requires_grad_(True))
        return maps[-1].clone()  # what follows may change it in place

    cnn.requires_grad_(False)
    hook = cnn.network.get_submodule(stage).register_forward_hook(keep)
    try:
        runs = torch.split(torch.from_numpy(images), _FRAMES_AT_ONCE)
        features = torch.cat([cnn(frames) for frames in runs])
    finally:
        hook.remove()
    return Seen(features=features, maps=tuple(maps))


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a part of the classifier says of some features."""

    evidence: Tensor
    """() with a graph that reaches back to the features."""
    nothing: Tensor
    """(N, D) features of which it would say nothing in particular."""


def heat_of(seen: Seen, parts: Iterable[Said]) -> Floats:
    """(N, h, w) where evidence comes from, or, where negative, where evidence against it does.

    The cells of a frame add up to what the frame contributes, to first order, where the CNN takes
    the mean over its last maps: what is not unlike `nothing` is not hot.
    """
    cells = [torch.zeros(len(maps), *maps.shape[2:]) for maps in seen.maps]
    for part in parts:
        of_features, *of_maps = torch.autograd.grad(
            part.evidence, (seen.features, *seen.maps), retain_graph=True
        )
        of_nothing = (of_features * part.nothing).sum(dim=1)  # (N,)
        sizes = [len(maps) for maps in seen.maps]
        for run, (maps, slope, taken) in enumerate(
            zip(seen.maps, of_maps, torch.split(of_nothing, sizes), strict=True)
        ):
            heat = (maps.detach() * slope).sum(dim=1)  # (n, h, w)
            cells[run] += heat - (taken / heat[0].numel()).view(-1, 1, 1)
    heat_map: Floats = torch.cat(cells).numpy()
    return heat_map
