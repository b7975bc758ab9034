"""Exports say what the model says, in every format; a damaged one is never kept."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from activity_cli.errors import ExportError, ModelError
from activity_cli.export import exporting
from activity_cli.export.exporting import export_model
from activity_cli.features.backbones import find_backbone
from activity_cli.features.extraction import ClipRequest
from activity_cli.model.encoding import measure_features
from activity_cli.model.folder import Model, ModelDescription, load_model, save_model
from activity_cli.model.network import SequenceClassifier
from activity_cli.predict.exported.loading import ExportedModel, read_exported
from activity_cli.predict.exported.metadata import Format, Precision
from activity_cli.predict.predictor import PredictConfig, load_predictor
from activity_cli.sampledata import draw_dataset
from activity_cli.settings import ALL_STREAMS, ClipSettings, NetworkSettings

FORMATS: tuple[Format, ...] = get_args(Format)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drawn clips."""
    folder = tmp_path_factory.mktemp("drawn") / "clips"
    draw_dataset(folder, clips_per_label=1, labels=("walk", "wave", "jump"))
    return folder


@pytest.fixture(scope="module")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A small model of all streams in which every weight counts, those of the LSTM too."""
    torch.manual_seed(0)
    settings = NetworkSettings(num_components=8, projection_size=8, hidden_size=8)
    features = np.random.default_rng(0).random((6, 3, 5, 1280)).astype(np.float16)
    statistics = measure_features(features, np.arange(6), 8)
    network = SequenceClassifier(settings, num_labels=3, statistics=statistics)
    for name, parameter in network.named_parameters():
        torch.nn.init.normal_(parameter, std=0.001 if name.startswith("summary") else 0.02)
    description = ModelDescription(
        name="lively",
        labels=("walk", "wave", "jump"),
        clip=ClipSettings(num_frames=5, frame_size=64, streams=ALL_STREAMS),
        network=settings,
        backbone=find_backbone(),
        engine="torch-cpu-fp32",
    )
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    return save_model(tmp_path_factory.mktemp("lively") / "model", description, weights)


@pytest.fixture(scope="module")
def exports(lively: Model, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lively model in every format, one graph each, sizes free."""
    output = tmp_path_factory.mktemp("exports") / "lively"
    report = export_model(lively, output, formats=FORMATS, verify=str(clips))
    for parity in report.parities:
        assert {row.num_frames for row in parity.rows} >= {1, 5, 10}
        assert {row.batch_size for row in parity.rows} >= {1, 2}
        assert parity.largest_difference < 1e-3
        assert parity.num_same_label == parity.num_clips
    return output


def scores_of(name: Path | str, clips: Path, tmp_path: Path, *, test_views: int = 1) -> np.ndarray:
    """(N, C) as `predict` gives them; a model folder is computed in torch."""
    path = Path(name)
    config = PredictConfig(cache_dir=tmp_path, tta=test_views)
    is_model = isinstance(name, str) or (path / "model.json").exists()
    if is_model:
        config = replace(config, engine="torch", device="cpu", precision="fp32")
    predictor = load_predictor(name, config)
    requests = [ClipRequest(path=path) for path in sorted(clips.rglob("*.mp4"))]
    results = list(predictor.predict(requests))
    return np.stack([result.prediction.scores for result in results if result.prediction])


@pytest.mark.parametrize("format", FORMATS)
def test_predict_takes_an_export_like_any_model(
    format: Format, exports: Path, lively: Model, clips: Path, tmp_path: Path
) -> None:
    expected = scores_of(lively.folder, clips, tmp_path)

    np.testing.assert_allclose(scores_of(exports / format, clips, tmp_path), expected, atol=1e-3)
    assert len(expected) == 3
    assert np.ptp(expected, axis=0).max() > 1e-2  # the clips differ, so agreement means something


def test_an_export_averages_views_as_its_model_does(
    exports: Path, lively: Model, clips: Path, tmp_path: Path
) -> None:
    expected = scores_of(lively.folder, clips, tmp_path, test_views=3)

    found = scores_of(exports / "torchscript", clips, tmp_path, test_views=3)

    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert np.abs(expected - scores_of(lively.folder, clips, tmp_path)).max() > 2e-3


def test_the_shipped_model_in_two_graphs_of_fixed_size(clips: Path, tmp_path: Path) -> None:
    model = load_model("surveillance-fight")
    output = tmp_path / "exports"

    report = export_model(
        model, output, formats=FORMATS, dynamic=False, split=True, verify=str(clips)
    )

    assert not report.failures
    one = clips / "wave"  # the gate has seen all three
    expected = scores_of("surveillance-fight", one, tmp_path)
    for format in FORMATS:
        export = read_exported(output / format)
        assert set(export.files) == {"cnn", "classifier"}
        np.testing.assert_allclose(scores_of(output / format, one, tmp_path), expected, atol=1e-3)
    half = output / "onnx" / "surveillance-fight-classifier.onnx"
    half.rename(tmp_path / half.name)
    with pytest.raises(ModelError, match=r"its classifier .* is missing"):
        read_exported(output / "onnx")


@pytest.mark.parametrize(
    ("precision", "formats"), [("fp16", ["onnx"]), ("int8", ["onnx", "openvino"])]
)
def test_smaller_precisions_are_smaller_and_pass(
    precision: Precision, formats: list[Format], lively: Model, exports: Path, clips: Path
) -> None:
    output = exports.with_name(precision)

    export_model(
        lively,
        output,
        formats=formats,
        precision=precision,
        verify=str(clips),
    )

    for format in formats:
        assert size_of(output / format) < 0.6 * size_of(exports / format)
        got = scores_of(output / format, clips, exports.parent)
        expected = scores_of(exports / format, clips, exports.parent)
        assert np.abs(got - expected).mean() < 2e-2
        assert np.any(got != expected)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_a_damaged_export_is_caught_and_leaves_nothing(
    lively: Model, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Callable[[Path], ExportedModel] = read_exported

    def damage_and_read(folder: Path) -> ExportedModel:
        [file] = folder.glob("*.bin")
        content = bytearray(file.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 40_000] = bytes(40_000)  # weights of the CNN become 0
        file.write_bytes(content)
        return read(folder)

    monkeypatch.setattr(exporting, "read_exported", damage_and_read)
    output = tmp_path / "exports"

    with pytest.raises(ExportError, match="does not say what the model says"):
        export_model(lively, output, formats=("openvino",), verify=str(clips))
    assert not output.exists()


@pytest.mark.parametrize("format", ["onnx", "openvino", "torchscript"])
def test_the_example_in_the_readme_runs_without_activity(
    format: Format, exports: Path, clips: Path, tmp_path: Path
) -> None:
    folder = exports / format
    [example] = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    clip = next(clips.rglob("*.mp4"))
    block = "import sys; sys.modules['activity_cli'] = None\n"

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", block + example, str(clip)],
        cwd=folder,
        env={**os.environ, "HOME": str(tmp_path)},  # where a plain runtime reports its use
        capture_output=True,
        text=True,
        check=True,
    )

    label, score = done.stdout.split()
    assert label in {"walk", "wave", "jump"}
    assert 1 / 3 <= float(score) <= 1


RUN_WITHOUT_TORCH = """
import sys
from pathlib import Path
from activity_cli.features.extraction import ClipRequest
from activity_cli.predict.predictor import PredictConfig
from activity_cli.predict.predictor import load_predictor

predictor = load_predictor(sys.argv[1], PredictConfig(cache_dir=Path("unused")))
[result] = predictor.predict([ClipRequest(path=Path(sys.argv[2]))])
print(result.prediction.label, predictor.description.name, "torch" in sys.modules)
"""


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_running_an_export_imports_no_torch_and_leaves_no_trace(
    format: Format, exports: Path, clips: Path, tmp_path: Path
) -> None:
    clip = next(clips.rglob("*.mp4"))
    program = [sys.executable, "-c", RUN_WITHOUT_TORCH, str(exports / format), str(clip)]

    said = subprocess.check_output(
        program,
        text=True,
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
    )

    assert said.split()[1:] == ["lively", "False"]
    assert list(tmp_path.iterdir()) == []


def test_any_onnx_program_can_read_the_labels(exports: Path) -> None:
    import onnx

    model = onnx.load(exports / "onnx" / "lively.onnx")

    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(properties["labels"]) == ["walk", "wave", "jump"]
    assert [value.name for value in model.graph.input] == ["frames", "earlier", "later", "flow"]
    onnx.checker.check_model(model)


@pytest.mark.parametrize("damage", ["text", "cut", "foreign"])
def test_what_is_no_export_is_refused_in_words(damage: str, exports: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    match damage:
        case "text":
            path.write_text("not a model")
        case "cut":
            content = (exports / "onnx" / "lively.onnx").read_bytes()
            path.write_bytes(content[: len(content) // 2])
        case "foreign":
            import onnx

            graph = onnx.helper.make_graph([], "nothing", [], [])
            onnx.save_model(onnx.helper.make_model(graph), path)

    with pytest.raises(ModelError, match=r"model\.onnx") as error:
        read_exported(path)
    assert error.value.hint


def test_what_a_format_cannot_do_is_said_before_the_work(lively: Model, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="torchscript has no precision int8"):
        export_model(lively, tmp_path / "x", formats=("torchscript",), precision="int8")
    assert not (tmp_path / "x").exists()
