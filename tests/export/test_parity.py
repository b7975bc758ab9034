"""One promise for all exports: they give the scores that the model gives in torch."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from activity_cli.errors import BackboneError, ExportError, ModelError
from activity_cli.export import exporting
from activity_cli.export.exporting import REPORT_FILE, ExportConfig, export_model
from activity_cli.features.extraction import ClipRequest
from activity_cli.model.calibration import Calibration
from activity_cli.model.folder import Model, load_model, write_description
from activity_cli.predict.exported import ExportedModel, read_exported
from activity_cli.predict.exported.metadata import Precision
from activity_cli.predict.predictor import PredictConfig, WindowConfig, load_predictor
from tests.export.conftest import FORMATS, LABELS, scores_of


def test_every_export_was_compared_at_several_lengths_and_batch_sizes(exports: Path) -> None:
    report = json.loads((exports / REPORT_FILE).read_text())

    assert [export["format"] for export in report["exports"]] == list(FORMATS)
    for export in report["exports"]:
        assert {row["num_frames"] for row in export["rows"]} >= {1, 5, 10}
        assert {row["batch_size"] for row in export["rows"]} >= {1, 2}
        assert export["largest_difference"] < 1e-3
        assert export["num_same_label"] == export["num_clips"]


@pytest.mark.parametrize("test_views", [1, 3])
def test_predict_takes_an_export_like_any_model(
    test_views: int, exports: Path, tiny: Model, clips: list[Path], tmp_path: Path
) -> None:
    expected = scores_of(tiny.folder, clips, tmp_path, test_views=test_views)
    assert np.ptp(expected, axis=0).max() > 1e-2  # the clips differ, so agreement means something

    for format in FORMATS:
        found = scores_of(exports / format, clips, tmp_path, test_views=test_views)
        np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.slow
def test_two_graphs_of_fixed_size_and_none_without_the_other(
    tiny: Model, clips: list[Path], tmp_path: Path
) -> None:
    config = ExportConfig(formats=FORMATS, dynamic=False, split=True)

    export_model(tiny, tmp_path / "out", config, verify=clips[:1])

    expected = scores_of(tiny.folder, clips[1:], tmp_path)
    for format in FORMATS:
        assert set(read_exported(tmp_path / "out" / format).files) == {"cnn", "classifier"}
        found = scores_of(tmp_path / "out" / format, clips[1:], tmp_path)
        np.testing.assert_allclose(found, expected, atol=1e-3)
    half = tmp_path / "out" / "onnx" / "tiny-classifier.onnx"
    half.rename(tmp_path / half.name)
    with pytest.raises(ModelError, match=r"its classifier .* is missing"):
        read_exported(tmp_path / "out" / "onnx")


@pytest.mark.slow
def test_the_shipped_model_passes_the_gate(clips: list[Path], tmp_path: Path) -> None:
    config = ExportConfig(formats=("onnx",), dynamic=False)

    export_model(load_model("surveillance-fight"), tmp_path / "out", config, verify=clips[:1])

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["onnx", REPORT_FILE]


@pytest.mark.parametrize(
    ("precision", "megabytes"),
    [("fp16", 7.5), pytest.param("int8", 5.5, marks=pytest.mark.slow)],
)
def test_smaller_precisions_are_smaller_and_pass(
    *,
    precision: Precision,
    megabytes: float,
    lite0: Model,
    clips: list[Path],
    tmp_path: Path,
) -> None:
    config = ExportConfig(formats=("openvino",), precision=precision)

    report = export_model(lite0, tmp_path / "out", config, verify=clips)

    # 13.5 MB in fp32: the CNN has 3.4 million weights.
    assert report.parities[0].megabytes < megabytes
    assert_near_but_not_equal(lite0, tmp_path / "out" / "openvino", clips, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "kind"), [("fp16", "FLOAT16"), ("int8", "INT8")])
def test_onnx_has_smaller_weights_and_passes(
    precision: Precision, kind: str, tiny: Model, clips: list[Path], tmp_path: Path
) -> None:
    import onnx

    config = ExportConfig(formats=("onnx",), precision=precision)

    export_model(tiny, tmp_path / "out", config, verify=clips)

    graph = onnx.load(tmp_path / "out" / "onnx" / "tiny.onnx").graph
    code = onnx.TensorProto.DataType.Value(kind)
    assert sum(one.data_type == code for one in graph.initializer) >= 2
    assert_near_but_not_equal(tiny, tmp_path / "out" / "onnx", clips, tmp_path)


def assert_near_but_not_equal(model: Model, export: Path, clips: list[Path], cache: Path) -> None:
    expected, found = scores_of(model.folder, clips, cache), scores_of(export, clips, cache)
    assert np.abs(found - expected).mean() < 2e-2
    assert np.any(found != expected)


def test_a_damaged_export_is_caught_and_leaves_nothing(
    tiny: Model, clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Callable[[Path], ExportedModel] = read_exported

    def damage_and_read(folder: Path) -> ExportedModel:
        [file] = folder.glob("*.bin")
        content = bytearray(file.read_bytes())
        start = len(content) // 4
        content[start : start + 20_000] = bytes(20_000)  # weights of the CNN become 0
        file.write_bytes(content)
        return read(folder)

    monkeypatch.setattr(exporting, "read_exported", damage_and_read)
    config = ExportConfig(formats=("openvino",))

    with pytest.raises(ExportError, match="differs from the model"):
        export_model(tiny, tmp_path / "out", config, verify=clips)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_model_with_the_action_network_is_one_graph_that_needs_no_weights(
    action: Model, clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = scores_of(action.folder, clips, tmp_path)
    with pytest.raises(ExportError, match="no split form"):
        export_model(
            action, tmp_path / "two", ExportConfig(formats=["onnx"], split=True), verify=[]
        )
    report = export_model(
        action, tmp_path / "out", ExportConfig(formats=["openvino"]), verify=clips[:1]
    )
    monkeypatch.setenv("ACTIVITY_WEIGHTS", "")
    monkeypatch.setenv("ACTIVITY_CACHE_DIR", str(tmp_path / "empty"))

    assert report.parities[0].largest_difference < 1e-3
    assert np.ptp(expected, axis=0).max() > 0.01
    found = scores_of(tmp_path / "out" / "openvino", clips, tmp_path / "empty")
    np.testing.assert_allclose(found, expected, atol=1e-3)
    with pytest.raises(BackboneError, match="movinet_a0 are not on this machine"):
        scores_of(action.folder, clips, tmp_path / "empty")


@pytest.mark.slow
def test_an_export_of_a_multi_label_model_reports_each_label_by_its_threshold(
    tiny: Model, clips: list[Path], tmp_path: Path
) -> None:
    folder, done = tmp_path / "several", "test clips"
    shutil.copytree(tiny.folder, folder)
    plain = scores_of(tiny.folder, clips[:1], tmp_path)
    calibration = Calibration(
        fitted_on=done, num_clips=3, measured_on=done, ece_before=0, ece_after=0
    )
    model = load_model(folder)
    description = replace(model.description, multi_label=True, calibration=calibration)
    [scores] = scores_of(
        write_description(replace(model, description=description)).folder, clips[:1], tmp_path
    )
    assert abs(scores.sum() - 1) > 0.05  # independent, not as those of the plain model
    assert abs(plain.sum() - 1) < 1e-5
    low, middle, high = np.argsort(scores).tolist()
    thresholds = np.zeros(3)
    thresholds[[low, middle, high]] = scores[low] + 0.01, scores[middle] - 0.01, scores[high] - 0.01
    calibration = replace(calibration, thresholds=tuple(thresholds.tolist()))
    model = write_description(
        replace(model, description=replace(description, calibration=calibration))
    )

    export_model(model, tmp_path / "out", ExportConfig(formats=("openvino",)), verify=clips)

    export = tmp_path / "out" / "openvino"
    [result] = load_predictor(export, PredictConfig(cache_dir=tmp_path)).predict(
        [ClipRequest(path=clips[0])]
    )
    assert result.prediction is not None
    np.testing.assert_allclose(result.prediction.scores, scores, atol=1e-3)
    assert [label for label, _ in result.prediction.top(3)] == [LABELS[high], LABELS[middle]]
    readme = (export / "README.md").read_text()
    [example] = re.findall(r"```python\n(.*?)```", readme, re.S)
    assert f"thresholds = {thresholds.tolist()}" in example
    assert "scores are independent" in readme


def test_a_window_of_a_long_video_scores_as_a_clip_cut_there(
    action: Model, clips: list[Path], tmp_path: Path
) -> None:
    # The cache keeps some features of windows in float16.
    config = PredictConfig(
        cache_dir=tmp_path, use_cache=False, engine="torch", device="cpu", precision="fp32"
    )
    windows = WindowConfig(window_seconds=0.6, stride_seconds=0.3)
    [whole] = load_predictor(action.folder, replace(config, windows=windows)).predict(
        [ClipRequest(path=clips[0])]
    )
    assert whole.timeline is not None
    starts = whole.timeline.starts_seconds.tolist()[:-1]  # the last one ends with the video
    pieces = [
        ClipRequest(path=clips[0], start_seconds=start, end_seconds=start + 0.6) for start in starts
    ]
    scores = [piece.prediction for piece in load_predictor(action.folder, config).predict(pieces)]

    assert len(pieces) > 3
    for window, piece in zip(whole.timeline.scores, scores, strict=False):
        assert piece is not None
        # The classifier rounds several windows at once in another order.
        np.testing.assert_allclose(window, piece.scores, atol=1e-6)
