"""The epochs of a training on disk, written as they come: a CSV, and TensorBoard's event files."""

import csv
import io
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from activity_cli.common.files import LineFile
from activity_cli.training.loop.task import Epoch

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

HISTORY_FILE = "history.csv"
TENSORBOARD_FOLDER = "tensorboard"


class TrainingLog(AbstractContextManager["TrainingLog"]):
    """Takes epochs from the first one on; a resumed training tells the earlier ones again."""

    def __init__(self, folder: Path, *, tensorboard: bool, quiet: bool = False) -> None:
        """Write nothing if quiet, as in a process that is not the main one."""
        self.last: Epoch | None = None
        """What it was told last."""
        self._folder, self._quiet = folder, quiet
        self._wants_board = tensorboard and find_spec("tensorboard") is not None
        self._file: LineFile | None = None
        self._board: SummaryWriter | None = None

    def __call__(self, epoch: Epoch) -> None:
        """Write an epoch down.

        Raises:
            OutputError: the file cannot be written.
        """
        self.last = epoch
        if self._file is None and not self._quiet:
            self._begin()
        if self._file is not None:
            self._file.write(_line(list(asdict(epoch).values())))
        if self._board is not None:
            for part in ("train", "val"):
                for what in ("loss", "accuracy"):
                    value = getattr(epoch, f"{part}_{what}")
                    self._board.add_scalar(f"{what}/{part}", value, epoch.epoch)
            self._board.add_scalar("learning rate", epoch.learning_rate, epoch.epoch)
            self._board.flush()

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()

    def _begin(self) -> None:
        self._file = LineFile(self._folder / HISTORY_FILE, "w")
        self._file.write(_line([field.name for field in fields(Epoch)]))
        if self._wants_board:
            from torch.utils.tensorboard import SummaryWriter

            board = self._folder / TENSORBOARD_FOLDER
            shutil.rmtree(board, ignore_errors=True)  # it may be ahead of the checkpoint
            self._board = SummaryWriter(str(board))


def _line(values: Sequence[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()
