"""The engine for CPUs. torch is needed once per network, to convert it; later runs do without.

The cache keeps the converted network (`.ir`, of these versions) and what OpenVINO compiled from it
(`.blob`, for this CPU, precision and shape).
"""

import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.optional_dependencies import (
    convert_to_openvino,
    import_openvino,
    openvino_core,
)
from activity_cli.errors import SettingsError
from activity_cli.features.engines.choice import Engine
from activity_cli.features.engines.protocol import FeatureNetwork, NetworkCache, check_frames
from activity_cli.types import Images

if TYPE_CHECKING:
    from torch import nn

_FORMAT = "2"
"""Part of all keys. Raise it when a network is converted or compiled in another way."""
_BATCH = 4
"""Frames per inference. A fixed number is 1.4 times as fast as a free one. 1 to 4 are equally fast
for small CNNs, and larger ones (VGG) read their weights from memory once per batch."""

_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
"""OpenVINO's names of the precisions. What a CNN in int8 does not round is computed in fp32."""


class OpenVinoExtractor:
    """Computes features on a CPU."""

    def __init__(self, compiled: Any, network: FeatureNetwork, *, precision: str) -> None:
        self.identity = f"openvino-{precision}"
        self.feature_size = network.feature_size
        self.batch_size = 4 if network.is_of_clips else 64
        self._batch, *self._shape = compiled.input(0).shape
        # As many requests as suit the CPU's cores.
        self._queue = import_openvino().AsyncInferQueue(compiled)

    def extract(self, frames: Images) -> NDArray[np.float32]:
        """Compute features, see `Extractor`."""
        check_frames(frames, self._shape)
        features = np.empty((len(frames), *self._shape[:-3], self.feature_size), np.float32)

        def keep(request: Any, rows: slice) -> None:
            result = request.get_output_tensor(0).data  # (batch, D)
            features[rows] = result[: rows.stop - rows.start]

        self._queue.set_callback(keep)
        for start in range(0, len(frames), self._batch):
            batch = np.ascontiguousarray(frames[start : start + self._batch])
            rows = slice(start, start + len(batch))
            if len(batch) < self._batch:  # repeats frames to fill it
                batch = np.resize(batch, (self._batch, *self._shape))
            self._queue.start_async([batch], userdata=rows)  # waits for a free request
        self._queue.wait_all()
        return features


class OpenVinoClassifier:
    """Computes scores of clips on a CPU."""

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()

    def classify(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Compute probabilities (B, C) from (B, S, T, D)."""
        self._request.infer([np.ascontiguousarray(features, np.float32)])
        scores: NDArray[np.float32] = self._request.get_output_tensor(0).data.copy()
        return scores


def load_extractor(
    network: FeatureNetwork, engine: Engine, cache: NetworkCache
) -> OpenVinoExtractor:
    """Load a network for inputs of one size; see `choice.load_extractor`.

    The precision `auto` is bf16 on CPUs with AMX, else int8 where the network has it, else fp32.
    """
    precision = choose_precision(engine, has_int8=network.build_int8 is not None)
    build, key = network.build, network.key
    if precision == "int8" and network.build_int8:
        build, key = network.build_int8, f"{key} int8"
    side, channels = network.own_size, network.shape[-1]
    shape = (1 if network.is_of_clips else _BATCH, *network.shape)
    compiled = _compile(
        network.name,
        build,
        cache,
        key=f"{key} {shape}" if network.is_of_clips else key,
        example=np.zeros((*shape[:-3], side, side, channels), np.uint8),
        free_shape=shape if network.is_of_clips else (-1, -1, -1, channels),
        shape=shape,
        properties={
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "PERFORMANCE_HINT": "THROUGHPUT",
        },
    )
    return OpenVinoExtractor(compiled, network, precision=precision)


def load_classifier(
    build: "Callable[[], nn.Module]",
    engine: Engine,  # noqa: ARG001  # every engine gets it
    cache: NetworkCache,
    *,
    key: str,
    example_shape: tuple[int, int, int, int],
) -> OpenVinoClassifier:
    """Load a sequence classifier; see `choice.load_classifier`."""
    _, streams, _, features = example_shape
    compiled = _compile(
        "the classifier",
        build,
        cache,
        key=f"classifier {key}",
        example=np.zeros(example_shape, np.float32),
        free_shape=(-1, streams, -1, features),
        shape=(-1, streams, -1, features),
        properties={"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"},
    )
    return OpenVinoClassifier(compiled)


def choose_precision(engine: Engine, *, has_int8: bool = True) -> str:
    """Return the precision of a CNN, which may have a form in int8; see `int8`.

    Raises:
        SettingsError: this CPU does not compute in it, or there is no form in int8.
    """
    precision = engine.precision
    if precision == "auto":
        # With AVX-512's bf16 alone, fp32 is faster (140 to 82 fps).
        if "amx_bf16" in _cpu_flags():
            return "bf16"
        return "int8" if has_int8 and "avx2" in _cpu_flags() else "fp32"
    if precision == "int8":
        if not has_int8:
            raise SettingsError(
                "Only the included CNN, unchanged by training, computes in int8 by itself.",
                hint="activity export MODEL --precision int8 calibrates others on your clips.",
            )
        if "avx2" not in _cpu_flags():
            raise SettingsError("int8 needs a CPU with AVX2 under Linux.", hint="Use auto or fp32.")
        return precision
    if precision.upper() not in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise SettingsError(f"This CPU does not compute in {precision}.", hint="Use auto or fp32.")
    return precision


@cache
def _cpu_flags() -> frozenset[str]:
    """Return the sets of instructions that the CPU has, and other words; none if not on Linux."""
    try:
        return frozenset(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return frozenset()


def _compile(
    what: str,
    build: "Callable[[], nn.Module]",
    cache: NetworkCache,
    *,
    key: str,
    example: NDArray[Any],
    free_shape: Sequence[int],
    shape: Sequence[int],
    properties: dict[str, str],
) -> Any:
    """Compile a network of one input for the CPU, or load what the cache has of it.

    It is converted for inputs of `free_shape` and compiled for `shape`; -1 is a size that stays
    free. `key` identifies the network and its weights; versions are added here. `what` names it in
    the announcement.
    """
    core = openvino_core()
    network_key = cache.name(_FORMAT, key, import_openvino().__version__)
    cpu = core.get_property("CPU", "FULL_DEVICE_NAME")
    compiled_key = cache.name(network_key, cpu, str(shape), str(sorted(properties.items())))

    if blob := cache.files.read(f"{compiled_key}.blob"):
        try:
            return core.import_model(blob, "CPU", properties)
        except RuntimeError:  # made by an OpenVINO or for a CPU that the key does not tell apart
            pass
    packed = cache.files.read(f"{network_key}.ir")
    if packed is not None:  # see `_pack`
        weights_at = 8 + int.from_bytes(packed[:8], "little")
        network = core.read_model(packed[8:weights_at], packed[weights_at:])
    else:
        import torch

        from activity_cli.features.conversion import quiet_jit

        cache.on_prepare(f"Preparing {what} for OpenVINO, once")
        images = torch.from_numpy(example)
        with quiet_jit():
            # To check the trace, torch would compute twice and import for a second.
            traced = torch.jit.trace(  # type: ignore[no-untyped-call]
                build().eval(), images, check_trace=False, strict=False
            )
            network = convert_to_openvino(traced, example_input=images, input=[tuple(free_shape)])
        cache.files.write(f"{network_key}.ir", _pack(network))
    network.reshape(list(shape))
    compiled = core.compile_model(network, "CPU", properties)
    cache.files.write(f"{compiled_key}.blob", compiled.export_model().getvalue())
    return compiled


def _pack(network: Any) -> bytes:
    """Join OpenVINO's two files, structure and weights, so that the cache has both or none."""
    with tempfile.TemporaryDirectory() as folder:
        xml, weights = Path(folder, "network.xml"), Path(folder, "network.bin")
        import_openvino().serialize(network, xml, weights)
        structure = xml.read_bytes()
        return len(structure).to_bytes(8, "little") + structure + weights.read_bytes()
