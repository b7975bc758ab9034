"""One promise for all engines: they give what torch gives, for any number of frames and clips."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

from activity_cli.common.cache import CheckedFiles
from activity_cli.errors import BackboneError, SettingsError
from activity_cli.features import backbones
from activity_cli.features.action_weights import FEATURE_SIZE, POOLED_SIZE
from activity_cli.features.cnn import build_cnn
from activity_cli.features.engines import choice
from activity_cli.features.engines.choice import (
    Engine,
    EngineName,
    Precision,
    choose_engine,
    load_action_extractor,
    load_classifier,
    load_extractor,
)
from activity_cli.features.engines.protocol import Classifier, Extractor
from activity_cli.features.engines.torch import torch_threads
from activity_cli.features.movinet import build_action_features
from activity_cli.types import Images
from tests.action_weights import real_weights

STREAMS, FEATURES, LABELS = 2, 12, 3
NAMES: tuple[EngineName, ...] = get_args(EngineName)
SLOW_ONNX = [
    pytest.param(name, marks=pytest.mark.slow) if name == "onnx" else name for name in NAMES
]  # its converter takes ten seconds


class ToyClassifier(nn.Module):
    """A bidirectional LSTM with attention, as the real one has, of a few weights."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(STREAMS * FEATURES, 8, batch_first=True, bidirectional=True)
        self.attention = nn.Linear(16, 1)
        self.head = nn.Linear(16, LABELS)

    def forward(self, features: Tensor) -> Tensor:
        sequence, _ = self.lstm(features.transpose(1, 2).flatten(2))  # (B, T, 16)
        weights = self.attention(sequence).softmax(dim=1)  # (B, T, 1)
        scores: Tensor = self.head((weights * sequence).sum(dim=1)).softmax(dim=1)
        return scores


def build_toy() -> nn.Module:
    torch.manual_seed(0)
    return ToyClassifier()


def on_cpu(name: EngineName, precision: Precision = "fp32") -> Engine:
    return Engine(name=name, device="cpu", precision=precision)


def load_toy(
    cache_dir: Path, name: EngineName = "openvino", on_prepare: Callable[[str], None] = print
) -> Classifier:
    return load_classifier(
        build_toy,
        on_cpu(name),
        key="toy",
        cache_dir=cache_dir,
        example_shape=(1, STREAMS, 5, FEATURES),
        on_prepare=on_prepare,
    )


@pytest.fixture(scope="module")
def frames() -> Images:
    """(6, 224, 224, 3): real pictures, and not a multiple of an engine's batch."""
    photos = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    views = [photo[:, start : start + 400] for photo in photos for start in (0, 100, 200)]
    return np.stack([cv2.resize(view, (224, 224)) for view in views]).astype(np.uint8)


@pytest.fixture(scope="module")
def cache_dir(prepared: Path) -> Path:
    """One cache for all tests: converting the CNN takes seconds."""
    return prepared


def features_without_engine(frames: Images) -> NDArray[np.float32]:
    """What the network itself gives."""
    with torch.inference_mode():
        features = build_cnn(backbones.find_backbone())(torch.from_numpy(frames))
    return np.asarray(features.numpy())


@pytest.fixture(scope="module")
def torch_features(frames: Images) -> NDArray[np.float32]:
    return features_without_engine(frames)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for the toy classifier."""
    return tmp_path_factory.mktemp("toys")


def load_cnn(cache_dir: Path, engine: Engine, frame_size: int | None = None) -> Extractor:
    backbone = backbones.find_backbone()
    return load_extractor(backbone, engine, cache_dir=cache_dir, frame_size=frame_size)


# ONNX is converted for one size, which takes seconds: the other one says as much.
@pytest.mark.parametrize(
    ("name", "side"),
    [
        *(("openvino", 128), ("openvino", 96), ("torch", 128), ("torch", 96)),
        pytest.param("onnx", 96, marks=pytest.mark.slow),
    ],
)
def test_features_are_those_of_torch_for_frames_of_any_size(
    name: EngineName, side: int, cache_dir: Path, frames: Images
) -> None:
    frames = np.ascontiguousarray(frames[:, :side, :side])
    torch_features = features_without_engine(frames)
    extractor = load_cnn(cache_dir, on_cpu(name), frame_size=side)

    features = extractor.extract(frames)

    assert extractor.identity.startswith(name)
    assert extractor.identity.endswith("fp32")
    near = {"atol": 1e-4 * np.abs(torch_features).max(), "rtol": 0}
    np.testing.assert_allclose(features, torch_features, **near)
    # What a frame is computed with, and how many there are, does not matter.
    np.testing.assert_allclose(extractor.extract(frames[1:2]), features[1:2], **near)
    many = np.concatenate([frames] * 12)  # more than any engine takes at once on a CPU
    assert len(many) > extractor.batch_size
    np.testing.assert_allclose(extractor.extract(many)[-6:], features, **near)
    assert extractor.extract(frames[:0]).shape == (0, extractor.feature_size)
    wrongs: tuple[Any, ...] = (frames[:, :90], frames.astype(np.float32))
    for wrong in wrongs:
        with pytest.raises(ValueError, match=rf"\(N, {side}, {side}, 3\)"):
            extractor.extract(wrong)


@pytest.mark.parametrize("name", SLOW_ONNX)
def test_action_features_are_those_of_torch(
    name: EngineName, tmp_path: Path, frames: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTIVITY_WEIGHTS", str(real_weights().parent))
    clips = np.ascontiguousarray(np.stack([frames, frames[::-1]])[:, :3, :96, :96])
    with torch.inference_mode(), torch_threads(1):
        expected = build_action_features()(torch.from_numpy(clips)).numpy()
    where: dict[str, Any] = {"cache_dir": tmp_path, "num_frames": 3, "frame_size": 96}
    extractor = load_action_extractor(on_cpu(name, "bf16"), **where)

    features = extractor.extract(clips)

    assert extractor.identity.endswith("fp32")  # whatever the precision of the CNN
    # A root has an endless slope at 0, so the means before it are compared.
    for given in (features, expected):
        given[..., :POOLED_SIZE] **= 2
    np.testing.assert_allclose(features, expected, atol=1e-4 * expected.max(), rtol=0)
    # Alone or among others: on some CPUs torch then adds in another order.
    alone, among = extractor.extract(clips[1:])[0][:, POOLED_SIZE:], features[1][:, POOLED_SIZE:]
    np.testing.assert_allclose(alone, among, atol=1e-6 * among.max(), rtol=0)
    assert extractor.extract(clips[:0]).shape == (0, 3, FEATURE_SIZE)
    with pytest.raises(ValueError, match=r"\(N, 3, 96, 96, 3\)"):
        extractor.extract(clips[:, :2])


def test_the_action_network_without_weights_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTIVITY_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("ACTIVITY_CACHE_DIR", str(tmp_path))
    with pytest.raises(BackboneError) as raised:
        load_action_extractor(on_cpu("torch"), cache_dir=tmp_path, num_frames=3, frame_size=96)

    assert "\n" not in raised.value.message
    assert {"activity models pull movinet_a0", "ACTIVITY_WEIGHTS"} <= set(
        re.findall(r"activity models pull \w+|ACTIVITY_WEIGHTS", raised.value.hint)
    )


@pytest.mark.parametrize(
    ("name", "precision"),
    [("openvino", "bf16"), ("openvino", "fp16"), ("openvino", "int8"), ("torch", "bf16")],
)
def test_reduced_features_point_where_those_of_torch_point(
    name: EngineName,
    precision: Precision,
    cache_dir: Path,
    frames: Images,
    torch_features: NDArray[np.float32],
) -> None:
    try:
        extractor = load_cnn(cache_dir, on_cpu(name, precision))
    except SettingsError as error:
        pytest.skip(str(error))  # this CPU does not compute in it

    features = extractor.extract(frames)

    assert extractor.identity.endswith(precision)
    norms = np.linalg.norm(features, axis=1) * np.linalg.norm(torch_features, axis=1)
    # Measured in int8: 0.9972; without the correction of its biases 0.9935.
    bound = 0.996 if precision == "int8" else 0.99
    assert np.all((features * torch_features).sum(axis=1) / norms > bound)
    assert np.any(features != torch_features)  # it is not fp32 under another name


@pytest.mark.parametrize(
    ("name", "mode", "message"),
    [
        ("torch", "frozen", "torch does not compute in int8"),
        ("onnx", "frozen", "onnx engine does not compute in int8"),
        ("openvino", "finetune", "Only the included CNN"),
    ],
)
def test_int8_is_for_the_included_cnn_in_openvino(
    name: EngineName, mode: Literal["frozen", "finetune"], message: str
) -> None:
    backbone = replace(backbones.find_backbone(), mode=mode)

    with pytest.raises(SettingsError, match=message):
        choice.identity_of(on_cpu(name, "int8"), backbone)


@pytest.mark.parametrize("name", SLOW_ONNX)
def test_classifier_takes_any_number_of_clips_of_any_length(name: EngineName, toys: Path) -> None:
    reference = build_toy().eval()
    for _ in ("converted", "from the cache"):
        classifier = load_toy(toys, name)
        for clips, length in ((1, 1), (1, 16), (3, 7), (5, 40)):
            features = np.random.default_rng(0).normal(size=(clips, STREAMS, length, FEATURES))
            with torch.inference_mode():
                expected = reference(torch.from_numpy(features).float()).numpy()
            np.testing.assert_allclose(classifier.classify(features), expected, atol=1e-5)


PREPARE_AND_PREDICT = """
import sys

asked = []
sys.addaudithook(lambda event, _: asked.append(event) if event.startswith("socket.") else None)
from pathlib import Path
import numpy as np
from activity_cli.features.backbones import find_backbone
from activity_cli.features.engines.choice import choose_engine, load_classifier, load_extractor

def build_toy():
    from tests.features.test_engines import build_toy
    return build_toy()

prepared = []
where = {"cache_dir": Path(sys.argv[1]), "on_prepare": prepared.append}
engine = choose_engine(sys.argv[2], device="cpu")
if sys.argv[3] == "cnn":
    extractor = load_extractor(find_backbone(), engine, **where)
    extractor.extract(np.zeros((1, 224, 224, 3), np.uint8))
else:
    toy = load_classifier(build_toy, engine, key="toy", example_shape=(1, 2, 5, 12), **where)
    toy.classify(np.zeros((1, 2, 5, 12), np.float32))
assert not [e for e in asked if e in ("socket.connect", "socket.getaddrinfo")], asked
print(len(prepared), "torch" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "network", "at_once"), [("auto", "cnn", 2), ("onnx", "toy", 1)])
def test_two_prepare_at_once_then_torch_is_not_imported_and_nothing_leaves_the_machine(
    engine: str, network: str, at_once: int, tmp_path: Path
) -> None:
    # Usage reporting would be on here: no opt-out file in the home folder, and not in a CI job.
    environment = {k: v for k, v in os.environ.items() if k not in {"CI", "TF_BUILD"}}
    environment |= {"HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    program = [sys.executable, "-c", PREPARE_AND_PREDICT, str(tmp_path / "cache"), engine, network]

    def start() -> "subprocess.Popen[str]":
        return subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True)

    preparing = [start() for _ in range(at_once)]
    said = [process.communicate()[0].strip() for process in preparing]
    assert said == ["1 True"] * at_once
    assert start().communicate()[0].strip() == "0 False"
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


def empty(content: bytes) -> bytes:
    return content[:0]


@pytest.mark.parametrize(
    ("name", "kept", "damage"),
    [
        ("openvino", [".blob", ".ir"], cut),
        ("openvino", [".blob", ".ir"], empty),
        ("openvino", [".blob", ".ir"], flip),
        ("onnx", [".onnx"], flip),
    ],
)
def test_damaged_cache_is_made_again(
    name: EngineName, kept: list[str], damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    features = np.ones((1, STREAMS, 4, FEATURES), np.float32)
    expected = load_toy(tmp_path, name).classify(features)
    files = list((tmp_path / "engines").iterdir())
    assert sorted(file.suffix for file in files) == kept
    for file in files:
        file.write_bytes(damage(file.read_bytes()))

    prepared: list[str] = []
    again = load_toy(tmp_path, name, prepared.append)
    np.testing.assert_array_equal(again.classify(features), expected)
    assert len(prepared) == 1
    load_toy(tmp_path, name, prepared.append)
    assert len(prepared) == 1


def test_compiled_network_of_another_openvino_is_compiled_again(tmp_path: Path) -> None:
    load_toy(tmp_path)
    (blob,) = (tmp_path / "engines").glob("*.blob")
    CheckedFiles(blob.parent).write(blob.name, b"whole, but nothing that OpenVINO knows")

    prepared: list[str] = []
    load_toy(tmp_path, on_prepare=prepared.append)
    assert not prepared  # the converted network was still there


GO_AND_INTERRUPT = """
import faulthandler, gc, os, signal, sys, threading
from pathlib import Path
from tests.features.test_engines import load_toy

faulthandler.enable()
classifiers = [load_toy(Path(sys.argv[1])) for _ in range(2)]
while classifiers:
    classifiers.pop(0)
    gc.collect()
main_thread = threading.main_thread().ident
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    threading.Timer(0.2, signal.pthread_kill, (main_thread, signal.SIGINT)).start()
    os.read(os.pipe()[0], 1)
except KeyboardInterrupt:
    print("heard")
"""


@pytest.mark.slow
def test_ctrl_c_is_heard_after_engines_have_come_and_gone(toys: Path) -> None:
    # On CPUs with AMX this was a segmentation fault: see `openvino_core`.
    program = [sys.executable, "-c", GO_AND_INTERRUPT, str(toys)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    said = subprocess.check_output(program, env=environment, text=True)

    assert said.splitlines()[-1] == "heard"


LIMIT_AND_LOAD = """
import sys
from pathlib import Path
import numpy as np
import torch
from activity_cli.common.processes import limit_threads
from tests.features.test_engines import FEATURES, NAMES, STREAMS, load_toy

folder, used = Path(sys.argv[1]), []
load_toy(folder, "openvino")  # creates what the process shares, OpenVINO's Core
torch.set_num_threads(2)  # the host's choice
limit_threads(1)
loaded = {name: load_toy(folder, name) for name in NAMES}
compiled = loaded["openvino"]._request.get_compiled_model()
used.append(compiled.get_property("INFERENCE_NUM_THREADS"))
used.append(loaded["onnx"]._session.get_session_options().intra_op_num_threads)
loaded["torch"]._scorer.register_forward_hook(lambda *_: used.append(torch.get_num_threads()))
loaded["torch"].classify(np.ones((1, STREAMS, 4, FEATURES)))
print(*used, "host:", torch.get_num_threads())
"""


def test_engines_obey_a_thread_limit_that_is_set_late_and_leave_the_host_its_own(
    toys: Path,
) -> None:
    # In a process of its own, since the limit is one of the whole process.
    program = [sys.executable, "-c", LIMIT_AND_LOAD, str(toys)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    answer = subprocess.check_output(program, env=environment, text=True)

    assert answer.splitlines()[-1] == "1 1 1 host: 2"


def test_cache_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    (tmp_path / "engines").write_text("a file where the folder should be")

    classifier = load_toy(tmp_path)
    assert classifier.classify(np.ones((1, STREAMS, 4, FEATURES))).shape == (1, LABELS)


@pytest.mark.parametrize(
    ("wish", "gpu", "expected"),
    [
        ({}, None, ("openvino", "cpu")),
        ({}, "cuda", ("torch", "cuda")),
        ({}, "mps", ("torch", "mps")),
        ({"engine": "torch"}, None, ("torch", "cpu")),
        ({"engine": "torch"}, "cuda", ("torch", "cuda")),
        ({"engine": "onnx"}, "cuda", ("onnx", "cpu")),
        ({"device": "cpu"}, "cuda", ("openvino", "cpu")),
        ({"device": "cuda:1"}, "cuda", ("torch", "cuda:1")),
    ],
)
def test_the_gpu_is_taken_where_there_is_one(
    wish: dict[str, Any],
    gpu: str | None,
    expected: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(choice, "_has", lambda kind: kind == gpu)

    engine = choose_engine(**wish)

    assert (engine.name, engine.device) == expected


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"device": "tpu"}, "no device 'tpu'"),
        ({"device": "cuda:x"}, "no device 'cuda:x'"),
        ({"device": "cuda", "engine": "onnx"}, "computes on the CPU"),
        ({"device": "mps"}, "no mps device"),
    ],
)
def test_what_does_not_go_together_is_refused(wish: dict[str, Any], message: str) -> None:
    if wish.get("device") == "mps" and choice.find_gpu() == "mps":
        pytest.skip("there is one")
    with pytest.raises(SettingsError, match=message):
        choose_engine(**wish)


@pytest.mark.skipif(choice.find_gpu() != "cuda", reason="no CUDA device here")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_cuda_gives_the_same_features(
    precision: Precision, cache_dir: Path, frames: Images, torch_features: NDArray[np.float32]
) -> None:
    engine = choose_engine("torch", device="cuda", precision=precision)
    features = load_cnn(cache_dir, engine).extract(np.concatenate([frames] * 50))[-6:]

    norms = np.linalg.norm(features, axis=1) * np.linalg.norm(torch_features, axis=1)
    assert np.all((features * torch_features).sum(axis=1) / norms > 0.99)
