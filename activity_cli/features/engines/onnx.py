"""The portable engine: ONNX Runtime. torch and onnx are needed once per network, to convert it."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.optional_dependencies import import_onnxruntime, require_onnx
from activity_cli.common.processes import num_threads
from activity_cli.errors import SettingsError
from activity_cli.features.engines.choice import Engine
from activity_cli.features.engines.protocol import FeatureNetwork, NetworkCache, check_frames
from activity_cli.types import Images

if TYPE_CHECKING:
    from torch import nn

_FORMAT = "1"
"""Part of all keys. Raise it when a network is converted in another way."""
_BATCH = 4
"""Frames per inference. 1 to 16 are equally fast, and small batches stay in the CPU's cache."""

onnxruntime: Any = import_onnxruntime()
_failures: Any = onnxruntime.capi.onnxruntime_pybind11_state
UNREADABLE = (_failures.InvalidProtobuf, _failures.InvalidGraph, _failures.Fail)
"""Errors of `open_session` for a network that is damaged, or a file that is no network."""


class OnnxExtractor:
    """Computes features on a CPU."""

    identity = "onnx-fp32"

    def __init__(self, session: Any, network: FeatureNetwork) -> None:
        self.feature_size = network.feature_size
        self._batch, self.batch_size = (1, 2) if network.is_of_clips else (_BATCH, 32)
        self._shape = network.shape
        self._session = session

    def extract(self, frames: Images) -> NDArray[np.float32]:
        """Compute features, see `Extractor`."""
        check_frames(frames, self._shape)
        features = np.empty((len(frames), *self._shape[:-3], self.feature_size), np.float32)
        for start in range(0, len(frames), self._batch):
            batch = np.ascontiguousarray(frames[start : start + self._batch])
            features[start : start + len(batch)] = self._session.run(None, {"frames": batch})[0]
        return features


class OnnxClassifier:
    """Computes scores of clips on a CPU."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def classify(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Compute probabilities (B, C) from (B, S, T, D)."""
        clips = np.ascontiguousarray(features, np.float32)
        scores: NDArray[np.float32] = self._session.run(None, {"features": clips})[0]
        return scores


def load_extractor(network: FeatureNetwork, engine: Engine, cache: NetworkCache) -> OnnxExtractor:
    """Load a network for inputs of one size; see `choice.load_extractor`."""
    choose_precision(engine)
    size = network.shape if network.is_of_clips else network.shape[0]
    session = _prepare(
        network.name,
        network.build,
        cache,
        key=f"{network.key} {size}",
        example=np.zeros((2, *network.shape), np.uint8),
        names=("frames", "features"),
        free=({0: "N"}, {0: "N"}),
    )
    return OnnxExtractor(session, network)


def choose_precision(engine: Engine, *, has_int8: bool = False) -> str:  # noqa: ARG001
    """Return fp32; a SettingsError if another precision is asked for."""
    if engine.precision not in {"auto", "fp32"}:
        raise SettingsError(
            f"The onnx engine does not compute in {engine.precision}.",
            hint="Use fp32, or openvino.",
        )
    return "fp32"


def load_classifier(
    build: "Callable[[], nn.Module]",
    engine: Engine,  # noqa: ARG001  # every engine gets it
    cache: NetworkCache,
    *,
    key: str,
    example_shape: tuple[int, int, int, int],
) -> OnnxClassifier:
    """Load a sequence classifier; see `choice.load_classifier`."""
    _, streams, length, size = example_shape
    session = _prepare(
        "the classifier",
        build,
        cache,
        key=f"classifier {key}",
        # torch.export takes a dimension of 1 as fixed.
        example=np.zeros((2, streams, max(2, length), size), np.float32),
        names=("features", "scores"),
        free=({0: "B", 2: "T"}, {0: "B"}),
    )
    return OnnxClassifier(session)


def _prepare(
    what: str,
    build: "Callable[[], nn.Module]",
    cache: NetworkCache,
    *,
    key: str,
    example: NDArray[Any],
    names: Sequence[str],
    free: Sequence[Mapping[int, str]],
) -> Any:
    """Open a network of one input from the cache, or convert it, announced as `what`."""
    name = f"{cache.name(_FORMAT, key, onnxruntime.__version__)}.onnx"
    network = cache.files.read(name)
    if network is None:
        require_onnx()
        import torch

        from activity_cli.features.conversion import export_program, free_sizes, to_onnx

        cache.on_prepare(f"Preparing {what} for ONNX Runtime, once")
        inputs, shapes = [torch.from_numpy(example)], (free_sizes(free[0]),)
        program = export_program(build().eval(), inputs, shapes)
        converted: bytes = to_onnx(program, names=names, free=free).SerializeToString()
        cache.files.write(name, network := converted)
    return open_session(network)


def open_session(network: bytes | str, *, optimise: bool = True) -> Any:
    """Open a session on the CPU for an ONNX file, given by its content or name.

    `optimise` is False to read the metadata only.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors, which are raised as exceptions as well
    options.intra_op_num_threads = num_threads()
    # Threads that spin while they wait take the cores from the decoders.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
