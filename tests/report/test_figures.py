"""Pictures of a training, drawn in a second process."""

import os
from pathlib import Path

import pytest

from activity_cli.errors import OutputError
from activity_cli.report.figures import DrawingProcess, plot_curves
from tests.worker_functions import has_imported

HISTORY = [
    {"epoch": n, "train_loss": 1 / (1 + n), "val_loss": 1.0, "train_accuracy": 0.5}
    | {"val_accuracy": 0.5}
    for n in range(3)
]


def test_leaving_waits_for_the_pictures_and_raises_their_errors(tmp_path: Path) -> None:
    with DrawingProcess() as drawing:
        number = drawing.draw(os.getpid)
        torch = drawing.draw(has_imported, "torch")  # 1 s, for nothing
        drawing.draw(plot_curves, HISTORY, 1, tmp_path / "curves.png")
    assert number.result() != os.getpid()
    assert not torch.result()
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")

    with pytest.raises(OutputError, match="curves"), DrawingProcess() as drawing:
        drawing.draw(plot_curves, HISTORY, 1, tmp_path / "curves.png" / "curves.png")
