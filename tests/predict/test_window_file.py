"""The scores of every window, as a CSV that a resumed run goes on with."""

from pathlib import Path

import numpy as np
import pytest

from activity_cli.errors import OutputError
from activity_cli.predict.results.window_file import WindowFile
from activity_cli.types import FileResult, Prediction, Status, Timeline
from tests.workplace import rows_of


def result(path: str) -> FileResult:
    timeline = Timeline(
        labels=("run", "wave, both"),
        starts_seconds=np.array([0.0, 0.5]),
        window_seconds=2.0,
        end_seconds=2.2,
        scores=np.array([[0.25, 0.75], [1, 0]], np.float32),
        ood_score=np.array([0.9, 1.1], np.float32),
    )
    prediction = Prediction(labels=timeline.labels, scores=timeline.scores.mean(axis=0))
    return FileResult(path=path, status=Status.OK, prediction=prediction, timeline=timeline)


def test_windows_are_rows(tmp_path: Path) -> None:
    path = tmp_path / "windows.csv"
    for resumes, name in ((False, "a,b.mp4"), (True, "=c.mp4")):
        file = WindowFile(path, ("run", "wave, both"), resumes=resumes)
        file.write(result(name))
        file.write(FileResult(path="bad.mp4", status=Status.UNREADABLE))
        file.close()
    rows = rows_of(path)
    assert [row["path"] for row in rows] == ["a,b.mp4", "a,b.mp4", "'=c.mp4", "'=c.mp4"]
    assert list(rows[1].values()) == ["a,b.mp4", "0.5", "2.2", "1.1", "1.0", "0.0"]
    assert list(rows[0])[-2:] == ["score:run", "score:wave, both"]
    with pytest.raises(OutputError, match="exists already"):
        WindowFile(path, ("run",))
    with pytest.raises(OutputError, match=r"are \.csv"):
        WindowFile(tmp_path / "windows.json", ("run",))
