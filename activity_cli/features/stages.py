"""Split a CNN for fine-tuning: frozen front stages, whose outputs are cached, and trained ones.

A stage is a layer, block or group of blocks in the order of the network's authors: each block of
EfficientNet, each of ResNet's four layers. Norms and pooling belong to the stage before them.
"""

from collections.abc import Iterator
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
    back: nn.Module  # outputs of `front` -> features (N, D)
    stages: tuple[tuple[nn.Parameter, ...], ...]
    """Weights of each trained stage, from front to back."""
    num_stages: int  # number of all stages of the CNN


def cut(cnn: FrameFeatures, num_trained: int) -> CutNetwork:
    """Split a CNN in eval mode, in which it stays, in front of its last `num_trained` stages.

    0, or more than it has, trains all of them.
    """
    stages = list(_stages(cnn.network))
    trained = stages[-num_trained:]  # all of them for 0
    front: nn.Module = nn.Identity()
    back: nn.Module = cnn
    if len(trained) < len(stages):
        split, back = _cut_graph(cnn.network, {n for names in trained for n in names})
        front = _Front(cnn, split)
    weights = tuple(
        tuple(w for name in names for w in cnn.network.get_submodule(name).parameters())
        for names in trained
    )
    return CutNetwork(front=front, back=back, stages=weights, num_stages=len(stages))


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
    rows: dict[str, nn.Module] = {}
    for name, module in network.named_children():
        if name in _ROWS_OF_STAGES:
            rows |= {f"{name}.{part}": child for part, child in module.named_children()}
        else:
            rows[name] = module
    stage: list[str] = []
    for name, module in rows.items():
        if next(module.parameters(), None) is None:
            continue
        convolves = any(isinstance(layer, nn.Conv2d | nn.Linear) for layer in module.modules())
        if convolves and stage:
            yield stage
            stage = []
        stage.append(name)
    yield stage


def _cut_graph(network: nn.Module, trained: set[str]) -> tuple[nn.Module, nn.Module]:
    """Split a graph in two at the last value through which everything passes before `trained`."""
    nodes = list(fx.Tracer().trace(network).nodes)
    first = next(i for i, node in enumerate(nodes) if trained & _modules_around(node))
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


def _modules_around(node: fx.Node) -> set[str]:
    """Return the names of the modules that a node belongs to."""
    return {str(name) for name, _ in node.meta.get("nn_module_stack", {}).values()}
