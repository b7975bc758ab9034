"""Exported models found by their folder."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from activity_cli.errors import ModelError
from activity_cli.predict.predictor import load_predictor


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Root may read everything, so give up its rights for a while."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_a_model_folder_without_read_permission_is_one_clear_error() -> None:
    with tempfile.TemporaryDirectory() as place:  # other users cannot enter pytest's folders
        Path(place).chmod(0o755)
        folder = Path(place) / "model"
        folder.mkdir()
        folder.chmod(0o311)

        with as_ordinary_user(), pytest.raises(ModelError, match="Permission denied") as error:
            load_predictor(folder)

    assert str(folder) in error.value.message
    assert "permissions" in error.value.hint
