"""CNNs that learn: fine-tuned or from nothing, they are part of their model everywhere."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from activity_cli import load_model as open_model
from activity_cli.data.splits import make_folds
from activity_cli.errors import ModelError, SettingsError
from activity_cli.export.exporting import ExportConfig, export_model
from activity_cli.features import backbones
from activity_cli.features.cnn import build_cnn, trained_features
from activity_cli.features.engines.choice import Engine, load_extractor
from activity_cli.features.labelled import DataConfig, FeatureDataset
from activity_cli.features.stages import cut
from activity_cli.model.folder import CNN_FILE, load_model
from activity_cli.sampledata import draw_dataset
from activity_cli.settings import (
    ClipSettings,
    CnnSettings,
    NetworkSettings,
    TrainSettings,
)
from activity_cli.training.crossval import run_crossval
from activity_cli.training.finetuning import CnnTrainer
from activity_cli.training.fitting import Plan, fit_plan
from activity_cli.training.head import HeadConfig
from activity_cli.training.run import TrainingRun, save_run
from activity_cli.training.scoring import score_rows

MODES = {
    "finetune": CnnSettings(mode="finetune", finetune_stages=3, learning_rate=1e-4, epochs=2),
    "scratch": CnnSettings(
        mode="scratch", conv_channels=(4, 8), conv_kernel=5, conv_stride=2, conv_padding=2, epochs=2
    ),
}


def data_config(cnn: CnnSettings, cache_dir: Path) -> DataConfig:
    clip = ClipSettings(num_frames=4, frame_size=32, channels=1 if cnn.mode == "scratch" else 3)
    if cnn.mode == "scratch":
        backbone = backbones.scratch_backbone(clip, cnn)
    else:
        backbone = backbones.find_backbone()
    engine = Engine(name="openvino", device="cpu", precision="fp32")
    return DataConfig(backbone=backbone, clip=clip, cache_dir=cache_dir, engine=engine)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "clips"
    draw_dataset(folder, clips_per_label=8, labels=("squat", "jump"))
    return folder


@pytest.fixture(scope="module")
def learned_by_heart(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips whose labels mean nothing, each in both parts.

    Fine-tuning always gains here, and is dropped where it does not.
    """
    folder = tmp_path_factory.mktemp("by heart")
    rows = ["path,label,split"]
    for part in ("train", "val"):
        shutil.copytree(clips, folder / part)
        paths = sorted((folder / part).rglob("*.mp4"))[::2]
        rows += [f"{path},{('jump', 'squat')[i % 2]},{part}" for i, path in enumerate(paths)]
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder / "labels.csv"


@pytest.fixture(scope="module")
def cache(prepared: Path) -> Path:
    return prepared


@pytest.fixture(scope="module")
def models(
    learned_by_heart: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, TrainingRun]:
    """One run of each mode."""
    runs = tmp_path_factory.mktemp("runs")
    return {
        name: save_run(
            fit_plan(
                Plan(
                    data=learned_by_heart,
                    data_config=data_config(cnn, cache),
                    head=HeadConfig(
                        network=NetworkSettings(hidden_size=8, projection_size=8),
                        training=TrainSettings(epochs=3, batch_size=4),
                    ),
                    cnn=cnn,
                )
            ),
            runs / name,
        )
        for name, cnn in MODES.items()
    }


@pytest.mark.slow
# One engine is enough: that all engines agree is the promise of the conformance suite.
@pytest.mark.parametrize("name", MODES)
def test_an_engine_agrees_with_torch(
    name: str, models: dict[str, TrainingRun], cache: Path
) -> None:
    model = load_model(models[name].model.folder)
    backbone = model.description.backbone
    shape = (5, *model.description.clip.picture_shape)
    frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with torch.inference_mode():
        expected = build_cnn(backbone)(torch.from_numpy(frames)).numpy()
    assert np.ptp(expected, axis=0).max() > 0.01  # other pictures, other features
    extractor = load_extractor(
        backbone,
        Engine(name="openvino", device="cpu", precision="fp32"),
        cache_dir=cache,
        frame_size=shape[1],
    )
    found = extractor.extract(frames)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * np.abs(expected).max())


@pytest.mark.slow
def test_an_export_of_a_fine_tuned_cnn_agrees_with_the_model(
    models: dict[str, TrainingRun], clips: Path, cache: Path, tmp_path: Path
) -> None:
    model, video = load_model(models["finetune"].model.folder), next(clips.rglob("*.mp4"))

    export_model(model, tmp_path / "out", ExportConfig(formats=["openvino"]), verify=[video])

    scores = []
    for path in (model.folder, tmp_path / "out" / "openvino"):
        with open_model(path, cache_dir=cache) as opened:
            prediction = opened.predict(video).prediction
        assert prediction is not None
        scores.append(prediction.scores)
    np.testing.assert_allclose(scores[1], scores[0], atol=0.02)  # bf16 where the CPU has it


@pytest.mark.slow
def test_only_the_last_stages_change_and_batch_norm_keeps_its_statistics(
    models: dict[str, TrainingRun],
) -> None:
    model = models["finetune"].model
    assert model.description.backbone.trained_stages == 3
    before = build_cnn(backbones.find_backbone()).state_dict()
    after = load_file(model.folder / CNN_FILE)

    assert before.keys() == after.keys()
    moved = {name for name, tensor in before.items() if (tensor.numpy() != after[name]).any()}
    last = ("network._blocks.14.", "network._blocks.15.", "network._conv_head.", "network._bn1.")
    assert {name for name in moved if not name.startswith(last)} == set()
    convolutions = {n for n in before if n.startswith(last) and before[n].dim() == 4}
    assert convolutions <= moved
    assert not any("running" in name or "num_batches" in name for name in moved)


@pytest.mark.slow
def test_a_damaged_cnn_is_refused_in_one_line(
    models: dict[str, TrainingRun], tmp_path: Path
) -> None:
    folder = shutil.copytree(models["scratch"].model.folder, tmp_path / "model")
    content = (folder / CNN_FILE).read_bytes()
    load_model(folder)

    (folder / CNN_FILE).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelError, match=r"cnn\.safetensors is not the file"):
        load_model(folder)
    (folder / CNN_FILE).write_bytes(content[:100])
    with pytest.raises(ModelError, match=r"cnn\.safetensors cannot be read"):
        load_model(folder)
    (folder / CNN_FILE).unlink()
    with pytest.raises(ModelError, match="the file is missing"):
        load_model(folder)


def test_each_fold_trains_a_cnn_of_its_own(clips: Path, cache: Path) -> None:
    cnn = MODES["scratch"]
    run = run_crossval(
        clips,
        data_config(cnn, cache),
        deal=lambda dataset: make_folds(dataset, num_folds=2),
        head=HeadConfig(
            network=NetworkSettings(hidden_size=8, projection_size=8),
            training=TrainSettings(batch_size=4),
        ),
        cnn=cnn,
    )
    assert [fold.num_clips for fold in run.result.folds] == [8, 8]
    assert run.result.evaluation.num_clips == 16


def test_frames_that_a_cnn_cannot_see_are_refused_with_advice() -> None:
    with pytest.raises(SettingsError, match="too small") as refused:
        backbones.scratch_backbone(ClipSettings(frame_size=7), CnnSettings())
    assert refused.value.hint == "Use --frame-size 8 or more, or fewer --conv-channels."
    with pytest.raises(SettingsError, match="3 channels, not 1"):
        backbones.find_backbone().check_frames(ClipSettings(channels=1))
    with pytest.raises(SettingsError, match="too small"):
        backbones.find_backbone().check_frames(ClipSettings(frame_size=16))


def test_a_cut_cnn_gives_the_same_features() -> None:
    cnn = build_cnn(backbones.find_backbone())
    frames = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        whole = cnn(frames)
        for stages in (1, 3, 17, 0):
            parts = cut(cnn, stages)
            assert torch.equal(parts.back(parts.front(frames)), whole)
            assert len(parts.stages) == (stages or parts.num_stages)


def dots_that_rise_or_fall(num_clips: int) -> FeatureDataset:
    """A grey dot goes up or down somewhere: each picture alone may be from either."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 60, (num_clips, 1, 8, 32, 32, 1), np.uint8)
    targets = np.arange(num_clips) % 2
    for clip, target in zip(pictures, targets, strict=True):
        column, row = random.integers(2, 26), random.integers(0, 8)
        for frame in range(8):
            top = row + 2 * (frame if target else 7 - frame)
            clip[0, frame, top : top + 5, column : column + 5] = 220
    return FeatureDataset(values=pictures, targets=targets, labels=("up", "down"), streams=("rgb",))


def scratch_trainer(
    data: FeatureDataset, cnn: CnnSettings, network: NetworkSettings, cache_dir: Path
) -> CnnTrainer:
    clip = ClipSettings(num_frames=8, frame_size=32, channels=1, streams=("rgb",))
    config = DataConfig(
        backbone=backbones.scratch_backbone(clip, cnn),
        clip=clip,
        cache_dir=cache_dir,
        engine=Engine(name="torch", device="cpu"),
    )
    head = HeadConfig(network=network, training=TrainSettings(batch_size=8))
    return CnnTrainer(data, config, head, cnn)


def test_a_cnn_from_nothing_learns_what_only_time_tells(tmp_path: Path) -> None:
    data = dots_that_rise_or_fall(96)
    cnn = CnnSettings(mode="scratch", epochs=12, conv_channels=(8, 16))
    network = NetworkSettings(hidden_size=16, projection_size=16, dropout=0.2)
    trainer = scratch_trainer(data, cnn, network, tmp_path)
    found = trainer.fit(np.arange(48), np.arange(48, 64))

    features = trainer.features(found).values
    scores: NDArray[np.float32] = score_rows(found.fitted.network, features, np.arange(64, 96))
    assert (scores.argmax(axis=1) == data.targets[64:]).mean() > 0.95
    # What is saved is what was trained.
    file = tmp_path / CNN_FILE
    file.write_bytes(found.weights())
    saved = trained_features(found.backbone, file)
    with torch.inference_mode():
        again = saved(torch.from_numpy(data.values[0, 0])).numpy()
    np.testing.assert_allclose(again, features[0, 0].astype(np.float32), atol=2e-2)
