"""From the choice of an engine to what computes. Each engine is imported when it is chosen."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from activity_cli.features.backbones import Backbone
from activity_cli.features.engines.choice import Engine
from activity_cli.features.engines.protocol import Classifier, Extractor, OnPrepare

if TYPE_CHECKING:
    from torch import nn


def load_extractor(
    backbone: Backbone,
    engine: Engine,
    *,
    cache_dir: Path,
    frame_size: int | None = None,
    on_prepare: OnPrepare = lambda _: None,
) -> Extractor:
    """Load a CNN for frames of one size.

    Args:
        backbone: the CNN; an engine that has prepared it before needs no weights.
        engine: what computes it.
        cache_dir: where prepared networks are kept.
        frame_size: side of the square frames in pixels; the backbone's own if None.
        on_prepare: told when the CNN is converted, which takes seconds.

    Raises:
        BackboneError: the weights are missing, changed or damaged, and are needed.
        SettingsError: the engine does not compute in that precision here.
        MissingExtraError: the engine is not installed.
    """
    side = frame_size or backbone.frame_size
    match engine.name:
        case "openvino":
            from activity_cli.features.engines import openvino

            return openvino.load_extractor(
                backbone,
                cache_dir=cache_dir,
                precision=engine.precision,
                frame_size=side,
                on_prepare=on_prepare,
            )
        case "onnx":
            from activity_cli.features.engines import onnx

            return onnx.load_extractor(
                backbone,
                cache_dir=cache_dir,
                precision=engine.precision,
                frame_size=side,
                on_prepare=on_prepare,
            )
        case "torch":
            from activity_cli.features.engines import torch

            return torch.load_extractor(
                backbone, device=engine.device, precision=engine.precision, frame_size=side
            )


def load_classifier(
    build: "Callable[[], nn.Module]",
    engine: Engine,
    *,
    key: str,
    cache_dir: Path,
    example_shape: tuple[int, int, int, int],
    on_prepare: OnPrepare = lambda _: None,
) -> Classifier:
    """Load a sequence classifier, always in fp32.

    Args:
        build: makes the torch module: float32 (B, S, T, D) to probabilities (B, C). An engine
            that has prepared it before does not call it.
        engine: what computes it.
        key: names the module's structure and weights, e.g. the hash of a model folder.
        cache_dir: where prepared networks are kept.
        example_shape: some (B, S, T, D). S and D are fixed by it, B and T stay free.
        on_prepare: told when the classifier is converted.

    Raises:
        MissingExtraError: the engine is not installed.
    """
    match engine.name:
        case "openvino":
            from activity_cli.features.engines import openvino

            return openvino.load_classifier(
                build,
                key=key,
                cache_dir=cache_dir,
                example_shape=example_shape,
                on_prepare=on_prepare,
            )
        case "onnx":
            from activity_cli.features.engines import onnx

            return onnx.load_classifier(
                build,
                key=key,
                cache_dir=cache_dir,
                example_shape=example_shape,
                on_prepare=on_prepare,
            )
        case "torch":
            from activity_cli.features.engines import torch

            return torch.TorchClassifier(build(), device=engine.device)
