"""The error tree. An error that a user can cause has one line about the problem, one about the fix.

The command line prints both. Anything that is not an ActivityError is a bug and keeps its
traceback. Errors can be pickled: those of worker processes are raised again in the main process.
"""

import copyreg
from collections.abc import Collection
from difflib import get_close_matches
from typing import Any


class ActivityError(Exception):
    """What is wrong, in one line; `hint` is the next step to take."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the message, not the arguments of the constructor, which differ by class."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class SettingsError(ActivityError):
    """A setting has a value that cannot work; exit code 2 of the command line."""


class DataError(ActivityError):
    """The labelled data (a folder of clips or a CSV) cannot be used as it is."""


class VideoError(ActivityError):
    """A video has no readable frames. `status` is its status in result rows."""

    status = "unreadable"


class MissingVideoError(VideoError):
    """There is no file at that path."""

    status = "missing"


class NoVideoError(VideoError):
    """The file is not a video, and cannot become one by growing."""


class UnsupportedVideoError(VideoError):
    """The file is a video, but this OpenCV has no decoder for its codec."""

    status = "unsupported"


class LongVideoError(VideoError):
    """The video is longer than one clip; the caller scores it in windows."""

    def __init__(self, duration_seconds: float) -> None:
        super().__init__(f"It is {duration_seconds:g} s long, more than one clip.")


class WorkerCrashError(VideoError):
    """The process that decoded the video crashed, or the CNN failed on its frames."""

    status = "crashed"


class WorkerTimeoutError(VideoError):
    """Decoding took longer than the limit."""

    status = "timeout"


class ModelError(ActivityError):
    """A model folder is absent, incomplete, changed or of a newer format."""


class BackboneError(ActivityError):
    """A CNN is unknown, or its weights are not on this machine and cannot be fetched."""


class TrainingError(ActivityError):
    """A training cannot go on: its loss became NaN, or memory ran out."""


class CheckpointError(ActivityError):
    """A training cannot be resumed: its state is damaged, or of another training."""


class ExportError(ActivityError):
    """A model cannot be exported as asked, or the export gives other results than the model."""


class MissingExtraError(ActivityError):
    """Something needs a package that is not part of the basic installation."""

    def __init__(self, what: str, *, package: str, extra: str) -> None:
        super().__init__(
            f"{what} needs {package}, which is not installed.",
            hint=f"pip install 'activity-cli[{extra}]'",
        )


class OutputError(ActivityError):
    """A result cannot be written to the requested place."""


def did_you_mean(wrong: str, known: Collection[str]) -> str:
    """Return ` Did you mean wave?` for what resembles a known word; empty if nothing does."""
    close = get_close_matches(wrong, known, cutoff=0.6)
    return f" Did you mean {' or '.join(close)}?" if close else ""
