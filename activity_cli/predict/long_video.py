"""One long video -> scores of windows along it, streamed: decoder, network and classifier overlap.

N is timesteps, S streams, T frames per window, B windows, C labels; times are seconds.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.predict.predictor import OnSeconds, no_seconds
from activity_cli.settings import ClipSettings
from activity_cli.types import Timeline, Timesteps
from activity_cli.video.decoder_pool import Decoders, ResamplingSession
from activity_cli.video.pipeline import pipelined_map
from activity_cli.video.resampling import FrameChunk
from activity_cli.video.sampling import Windows, slide

_TIMESTEPS_AT_A_TIME = 32
_WINDOWS_AT_A_TIME = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """How a model reads timesteps, each once, and the windows over them."""

    see: Callable[[Timesteps], NDArray[Any]]
    """From N timesteps to (S, N, ...), what windows need of each one."""
    score: Callable[[NDArray[Any]], NDArray[np.float32]]
    """From windows (B, S, T, ...) to scores (B, C)."""
    as_streams: bool
    """Whether `see` takes the CNN's input, or the frames that it is made of."""
    see_stage: str
    """Name of the time that `see` takes, in `stage_seconds`."""
    score_stage: str
    """The same for `score`."""
    labels: tuple[str, ...]
    ood_score: Callable[[NDArray[Any]], NDArray[np.float32]] | None = None
    """From windows to out-of-distribution scores (B,); None: the model has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LongResult:
    """A long video's windows, and what decoding found."""

    timeline: Timeline
    last: FrameChunk
    """The end of the video."""
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
    """Slide windows over a video. Only the scores take memory that grows with its length.

    Returns:
        None if the video turns out to have less than one window.

    Raises:
        VideoError: it cannot be decoded, or the decoder crashed or hung.
    """
    spent: defaultdict[str, float] = defaultdict(float)
    chunks: list[FrameChunk] = []
    starts: list[int] = []
    scores: list[NDArray[np.float32]] = []
    ood_score: list[NDArray[np.float32]] = []
    step = windows.step_seconds
    with (
        ResamplingSession(
            path, decoders, settings, step_seconds=step, as_streams=scan.as_streams
        ) as video,
        closing(_see_all(video, scan, spent, chunks)) as parts,
    ):
        found = slide(parts, windows)
        while batch := list(islice(found, _WINDOWS_AT_A_TIME)):
            started = time.perf_counter()
            starts += [start for start, _ in batch]
            stack = np.stack([window for _, window in batch])
            scores.append(scan.score(stack))
            if scan.ood_score is not None:
                ood_score.append(scan.ood_score(stack))
            spent[scan.score_stage] += time.perf_counter() - started
            on_seconds(path, starts[-1] * step, video.info.duration_seconds_from_header or 0.0)
    if not starts:
        return None
    [last] = chunks
    timeline = Timeline(
        labels=scan.labels,
        starts_seconds=last.first_seconds + np.array(starts) * step,
        window_seconds=windows.window_seconds,
        end_seconds=last.end_seconds,
        scores=np.concatenate(scores),
        ood_score=np.concatenate(ood_score) if ood_score else None,
    )
    return LongResult(timeline=timeline, last=last, stage_seconds=spent)


def _see_all(
    video: ResamplingSession, scan: Scan, spent: defaultdict[str, float], last: list[FrameChunk]
) -> Generator[NDArray[Any]]:
    """Yield what `scan.see` makes of the video, part by part, while a decoder works ahead.

    Args:
        video: the video.
        scan: how it is read.
        spent: gets the seconds of each stage.
        last: gets the last chunk of the video.
    """

    def requests() -> Iterator[None]:
        while not last:
            yield None

    def read(_: None) -> tuple[FrameChunk, float]:
        started = time.perf_counter()
        chunk = video.read(_TIMESTEPS_AT_A_TIME)
        return chunk, time.perf_counter() - started

    def see(
        batch: Sequence[tuple[FrameChunk, float]],
    ) -> list[tuple[FrameChunk, float, NDArray[Any] | None, float]]:
        seen = []
        for chunk, seconds in batch:
            started = time.perf_counter()
            values = scan.see(chunk) if chunk.num_timesteps else None
            seen.append((chunk, seconds, values, time.perf_counter() - started))
        return seen

    with closing(
        pipelined_map(
            requests(),
            prepare=read,
            compute=see,
            size_of=lambda one: one[0].num_timesteps,
            batch_size=_TIMESTEPS_AT_A_TIME,
            num_workers=1,
            interrupt=video.close,
        )
    ) as results:
        for chunk, decode_seconds, values, seconds in results:
            if last:
                break
            spent["decode"] += decode_seconds
            spent[scan.see_stage] += seconds
            if chunk.is_last:
                last.append(chunk)
            if values is not None:
                yield values
