"""The pretrained CNNs: the bundled one is right, torchvision's work with and without a network."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from matplotlib import cbook
from sklearn.datasets import load_sample_image

from activity_cli.common.optional_dependencies import import_torchvision
from activity_cli.errors import BackboneError
from activity_cli.features import backbones
from activity_cli.features.backbones import Backbone
from activity_cli.features.cnn import build_cnn, build_folded_cnn, without_classifier
from activity_cli.features.lite0 import EfficientNetLite0
from activity_cli.settings import DEFAULT_BACKBONE
from activity_cli.types import Images


def squashed(photo: Images) -> Images:
    return np.asarray(cv2.resize(photo, (224, 224), interpolation=cv2.INTER_AREA), np.uint8)


def grace_hopper() -> Images:
    file = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    return np.asarray(cv2.imread(str(file)), np.uint8)[..., ::-1]


def test_the_bundled_cnn_recognises_photos() -> None:
    network = EfficientNetLite0()
    file = backbones._lite0_file()
    network.load_state_dict(torch.load(file, weights_only=True), strict=True)
    photos = np.stack([squashed(load_sample_image("flower.jpg")), squashed(grace_hopper())])
    pixels = (torch.from_numpy(photos).permute(0, 3, 1, 2).float() - 127) / 128

    with torch.inference_mode():
        scores = network.eval()(pixels)

    assert scores.argmax(dim=1).tolist() == [985, 652]  # ImageNet's daisy and military uniform
    assert sum(tensor.numel() for tensor in network.parameters()) == (
        backbones.list_backbones()[0].num_parameters
    )


def test_features_are_what_the_classifier_of_the_cnn_reads() -> None:
    backbone = backbones.find_backbone()
    frames = squashed(load_sample_image("flower.jpg"))[None]
    classifier = torch.load(backbones._lite0_file(), weights_only=True)

    with torch.inference_mode():
        features = build_cnn(backbone)(torch.from_numpy(frames))

    assert features.shape == (1, backbone.feature_size)
    assert features.dtype == torch.float32
    scores = features @ classifier["_fc.weight"].T + classifier["_fc.bias"]
    assert scores.argmax().item() == 985


def test_a_backbone_is_found_without_torch_and_survives_json() -> None:
    program = (
        "import sys; from activity_cli.features.backbones import find_backbone; find_backbone();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

    backbone = backbones.find_backbone()
    assert Backbone.from_json(backbone.to_json()) == backbone


def test_other_weights_than_the_model_was_trained_with_are_refused() -> None:
    changed = replace(backbones.find_backbone(), weights_sha256="0" * 64)

    with pytest.raises(BackboneError, match="not those that the model was trained with"):
        build_cnn(changed)


def test_the_catalogue_lists_cnns_and_the_bundled_one_first() -> None:
    listings = backbones.list_backbones()
    names = [listing.name for listing in listings]

    assert names[0] == DEFAULT_BACKBONE
    for name in names:  # the names found without an import of torchvision
        backbones.check_name(name)
    assert listings[0].is_local
    assert {"resnet50", "convnext_tiny", "inception_v3", "vgg16"} <= set(names)
    assert not [name for name in names if name.startswith(("vit", "swin", "maxvit"))]
    assert all(50 < listing.imagenet_top1 < 90 for listing in listings)


def test_a_misspelt_name_gets_its_neighbours() -> None:
    with pytest.raises(BackboneError, match="resnet50") as caught:
        backbones.find_backbone("resnt50")
    assert "activity models" in caught.value.hint


def test_without_a_network_the_user_learns_what_to_fetch_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("no_proxy", "")
    file = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"

    with pytest.raises(BackboneError, match="resnet18 are not on this machine") as caught:
        backbones.find_backbone("resnet18")
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in caught.value.hint
    assert str(file) in caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint

    # The user does as told.
    network = import_torchvision().models.resnet18(weights=None)
    for name, buffer in network.named_buffers():
        if "running" in name:
            low = 0.5 if "var" in name else -0.1
            torch.nn.init.uniform_(buffer, low, low + 0.2)
    torch.save(network.state_dict(), file)
    backbone = backbones.find_backbone("resnet18")
    frames = torch.randint(256, (2, 64, 64, 3), dtype=torch.uint8)
    features, folded = (
        build(backbone)(frames).detach().numpy() for build in (build_cnn, build_folded_cnn)
    )
    assert features.shape == (2, backbone.feature_size) == (2, 512)
    assert features.std() > 0.01
    np.testing.assert_allclose(folded, features, atol=1e-4 * np.abs(features).max())
    assert backbone.frame_size == 224

    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(BackboneError, match="damaged"):
        backbones.find_backbone("resnet18")


@pytest.mark.parametrize(
    ("name", "feature_size"),
    [("mobilenet_v3_small", 1024), ("squeezenet1_1", 512), ("shufflenet_v2_x0_5", 1024)],
)
def test_the_classifier_of_each_kind_of_cnn_is_cut_off(name: str, feature_size: int) -> None:
    network = import_torchvision().models.get_model(name, weights=None).eval()
    cnn = without_classifier(network, mean=(120.0,) * 3, std=(60.0,) * 3)

    features = cnn(torch.zeros((2, 64, 64, 3), dtype=torch.uint8))

    assert cnn.feature_size == feature_size
    assert features.shape == (2, feature_size)


@pytest.mark.slow
def test_torchvision_imports_and_its_extension_is_left_alone_where_it_loads() -> None:
    program = (
        "from activity_cli.common.optional_dependencies import (_declared, _extension_loads, "
        "import_torchvision);"
        "torchvision = import_torchvision();"
        "assert torchvision.extension._has_ops() == _extension_loads();"
        "assert bool(_declared) != _extension_loads();"
        "torchvision.models.resnet18(weights=None)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
