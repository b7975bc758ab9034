"""Scores of the windows of whole videos -> frame mAP and F1 of segments, for multi-label models.

The windows of a video follow each other closely over all time that was looked at; so their scores
make segments and scores at every moment, as in `activity predict`. N windows, C labels.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from activity_cli.data.dataset import Dataset, Sample
from activity_cli.data.windows import Span, merged, span_of
from activity_cli.evaluation.segment_metrics import IOU_THRESHOLDS, Bout, segment_f1
from activity_cli.model.calibration import Scores
from activity_cli.model.metrics import Thresholds, TimelineMetrics, average_precision
from activity_cli.predict.segments import cell_scores, find_segments
from activity_cli.types import Segment, Timeline

FRAME_SECONDS = 0.04


def measure_timelines(
    dataset: Dataset,
    samples: Sequence[Sample],
    scores: NDArray[np.float32],
    thresholds: Thresholds,
) -> TimelineMetrics | None:
    """Compare the scores (N, C) of windows (N,) with the events of their videos.

    None where the videos were not cut into windows, or these are so many that they have gaps.
    """
    events: defaultdict[Path, list[Sample]] = defaultdict(list)
    for event in dataset.events:
        if event.label:
            events[event.path].append(event)
    found: list[Sequence[Segment]] = []
    true: list[Sequence[Bout]] = []
    frames: list[tuple[NDArray[np.bool_], Scores]] = []  # (F, C) truth and scores
    spans: list[Span] = []
    paths = set()
    for path, timeline in _timelines(dataset.labels, samples, scores, thresholds):
        start, end = float(timeline.starts_seconds[0]), timeline.end_seconds
        bouts = _bouts(events[path], start, end)
        found.append(find_segments(timeline))
        true.append(bouts)
        frames.append(_frames(timeline, bouts))
        spans.append((start, end))
        paths.add(path)
    if not spans:
        return None
    truth, chances = (np.concatenate(part) for part in zip(*frames, strict=True))
    precisions = [average_precision(*pair) for pair in zip(truth.T, chances.T, strict=True)]
    known = [one for one in precisions if one is not None]
    return TimelineMetrics(
        num_videos=len(paths),
        seconds=sum(end - start for start, end in spans),
        frame_map=float(np.mean(known)) if known else 0.0,
        segment_f1=_segment_f1(dataset.labels, found, true),
    )


def _timelines(
    labels: tuple[str, ...],
    samples: Sequence[Sample],
    scores: NDArray[np.float32],
    thresholds: Thresholds,
) -> Iterator[tuple[Path, Timeline]]:
    """Give the timeline of each stretch of time that windows cover without gaps."""
    by_video: defaultdict[Path, list[int]] = defaultdict(list)
    for row, sample in enumerate(samples):
        if sample.end_seconds is not None:
            by_video[sample.path].append(row)
    each = np.broadcast_to(thresholds, scores.shape)
    for path, rows in by_video.items():
        starts = np.array([samples[row].start_seconds or 0.0 for row in rows])
        ends = np.array([samples[row].end_seconds for row in rows], np.float64)
        order = np.argsort(starts, kind="stable")
        index, starts, ends = np.array(rows)[order], starts[order], ends[order]
        breaks = np.flatnonzero(starts[1:] > ends[:-1] + 1e-3) + 1
        if len(breaks) > len(rows) // 2:
            continue  # thinned out
        for part in np.split(np.arange(len(rows)), breaks):
            yield (
                path,
                Timeline(
                    labels=labels,
                    starts_seconds=starts[part],
                    window_seconds=float(ends[part[0]] - starts[part[0]]),
                    end_seconds=float(ends[part[-1]]),
                    scores=scores[index[part]],
                    thresholds=each[index[part]].mean(axis=0),
                ),
            )


def _bouts(events: Sequence[Sample], start: float, end: float) -> list[Bout]:
    """Return the events between two times, those of a label that touch as one."""
    spans: defaultdict[str, list[Span]] = defaultdict(list)
    for event in events:
        low, high = span_of(event, end)
        if max(low, start) < high:
            spans[event.label].append((max(low, start), high))
    return [Bout(*span, label) for label, found in spans.items() for span in merged(found)]


def _frames(timeline: Timeline, bouts: Sequence[Bout]) -> tuple[NDArray[np.bool_], Scores]:
    """Return (F, C) truth and scores at moments that are `FRAME_SECONDS` apart."""
    start, end = float(timeline.starts_seconds[0]), timeline.end_seconds
    times = np.arange(start + FRAME_SECONDS / 2, end, FRAME_SECONDS)
    truth = np.zeros((len(times), len(timeline.labels)), np.bool_)
    for bout in bouts:
        inside = (times >= bout.start_seconds) & (times < bout.end_seconds)
        truth[inside, timeline.labels.index(bout.label)] = True
    return truth, cell_scores(timeline).at(times)


def _segment_f1(
    labels: Sequence[str],
    found: Sequence[Sequence[Segment]],
    true: Sequence[Sequence[Bout]],
) -> dict[str, float]:
    """Return the mean over labels that occur of the F1 of segments, by the IoU of a match."""
    each = []
    for label in labels:
        own = [[s for s in one if s.label == label] for one in found]
        actual = [[s for s in one if s.label == label] for one in true]
        if any(own) or any(actual):
            each.append(segment_f1(own, actual))
    return {f"{iou:g}": float(np.mean([f1[iou] for f1 in each])) for iou in IOU_THRESHOLDS}
