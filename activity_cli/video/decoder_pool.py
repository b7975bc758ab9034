"""Decode in worker processes, so that a bad file costs at most its own result.

A file that makes FFmpeg or OpenCV crash ends its worker, which is replaced; a file that makes them
hang is given up after a timeout. Light to import: workers alone load OpenCV.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, Unpack

from activity_cli.common.processes import available_cpus
from activity_cli.common.processes.pool import PoolClosedError, WorkerPool
from activity_cli.errors import ActivityError, SettingsError, WorkerCrashError
from activity_cli.settings import ClipSettings

if TYPE_CHECKING:
    from activity_cli.types import Clip, FrameChunk
    from activity_cli.video.augmentation import View
    from activity_cli.video.clips import Part
    from activity_cli.video.resampling import Options

P = ParamSpec("P")
R = TypeVar("R")

# The time limit of a file. The slowest kind that was measured, two hours of 720p in an AVI of 1 GB
# on one slow core, takes about 15 minutes.
_TIMEOUT_SECONDS = 600.0
_TIMEOUT_SECONDS_PER_MB = 4.0

# Decoding does no linear algebra: threads for it would take a third of numpy's import.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoders:
    """How many videos are decoded at a time, with how many threads each, and for how long."""

    num_workers: int = field(default_factory=available_cpus)
    num_threads: int | None = None
    """None: one thread per video, which is cheapest, and all CPUs for a single video."""
    timeout_seconds: float | None = None
    """Time limit for a file; None: 10 minutes and 4 seconds per megabyte."""

    def __post_init__(self) -> None:
        if self.num_workers < 1:
            raise SettingsError(f"num_workers must be at least 1, got {self.num_workers}.")
        if self.timeout_seconds is not None and not self.timeout_seconds > 0:
            hint = "Give a timeout of more than 0 seconds, or none."
            problem = f"A file cannot be decoded in {self.timeout_seconds:g} s."
            raise SettingsError(problem, hint=hint)

    def timeout_for(self, path: Path) -> float:
        """Return the time limit in seconds for decoding a file."""
        if self.timeout_seconds is not None:
            return self.timeout_seconds
        num_bytes = 0
        with suppress(OSError, ValueError):  # the decoder will report that it is missing
            num_bytes = path.stat().st_size
        return _TIMEOUT_SECONDS + _TIMEOUT_SECONDS_PER_MB * num_bytes / 1e6


AUTO_DECODERS = Decoders()


def read_clips(
    path: Path, settings: ClipSettings, views: "Sequence[View]", **part: "Unpack[Part]"
) -> "tuple[Clip, ...]":
    """Do the same as `clips.read_clips`: where this is called in a worker, only that loads cv2."""
    from activity_cli.video import clips

    return clips.read_clips(path, settings, views, **part)


class DecoderPool(AbstractContextManager["DecoderPool"]):
    """The worker processes that decode. A context manager.

    With `start` the first one starts at once, not when something is decoded.
    """

    def __init__(self, decoders: Decoders = AUTO_DECODERS, *, start: bool = True) -> None:
        self.decoders = decoders
        self._workers = WorkerPool(
            decoders.num_workers,
            imports=["activity_cli.video.clips"],
            environment=_ENVIRONMENT,
            start=start,
        )

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers."""
        self._workers.close()

    def reader(self) -> "ClipReader":
        """Return a reader for the threads of one run."""
        return ClipReader(self._workers, self.decoders)


class ResamplingSession(AbstractContextManager["ResamplingSession"]):
    """A `Resampler` in a worker process of its own, with its arguments. A context manager."""

    def __init__(
        self, path: Path, decoders: Decoders, settings: ClipSettings, **options: "Unpack[Options]"
    ) -> None:
        from activity_cli.video.resampling import open_resampler

        self._limit = decoders.timeout_for(path)
        imports = [open_resampler.__module__]
        self._workers = WorkerPool(1, imports=imports, environment=_ENVIRONMENT)
        options.setdefault("num_threads", decoders.num_threads or 0)
        try:
            self.info = _call(self._workers, self._limit, open_resampler, path, settings, **options)
        except BaseException:
            self.close()
            raise

    def __exit__(self, *error: object) -> None:
        self.close()

    def read(self, max_timesteps: int) -> "FrameChunk":
        """Read the next timesteps, at most so many."""
        from activity_cli.video.resampling import read_resampled

        return _call(self._workers, self._limit, read_resampled, max_timesteps)

    def close(self) -> None:
        """End the worker, whatever it is doing."""
        self._workers.close()


class ClipReader:
    """Reads videos in workers, for any number of threads, until it is interrupted."""

    def __init__(self, workers: WorkerPool, decoders: Decoders) -> None:
        self._workers = workers
        self._decoders = decoders
        self._threads: set[int] = set()

    def call(
        self,
        function: Callable[Concatenate[Path, P], R],
        path: Path,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Run a function that opens a video, such as `clips.read_clip`, in a worker.

        Errors are those of the function, WorkerCrashError and WorkerTimeoutError.
        """
        self._threads.add(threading.get_ident())
        timeout_seconds = self._decoders.timeout_for(path)
        return _call(self._workers, timeout_seconds, function, path, *args, **kwargs)

    def interrupt(self) -> None:
        """End what this reader's threads are decoding now: their calls raise WorkerCrashError."""
        self._workers.interrupt(self._threads)


def _call(
    workers: WorkerPool,
    timeout_seconds: float,
    function: Callable[P, R],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Run a function that reads one file in a worker.

    Any error that is not ours, such as `cv2.error` or MemoryError, becomes a WorkerCrashError, so
    that a bad file gets a row and never ends a batch.
    """
    try:
        return workers.call_within(timeout_seconds, function, *args, **kwargs)
    except (ActivityError, PoolClosedError):
        raise
    except Exception as error:
        name = "OpenCV" if type(error).__module__ == "cv2" else type(error).__name__
        # OpenCV's messages begin with a place in its source code.
        text = " ".join(str(error).split()).rpartition(" error: ")[2].rstrip(".")
        raise WorkerCrashError(
            f"Decoding failed ({name}): {text or 'no further details'}.",
            hint="The file may be damaged: convert it, for instance with ffmpeg.",
        ) from error
