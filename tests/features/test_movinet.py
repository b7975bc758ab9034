"""The action network with its published weights, beside TFLite's own interpreter."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from activity_cli.common.optional_dependencies import convert_to_openvino, import_openvino
from activity_cli.features.action_weights import NUM_PARAMETERS, kinetics600_labels
from activity_cli.features.conversion import export_program, quiet_jit
from activity_cli.features.engines.torch import torch_threads
from activity_cli.features.movinet import MovinetA0, MovinetHead, load_movinet
from activity_cli.features.tflite import read_constants
from activity_cli.sampledata import draw_dataset
from activity_cli.types import Images
from tests.action_weights import real_weights
from tests.media import iter_frames

Network = tuple[MovinetA0, MovinetHead]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads cost more than they gain for a few frames beside other tests."""
    with torch_threads(1):
        yield


@pytest.fixture(scope="module")
def network() -> Network:
    return load_movinet(read_constants(real_weights().read_bytes()))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Images]:
    """Drawn clips, one per label: 8 frames (8, 172, 172, 3) of each, about 5 a second."""
    import cv2

    folder = tmp_path_factory.mktemp("clips")
    draw_dataset(folder, clips_per_label=1, labels=("walk", "wave", "jump"))
    read = [[frame for _, frame in iter_frames(path)] for path in sorted(folder.rglob("*.mp4"))]
    return [
        np.stack([cv2.resize(frame, (172, 172)) for frame in frames[:: len(frames) // 8][:8]])
        for frames in read
    ]


@pytest.fixture(scope="module")
def small_network() -> MovinetA0:
    """The real weights, for frames of 50 pixels: odd and even sizes alternate as in large ones."""
    return load_movinet(read_constants(real_weights().read_bytes()), frame_size=SIDE)[0]


SIDE = 50


def noise(batch: int, count: int, *, side: int = SIDE) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (batch, count, side, side, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@torch.inference_mode()
@pytest.mark.parametrize("chunks", [[1, 1, 1, 1, 1, 1], [2, 4], [1, 5]])
def test_frames_that_come_in_chunks_give_the_features_of_the_whole_clip(
    small_network: MovinetA0, chunks: list[int]
) -> None:
    movinet = small_network
    frames = noise(2, 6)  # more than the longest kernel over time
    whole = movinet(frames)
    state = movinet.initial_state(2)
    parts: list[torch.Tensor] = []
    for count in chunks:
        start = sum(part.shape[1] for part in parts)
        features, state = movinet.step(frames[:, start : start + count], state)
        parts.append(features)

    assert whole.shape == (2, 6, 480)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-4, rtol=0)
    torch.testing.assert_close(movinet(frames[1:]), whole[1:], atol=1e-4, rtol=0)
    assert (movinet(frames[:, 1:]) - whole[:, 1:]).abs().max() > 0.1  # the first frame matters


@torch.inference_mode()
def test_logits_are_those_of_tflite(network: Network, clips: list[Images]) -> None:
    # The int8 file adds up the features of the frames in steps of 0.587, which loses most of what a
    # frame adds. With a sum in the same steps the rest must agree almost exactly.
    movinet, head = network
    correlations = []
    for frames in clips:
        features = movinet(torch.from_numpy(frames)[None])
        total = torch.zeros(480)
        for of_frame in features[0]:
            total = torch.round((of_frame + total) / 0.58708) * 0.58708
        logits = head((total / len(frames))[None, None])[1][0].numpy()
        correlations.append(np.corrcoef(logits, tflite_logits(real_weights(), frames))[0, 1])

    assert min(correlations) > 0.97


def tflite_logits(file: Path, frames: Images) -> NDArray[np.float32]:
    """Return the logits (600,) after the last frame, by TFLite's interpreter."""
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(file), num_threads=1).get_signature_runner()
    inputs = run.get_input_details()
    states = {name: np.zeros(i["shape"], i["dtype"]) for name, i in inputs.items()}
    logits = np.empty(0, np.float32)
    for frame in frames:
        states["image"] = (frame[None, None] / 255).astype(np.float32)
        states = run(**states)
        logits = states.pop("logits")[0]
    return logits


@pytest.mark.slow
@torch.inference_mode()
def test_the_converted_network_gives_the_same_features(small_network: MovinetA0) -> None:
    movinet = small_network
    frames = noise(1, 5)
    openvino = import_openvino()
    with quiet_jit():
        converted = convert_to_openvino(movinet, example_input=frames[:, :2])
    converted.reshape(list(frames.shape))
    compiled = openvino.compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    expected = movinet(frames).numpy()
    np.testing.assert_allclose(compiled(frames.numpy())[0], expected, atol=1e-4)
    program = export_program(movinet, [frames], (None,)).module()
    np.testing.assert_allclose(program(frames).numpy(), expected, atol=1e-4)


@torch.inference_mode()
def test_other_frame_sizes_and_the_head_have_their_shapes() -> None:
    features = MovinetA0(frame_size=128)(noise(2, 3, side=128))
    hidden, logits = MovinetHead()(features)

    assert (features.shape, hidden.shape, logits.shape) == ((2, 3, 480), (2, 2048), (2, 600))
    assert len(set(kinetics600_labels())) == logits.shape[1]


def test_it_has_as_many_parameters_as_listed() -> None:
    parameters = [*MovinetA0().parameters(), *MovinetHead().parameters()]

    assert sum(parameter.numel() for parameter in parameters) == NUM_PARAMETERS


@pytest.mark.parametrize("content", [b"", b"PK\3\4" + bytes(100), b"\x1c\0\0\0TFL3" + b"\xff" * 99])
def test_what_is_no_tflite_file_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a TFLite file|damaged"):
        read_constants(content)
