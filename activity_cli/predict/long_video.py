"""One long video -> scores of windows along it, streamed: decoder, network and classifier overlap.

N is points of the grid, S streams, T frames per window, C labels; times are seconds.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.settings import ClipSettings
from activity_cli.types import Status, Timeline, Timesteps
from activity_cli.video.decoder_pool import Decoders, ResamplingSession
from activity_cli.video.pipeline import pipelined_map
from activity_cli.video.resampling import FrameChunk
from activity_cli.video.windows import Windows, slide

_POINTS_AT_A_TIME = 32
_WINDOWS_AT_A_TIME = 8

OnSeconds = Callable[[Path, float, float], None]
"""Called with (path, done, total) seconds of a long video; a total of 0 means it is not known."""


def no_seconds(path: Path, done: float, total: float) -> None:
    """The silent listener."""
    del path, done, total


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What looks at the frames and at the windows made of what it saw."""

    see: Callable[[Timesteps], NDArray[Any]]
    """From N points to (S, N, ...), whatever of each point matters to a window."""
    score: Callable[[NDArray[Any]], NDArray[np.float32]]
    """From windows (B, S, T, ...) to (B, C)."""
    as_streams: bool
    """Whether `see` wants what the CNN sees, or the frames that it is made of."""
    see_stage: str
    """What the time that `see` takes is counted as, in `stage_seconds`."""
    score_stage: str
    """The same for `score`."""
    labels: tuple[str, ...]
    novelty: Callable[[NDArray[Any]], NDArray[np.float32]] | None = None
    """From windows to (B,), how unlike the training clips they are, where that can be said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LongResult:
    """A long video's windows, and what decoding said."""

    timeline: Timeline
    num_frames: int
    duration_seconds: float
    status: Status
    reason: str
    stage_seconds: Mapping[str, float]


def score_long_video(
    path: Path,
    settings: ClipSettings,
    windows: Windows,
    scan: Scan,
    *,
    decoders: Decoders,
    on_seconds: OnSeconds = no_seconds,
) -> LongResult | None:
    """Slide windows over a video. Memory does not grow with its length, but for the scores.

    Returns:
        None where the video has less than one window after all.

    Raises:
        VideoError: it cannot be decoded, or the decoder crashed or hung.
    """
    spent: defaultdict[str, float] = defaultdict(float)
    starts: list[int] = []
    scores: list[NDArray[np.float32]] = []
    novelty: list[NDArray[np.float32]] = []
    with ResamplingSession(
        path,
        decoders,
        settings,
        step_seconds=windows.step_seconds,
        as_streams=scan.as_streams,
    ) as video:
        total = video.info.duration_seconds_from_header or 0.0
        state = _Progress()
        parts = _look(video, scan, state, spent)
        with closing(parts):
            for batch in _batches(slide(parts, windows)):
                started = time.perf_counter()
                starts += [start for start, _ in batch]
                stack = np.stack([window for _, window in batch])
                scores.append(scan.score(stack))
                if scan.novelty is not None:
                    novelty.append(scan.novelty(stack))
                spent[scan.score_stage] += time.perf_counter() - started
                on_seconds(path, starts[-1] * windows.step_seconds, total)
    last = state.last
    if not starts or last is None:
        return None
    return LongResult(
        timeline=Timeline(
            labels=scan.labels,
            starts_seconds=last.first_seconds + np.array(starts) * windows.step_seconds,
            window_seconds=windows.window_seconds,
            end_seconds=last.end_seconds,
            scores=np.concatenate(scores),
            novelty=np.concatenate(novelty) if novelty else None,
        ),
        num_frames=last.num_frames,
        duration_seconds=last.end_seconds - last.first_seconds,
        status=last.status,
        reason=last.reason,
        stage_seconds=spent,
    )


@dataclass(slots=True)
class _Progress:
    """How far a scan has come."""

    last: FrameChunk | None = None
    """The end of the video, once it is reached."""


@dataclass(frozen=True, slots=True)
class _Read:
    chunk: FrameChunk
    seconds: float


def _look(
    video: ResamplingSession, scan: Scan, state: _Progress, spent: defaultdict[str, float]
) -> Generator[NDArray[Any]]:
    """What `scan.see` makes of the video, part by part; a decoder works ahead."""

    def requests() -> Iterator[None]:
        while state.last is None:
            yield None

    def read(_: None) -> _Read:
        started = time.perf_counter()
        chunk = video.read(_POINTS_AT_A_TIME)
        return _Read(chunk, time.perf_counter() - started)

    def see(batch: Sequence[_Read]) -> list[tuple[_Read, NDArray[Any] | None, float]]:
        seen = []
        for one in batch:
            started = time.perf_counter()
            values = scan.see(one.chunk) if one.chunk.num_timesteps else None
            seen.append((one, values, time.perf_counter() - started))
        return seen

    with closing(
        pipelined_map(
            requests(),
            prepare=read,
            compute=see,
            size_of=lambda one: one.chunk.num_timesteps,
            batch_size=_POINTS_AT_A_TIME,
            num_workers=1,
            interrupt=video.close,
        )
    ) as results:
        for one, values, seconds in results:
            if state.last is not None:
                break
            spent["decode"] += one.seconds
            spent[scan.see_stage] += seconds
            if one.chunk.is_last:
                state.last = one.chunk
            if values is not None:
                yield values


def _batches(
    found: Iterable[tuple[int, NDArray[Any]]],
) -> Iterator[list[tuple[int, NDArray[Any]]]]:
    batch: list[tuple[int, NDArray[Any]]] = []
    for one in found:
        batch.append(one)
        if len(batch) == _WINDOWS_AT_A_TIME:
            yield batch
            batch = []
    if batch:
        yield batch
