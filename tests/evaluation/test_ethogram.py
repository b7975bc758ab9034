"""Time budgets, transitions, groups and agreement, against sums by hand and scikit-learn."""

import csv
import json
import random
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from activity_cli.evaluation.agreement import measure_agreement
from activity_cli.evaluation.recordings import Recording
from activity_cli.evaluation.segment_metrics import Bout
from activity_cli.predict.results import write_rows
from activity_cli.predict.results.journal import NO_STATE, Entry, journal_path, write_journal
from activity_cli.predict.results.segment_files import SegmentOutputs
from activity_cli.report.figures import label_colours
from activity_cli.types import Segment, VideoSegments
from tests.media import plain_pictures, write_video
from tests.workplace import Workplace, rows_of

GOLDEN = Path(__file__).parents[1] / "data" / "annotations"
LABELS = ("groom", "rear", "walk")


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path, tmp_path / "cache")


def draw_segments(num_videos: int, seed: int) -> list[VideoSegments]:
    """Random segments, now and then two at once, with all digits of a float."""
    draw = random.Random(seed)
    videos = []
    for number in range(num_videos):
        segments, start = [], 0.0
        while start < 90:
            end = start + draw.uniform(0.2, 9)
            label = draw.choice(LABELS)
            segments.append((start, end, label))
            if draw.random() < 0.3:
                segments.append((start + 0.1, end + 1, LABELS[LABELS.index(label) - 1]))
            start = end + draw.choice([0, 0, draw.uniform(0, 2)])
        parts = tuple(
            Segment(start_seconds=s, end_seconds=e, label=label, mean_score=0.9, peak_score=1)
            for s, e, label in segments
        )
        path = f"cam/{number}.mp4"
        videos.append(VideoSegments(path=path, duration_seconds=110.5, fps=29.97, segments=parts))
    return videos


def write_results(path: Path, videos: list[VideoSegments]) -> None:
    """Result rows with their journal, as predict writes them."""
    row = {"status": "ok", "reason": "", "label": "walk", "score": 0.9, "model": "m"}
    rows = [
        {"path": v.path} | row | {"seconds": v.duration_seconds, "frames": 3312} for v in videos
    ]
    columns = ("path", "status", "reason", "label", "score", "seconds", "frames", "model")
    rows = [{name: row[name] for name in columns} for row in rows]
    write_rows(path, columns, rows)
    entries = [
        Entry(path=v.path, state=NO_STATE, row=row, segments=v.segments)
        for v, row in zip(videos, rows, strict=True)
    ]
    write_journal(journal_path(path), {"columns": columns}, entries)


def test_totals_are_the_sums_of_the_segments_to_a_millisecond(place: Workplace) -> None:
    videos = draw_segments(3, seed=1)
    write_results(place.folder / "scores.csv", videos)
    sums: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for video in videos:
        for segment in video.segments:
            length = segment.end_seconds - segment.start_seconds
            sums[video.path, segment.label].append(length)

    done = place.run("ethogram", "scores.csv", "--output", "out", "--bin", "20")

    assert "3 videos, 6 min" in done.stdout  # lengths are those of the rows: 331.5 s
    assert done.stderr.strip() == "Tables and gantt.png: out"
    rows = rows_of(place.folder / "out" / "ethogram.csv")
    assert len(rows) == 9
    wide = {row["path"]: row for row in rows_of(place.folder / "out" / "ethogram_wide.csv")}
    bins = rows_of(place.folder / "out" / "bins.csv")
    for row in rows:
        own = sums[row["path"], row["label"]]
        assert int(row["count"]) == len(own)
        assert float(row["seconds"]) == pytest.approx(sum(own), abs=1e-3)
        assert float(row["share"]) == pytest.approx(sum(own) / 110.5, abs=1e-5)
        assert float(row["mean_seconds"]) == pytest.approx(np.mean(own), abs=1e-3)
        assert float(row["max_seconds"]) == pytest.approx(max(own), abs=1e-3)
        assert float(row["per_minute"]) == pytest.approx(len(own) * 60 / 110.5, abs=1e-3)
        assert wide[row["path"]][f"{row['label']}: seconds"] == row["seconds"]
        parts = [b for b in bins if (b["path"], b["label"]) == (row["path"], row["label"])]
        assert [b["end"] for b in parts] == ["20.0", "40.0", "60.0", "80.0", "100.0", "110.5"]
        assert sum(float(b["seconds"]) for b in parts) == pytest.approx(sum(own), abs=6e-3)
        assert sum(int(b["count"]) for b in parts) == len(own)
    counts = rows_of(place.folder / "out" / "transitions.csv")
    total = sum(int(row[label]) for row in counts for label in LABELS)
    assert total == sum(map(len, sums.values())) - len(videos)


def test_the_picture_has_the_colours_of_the_labels(place: Workplace) -> None:
    write_results(place.folder / "scores.csv", draw_segments(2, seed=2))
    place.run("ethogram", "scores.csv", "--output", "out", "-q")

    picture = cv2.imread(str(place.folder / "out" / "gantt.png"))
    assert picture is not None
    svg = (place.folder / "out" / "gantt.svg").read_text()
    for colour in label_colours(LABELS).values():
        bgr = [int(colour[i : i + 2], 16) for i in (5, 3, 1)]
        assert (picture == bgr).all(axis=2).sum() > 1000
        assert colour in svg


def test_kappa_equals_that_of_scikit_learn() -> None:
    found = draw_segments(2, seed=3)
    other = draw_segments(2, seed=4)
    records = [
        [
            Recording(
                path=v.path,
                duration_seconds=v.duration_seconds,
                fps=12.5,
                bouts=tuple(Bout(s.start_seconds, s.end_seconds, s.label) for s in v.segments),
            )
            for v in videos
        ]
        for videos in (found, other)
    ]

    agreement = measure_agreement(list(zip(*records, strict=True)), LABELS)

    frames = [
        [
            {b.label for b in one.bouts if b.start_seconds <= (i + 0.5) / 12.5 < b.end_seconds}
            for one in side
            for i in range(round(110.5 * 12.5))
        ]
        for side in records
    ]
    texts = [["+".join(sorted(labels)) for labels in side] for side in frames]
    assert agreement.num_frames == len(texts[0])
    assert agreement.kappa == pytest.approx(cohen_kappa_score(*texts), abs=1e-12)
    same = [a == b for a, b in zip(*texts, strict=True)]
    assert agreement.share == pytest.approx(np.mean(same))
    for one in agreement.per_label:
        held = [[one.label in labels for labels in side] for side in frames]
        assert one.kappa == pytest.approx(cohen_kappa_score(*held), abs=1e-12)


def test_rows_without_a_label_are_time_that_was_looked_at(place: Workplace) -> None:
    seen = "path,label,start,end\na.mp4,walk,1,3\na.mp4,,0,10\n"
    (place.folder / "labels.csv").write_text(seen)
    (place.folder / "found.csv").write_text(seen + "a.mp4,walk,12,14\n")

    done = place.run("ethogram", "found.csv", "--against", "labels.csv", "--json")

    assert "no label" not in done.stderr
    values = json.loads(done.stdout)
    assert values["videos"][0]["seconds"] == 14
    assert values["agreement"]["share"] == 1  # what was found at 12 s is outside
    (place.folder / "found.csv").write_text(seen)
    values = json.loads(place.run("ethogram", "found.csv", "--json").stdout)
    assert values["videos"][0]["seconds"] == 10


def test_time_that_nobody_looked_at_is_not_compared() -> None:
    bouts = (Bout(0, 4, "run"), Bout(6, 8, "run"))
    found = Recording(path="a", duration_seconds=10, fps=10, bouts=bouts)
    human = Recording(
        path="a",
        duration_seconds=10,
        bouts=(Bout(1, 3, "run"), Bout(4, 5, "run")),
        looked_at=((1, 3), (4, 5)),
    )

    agreement = measure_agreement([(found, human)], ["run"])

    assert agreement.num_frames == 30
    assert agreement.share == pytest.approx(2 / 3)
    assert agreement.f1[0.5] == pytest.approx(2 * 1 / 3)
    [one] = agreement.disagreements
    assert (one.start_seconds, one.end_seconds, one.found, one.other) == (4, 5, (), ("run",))


def test_minus_one_of_deepethogram_is_not_compared(place: Workplace) -> None:
    write_video(place.folder / "videos" / "day1.avi", plain_pictures(100, (16, 16)), 10)
    (place.folder / "found.csv").write_text("path,start,end,label\nday1.avi,1,9.8,Wave\n")
    human = ("--against", str(GOLDEN / "day1_labels.csv"), "--videos", "videos")

    agreement = json.loads(place.run("ethogram", "found.csv", *human, "--json").stdout)["agreement"]

    # The last of 10 s was not looked at; of the other 9, 1 s of nothing and 1.5 s of Wave agree.
    assert (agreement["frames"], agreement["share"]) == (90, pytest.approx(25 / 90))


def test_disagreements_have_their_times(place: Workplace) -> None:
    (place.folder / "found.csv").write_text(
        "path,start,end,label,score,peak\na/1.mp4,0,4,run,1,1\na/1.mp4,6,8,walk,1,1\n"
        "a/2.mp4,0,1,run,1,1\n"
    )
    (place.folder / "human.csv").write_text(
        "video,behaviour,start,stop\n1,run,0,5\n1,walk,6,8\n1,run,7,8\n1,rest,9,10\n"
    )

    done = place.run("ethogram", "found.csv", "--against", "human.csv", "--output", "out", "--json")

    assert "a/2.mp4" in done.stderr  # it is not in human.csv
    agreement = json.loads(done.stdout)["agreement"]
    assert (agreement["videos"], agreement["frames"], agreement["share"]) == (1, 250, 0.7)
    assert agreement["f1"]["0.75"] == pytest.approx(2 * 2 / 6)
    rows = rows_of(place.folder / "out" / "disagreements.csv")
    assert [tuple(row.values())[1:] for row in rows] == [
        ("4.0", "5.0", "1.0", "", "run"),
        ("7.0", "8.0", "1.0", "walk", "run; walk"),
        ("9.0", "10.0", "1.0", "", "rest"),
    ]
    (place.folder / "other.csv").write_text("video,label,start,end\n9,run,0,5\n")
    failed = place.run("ethogram", "found.csv", "--against", "other.csv", code=1)
    assert "other.csv has no video in common" in failed.stderr


def test_groups_are_compared_over_videos(place: Workplace) -> None:
    shares = {"a1": 2, "a2": 4, "b1": 5, "b2": 7, "c1": 1}
    rows = [f"{name}.mp4,0,{10 * share},run" for name, share in shares.items()]
    rows += [f"{name}.mp4,99,100,end" for name in shares]
    (place.folder / "segments.csv").write_text("\n".join(["path,start,end,label", *rows]))
    table = [f"x/{name}.mp4,{name[0]}" for name in shares]
    (place.folder / "cages.csv").write_text("\n".join(["video,Cage", *table]))

    done = place.run(
        *("ethogram", "segments.csv", "cages.csv", "--group-by", "Cage", "--output", "out")
    )

    found = {
        row["group"]: row
        for row in rows_of(place.folder / "out" / "groups.csv")
        if (row["label"], row["metric"]) == ("run", "share")
    }
    assert [float(found[group]["mean"]) for group in "abc"] == pytest.approx([0.3, 0.6, 0.1])
    assert (float(found["a"]["low"]), float(found["a"]["high"])) == pytest.approx((0.2, 0.4))
    assert (found["c"]["low"], found["c"]["videos"]) == ("", "1")
    assert "30.0% (20.0% to 40.0%)" in done.stdout
    failed = place.run("ethogram", "segments.csv", "--group-by", "sex", code=1)
    assert "No file has a column sex" in failed.stderr


def test_a_folder_counts_each_video_once(place: Workplace) -> None:
    [video] = draw_segments(1, seed=5)
    folder = place.folder / "results"
    write_results(folder / "a.csv", [video])
    names = [folder / "b.csv", folder / "0.srt", folder / "c.parquet"]
    SegmentOutputs(names, [Path(video.path)]).write([video], [])

    done = place.run("ethogram", "results", "--json")

    budgets = json.loads(done.stdout)["budgets"]
    assert sum(budget["count"] for budget in budgets) == len(video.segments)
    assert done.stderr.count("results/0.srt are used, not of") == len(names)
    for name in names:
        again = place.run("ethogram", str(name), "--json")
        budgets = json.loads(again.stdout)["budgets"]
        assert sum(budget["count"] for budget in budgets) == len(video.segments)


def test_annotations_need_no_videos_and_points_take_no_time(place: Workplace) -> None:
    project = json.loads((GOLDEN / "project.boris").read_text())
    project["behaviors_conf"]["1"]["type"] = "Point event"
    (place.folder / "points.boris").write_text(json.dumps(project))
    code = project["behaviors_conf"]["1"]["code"]

    done = place.run("ethogram", "points.boris", "--json", "-q")

    budgets = [b for b in json.loads(done.stdout)["budgets"] if b["label"] == code]
    assert sum(budget["count"] for budget in budgets) > 0
    assert {budget["seconds"] for budget in budgets} == {0.0}
    unknown = place.run("ethogram", str(GOLDEN / "day1_labels.csv"), code=1)
    assert "frames of a video that is not there: give --videos: " in unknown.stderr
    (place.folder / "empty.csv").write_text("path,start,end,label\n")
    assert "there are no segments" in place.run("ethogram", "empty.csv", code=1).stderr


def test_tables_are_safe_to_open(place: Workplace) -> None:
    (place.folder / "segments.csv").write_text("path,start,end,label\n=1+1.mp4,0,1,@run\n")
    place.run("ethogram", "segments.csv", "--output", "out", "-q")
    with (place.folder / "out" / "ethogram.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert (row["path"], row["label"]) == ("'=1+1.mp4", "'@run")
