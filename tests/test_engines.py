"""Engines give what torch gives, from a cache that may be damaged, and without a network."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

from activity_cli import backbones
from activity_cli.checked_files import CheckedFiles
from activity_cli.engines.openvino import OpenVinoClassifier, load_classifier, load_extractor
from activity_cli.types import Images

STREAMS, FEATURES, LABELS = 2, 12, 3


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


def load_toy(cache_dir: Path, on_prepare: Callable[[str], None] = print) -> OpenVinoClassifier:
    return load_classifier(
        build_toy,
        key="toy",
        cache_dir=cache_dir,
        example_shape=(2, STREAMS, 5, FEATURES),
        on_prepare=on_prepare,
    )


@pytest.fixture(scope="module")
def frames() -> Images:
    """(6, 224, 224, 3): real pictures, and not a multiple of the engine's batch."""
    photos = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    views = [photo[:, start : start + 400] for photo in photos for start in (0, 100, 200)]
    return np.stack([cv2.resize(view, (224, 224)) for view in views]).astype(np.uint8)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the module: converting the CNN takes seconds."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def torch_features(frames: Images) -> np.ndarray:
    with torch.inference_mode():
        features = backbones.build(backbones.find_backbone())(torch.from_numpy(frames))
    return np.asarray(features.numpy())


def test_fp32_features_are_those_of_torch(
    cache_dir: Path, frames: Images, torch_features: np.ndarray
) -> None:
    extractor = load_extractor(backbones.find_backbone(), cache_dir=cache_dir, precision="fp32")

    features = extractor.extract(frames)

    assert extractor.identity == "openvino-fp32"
    np.testing.assert_allclose(features, torch_features, atol=1e-3 * np.abs(torch_features).max())
    # What a frame is computed with, and how many there are, does not matter.
    np.testing.assert_array_equal(extractor.extract(frames[1:2]), features[1:2])
    assert extractor.extract(frames[:0]).shape == (0, extractor.feature_size)
    with pytest.raises(ValueError, match=r"\(N, 224, 224, 3\)"):
        extractor.extract(frames[:, :100])


def test_bf16_features_point_where_those_of_torch_point(
    cache_dir: Path, frames: Images, torch_features: np.ndarray
) -> None:
    from activity_cli.engines.openvino import ov

    if "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU does not compute in bf16")
    extractor = load_extractor(backbones.find_backbone(), cache_dir=cache_dir, precision="bf16")

    features = extractor.extract(frames)

    norms = np.linalg.norm(features, axis=1) * np.linalg.norm(torch_features, axis=1)
    assert np.all((features * torch_features).sum(axis=1) / norms > 0.99)


def test_frames_may_have_another_size(cache_dir: Path) -> None:
    extractor = load_extractor(backbones.find_backbone(), cache_dir=cache_dir, frame_size=96)

    assert extractor.extract(np.zeros((1, 96, 96, 3), np.uint8)).shape == (1, 1280)


PREPARE_AND_PREDICT = """
import sys

asked = []
sys.addaudithook(lambda event, _: asked.append(event) if event.startswith("socket.") else None)
from pathlib import Path
import numpy as np
from activity_cli.backbones import find_backbone
from activity_cli.engines.openvino import load_extractor

prepared = []
extractor = load_extractor(
    find_backbone(), cache_dir=Path(sys.argv[1]), precision="fp32", on_prepare=prepared.append
)
extractor.extract(np.zeros((1, 224, 224, 3), np.uint8))
assert not [e for e in asked if e in ("socket.connect", "socket.getaddrinfo")], asked
print(len(prepared), "torch" in sys.modules)
"""


def test_the_second_run_imports_no_torch_and_no_run_asks_the_network(tmp_path: Path) -> None:
    # Usage reporting would be on here: no opt-out file in the home folder, and not in a CI job.
    environment = {k: v for k, v in os.environ.items() if k not in {"CI", "TF_BUILD"}}
    environment |= {"HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}

    def run() -> str:
        program = [sys.executable, "-c", PREPARE_AND_PREDICT, str(tmp_path / "cache")]
        return subprocess.run(
            program, env=environment, check=True, capture_output=True, text=True
        ).stdout.strip()

    assert run() == "1 True"
    assert run() == "0 False"
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_classifier_takes_any_number_of_clips_of_any_length(tmp_path: Path) -> None:
    reference = build_toy().eval()
    for _ in ("converted", "from the cache"):
        classifier = load_toy(tmp_path)
        for clips, length in ((1, 1), (1, 16), (3, 7), (5, 40)):
            features = np.random.default_rng(0).normal(size=(clips, STREAMS, length, FEATURES))
            with torch.inference_mode():
                expected = reference(torch.from_numpy(features).float()).numpy()
            np.testing.assert_allclose(classifier.classify(features), expected, atol=1e-5)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


def empty(content: bytes) -> bytes:
    return content[:0]


@pytest.mark.parametrize("damage", [cut, flip, empty])
def test_damaged_cache_is_made_again(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    features = np.ones((1, STREAMS, 4, FEATURES), np.float32)
    expected = load_toy(tmp_path).classify(features)
    files = list((tmp_path / "engines").iterdir())
    assert sorted(file.suffix for file in files) == [".blob", ".ir"]
    for file in files:
        file.write_bytes(damage(file.read_bytes()))

    prepared: list[str] = []
    np.testing.assert_array_equal(load_toy(tmp_path, prepared.append).classify(features), expected)
    assert len(prepared) == 1
    load_toy(tmp_path, prepared.append)
    assert len(prepared) == 1


def test_compiled_network_of_another_openvino_is_compiled_again(tmp_path: Path) -> None:
    load_toy(tmp_path)
    (blob,) = (tmp_path / "engines").glob("*.blob")
    CheckedFiles(blob.parent).write(blob.name, b"whole, but nothing that OpenVINO knows")

    prepared: list[str] = []
    load_toy(tmp_path, prepared.append)
    assert not prepared  # the converted network was still there


def test_cache_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    (tmp_path / "engines").write_text("a file where the folder should be")

    classifier = load_toy(tmp_path)
    assert classifier.classify(np.ones((1, STREAMS, 4, FEATURES))).shape == (1, LABELS)
