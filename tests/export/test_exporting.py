"""What an export brings with it: an example, labels, a runtime without torch, and clear errors."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from activity_cli.errors import ExportError, ModelError
from activity_cli.export.exporting import ExportConfig, export_model
from activity_cli.model.folder import Model
from activity_cli.predict.exported import read_exported
from activity_cli.predict.exported.metadata import Format
from tests.export.conftest import LABELS
from tests.workplace import Workplace, rows_of


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "openvino", "torchscript"])
def test_the_example_in_the_readme_runs_without_activity(
    format: Format, exports: Path, clips: list[Path], tmp_path: Path
) -> None:
    folder = exports / format
    [example] = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    block = "import sys; sys.modules['activity_cli'] = None\n"

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", block + example, str(clips[0])],
        cwd=folder,
        env={**os.environ, "HOME": str(tmp_path)},  # where a plain runtime reports its use
        capture_output=True,
        text=True,
        check=True,
    )

    label, score = done.stdout.split()
    assert label in LABELS
    assert 1 / 3 <= float(score) <= 1


RUN_WITHOUT_TORCH = """
import sys
from pathlib import Path
from activity_cli.features.extraction import ClipRequest
from activity_cli.predict.predictor import PredictConfig, load_predictor

predictor = load_predictor(sys.argv[1], PredictConfig(cache_dir=Path("unused")))
[result] = predictor.predict([ClipRequest(path=Path(sys.argv[2]))])
print(result.prediction.label, predictor.description.name, "torch" in sys.modules)
"""


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_running_an_export_imports_no_torch_and_leaves_no_trace(
    format: Format, exports: Path, clips: list[Path], tmp_path: Path
) -> None:
    program = [sys.executable, "-c", RUN_WITHOUT_TORCH, str(exports / format), str(clips[0])]

    said = subprocess.check_output(
        program,
        text=True,
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
    )

    assert said.split()[1:] == ["tiny", "False"]
    assert list(tmp_path.iterdir()) == []


LIMIT_AND_SCORE = """
import sys
from pathlib import Path
import torch
from activity_cli.common.processes import limit_threads
from activity_cli.predict.exported import open_exported, read_exported
from activity_cli.video.clips import read_frames

torch.set_num_threads(2)  # the host's choice
limit_threads(1)
used, set_threads = [], torch.set_num_threads
torch.set_num_threads = lambda number: (used.append(number), set_threads(number))
for folder in sys.argv[2:]:
    export = read_exported(Path(folder))
    images = read_frames(sys.argv[1], export.description.clip).images
    open_exported(export).score({role: stack[None] for role, stack in images.items()})
print(*used, "host:", torch.get_num_threads())
"""


@pytest.mark.slow
def test_torch_files_obey_the_thread_limit_and_leave_the_host_its_own(
    exports: Path, clips: list[Path]
) -> None:
    # In a process of its own, since the limit is one of the whole process.
    folders = [str(exports / format) for format in ("torchscript", "torch-export")]
    program = [sys.executable, "-c", LIMIT_AND_SCORE, str(clips[0]), *folders]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    answer = subprocess.check_output(program, env=environment, text=True)

    assert answer.splitlines()[-1] == "1 2 1 2 host: 2"


@pytest.mark.slow
def test_an_export_is_a_model_for_predict_and_evaluate(
    tiny: Model, clips: list[Path], tmp_path: Path
) -> None:
    workplace, drawn = Workplace(tmp_path, tmp_path / "cache"), str(clips[0].parents[1])
    export = ("export", str(tiny.folder), "--format", "torchscript", "--verify", str(clips[0]))

    done = workplace.run(*export, "--output", "out")
    again = workplace.run(*export, "--output", "out", code=1)
    for name, model in (("export", "out/torchscript"), ("model", str(tiny.folder))):
        workplace.run("evaluate", model, drawn, "--output", name, "--trust-model")
    for command in (("evaluate", "out/torchscript", drawn), ("predict", drawn, "--model", "out")):
        assert "can run code that it contains" in workplace.run(*command, code=1).stderr

    assert "passed" in done.stdout
    assert "--overwrite" in again.stderr
    measured, expected = (
        rows_of(tmp_path / name / "predictions.csv") for name in ("export", "model")
    )
    assert len(measured) == 3
    for row, wanted in zip(measured, expected, strict=True):
        for label in LABELS:
            score = float(wanted[f"score_{label}"])
            assert float(row[f"score_{label}"]) == pytest.approx(score, abs=0.02)  # bf16, some CPUs
    refused = workplace.run(
        "predict", drawn, "--model", "out/torchscript", "--engine", "torch", code=2
    )
    assert "Remove --engine" in refused.stderr
    refused = workplace.run("export", "out/torchscript", code=1)
    assert "already an exported model" in refused.stderr


def test_any_onnx_program_can_read_the_labels(exports: Path) -> None:
    import onnx

    model = onnx.load(exports / "onnx" / "tiny.onnx")

    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(properties["labels"]) == list(LABELS)
    assert [value.name for value in model.graph.input] == ["frames", "earlier", "later", "flow"]
    onnx.checker.check_model(model)


@pytest.mark.parametrize("damage", ["text", "cut", "foreign"])
def test_what_is_no_export_is_refused_in_words(damage: str, exports: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    match damage:
        case "text":
            path.write_text("not a model")
        case "cut":
            content = (exports / "onnx" / "tiny.onnx").read_bytes()
            path.write_bytes(content[: len(content) // 2])
        case "foreign":
            import onnx

            graph = onnx.helper.make_graph([], "nothing", [], [])
            onnx.save_model(onnx.helper.make_model(graph), path)

    with pytest.raises(ModelError, match=r"model\.onnx") as error:
        read_exported(path)
    assert error.value.hint


def test_a_format_without_the_precision_is_refused_before_the_work(
    tiny: Model, tmp_path: Path
) -> None:
    config = ExportConfig(formats=("torchscript",), precision="int8")

    with pytest.raises(ExportError, match="torchscript has no precision int8"):
        export_model(tiny, tmp_path / "x", config, verify=[])
    assert not (tmp_path / "x").exists()
