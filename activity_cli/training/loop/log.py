"""The metrics of a training on disk, written as they come: history.csv and TensorBoard files."""

import csv
import io
import shutil
from collections.abc import Iterable
from dataclasses import asdict, fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self

from activity_cli.common.files import LineFile
from activity_cli.training.loop.task import EpochMetrics

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

HISTORY_FILE = "history.csv"
TENSORBOARD_FOLDER = "tensorboard"


class TrainingLog:
    """A context manager that writes epochs; quiet, in all processes but the main one, nothing."""

    def __init__(self, folder: Path, *, tensorboard: bool, quiet: bool = False) -> None:
        self.last: EpochMetrics | None = None
        self._folder, self._quiet = folder, quiet
        self._wants_board = tensorboard and find_spec("tensorboard") is not None
        self._file: LineFile | None = None
        self._board: SummaryWriter | None = None

    def __call__(self, epoch: EpochMetrics) -> None:
        """Write an epoch. A resumed training repeats the earlier ones.

        Raises:
            OutputError: the file cannot be written.
        """
        self.last = epoch
        if self._quiet:
            return
        values = asdict(epoch)
        if self._file is None:
            self._file = LineFile(self._folder / HISTORY_FILE, "w")
            self._write(field.name for field in fields(EpochMetrics))
            self._open_board()
        self._write(values.values())
        if self._board is not None:
            for part in ("train", "val"):
                for what in ("loss", "accuracy"):
                    self._board.add_scalar(f"{what}/{part}", values[f"{part}_{what}"], epoch.epoch)
            self._board.add_scalar("learning rate", epoch.learning_rate, epoch.epoch)
            self._board.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for output in (self._file, self._board):
            if output is not None:
                output.close()

    def _write(self, values: Iterable[object]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(values)
        assert self._file is not None
        self._file.write(text.getvalue().encode())

    def _open_board(self) -> None:
        if self._wants_board:
            from torch.utils.tensorboard import SummaryWriter

            board = self._folder / TENSORBOARD_FOLDER
            shutil.rmtree(board, ignore_errors=True)  # it may be ahead of the checkpoint
            self._board = SummaryWriter(str(board))
