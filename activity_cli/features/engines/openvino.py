"""The engine for CPUs. torch is needed once per CNN, to convert it; later runs do not import it.

What is prepared lies under cache_dir/engines: the converted network (of this network and these
versions) and what OpenVINO compiled from it (for this CPU, precision and shape). Nothing there
is needed: a file that is missing or damaged is made again.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.cache import ENGINES, CheckedFiles
from activity_cli.common.optional_dependencies import import_openvino, openvino_core
from activity_cli.errors import SettingsError
from activity_cli.features import backbones
from activity_cli.features.backbones import Backbone
from activity_cli.features.engines.choice import Precision
from activity_cli.features.engines.prepared import check_frames, prepared_name
from activity_cli.features.engines.protocol import OnPrepare
from activity_cli.types import Images

if TYPE_CHECKING:
    from torch import nn

_FORMAT = "1"
"""Part of all keys. Raise it when a network is converted or compiled in another way."""
_BATCH = 4
"""Frames per inference. A fixed number is 1.4 times as fast as a free one; 1 to 4 are level for
small CNNs, and larger ones (VGG) read their weights from memory once per batch."""

_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
"""OpenVINO's names of the precisions."""

ov: Any = import_openvino()


class OpenVinoExtractor:
    """Frames to CNN features on a CPU."""

    batch_size = 64

    def __init__(self, compiled: Any, *, backbone: Backbone, precision: str) -> None:
        self.identity = f"openvino-{precision}"
        self.feature_size = backbone.feature_size
        self._frame_shape = tuple(compiled.input(0).shape)[1:]
        self._queue = ov.AsyncInferQueue(compiled)  # as many requests as suit the CPU's cores

    def extract(self, frames: Images) -> NDArray[np.float32]:
        """Compute (N, D) from (N, H, W, channels) uint8. A frame's neighbours do not matter."""
        check_frames(frames, self._frame_shape)
        features = np.empty((len(frames), self.feature_size), np.float32)

        def keep(request: Any, rows: slice) -> None:
            result = request.get_output_tensor(0).data  # (batch, D)
            features[rows] = result[: rows.stop - rows.start]

        self._queue.set_callback(keep)
        for start in range(0, len(frames), _BATCH):
            batch = np.ascontiguousarray(frames[start : start + _BATCH])
            rows = slice(start, start + len(batch))
            if len(batch) < _BATCH:
                batch = np.resize(batch, (_BATCH, *self._frame_shape))  # repeats frames
            self._queue.start_async([batch], userdata=rows)  # waits for a free request
        self._queue.wait_all()
        return features


class OpenVinoClassifier:
    """Features of clips to scores on a CPU."""

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()

    def classify(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Compute probabilities (B, C) from (B, S, T, D)."""
        self._request.infer([np.ascontiguousarray(features, np.float32)])
        scores: NDArray[np.float32] = self._request.get_output_tensor(0).data.copy()
        return scores


def load_extractor(
    backbone: Backbone,
    *,
    cache_dir: Path,
    precision: Precision,
    frame_size: int,
    on_prepare: OnPrepare,
) -> OpenVinoExtractor:
    """Load a CNN for frames of one size, as `loading.load_extractor` says.

    `auto` is bf16 where the CPU computes that in hardware tiles, else fp32.
    """
    core = openvino_core()
    chosen = _choose_precision(core, precision)

    def convert() -> Any:
        on_prepare(f"Preparing {backbone.name} for OpenVINO, once")
        side, channels = backbone.frame_size, backbone.channels
        example = np.zeros((_BATCH, side, side, channels), np.uint8)
        return _convert(backbones.build(backbone), example, (-1, -1, -1, channels))

    compiled = _compile(
        core,
        convert,
        key=f"{backbone.name} {backbone.weights_sha256}",
        files=CheckedFiles(cache_dir / ENGINES),
        shape=(_BATCH, frame_size, frame_size, backbone.channels),
        properties={
            "INFERENCE_PRECISION_HINT": _HINTS[chosen],
            "PERFORMANCE_HINT": "THROUGHPUT",
        },
    )
    return OpenVinoExtractor(compiled, backbone=backbone, precision=chosen)


def load_classifier(
    build: "Callable[[], nn.Module]",
    *,
    key: str,
    cache_dir: Path,
    example_shape: tuple[int, int, int, int],
    on_prepare: OnPrepare,
) -> OpenVinoClassifier:
    """Load a sequence classifier, as `loading.load_classifier` says."""
    _, streams, _, features = example_shape

    shape = (-1, streams, -1, features)

    def convert() -> Any:
        on_prepare("Preparing the classifier for OpenVINO, once")
        return _convert(build().eval(), np.zeros(example_shape, np.float32), shape)

    compiled = _compile(
        openvino_core(),
        convert,
        key=f"classifier {key}",
        files=CheckedFiles(cache_dir / ENGINES),
        shape=shape,
        properties={"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"},
    )
    return OpenVinoClassifier(compiled)


def _choose_precision(core: Any, precision: Precision) -> str:
    if precision == "auto":
        return "bf16" if _has_bf16_tiles() else "fp32"
    if precision.upper() not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise SettingsError(f"This CPU does not compute in {precision}.", hint="Use auto or fp32.")
    return precision


def _has_bf16_tiles() -> bool:
    """Whether the CPU has AMX. With AVX-512's bf16 alone fp32 is faster: 140 to 82 frames/s."""
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return False


def _convert(module: "nn.Module", example: NDArray[Any], shape: Sequence[int]) -> Any:
    """Convert a torch module of one input of this shape, -1 for what stays free."""
    import torch

    from activity_cli.features.conversion import quiet_jit

    with quiet_jit():
        return ov.convert_model(
            module, example_input=torch.from_numpy(example), input=[tuple(shape)]
        )


def _compile(
    core: Any,
    convert: Callable[[], Any],
    *,
    key: str,
    files: CheckedFiles,
    shape: Sequence[int],
    properties: dict[str, str],
) -> Any:
    """Compile a network for the CPU, from the shortest way that the cache allows.

    Args:
        core: OpenVINO's.
        convert: makes the network from torch; the long way.
        key: of the network and its weights. Versions are added here.
        files: the cache.
        shape: of the network's only input, -1 for what stays free.
        properties: OpenVINO's, to compile with.
    """
    network_key = prepared_name(_FORMAT, key, ov.__version__)
    cpu = core.get_property("CPU", "FULL_DEVICE_NAME")
    compiled_key = prepared_name(network_key, cpu, str(shape), str(sorted(properties.items())))

    if blob := files.read(f"{compiled_key}.blob"):
        try:
            return core.import_model(blob, "CPU", properties)
        except RuntimeError:  # from an OpenVINO or a CPU that the key does not tell apart
            pass
    network = _read_network(core, files, f"{network_key}.ir")
    if network is None:
        network = convert()
        files.write(f"{network_key}.ir", _pack(network))
    network.reshape(list(shape))
    compiled = core.compile_model(network, "CPU", properties)
    files.write(f"{compiled_key}.blob", compiled.export_model().getvalue())
    return compiled


def _read_network(core: Any, files: CheckedFiles, name: str) -> Any:
    packed = files.read(name)
    if packed is None:
        return None
    xml_size = int.from_bytes(packed[:8], "little")
    return core.read_model(packed[8 : 8 + xml_size], packed[8 + xml_size :])


def _pack(network: Any) -> bytes:
    """OpenVINO's two files, structure and weights, as one that is there whole or not at all."""
    with tempfile.TemporaryDirectory() as folder:
        xml, weights = Path(folder, "network.xml"), Path(folder, "network.bin")
        ov.serialize(network, xml, weights)
        structure = xml.read_bytes()
        return len(structure).to_bytes(8, "little") + structure + weights.read_bytes()
