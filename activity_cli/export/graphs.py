"""A model as one torch module from frames to scores, and as programs to write.

B clips, S streams, T frames per clip, H = W pixels, D CNN features, C labels.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from activity_cli.features.action_weights import FEATURE_SIZE
from activity_cli.features.cnn import FrameFeatures, build_folded_cnn
from activity_cli.features.conversion import export_program, free_sizes, quiet_jit
from activity_cli.features.movinet import ActionFeatures, build_action_features
from activity_cli.model.folder import Model
from activity_cli.model.network import load_scorer
from activity_cli.predict.exported.metadata import Part, Signature, signature_of
from activity_cli.settings import ClipSettings
from activity_cli.types import frame_roles


class PictureMaker(nn.Module):
    """Makes the pictures that the CNN sees of a clip's frames, one stack per stream."""

    def __init__(self, clip: ClipSettings) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, *images: Tensor) -> Tensor:
        """Map (B, T, H, W, channels) uint8 per role, in order, to (B, S, T, H, W, channels)."""
        by_role = dict(zip(frame_roles(self.clip), images, strict=True))
        streams = []
        if "rgb" in self.clip.streams:
            streams.append(by_role["frames"][:, self._held(by_role["frames"].shape[1])])
        if "motion" in self.clip.streams:  # rounds half to even, as `video.motion.motion_image`
            difference = by_role["later"].float() - by_role["earlier"].float()
            image = (self.clip.motion_gain * difference + 128).round().clamp(0, 255)
            streams.append(image.to(torch.uint8))
        if "flow" in self.clip.streams:
            streams.append(by_role["flow"])
        return torch.stack(streams, dim=1)

    def _held(self, count: int) -> Tensor:
        """Return (count,) the frames that the stream rgb shows, see `clips.held_frames`."""
        every, indices = self.clip.rgb_every, torch.arange(count)
        middles = indices // every * every + every // 2
        return torch.where(middles < count, middles, indices[-1:])


class ClipNetwork(nn.Module):
    """Maps a clip's frames to its scores, as `predict` does, in one module."""

    def __init__(
        self,
        cnn: FrameFeatures | None,
        action: ActionFeatures | None,
        scorer: nn.Module,
        clip: ClipSettings,
        size: int,
    ) -> None:
        super().__init__()
        self.pictures = PictureMaker(clip)
        self.cnn, self.action = cnn, action
        self.size = size
        self.scorer = scorer

    def forward(self, *images: Tensor) -> Tensor:
        """Score clips, given as for `PictureMaker`: (B, C), each row with the sum 1."""
        parts: list[Tensor] = []  # narrower ones get zeros at the end
        if self.cnn is not None:
            pictures = self.pictures(*images)  # (B, S, T, H, W, channels)
            features = self.cnn(pictures.flatten(0, 2))  # (B * S * T, D)
            sequence = features.view(*pictures.shape[:3], features.shape[-1])
            parts.append(F.pad(sequence, (0, self.size - self.cnn.feature_size)))
        if self.action is not None:
            clips = images[0]  # (B, T, H, W, 3): `frame_roles` has the frames first
            parts.append(F.pad(self.action(clips)[:, None], (0, self.size - FEATURE_SIZE)))
        scores: Tensor = self.scorer(torch.cat(parts, dim=1))
        return scores  # or what another module than a scorer makes of the features


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One graph to export: a module in eval mode, its inputs and its output."""

    part: Part
    module: nn.Module
    signature: Signature

    def examples(self) -> tuple[Tensor, ...]:
        """Return inputs to trace the module with. torch takes a size of 1 as fixed."""
        sizes = {"clips": 2, "num_frames": 3, "images": 4}
        return tuple(
            torch.zeros(
                [sizes[axis] if isinstance(axis, str) else axis for axis in spec.axes],
                dtype=getattr(torch, spec.dtype),
            )
            for spec in self.signature.inputs
        )

    @cached_property
    def script(self) -> torch.jit.ScriptModule:
        """The graph as TorchScript. The parity gate checks it, so `check_trace` need not."""
        with quiet_jit():
            script: torch.jit.ScriptModule = torch.jit.trace(  # type: ignore[no-untyped-call]
                self.module, self.examples(), check_trace=False
            )
            return script

    @cached_property
    def program(self) -> torch.export.ExportedProgram:
        """The graph as torch.export's program, with every free size left free."""
        shapes: tuple[Any, ...] = tuple(
            free_sizes(spec.free_sizes) for spec in self.signature.inputs
        )
        if self.part in {"whole", "pictures"}:  # their inputs are one parameter, *images
            shapes = (shapes,)
        return export_program(self.module, self.examples(), shapes)


def build_network(model: Model, scorer: nn.Module | None = None) -> ClipNetwork:
    """Build the model as one module, in eval mode; `scorer` takes the place of its own.

    Raises:
        BackboneError: the weights of a network are missing, changed or damaged.
        ModelError: the classifier's are.
    """
    description = model.description
    streams = set(description.clip.streams)
    network = ClipNetwork(
        build_folded_cnn(description.backbone) if streams - {"action"} else None,
        build_action_features() if "action" in streams else None,
        scorer or load_scorer(model),
        description.clip,
        description.feature_shape[-1],
    )
    # torch.export cannot store weights in the channels-last layout.
    plain: Any = {"memory_format": torch.contiguous_format}
    return network.to(**plain).eval().requires_grad_(False)


def graph_of(network: ClipNetwork, part: Part, model: Model, *, dynamic: bool) -> Graph:
    """Return one graph of the network; `dynamic` as for `signature_of`."""
    module = {
        "whole": network,
        "pictures": network.pictures,
        "cnn": network.cnn,
        "classifier": network.scorer,
    }[part]
    assert module is not None  # models with an action network are one graph
    signature = signature_of(part, model.description, dynamic=dynamic)
    return Graph(part=part, module=module, signature=signature)
