"""CNNs that learn: fine-tuned or from nothing, they are part of their model everywhere."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from activity_cli import backbones
from activity_cli.bundle import CNN_FILE, load_model
from activity_cli.cnn import changed_features
from activity_cli.dataset import Dataset, Sample
from activity_cli.engines.choice import Engine, EngineName
from activity_cli.engines.loading import load_extractor
from activity_cli.errors import ModelError, SettingsError
from activity_cli.export.exporting import export_model
from activity_cli.joint import CnnTrainer
from activity_cli.pictures import LabelledPictures
from activity_cli.settings import ClipSettings, CnnSettings, NetworkSettings, TrainSettings
from activity_cli.stages import cut
from activity_cli.training import score_rows
from tests.workplace import Workplace, rows_of

SMALL = ("--frames", "4", "--frame-size", "32", "--epochs", "3", "--cnn-epochs", "2")
FINETUNE = ("--cnn", "finetune", "--finetune-stages", "3", "--cnn-learning-rate", "3e-4", *SMALL)
SCRATCH = ("--cnn", "scratch", "--channels", "1", "--conv-channels", "4,8", *SMALL)


@pytest.fixture(scope="module")
def changed(shared: Workplace) -> Workplace:
    """The shared workplace, with `runs/finetune` and `runs/scratch` in it."""
    shared.run("train", "clips", "--name", "finetune", *FINETUNE)
    shared.run("train", "clips", "--name", "scratch", *SCRATCH)
    return shared


@pytest.mark.parametrize("name", ["finetune", "scratch"])
def test_every_engine_and_export_says_what_torch_says(
    name: str, changed: Workplace, tmp_path: Path
) -> None:
    model = load_model(changed.folder / "runs" / name)
    backbone = model.description.backbone
    shape = (5, *model.description.clip.picture_shape)
    frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with torch.inference_mode():
        expected = backbones.build(backbone)(torch.from_numpy(frames)).numpy()
    assert np.ptp(expected, axis=0).max() > 0.1  # other pictures, other features
    engines: tuple[EngineName, ...] = ("torch", "openvino", "onnx")
    for engine in engines:
        extractor = load_extractor(
            backbone,
            Engine(name=engine, device="cpu", precision="fp32"),
            cache_dir=changed.cache,
            frame_size=shape[1],
        )
        found = extractor.extract(frames)
        np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())

    report = export_model(model, tmp_path / "out", formats=["onnx", "openvino", "torchscript"])
    assert not report.failures
    clip = next((changed.folder / "clips").rglob("*.mp4"))
    said = [
        json.loads(changed.run("predict", str(clip), "--model", str(path), "--json").stdout)
        for path in (model.folder, tmp_path / "out" / "onnx", tmp_path / "out" / "openvino")
    ]
    for one in said[1:]:
        assert one["label"] == said[0]["label"]
        assert one["score"] == pytest.approx(said[0]["score"], abs=0.02)  # the engine may be bf16


def test_only_the_last_stages_change_and_batch_norm_keeps_its_statistics(
    changed: Workplace,
) -> None:
    model = load_model(changed.folder / "runs" / "finetune")
    assert model.description.backbone.trained_stages == 3
    before = backbones.build(backbones.find_backbone()).state_dict()
    after = load_file(model.folder / CNN_FILE)

    assert before.keys() == after.keys()
    moved = {name for name, tensor in before.items() if (tensor.numpy() != after[name]).any()}
    last = ("network._blocks.14.", "network._blocks.15.", "network._conv_head.", "network._bn1.")
    assert {name for name in moved if not name.startswith(last)} == set()
    convolutions = {n for n in before if n.startswith(last) and before[n].dim() == 4}
    assert convolutions <= moved
    assert not any("running" in name or "num_batches" in name for name in moved)


def test_a_damaged_cnn_is_refused_in_one_line(changed: Workplace, tmp_path: Path) -> None:
    folder = shutil.copytree(changed.folder / "runs" / "scratch" / "model", tmp_path / "model")
    content = (folder / CNN_FILE).read_bytes()

    (folder / CNN_FILE).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelError, match=r"cnn\.safetensors is not the file"):
        load_model(folder)
    (folder / CNN_FILE).write_bytes(content[:100])
    with pytest.raises(ModelError, match=r"cnn\.safetensors cannot be read"):
        load_model(folder)
    (folder / CNN_FILE).unlink()
    said = changed.run("predict", "clips", "--model", str(folder), "--output", "x.csv", code=1)
    assert "cnn.safetensors cannot be read: the file is missing" in " ".join(said.stderr.split())


def test_each_fold_trains_a_cnn_of_its_own(changed: Workplace, tmp_path: Path) -> None:
    run = ("crossval", "clips", "--folds", "2", "--output", str(tmp_path / "out"), *SCRATCH)
    changed.run(*run)

    rows = rows_of(tmp_path / "out" / "predictions.csv")
    assert len(rows) == 36
    assert {row["fold"] for row in rows} == {"1", "2"}


def test_frames_too_small_for_the_blocks_are_refused_with_advice(changed: Workplace) -> None:
    said = changed.run("train", "clips", "--cnn", "scratch", "--frame-size", "7", code=1)
    assert "too small" in said.stderr
    assert "--frame-size 8 or more, or fewer --conv-channels" in " ".join(said.stderr.split())
    said = changed.run("train", "clips", "--channels", "1", code=1)
    assert "--cnn scratch" in said.stderr
    with pytest.raises(SettingsError, match="channels must be 3"):
        ClipSettings(channels=2)


def test_a_cut_cnn_gives_the_same_features() -> None:
    cnn = backbones.build(backbones.find_backbone())
    frames = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        whole = cnn(frames)
        for stages in (1, 3, 17, 0):
            parts = cut(cnn, stages)
            assert torch.equal(parts.back(parts.front(frames)), whole)
            assert len(parts.stages) == (stages or parts.num_stages)


def dots_that_rise_or_fall(num_clips: int, cache_dir: Path) -> LabelledPictures:
    """A grey dot goes up or down somewhere: each picture alone may be from either."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 60, (num_clips, 1, 8, 32, 32, 1), np.uint8)
    targets = np.arange(num_clips) % 2
    for clip, target in zip(pictures, targets, strict=True):
        column, row = random.integers(2, 26), random.integers(0, 8)
        for frame in range(8):
            top = row + 2 * (frame if target else 7 - frame)
            clip[0, frame, top : top + 5, column : column + 5] = 220
    labels = ("up", "down")
    samples = tuple(
        Sample(path=Path(f"{i}.mp4"), name=f"{i}.mp4", label=labels[t])
        for i, t in enumerate(targets)
    )
    return LabelledPictures(
        dataset=Dataset(root=Path("dots"), samples=samples, labels=labels),
        pictures=pictures,
        targets=targets,
        clips=(),
        left_out=(),
        clip=ClipSettings(num_frames=8, frame_size=32, channels=1, streams=("rgb",)),
        cache_dir=cache_dir,
        stage_seconds={},
    )


def test_a_cnn_from_nothing_learns_what_only_time_tells(tmp_path: Path) -> None:
    data = dots_that_rise_or_fall(96, tmp_path)
    trainer = CnnTrainer(
        data,
        backbones.scratch_backbone(data.clip, (8, 16)),
        network=NetworkSettings(hidden_size=16, projection_size=16, dropout=0.2),
        settings=TrainSettings(batch_size=8),
        cnn=CnnSettings(mode="scratch", epochs=12),
    )
    found = trainer.fit(np.arange(48), np.arange(48, 64))

    features = trainer.features(found)
    scores: NDArray[np.float32] = score_rows(found.fitted.network, features, np.arange(64, 96))
    assert (scores.argmax(axis=1) == data.targets[64:]).mean() > 0.95
    # What is saved is what was trained.
    file = tmp_path / CNN_FILE
    file.write_bytes(found.weights())
    saved = changed_features(found.backbone, file)
    with torch.inference_mode():
        again = saved(torch.from_numpy(data.pictures[0, 0])).numpy()
    np.testing.assert_allclose(again, features[0, 0].astype(np.float32), atol=2e-2)
