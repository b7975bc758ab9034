"""Split a CNN for fine-tuning: frozen front stages, whose outputs are cached, and trained ones.

N is frames. A stage is a layer, block or group of blocks in the order of the network's authors:
each of EfficientNet's and MobileNet's blocks, each of ResNet's four layers. Norms and pooling
belong to the stage before them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor, fx, nn

from activity_cli.features.cnn import FrameFeatures

_ROWS_OF_STAGES = ("features", "layers", "_blocks", "blocks", "trunk_output")
"""Module names under which CNNs keep the sequence of their stages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutNetwork:
    """A split CNN; both parts share their weights with it."""

    front: nn.Module
    """uint8 frames (N, H, W, channels) -> activations (N, ...), or the frames as they are."""
    back: nn.Module
    """Outputs of `front` -> features (N, D)."""
    stages: tuple[tuple[nn.Parameter, ...], ...]
    """Weights of each trained stage, from front to back."""
    num_stages: int
    """Number of all stages of the CNN."""


def cut(cnn: FrameFeatures, num_trained: int) -> CutNetwork:
    """Split a CNN in front of its last stages.

    Args:
        cnn: in eval mode, in which it stays: batch norm keeps its statistics.
        num_trained: number of trained stages; 0, or more than it has, trains all of them.
    """
    stages = list(_stages(cnn.network))
    if num_trained == 0 or num_trained >= len(stages):
        weights = tuple(_weights(cnn.network, names) for names in stages)
        return CutNetwork(front=nn.Identity(), back=cnn, stages=weights, num_stages=len(stages))
    trained = stages[-num_trained:]
    front, back = _cut_graph(cnn.network, first_trained={n for names in trained for n in names})
    return CutNetwork(
        front=_Front(cnn, front),
        back=back,
        stages=tuple(_weights(cnn.network, names) for names in trained),
        num_stages=len(stages),
    )


class _Front(nn.Module):
    def __init__(self, cnn: FrameFeatures, front: nn.Module) -> None:
        super().__init__()
        self.cnn = cnn
        self.front = front

    def forward(self, frames: Tensor) -> Tensor:
        activations: Tensor = self.front(self.cnn.normalise(frames))
        return activations


def _stages(network: nn.Module) -> Iterator[list[str]]:
    """Yield the module names of each stage, in the order of the network."""
    stage: list[str] = []
    for name, module in _rows(network):
        if not any(True for _ in module.parameters()):
            continue
        if _convolves(module) and stage:
            yield stage
            stage = []
        stage.append(name)
    yield stage


def _rows(network: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    for name, module in network.named_children():
        if name in _ROWS_OF_STAGES:
            yield from ((f"{name}.{part}", child) for part, child in module.named_children())
        else:
            yield name, module


def _convolves(module: nn.Module) -> bool:
    return any(isinstance(layer, nn.Conv2d | nn.Linear) for layer in module.modules())


def _weights(network: nn.Module, names: Iterable[str]) -> tuple[nn.Parameter, ...]:
    return tuple(w for name in names for w in network.get_submodule(name).parameters())


def _cut_graph(network: nn.Module, first_trained: set[str]) -> tuple[nn.Module, nn.Module]:
    """Split a graph in two at the last value through which everything passes before the stages."""
    graph = fx.Tracer().trace(network)
    nodes = list(graph.nodes)
    first = next(i for i, node in enumerate(nodes) if _is_in(node, first_trained))
    position = {node: i for i, node in enumerate(nodes)}
    # Where only one value is alive, only that value passes from front to back.
    at = next(i for i in range(first - 1, -1, -1) if _is_neck(nodes, i, position))
    front, back = fx.Graph(), fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    for node in nodes[: at + 1]:
        copied[node] = front.node_copy(node, copied.__getitem__)
    front.output(copied[nodes[at]])
    copied = {nodes[at]: back.placeholder("activations")}
    for node in nodes[at + 1 :]:
        copied[node] = back.node_copy(node, copied.__getitem__)
    return fx.GraphModule(network, front), fx.GraphModule(network, back)


def _is_neck(nodes: list[fx.Node], at: int, position: dict[fx.Node, int]) -> bool:
    """Tell whether no value from before `at` is read after it."""
    return (
        all(position[reader] <= at for node in nodes[:at] for reader in node.users)
        and nodes[at].op != "get_attr"
    )


def _is_in(node: fx.Node, modules: set[str]) -> bool:
    """Tell whether a node belongs to one of these modules, given by their names."""
    inside = [str(name) for name, _ in node.meta.get("nn_module_stack", {}).values()]
    return any(name in modules for name in inside)
