"""A place to run the commands in as a user does, with a feature cache of its own."""

import csv
import io
import os
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from activity_cli import cli
from tests.processes import PATIENCE_SECONDS

LABELS = ("walk", "wave", "jump")
FEW_PIXELS = ("--frames", "8", "--frame-size", "64")
"""Clips of which CNN and decoders make features in a moment."""
QUICK = ("--epochs", "12", "--patience", "12", *FEW_PIXELS)


class Workplace:
    """A folder to run commands in, with a feature cache of its own."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        # Without the action network, which some machines that test have and others have not.
        own = {"ACTIVITY_CACHE_DIR": str(cache), "ACTIVITY_WEIGHTS": "", "COLUMNS": "100"}
        self.environment = {**os.environ, **own}
        self.cache = cache

    def run(self, *arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        """Run a command in this process, which has imported torch and others before.

        A new process spends up to six seconds on that. What needs one, such as a promise about
        signals, imports or what a process leaves behind, uses `run_alone` or `start`.
        """
        stdout, stderr = _CapturedStream(), _CapturedStream()
        with (
            pytest.MonkeyPatch.context() as patch,
            redirect_stdout(stdout),
            redirect_stderr(stderr),
        ):
            patch.setattr(tempfile, "tempdir", None)  # TMPDIR may have changed
            patch.setattr(sys, "argv", ["activity", *arguments])
            patch.chdir(self.folder)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            ended = cli.run()
        return _checked(arguments, code, ended, stdout.text(), stderr.text())

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "activity_cli", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run_alone(self, *arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        """Run a command in a process of its own, to its end."""
        process = self.start(*arguments)
        stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
        return _checked(arguments, code, process.returncode, stdout, stderr)


class _CapturedStream(io.TextIOWrapper):
    """What a command writes, text or bytes: no terminal, like the pipe to a process."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        super().__init__(self._bytes, encoding="utf-8", write_through=True)

    def text(self) -> str:
        return self._bytes.getvalue().decode("utf-8")


def _checked(
    arguments: tuple[str, ...], expected: int, code: int, stdout: str, stderr: str
) -> "subprocess.CompletedProcess[str]":
    assert code == expected, f"{arguments}: {code}\n{stdout}\n{stderr}"
    assert "Traceback" not in stderr
    return subprocess.CompletedProcess(arguments, code, stdout, stderr)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
