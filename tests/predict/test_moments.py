"""Search by example and what to label next: by hand on few windows, and on drawn clips."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from activity_cli.predict.moments import (
    EmbeddedVideo,
    Moment,
    find_similar,
    label_need,
    rank_moments,
)
from activity_cli.types import Timeline
from tests.workplace import Workplace, rows_of


def video(
    name: str, vectors: list[list[float]], best: list[float], ood: list[float] | None = None
) -> EmbeddedVideo:
    """Windows of 2 s, one a second, of two labels; `best` are the scores of the first."""
    scores = np.array([[score, 1 - score] for score in best], np.float32)
    timeline = Timeline(
        labels=("run", "walk"),
        starts_seconds=np.arange(len(best), dtype=np.float64),
        window_seconds=2.0,
        end_seconds=len(best) + 1.0,
        scores=scores,
        ood_score=None if ood is None else np.array(ood, np.float32),
    )
    return EmbeddedVideo(path=Path(name), timeline=timeline, vectors=np.array(vectors, np.float32))


def times(moments: list[Moment]) -> list[tuple[str, float]]:
    return [(str(moment.path), moment.start_seconds) for moment in moments]


def test_the_most_similar_windows_come_first_each_time_once() -> None:
    a = video("a.mp4", [[1, 0], [1, 0.01], [0, 1], [0, 1]], [0.9] * 4)
    b = video("b.mp4", [[0.8, 0.1], [0, 0.9], [0.1, 1]], [0.9] * 3)
    query = video("q.mp4", [[1, 0]], [0.9])

    found = find_similar(query, [a, b], most=9)

    # a's first two windows overlap by half, so both stay; nothing shares more than that.
    assert times(found)[:3] == [("a.mp4", 0), ("a.mp4", 1), ("b.mp4", 0)]
    assert found[0].value > 0.9
    assert found[-1].value < 0
    inside = find_similar(video("a.mp4", [[1, 0]], [0.9]), [a, b], most=2, span=(0.0, 2.0))
    assert times(inside)[0] == ("b.mp4", 0)  # neither the example nor what overlaps it
    assert find_similar(query, [], most=9) == []


def test_what_is_worth_labelling_is_uncertain_strange_and_diverse() -> None:
    sure, unsure, twin, other = [0.0, 0.0], [3.0, 0.0], [3.0, 0.1], [0.0, 2.0]
    a = video("a.mp4", [sure, sure, unsure], [0.99, 0.99, 0.5])
    b = video("b.mp4", [twin, sure, other], [0.5, 0.99, 0.7])

    ranked = rank_moments([a, b], most=3, most_per_video=9)
    assert times(ranked)[:2] == [("a.mp4", 2), ("b.mp4", 2)]  # the twin adds nothing
    assert len(rank_moments([a, b], most=9, most_per_video=1)) == 2
    known = np.array([unsure], np.float32)  # was labelled before
    assert times(rank_moments([a, b], most=1, most_per_video=9, labelled=known)) == [("b.mp4", 2)]

    strange = video("c.mp4", [sure, sure], [0.99, 0.99], ood=[1.0, 3.0])
    needs = label_need(strange.timeline, max_ood_score=2.0)
    assert needs[1] - needs[0] == pytest.approx(0.5)
    assert times(rank_moments([strange], most=1, most_per_video=9, max_ood_score=2.0)) == [
        ("c.mp4", 1)
    ]


def test_the_need_of_independent_scores_is_that_of_the_least_certain_label() -> None:
    def need(scores: list[float]) -> float:
        values: NDArray[np.float32] = np.array([scores], np.float32)
        timeline = Timeline(
            labels=("eat", "walk"),
            starts_seconds=np.zeros(1),
            window_seconds=1,
            end_seconds=1,
            scores=values,
            thresholds=np.array([0.5, 0.5], np.float32),
        )
        return float(label_need(timeline)[0])

    assert need([0.99, 0.97]) < 0.3  # both happen
    assert need([0.01, 0.03]) < 0.3  # neither does
    assert need([0.99, 0.45]) > 0.9


def test_find_and_next_on_clips(shared: Workplace, workplace: Workplace) -> None:
    clips, model = shared.folder / "clips", str(shared.folder / "runs" / "first")
    example = sorted((clips / "wave").glob("*.mp4"))[0]
    common = ("--model", model, "--count", "4", "--overwrite")

    done = workplace.run(
        *("find", str(example), str(clips), *common),
        *("--output", "found.csv", "--storyboard", "found.png"),
    )

    rows = rows_of(workplace.folder / "found.csv")
    assert len(rows) == 4
    assert str(example) not in {row["path"] for row in rows}
    values = [float(row["value"]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert f"Most like {example.name}" in done.stdout
    picture = cv2.imread(str(workplace.folder / "found.png"))
    assert picture is not None
    assert picture.std() > 20
    chosen = workplace.run("next", str(clips), *common, "--per-video", "1", "--json")
    moments = json.loads(chosen.stdout)
    assert len({moment["path"] for moment in moments}) == 4
    assert (
        "exists"
        in workplace.run(
            *("next", str(clips), "--model", model, "--output", "found.csv"), code=1
        ).stderr
    )
