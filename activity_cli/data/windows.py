"""Pieces and long videos -> windows that are checked against the videos' lengths.

A window of multi-label data has every label that covers at least half of it, or half of whose event
lies in it. Only time that was looked at is cut into windows: that of events and of rows with an
empty label; the whole video if it has no such row. W is windows; times are seconds.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from activity_cli.common import count_of
from activity_cli.data.dataset import Dataset, Sample
from activity_cli.errors import DataError, SettingsError, VideoError
from activity_cli.types import NONE

if TYPE_CHECKING:
    from activity_cli.video.decoder_pool import DecoderPool

Span = tuple[float, float]  # start and end

_MOST_WINDOWS = 8
"""Of a piece: more windows of one scene add little, and would outweigh all other clips."""
_LONGER_THAN_A_WINDOW = 1.5  # shorter pieces are not cut
_TOLERANCE = 0.05  # of the video's length, by which a header may be wrong


def prepare_pieces(
    dataset: Dataset, pool: "DecoderPool", *, window_seconds: float | None = None
) -> Dataset:
    """Check all pieces against their videos, and cut those that are longer than a window.

    Without `window_seconds` nothing is cut but multi-label data. A piece beyond the end of its
    video is a DataError.
    """
    if window_seconds is not None and not 0 < window_seconds < float("inf"):
        raise SettingsError(f"--window must be more than 0 s, got {window_seconds:g}.")
    rows = dataset.events or dataset.samples
    pieces = [s for s in rows if (s.start_seconds, s.end_seconds) != (None, None)]
    asked = rows if window_seconds is not None or dataset.multi_label else pieces
    if not asked:
        return dataset
    seconds = _measure({sample.path for sample in asked}, pool)
    for sample in pieces:
        length = seconds.get(sample.path)
        line = f", line {sample.line}" if sample.line else ""
        for column, at in (("start", sample.start_seconds), ("end", sample.end_seconds)):
            if length is not None and (at or 0) > length * (1 + _TOLERANCE) + 0.5:
                raise DataError(
                    f"{sample.name}{line}, column {column}: {at:g} s is beyond the end of the "
                    f"video, which lasts {length:.1f} s.",
                    hint="Times are seconds from the start of the file; check the video's name "
                    "too.",
                )
    if dataset.multi_label:
        return _cut_events(dataset, seconds, window_seconds)
    if window_seconds is None:
        return dataset
    windows = [w for s in dataset.samples for w in cut(s, seconds.get(s.path), window_seconds)]
    return replace(dataset, samples=tuple(windows))


def cut(sample: Sample, video_seconds: float | None, window_seconds: float) -> list[Sample]:
    """Spread windows evenly over a sample; one that is hardly longer than a window stays whole."""
    if video_seconds is None:  # its length is not known
        return [sample]
    start = sample.start_seconds or 0.0
    end = min(sample.end_seconds or video_seconds, video_seconds)
    if end - start < _LONGER_THAN_A_WINDOW * window_seconds:
        return [sample]
    count = min(_MOST_WINDOWS, int((end - start) / window_seconds))
    step = (end - start - window_seconds) / max(1, count - 1)
    starts = [round(start + number * step, 3) for number in range(count)]
    return [replace(sample, start_seconds=s, end_seconds=s + window_seconds) for s in starts]


def _measure(paths: set[Path], pool: "DecoderPool") -> dict[Path, float | None]:
    from activity_cli.video.reader import read_seconds  # heavy: only for pieces

    reader = pool.reader()

    def measure(path: Path) -> float | None:
        try:
            return reader.call(read_seconds, path)
        except VideoError:  # reported later, when its clips are decoded
            return None

    ordered = sorted(paths)
    with ThreadPoolExecutor(pool.decoders.num_workers) as threads:
        return dict(zip(ordered, threads.map(measure, ordered), strict=True))


_MOST_OF_A_VIDEO = 1000  # windows of multi-label data; more would take hours
_SHORTEST, _LONGEST = 1.0, 4.0  # window that is chosen by the events


def _cut_events(
    dataset: Dataset, seconds: dict[Path, float | None], window_seconds: float | None
) -> Dataset:
    """Cut what was looked at into windows, half a window apart, and label each."""
    by_video: defaultdict[Path, list[Sample]] = defaultdict(list)
    for row in dataset.events:
        by_video[row.path].append(row)
    window = window_seconds or _window_for(dataset.samples)
    windows: list[Sample] = []
    for path, rows in by_video.items():
        length = seconds.get(path)
        first = _same_for_all(rows)
        if length is None:  # it cannot be read, which is reported when it is decoded
            own = tuple(sorted({row.label for row in rows if row.label}))
            windows.append(replace(first, start_seconds=None, end_seconds=None, labels=own))
            continue
        stretches = _looked_at(rows, length)
        spans = [one for stretch in stretches for one in _slide(*stretch, window)]
        spans = [spans[i] for i in _spread(len(spans), _MOST_OF_A_VIDEO)]
        members = {
            label: has_span(spans, [span_of(r, length) for r in rows if r.label == label])
            for label in dataset.labels
        }
        for number, (start, end) in enumerate(spans):
            labels = tuple(label for label in dataset.labels if members[label][number])
            is_whole = start == 0 and end == length
            one = replace(
                first,
                label=" + ".join(labels) or NONE,
                labels=labels,
                start_seconds=None if is_whole else round(start, 3),
                end_seconds=None if is_whole else round(end, 3),
                line=None,
            )
            windows.append(one)
    found = {label for one in windows for label in one.all_labels}
    if missing := sorted({event.label for event in dataset.samples} - found):
        raise DataError(
            f"No window holds enough of {missing[0]!r}.",
            hint="Its events are in too little time that was looked at: try a shorter --window.",
        )
    return replace(dataset, samples=tuple(windows))


def describe_windows(dataset: Dataset) -> str:
    """Describe in a line what multi-label data was cut into."""
    samples = dataset.samples
    lengths = [s.end_seconds - (s.start_seconds or 0) for s in samples if s.end_seconds]
    length = f" of {np.median(lengths):.1f} s" if lengths else ""
    counts = ", ".join(f"{label} {count}" for label, count in dataset.counts().items())
    num_none = sum(sample.labels == () for sample in samples)
    videos = count_of(len({sample.path for sample in samples}), "video")
    windows = count_of(len(samples), "window")
    return f"Cut {videos} into {windows}{length}: {counts}, {NONE} {num_none}."


def span_of(row: Sample, video_seconds: float) -> Span:
    """Return start and end of a row within its video."""
    end = video_seconds if row.end_seconds is None else row.end_seconds
    return row.start_seconds or 0.0, min(end, video_seconds)


def has_span(windows: Sequence[Span], spans: Iterable[Span]) -> NDArray[np.bool_]:
    """Return (W,) in which windows the spans of a label count."""
    starts, ends = np.array(windows, np.float64).reshape(-1, 2).T
    lengths, covered = ends - starts, np.zeros(len(starts))
    found = np.zeros(len(starts), np.bool_)
    for start, end in merged(spans):
        shared = np.maximum(np.minimum(ends, end) - np.maximum(starts, start), 0)
        found |= (shared > 0) & (shared >= 0.5 * np.minimum(lengths, end - start) - 1e-9)
        covered += shared
    return found | (covered >= 0.5 * lengths)


def merged(spans: Iterable[Span]) -> list[Span]:
    """Join spans that overlap or touch; in order."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((start, end))
    return joined


def _looked_at(rows: Sequence[Sample], video_seconds: float) -> list[Span]:
    if all(row.label for row in rows):
        return [(0.0, video_seconds)]
    return merged(span_of(row, video_seconds) for row in rows)


def _slide(start: float, end: float, window: float | None) -> list[Span]:
    """Spread windows over a stretch, at most half a window apart; none over a very short one."""
    if window is None or end - start < _LONGER_THAN_A_WINDOW * window:
        is_enough = window is None or end - start >= window / 2
        return [(start, end)] if is_enough else []
    count = ceil((end - start - window) / (window / 2) - 1e-6) + 1
    starts = np.linspace(start, end - window, count).tolist()
    return [(one, one + window) for one in starts]


def _spread(count: int, most: int) -> list[int]:
    """Return at most `most` of so many positions, evenly."""
    return [i * count // most for i in range(most)] if count > most else list(range(count))


def _window_for(events: Sequence[Sample]) -> float | None:
    """Return half the median length of the events, within bounds; None if none has times."""
    lengths = [e.end_seconds - (e.start_seconds or 0.0) for e in events if e.end_seconds]
    if not lengths:
        return None
    return round(min(max(float(np.median(lengths)) / 2, _SHORTEST), _LONGEST), 1)


def _same_for_all(rows: Sequence[Sample]) -> Sample:
    """Return the first row of a video; a DataError if others have another group or split."""
    first = rows[0]
    for name in ("group", "split"):
        other = next((row for row in rows if getattr(row, name) != getattr(first, name)), None)
        if other is not None:
            raise DataError(
                f"{first.name}, column {name}: {getattr(first, name)!r} and "
                f"{getattr(other, name)!r} in one video, but a window may hold events of both.",
                hint=f"Give all rows of a video the same {name}.",
            )
    return first
