"""`--labels`: chosen labels of a model, under other names."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from activity_cli.errors import SettingsError
from activity_cli.model.folder import load_model
from activity_cli.predict.label_selection import LabelSelection
from activity_cli.sampledata import draw_dataset
from tests.workplace import Workplace, rows_of

MODEL = replace(
    load_model("surveillance-fight").description,
    labels=("jogging", "running on treadmill", "walking the dog", "nothing"),
    background="nothing",
)
SCORES = np.array([[0.1, 0.2, 0.1, 0.6]], np.float32)


@pytest.mark.parametrize(
    ("text", "keep_unknown", "expected"),
    [
        ("walking the dog,jogging", False, {"walking the dog": 0.5, "jogging": 0.5}),
        (
            "jogging=run, running on treadmill = run,nothing",
            False,
            {"run": 1 / 3, "nothing": 2 / 3},
        ),
        ("jogging,running on treadmill=run", True, {"jogging": 0.1, "run": 0.2, "unknown": 0.7}),
    ],
    ids=["chosen", "added under one name", "the rest is unknown"],
)
def test_labels_are_chosen_and_renamed(
    text: str, keep_unknown: bool, expected: dict[str, float], tmp_path: Path
) -> None:
    file = tmp_path / "labels.txt"
    file.write_text(text.replace(",", "\n"))
    longest = text + "," * 5000  # no file can have such a name

    for source in (text, str(file), longest):
        selected, select = LabelSelection.read(source, keep_unknown=keep_unknown).select(MODEL)

        assert selected.labels == tuple(expected)
        assert select(SCORES)[0] == pytest.approx(list(expected.values()))
    assert selected.background == next((x for x in ("nothing", "unknown") if x in expected), None)
    assert select(np.eye(4, dtype=np.float32)).sum(axis=1) == pytest.approx(1)  # also of none


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("joging,nothing", "no label joging", "jogging"),
        ("jogging=run", "one answer, run", "--unknown"),
        ("jogging=run,jogging=walk", "a label twice", "once"),
        (" , ", "has no labels", "walk"),
    ],
)
def test_labels_that_cannot_work_are_refused(text: str, message: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=message) as error:
        LabelSelection.read(text, keep_unknown=False).select(MODEL)
    assert hint in error.value.hint


def test_a_batch_with_other_labels_is_not_resumed(workplace: Workplace) -> None:
    draw_dataset(workplace.folder / "in", clips_per_label=1, labels=("wave", "walk"))
    batch = ("predict", "in", "--model", "surveillance-fight", "--output", "rows.csv")
    workplace.run(*batch, "--labels", "fight=brawl", "--unknown")

    refused = workplace.run(*batch, "--labels", "fight=brawl,noFight", code=1).stderr
    resumed = workplace.run(*batch, "--labels", "fight=brawl", "--unknown").stderr

    assert "another label selection" in refused
    assert "2 scored before" in resumed
    assert {row["label"] for row in rows_of(workplace.folder / "rows.csv")} <= {"brawl", "unknown"}
