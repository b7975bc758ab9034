"""The portable engine: ONNX Runtime. torch and onnx are needed once per network, to convert it.

What is converted lies under cache_dir/engines; a file that is missing or damaged is made again.
"""

import os
import tempfile
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from activity_cli import backbones
from activity_cli.backbones import Backbone
from activity_cli.checked_files import CheckedFiles
from activity_cli.engines.choice import Precision
from activity_cli.engines.prepared import check_frames, prepared_name
from activity_cli.engines.protocol import OnPrepare
from activity_cli.errors import MissingExtraError, SettingsError
from activity_cli.guarded_imports import import_onnxruntime
from activity_cli.paths import ENGINES
from activity_cli.types import Images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

_FORMAT = "1"
"""Part of all keys. Raise it when a network is converted in another way."""
_BATCH = 4
"""Frames per inference: 1 to 16 are level, and small ones stay in the CPU's cache."""

onnxruntime: Any = import_onnxruntime()


class OnnxExtractor:
    """Frames to CNN features on a CPU."""

    identity = "onnx-fp32"
    batch_size = 32

    def __init__(self, session: Any, *, backbone: Backbone, frame_size: int) -> None:
        self.feature_size = backbone.feature_size
        self._frame_shape = (frame_size, frame_size, 3)
        self._session = session

    def extract(self, frames: Images) -> NDArray[np.float32]:
        """Compute (N, D) from (N, H, W, 3), RGB uint8."""
        check_frames(frames, self._frame_shape)
        features = np.empty((len(frames), self.feature_size), np.float32)
        for start in range(0, len(frames), _BATCH):
            batch = np.ascontiguousarray(frames[start : start + _BATCH])
            features[start : start + len(batch)] = self._session.run(None, {"frames": batch})[0]
        return features


class OnnxClassifier:
    """Features of clips to scores on a CPU."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def classify(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Compute probabilities (B, C) from (B, S, T, D)."""
        clips = np.ascontiguousarray(features, np.float32)
        scores: NDArray[np.float32] = self._session.run(None, {"features": clips})[0]
        return scores


def load_extractor(
    backbone: Backbone,
    *,
    cache_dir: Path,
    precision: Precision,
    frame_size: int,
    on_prepare: OnPrepare,
) -> OnnxExtractor:
    """Load a CNN for frames of one size, as `loading.load_extractor` says."""
    if precision not in {"auto", "fp32"}:
        raise SettingsError(
            f"The onnx engine does not compute in {precision}.", hint="Use fp32, or openvino."
        )

    def convert() -> bytes:
        on_prepare(f"Preparing {backbone.name} for ONNX Runtime, once")
        example = np.zeros((2, frame_size, frame_size, 3), np.uint8)
        return convert_module(
            backbones.build(backbone), example, inputs="frames", outputs="features", free={0: "N"}
        )

    name = f"{backbone.name} {backbone.weights_sha256} {frame_size}"
    session = _open(convert, name, CheckedFiles(cache_dir / ENGINES))
    return OnnxExtractor(session, backbone=backbone, frame_size=frame_size)


def load_classifier(
    build: "Callable[[], nn.Module]",
    *,
    key: str,
    cache_dir: Path,
    example_shape: tuple[int, int, int, int],
    on_prepare: OnPrepare,
) -> OnnxClassifier:
    """Load a sequence classifier, as `loading.load_classifier` says."""

    def convert() -> bytes:
        on_prepare("Preparing the classifier for ONNX Runtime, once")
        _, streams, length, size = example_shape
        # A dimension of 1 would be taken as fixed.
        example = np.zeros((2, streams, max(2, length), size), np.float32)
        return convert_module(
            build().eval(), example, inputs="features", outputs="scores", free={0: "B", 2: "T"}
        )

    return OnnxClassifier(_open(convert, f"classifier {key}", CheckedFiles(cache_dir / ENGINES)))


def convert_module(
    module: "nn.Module",
    example: NDArray[Any],
    *,
    inputs: str,
    outputs: str,
    free: dict[int, str],
) -> bytes:
    """A torch module of one input and one output as ONNX.

    Args:
        module: in eval mode.
        example: some input; no free dimension of it may be 1.
        inputs: name of the input.
        outputs: name of the output.
        free: the input's dimensions that are not fixed to those of the example, with names.
    """
    import torch

    try:
        import onnxscript  # noqa: F401  # what torch converts with
    except ImportError as error:
        raise MissingExtraError("Preparing for ONNX", package="onnx", extra="onnx") from error
    dimensions = {axis: torch.export.Dim(name) for axis, name in free.items()}
    with tempfile.TemporaryDirectory() as folder, _quiet_converter():
        program: Any = torch.onnx.export(
            module,
            (torch.from_numpy(example),),
            input_names=[inputs],
            output_names=[outputs],
            dynamic_shapes=(dimensions,),
            dynamo=True,
            verbose=False,
        )
        shape = program.model.graph.inputs[0].shape
        # Where torch cannot keep a dimension free it fixes it, and says nothing.
        if fixed := [name for axis, name in free.items() if isinstance(shape[axis], int)]:
            raise RuntimeError(f"torch has fixed the dimension {fixed[0]} of {inputs}")
        file = Path(folder, "network.onnx")
        program.save(file, external_data=False)
        return file.read_bytes()


@contextmanager
def _quiet_converter() -> "Iterator[None]":
    """Let torch convert without its warnings of its own use of what it deprecates."""
    import torch

    # What torch 2.13 remembers of an LSTM from one conversion fixes the length in the next one.
    torch.ops.aten.lstm.input._dispatch_cache.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _open(convert: Callable[[], bytes], key: str, files: CheckedFiles) -> Any:
    name = f"{prepared_name(_FORMAT, key, onnxruntime.__version__)}.onnx"
    network = files.read(name)
    if network is None:
        network = convert()
        files.write(name, network)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = os.cpu_count() or 1
    # Threads that wait by spinning take the cores from the decoders.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
