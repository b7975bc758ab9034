"""Prediction from Python gives what the command gives."""

import subprocess
import sys
from pathlib import Path

import pytest

import activity_cli
from activity_cli import load_model
from activity_cli.errors import ModelError
from activity_cli.types import Status
from tests.workplace import Workplace, rows_of


def test_python_says_what_the_command_says(shared: Workplace, workplace: Workplace) -> None:
    clips = sorted((shared.folder / "clips").glob("*/*.mp4"))[::6]
    run = shared.folder / "runs" / "first"
    (workplace.folder / "text.mp4").write_text("no video")
    files = [*clips, workplace.folder / "text.mp4", workplace.folder / "gone.mp4"]
    workplace.run("predict", *map(str, files), "--model", str(run), "--output", "a.csv", code=3)
    expected = rows_of(workplace.folder / "a.csv")

    with load_model(run, cache_dir=shared.cache) as model:
        assert set(model.labels) == {"walk", "wave", "jump"}
        results = list(model.predict_many(files))
        alone = model.predict(str(clips[0]))

    assert [result.path for result in results] == [row["path"] for row in expected]
    assert [result.status for result in results] == [row["status"] for row in expected]
    for result, row in zip(results[:-2], expected, strict=False):
        assert result.prediction is not None
        assert result.prediction.label == row["label"]
        assert result.prediction.score == pytest.approx(float(row["score"]), abs=1e-6)
    assert results[-1].status is Status.MISSING
    assert results[-1].prediction is None
    assert alone.prediction is not None
    assert alone.prediction.label == expected[0]["label"]


def test_loading_is_light_until_a_model_is_asked_for(tmp_path: Path) -> None:
    script = "import activity_cli, sys; print(*({'numpy', 'cv2', 'openvino'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == ""
    with pytest.raises(ModelError) as error:
        load_model(tmp_path)
    assert error.value.hint
    assert activity_cli.__version__


def test_importing_the_package_imports_nothing_else_of_it() -> None:
    # A host program pays for the API when it uses it, and the version costs one module.
    program = (
        "import sys, activity_cli; activity_cli.__version__;"
        "print(*[name for name in sys.modules if name.startswith('activity_cli.')]);"
        "print(*{'numpy', 'cv2', 'torch'} & sys.modules.keys())"
    )

    done = subprocess.check_output([sys.executable, "-c", program], text=True)

    assert done.splitlines() == ["activity_cli.version", ""]
    assert activity_cli.load_model is load_model
