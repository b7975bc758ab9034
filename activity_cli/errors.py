"""The error tree. Every error a user can cause says in one line what, and in one what to do next.

The command line prints both and exits with code 1; anything that is not an ActivityError is a bug
and keeps its traceback. Errors can be pickled: those of worker processes are raised again here.
"""

import copyreg
from typing import Any


class ActivityError(Exception):
    """What went wrong in one line, and in `hint` the next step to take."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it says, not what its constructor was given, which differs by class."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class SettingsError(ActivityError):
    """A setting has a value that cannot work."""


class DataError(ActivityError):
    """The labelled data (a folder of clips or a CSV) cannot be used as it is."""


class VideoError(ActivityError):
    """A video gives no frames. `status` is the word for it in result rows."""

    status = "unreadable"


class MissingVideoError(VideoError):
    """There is no file at that path."""

    status = "missing"


class NoVideoError(VideoError):
    """What lies there is something else, and will not become a video by growing."""


class UnsupportedVideoError(VideoError):
    """The file is a video, but this OpenCV has no decoder for its codec."""

    status = "unsupported"


class LongVideoError(VideoError):
    """The video is too long to be taken as one clip. Whoever set the limit knows what to do."""

    def __init__(self, duration_seconds: float) -> None:
        super().__init__(f"It is {duration_seconds:g} s long, more than one clip.")


class WorkerCrashError(VideoError):
    """The process that decoded the video died of it."""

    status = "crashed"


class WorkerTimeoutError(VideoError):
    """Decoding took longer than it may."""

    status = "timeout"


class ModelError(ActivityError):
    """A model folder is absent, incomplete, changed or of a newer format."""


class BackboneError(ActivityError):
    """A CNN is unknown, or its weights are not on this machine and cannot be fetched."""


class TrainingError(ActivityError):
    """A training cannot go on: its loss is no number, or memory does not do."""


class CheckpointError(ActivityError):
    """A training cannot be resumed: its state is damaged, or of another training."""


class ExportError(ActivityError):
    """A model cannot be exported as asked, or the export does not compute what the model does."""


class MissingExtraError(ActivityError):
    """Something needs a package that is not part of the basic installation."""

    def __init__(self, what: str, *, package: str, extra: str) -> None:
        super().__init__(
            f"{what} needs {package}, which is not installed.",
            hint=f"pip install 'activity-cli[{extra}]'",
        )


class OutputError(ActivityError):
    """A result cannot be written where it was asked for."""
