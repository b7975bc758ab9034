"""A place to run the commands in as a user does: real processes, a feature cache of its own."""

import csv
import os
import subprocess
import sys
from pathlib import Path

LABELS = ("walk", "wave", "jump")
QUICK = ("--epochs", "12", "--patience", "12")


class Workplace:
    """A folder to run commands in, with a feature cache of its own."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "ACTIVITY_CACHE_DIR": str(cache), "COLUMNS": "100"}
        self.cache = cache

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "activity_cli", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        process = self.start(*arguments)
        stdout, stderr = process.communicate(timeout=240)
        assert process.returncode == code, f"{arguments}: {process.returncode}\n{stdout}\n{stderr}"
        assert "Traceback" not in stderr
        return subprocess.CompletedProcess(arguments, code, stdout, stderr)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
