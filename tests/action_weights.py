"""The file with the weights of the action network, for tests that need the real one."""

import os
from pathlib import Path

import pytest

from activity_cli.features.action_weights import FILE_NAME


def real_weights() -> Path:
    """Return the file in the folder ACTIVITY_WEIGHTS, or skip the test."""
    folder = os.environ.get("ACTIVITY_WEIGHTS")
    if not folder or not (file := Path(folder, FILE_NAME)).is_file():
        pytest.skip(f"ACTIVITY_WEIGHTS is no folder with {FILE_NAME}")
    return file.absolute()
