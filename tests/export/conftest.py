"""A tiny model of all streams, and the same in every format."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from safetensors.torch import save

from activity_cli.export.exporting import ExportConfig, export_model
from activity_cli.features.backbones import Backbone, find_backbone, scratch_backbone
from activity_cli.features.cnn import FrameFeatures, build_cnn, scratch_features
from activity_cli.features.extraction import ClipRequest
from activity_cli.features.streams import feature_size, pad_features
from activity_cli.model.encoding import measure_features
from activity_cli.model.folder import Model, ModelDescription, load_model, save_model
from activity_cli.model.network import SequenceClassifier
from activity_cli.predict.exported.metadata import Format
from activity_cli.predict.predictor import PredictConfig, load_predictor
from activity_cli.sampledata import draw_dataset
from activity_cli.settings import CNN_STREAMS, ClipSettings, CnnSettings, NetworkSettings
from tests.action_weights import real_weights
from tests.made_once import made_once

FORMATS: tuple[Format, ...] = get_args(Format)
LABELS = ("walk", "wave", "jump")


def make_model(
    folder: Path,
    clip: ClipSettings,
    backbone: Backbone,
    cnn: FrameFeatures,
    *,
    saved: bytes | None = None,
    gain: float = 1.0,
) -> Model:
    """Save a small model in which every weight changes the scores, those of the LSTM too."""
    torch.manual_seed(0)
    settings = NetworkSettings(num_components=8, projection_size=8, hidden_size=8)
    shape = (6, len(clip.streams), clip.num_frames)
    side = clip.frame_size // 4
    noise = torch.randint(256, (*shape, 4, 4, clip.channels), dtype=torch.uint8)
    pictures = noise.repeat_interleave(side, dim=3).repeat_interleave(side, dim=4)
    with torch.inference_mode():
        features = cnn(pictures.flatten(0, 2)).view(*shape, -1).half().numpy()
    features = pad_features(features, feature_size(clip, backbone))
    network = SequenceClassifier(
        settings,
        num_labels=3,
        statistics=measure_features(features, np.arange(6), 8, num_coefficients=3),
    )
    for parameter in network.parameters():
        # Weights of a thousand features as large as the others would saturate the softmax.
        std = gain * min(0.02, 20 / parameter[0].numel() ** 2)
        torch.nn.init.normal_(parameter, std=std)
    description = ModelDescription(
        name="tiny",
        labels=LABELS,
        clip=clip,
        network=settings,
        backbone=backbone,
        engine="torch-cpu-fp32",
    )
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    return save_model(folder, description, weights, cnn=saved)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three drawn clips, one per label."""
    folder = tmp_path_factory.mktemp("drawn") / "clips"
    draw_dataset(folder, clips_per_label=1, labels=LABELS)
    return sorted(folder.rglob("*.mp4"))


def make_tiny(folder: Path) -> None:
    clip = ClipSettings(num_frames=5, frame_size=32, streams=CNN_STREAMS)
    torch.manual_seed(0)
    backbone = scratch_backbone(clip, CnnSettings(mode="scratch", conv_channels=(4, 8)))
    cnn = scratch_features(backbone)
    saved = save({name: tensor.contiguous() for name, tensor in cnn.state_dict().items()})
    backbone = replace(backbone, weights_sha256=hashlib.sha256(saved).hexdigest())
    # The gain makes the scores of drawn clips differ by more than the exports may.
    make_model(folder / "model", clip, backbone, cnn, saved=saved, gain=30.0)


@pytest.fixture(scope="session")
def action(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model with the action network beside the bundled CNN, on few small frames."""
    real_weights()
    clip = ClipSettings(num_frames=4, frame_size=64, streams=("motion", "action"))
    backbone, folder = find_backbone(), tmp_path_factory.mktemp("action") / "model"
    return make_model(folder, clip, backbone, build_cnn(backbone))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model with a CNN of two blocks, which converts in seconds, and all streams."""
    return load_model(made_once(tmp_path_factory, "tiny", make_tiny) / "model")


@pytest.fixture(scope="session")
def lite0(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model with the bundled CNN on small frames of one stream."""
    clip = ClipSettings(num_frames=3, frame_size=64, streams=("rgb",))
    backbone, folder = find_backbone(), tmp_path_factory.mktemp("lite0") / "model"
    return make_model(folder, clip, backbone, build_cnn(backbone))


@pytest.fixture(scope="session")
def exports(tiny: Model, clips: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model in every format, one graph each, sizes free; the parity gate let it pass."""

    def make(folder: Path) -> None:
        export_model(tiny, folder / "tiny", ExportConfig(formats=FORMATS), verify=clips)

    return made_once(tmp_path_factory, "exports", make) / "tiny"


def scores_of(
    path: Path, clips: list[Path], cache_dir: Path, *, test_views: int = 1
) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    """(N, C) as `predict` gives them; a model folder is computed in torch."""
    is_model = (path / "model.json").exists()
    config = PredictConfig(cache_dir=cache_dir, tta=test_views, trust_model=True)
    if is_model:
        config = replace(config, engine="torch", device="cpu", precision="fp32")
    predictor = load_predictor(path, config)
    results = list(predictor.predict([ClipRequest(path=clip) for clip in clips]))
    return np.stack([result.prediction.scores for result in results if result.prediction])
