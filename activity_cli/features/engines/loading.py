"""Load a network into the chosen engine. Each engine is imported when it is chosen."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from activity_cli.features.backbones import Backbone
from activity_cli.features.engines.choice import Engine
from activity_cli.features.engines.protocol import Classifier, Extractor, NetworkCache, OnPrepare

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
    """Load a CNN for square frames of one size, that of the backbone unless given.

    An engine that has converted the CNN before, which takes seconds, needs no weights.

    Raises:
        BackboneError: the weights are missing, changed or damaged, and are needed.
        SettingsError: the engine does not compute in that precision here.
        MissingExtraError: the engine is not installed.
    """
    side, precision = frame_size or backbone.frame_size, engine.precision
    cache = NetworkCache(cache_dir, on_prepare)
    match engine.name:
        case "openvino":
            from activity_cli.features.engines import openvino

            return openvino.load_extractor(backbone, cache, precision=precision, frame_size=side)
        case "onnx":
            from activity_cli.features.engines import onnx

            return onnx.load_extractor(backbone, cache, precision=precision, frame_size=side)
        case "torch":
            from activity_cli.features.engines import torch

            return torch.load_extractor(
                backbone, device=engine.device, precision=precision, frame_size=side
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
            that has converted it before does not call it.
        engine: computes it.
        key: identifies the module's structure and weights, e.g. the hash of a model folder.
        cache_dir: folder of the user's cache.
        example_shape: some (B, S, T, D). It fixes S and D; B and T stay free.
        on_prepare: called when the classifier is converted.

    Raises:
        MissingExtraError: the engine is not installed.
    """
    cache = NetworkCache(cache_dir, on_prepare)
    match engine.name:
        case "openvino":
            from activity_cli.features.engines import openvino

            return openvino.load_classifier(build, cache, key=key, example_shape=example_shape)
        case "onnx":
            from activity_cli.features.engines import onnx

            return onnx.load_classifier(build, cache, key=key, example_shape=example_shape)
        case "torch":
            from activity_cli.features.engines import torch

            return torch.TorchClassifier(build(), device=engine.device)
