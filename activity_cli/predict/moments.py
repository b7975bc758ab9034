"""Windows of videos by their features: those like an example, and those worth labelling.

W windows, E values of a vector: the mean features over a window's time, stream by stream.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import SettingsError
from activity_cli.features.extraction import ClipRequest
from activity_cli.predict.local_predictor import LocalPredictor
from activity_cli.predict.predictor import Predictor
from activity_cli.types import FileResult, Timeline

Vectors = NDArray[np.float32]

COLUMNS = ("rank", "path", "start", "end", "value", "label", "score")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A window of a video that was chosen, and why."""

    path: Path
    start_seconds: float
    end_seconds: float
    value: float  # cosine similarity, or how much its label is worth
    label: str  # the label with the highest score
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedVideo:
    """A video's windows with their scores and vectors."""

    path: Path
    timeline: Timeline
    vectors: Vectors  # (W, E)

    def moment(self, number: int, value: float) -> Moment:
        """Return a window as a moment."""
        timeline = self.timeline
        start, scores = float(timeline.starts_seconds[number]), timeline.scores[number]
        return Moment(
            path=self.path,
            start_seconds=start,
            end_seconds=min(start + timeline.window_seconds, timeline.end_seconds),
            value=value,
            label=timeline.labels[int(scores.argmax())],
            score=float(scores.max()),
        )


def embed_videos(
    predictor: Predictor, requests: Iterable[ClipRequest]
) -> Iterator[EmbeddedVideo | FileResult]:
    """Yield each video's windows with their vectors, or the result that tells why there are none.

    Raises:
        SettingsError: the model is an export, which gives no features.
    """
    if not isinstance(predictor, LocalPredictor) or predictor.classifier is None:
        raise SettingsError(
            "An exported model gives no features.", hint="Use the model folder it was made from."
        )
    held: list[Vectors] = []
    predictor.on_features = lambda features: held.append(_vector(features))
    try:
        for result in predictor.predict(requests):
            if result.timeline is None:
                yield result
            else:
                vectors = np.stack(held[-len(result.timeline.scores) :])
                yield EmbeddedVideo(
                    path=Path(result.path), timeline=result.timeline, vectors=vectors
                )
            held.clear()
    finally:
        predictor.on_features = None


def _vector(features: NDArray[Any]) -> Vectors:
    """Return (E,): the mean over time of each stream (S, T, D), at length 1."""
    means = features.astype(np.float32).mean(axis=1)
    lengths = np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-6)
    return np.asarray((means / lengths).ravel(), np.float32)


def similarities(query: Vectors, vectors: Vectors) -> NDArray[np.float32]:
    """Return (W,) cosines of vectors to a query (E,), both less the mean of the vectors.

    CNN features are positive, so that without this all cosines are high.
    """
    mean = vectors.mean(axis=0) if len(vectors) > 1 else np.zeros_like(query)
    centred, wanted = vectors - mean, query - mean
    lengths = np.linalg.norm(centred, axis=1) * np.linalg.norm(wanted)
    return np.asarray(centred @ wanted / np.maximum(lengths, 1e-9), np.float32)


def find_similar(
    query: EmbeddedVideo,
    videos: Sequence[EmbeddedVideo],
    *,
    most: int,
    span: tuple[float, float] | None = None,
) -> list[Moment]:
    """Return the windows most like the query, best first; of those that overlap only the best.

    Windows that overlap the query itself, `span` seconds of its video, are left out.
    """
    if not videos:
        return []
    example = query.vectors.mean(axis=0)
    values = similarities(example, np.concatenate([video.vectors for video in videos]))
    places = [(video, n) for video in videos for n in range(len(video.vectors))]
    chosen: list[Moment] = []
    for index in np.argsort(-values, kind="stable").tolist():
        video, number = places[index]
        moment = video.moment(number, float(values[index]))
        is_query = video.path.absolute() == query.path.absolute() and (
            span is None or _overlap(moment, *span)
        )
        if is_query or any(_same_time(moment, other) for other in chosen):
            continue
        chosen.append(moment)
        if len(chosen) == most:
            break
    return chosen


def rank_moments(
    videos: Sequence[EmbeddedVideo],
    *,
    most: int,
    most_per_video: int,
    max_ood_score: float | None = None,
    labelled: Vectors | None = None,
) -> list[Moment]:
    """Return the windows whose labels would help most, best first, for a queue of reviews.

    A window's value is its need (see `label_need`) times its distance to what is chosen already,
    and to what was labelled before, (N, E): a weighted k-centre choice (Sener and Savarese, "Active
    learning for convolutional neural networks: a core-set approach", 2018).
    """
    if not videos:
        return []
    needs = np.concatenate([label_need(video.timeline, max_ood_score) for video in videos])
    vectors = np.concatenate([video.vectors for video in videos])
    places = [(video, n) for video in videos for n in range(len(video.vectors))]
    free = np.ones(len(places), np.bool_)
    chosen: list[Moment] = []
    counts: dict[Path, int] = {}
    for index, value in choose_diverse(needs, vectors, free, labelled=labelled):
        video, number = places[index]
        moment = video.moment(number, value)
        chosen.append(moment)
        counts[video.path] = counts.get(video.path, 0) + 1
        if len(chosen) == most:
            break
        for other, (same, n) in enumerate(places):
            if same is video and (
                counts[video.path] == most_per_video or _same_time(video.moment(n, 0), moment)
            ):
                free[other] = False
    return chosen


def label_need(timeline: Timeline, max_ood_score: float | None = None) -> NDArray[np.float64]:
    """Return (W,) how little the model knows about windows: entropy plus OOD share, 0 to 2.

    The entropy of the scores is a part of its highest; the OOD score a part of `max_ood_score`, or
    of 2 where there is none, at most 1.
    """
    scores = np.clip(timeline.scores.astype(np.float64), 1e-9, 1 - 1e-9)
    if timeline.thresholds is None:
        entropy = -(scores * np.log(scores)).sum(axis=1) / np.log(max(scores.shape[1], 2))
    else:  # a multi-label model
        both = scores * np.log(scores) + (1 - scores) * np.log(1 - scores)
        entropy = -both.min(axis=1) / np.log(2)  # of the least certain label
    if timeline.ood_score is None:
        return np.asarray(entropy, np.float64)
    return np.asarray(entropy + np.minimum(timeline.ood_score / (max_ood_score or 2.0), 1.0))


def choose_diverse(
    needs: NDArray[np.float64],
    vectors: Vectors,
    free: NDArray[np.bool_],
    *,
    labelled: Vectors | None = None,
) -> Iterator[tuple[int, float]]:
    """Yield the index and value of one vector after the other, while any is free.

    The value is the need (W,) times the distance to the nearest vector that was chosen or labelled
    before. The caller may take away from `free` (W,) as it goes on.
    """
    distances = np.full(len(vectors), 1.0)
    if labelled is not None and len(labelled):
        distances = np.min([_distances(vectors, one) for one in labelled], axis=0)
    has_centre = labelled is not None and len(labelled) > 0
    while free.any():
        values = np.where(free, needs * distances, -np.inf)
        best = int(values.argmax())
        yield best, float(values[best])
        free[best] = False
        to_best = _distances(vectors, vectors[best])
        distances = np.minimum(distances, to_best) if has_centre else to_best
        has_centre = True


def _distances(vectors: Vectors, centre: Vectors) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(vectors - centre, axis=1), np.float64)


def _overlap(moment: Moment, start: float, end: float) -> bool:
    return moment.start_seconds < end and start < moment.end_seconds


def _same_time(one: Moment, other: Moment) -> bool:
    """Return whether two moments are of one video and share more than half of a window."""
    shared = min(one.end_seconds, other.end_seconds) - max(one.start_seconds, other.start_seconds)
    return one.path == other.path and shared > 0.5 * (one.end_seconds - one.start_seconds)
