"""The built wheel, installed into an environment of its own, does what the checkout does."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="builds the wheel with hatchling: pip install hatchling")
ROOT = Path(__file__).parents[1]


def run(*command: object, cwd: Path, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_wheel_runs_the_demo(tmp_path: Path, prepared: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    # Unpacked, as pip does with a pure wheel: dependencies are those of this environment.
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    program = ("import sys; from activity_cli.cli import main; sys.argv[0] = 'activity'; main()",)
    where = {"PYTHONPATH": str(site), "ACTIVITY_CACHE_DIR": str(prepared), "ACTIVITY_WEIGHTS": ""}

    origin = run(
        sys.executable,
        "-P",
        "-c",
        "import activity_cli; print(activity_cli.__file__)",
        cwd=work,
        **where,
    )
    assert origin.startswith(str(site))
    shown = run(sys.executable, "-P", "-c", *program, "demo", cwd=work, **where)
    for name in ("runs/actions/report.html", "storyboard.png", "overlay.mp4"):
        assert str(Path("activity-demo", name)) in shown
        assert (work / "activity-demo" / name).stat().st_size > 1000
