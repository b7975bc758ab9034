"""What commands tell on stderr, and what the shell completes."""

import json
import re
from pathlib import Path

import pytest

from activity_cli.cli.progress import progress_report
from tests.workplace import Workplace

DRAW = ("sample", "drawn", "--clips-per-label", "2", "--label", "walk")


@pytest.fixture
def empty(tmp_path: Path) -> Workplace:
    """An empty folder, without prepared networks."""
    return Workplace(tmp_path, tmp_path / "cache")


def test_progress_as_json_lines(empty: Workplace) -> None:
    done = empty.run(*DRAW, "--progress", "json")

    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert lines[-1] == {"stage": "draw", "done": 2, "total": 2, "detail": ""}


def test_the_environment_sets_options(empty: Workplace) -> None:
    empty.environment |= {"ACTIVITY_PROGRESS": "json", "ACTIVITY_MODEL": "nobody"}

    assert '"stage": "draw"' in empty.run(*DRAW).stderr
    assert "no model 'nobody'" in empty.run("predict", "drawn", code=1).stderr


@pytest.mark.parametrize(
    ("quiet", "shown"), [(0, ["a note", "a warning"]), (1, ["a warning"]), (2, [])]
)
def test_each_q_hides_more(
    quiet: int, shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_report(quiet=quiet, style="plain") as report:
        report("draw", 1, 2)
        report.note("a note")
        report.warn("a warning")

    assert capsys.readouterr().err.splitlines() == shown


def test_verbose_names_model_engine_cache_and_files(shared: Workplace) -> None:
    clip = "clips/walk/person00_000.mp4"
    predict = ("predict", clip, "--model", "runs/first", "--no-cache", "--quiet")

    assert shared.run(*predict).stderr == ""
    told = shared.run(*predict, "--verbose").stderr
    assert "Model first: runs/first/model" in told
    assert re.search(rf"openvino-\w+ on cpu, cache {shared.cache}\n", told)
    assert clip not in told


def test_the_version_with_those_of_libraries(empty: Workplace) -> None:
    version = empty.run("--version").stdout.split()[1]

    versions = json.loads(empty.run("--version", "--json").stdout)

    assert versions["activity-cli"] == version
    assert {"python", "opencv-python", "openvino", "torch"} <= set(versions)
    assert "activity --help" in empty.run("--json", code=2).stderr


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("activity predict --model ", ["surveillance-fight", "kinetics600", "runs/first"]),
        ("activity predict --model runs/first --only w", ["walk", "wave"]),
        ("activity evaluate runs", ["runs/first"]),
        ("activity train clips --background-label j", ["jump"]),
        ("activity crossval clips/labels.csv --group-column g", ["group"]),
        ("activity crossval nowhere.csv --group-column ", []),
    ],
)
def test_the_shell_completes_models_labels_and_columns(
    shared: Workplace, line: str, completed: list[str]
) -> None:
    words = line.split(" ")
    place = Workplace(shared.folder, shared.cache)
    place.environment |= {
        "_ACTIVITY_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }

    given = place.run().stdout.split()

    others = [name for name in given if name.startswith("runs/") and name != "runs/first"]
    assert [name for name in given if name not in others] == completed  # of other tests
