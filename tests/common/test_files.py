"""Files are written completely or not at all, and nothing is overwritten unasked."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from activity_cli.common.files import (
    new_folder,
    numbered_folder,
    temporary_file,
    write_json,
    write_text_atomically,
)
from activity_cli.errors import OutputError


def test_a_text_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"

    write_text_atomically(path, "old")
    write_text_atomically(path, "new: \udcff ü\n")

    assert path.read_bytes() == b"new: \xff \xc3\xbc\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.txt"]


def test_a_failed_write_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()

    with pytest.raises(OutputError, match=r"Cannot write .*folder: ") as error:
        write_text_atomically(tmp_path / "folder", "x")

    assert error.value.hint
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_json_takes_numpy_and_has_no_nan(tmp_path: Path) -> None:
    value = {
        "accuracy": np.float32(0.5),
        "auc": math.nan,
        "table": np.array([[1, 2], [3, 4]]),
        "flags": (np.bool_(True), None, math.inf),
        "path": Path("x"),
    }

    write_json(tmp_path / "a.json", value)

    assert json.loads((tmp_path / "a.json").read_text()) == {
        "accuracy": 0.5,
        "auc": None,
        "table": [[1, 2], [3, 4]],
        "flags": [True, None, None],
        "path": "x",
    }
    with pytest.raises(TypeError, match="object has no JSON form"):
        write_json(tmp_path / "b.json", object())


def test_a_temporary_file_leaves_no_trace(tmp_path: Path) -> None:
    with temporary_file(tmp_path / "new") as file:
        file.write(b"x")

    assert not list((tmp_path / "new").iterdir())


def test_a_new_folder_is_empty_unless_told(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "a" / "b")
    assert new_folder(folder) == folder
    (folder / "x").touch()

    with pytest.raises(OutputError, match="not empty") as error:
        new_folder(folder)
    assert "--overwrite" in error.value.hint
    assert new_folder(folder, overwrite=True) == folder
    assert (folder / "x").exists()
    with pytest.raises(OutputError, match="is a file"):
        new_folder(folder / "x")


def test_run_folders_are_numbered_and_never_reused(tmp_path: Path) -> None:
    (tmp_path / "train-2").touch()

    made = [numbered_folder(tmp_path, "train").name for _ in range(3)]

    assert made == ["train", "train-3", "train-4"]
    with pytest.raises(OutputError, match="Cannot write"):
        numbered_folder(tmp_path / "train-2", "train")
