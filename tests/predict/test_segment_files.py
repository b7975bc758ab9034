"""Segments written for each tool, read again by the tool's own or usual reader."""

import csv
import html
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import jsonschema
import pytest
import srt
import webvtt
from pyarrow import parquet
from pympi import Eaf

from activity_cli.errors import OutputError
from activity_cli.predict.results.segment_files import ENDINGS, SegmentOutputs, ending_of
from activity_cli.predict.results.segment_formats import frame_range
from activity_cli.types import Segment, VideoSegments

ODD_LABELS = (
    "run",
    'a, "quoted" label',
    "</b> & <i>tags</i>",
    "00:00 --> 00:01",
    "two\nlines\tand a tab",
    "Ходьба 走る 🏃",
    "odd byte \udcff",
)


def segment(start: float, end: float, label: str, score: float = 0.9) -> Segment:
    return Segment(
        start_seconds=start, end_seconds=end, label=label, mean_score=score, peak_score=0.99
    )


def video(path: str, *segments: Segment, fps: float = 25) -> VideoSegments:
    return VideoSegments(path=path, duration_seconds=4000, fps=fps, segments=segments)


ODD_VIDEO = video(
    "footage/a b, #1 \udcff.mp4",
    *(segment(1.5 * i, 1.5 * i + 1.25, label) for i, label in enumerate(ODD_LABELS)),
    segment(3723.04, 3724, "late", 0.5),
)
STARTS = [1.5 * i for i in range(len(ODD_LABELS))] + [3723.04]
ENDS = [start + 1.25 for start in STARTS[:-1]] + [3724]
AS_LINES = [
    *ODD_LABELS[:4],
    "two lines and a tab",
    ODD_LABELS[5],
    "odd byte \\udcff",
    "late",
]
"""The labels as formats made of lines can hold them."""


def write_segments(
    path: Path,
    videos: Sequence[VideoSegments],
    *,
    overwrite: bool = False,
    labels: Sequence[str] = (),
) -> tuple[Path, ...]:
    """As a run does: check the file before any work, write it at the end."""
    names = [Path(video.path) for video in videos]
    return SegmentOutputs([path], names, overwrite=overwrite).write(videos, labels)


def written(tmp_path: Path, name: str, videos: Sequence[VideoSegments] = (ODD_VIDEO,)) -> Path:
    path = tmp_path / name
    assert write_segments(path, videos)[0] == path
    return path


def test_rows_say_the_same_in_every_format(tmp_path: Path) -> None:
    both = (ODD_VIDEO, video("none.mp4"), video("b.mp4", segment(0, 1.23456, "run", 1 / 3)))
    with written(tmp_path, "a.csv", both).open(
        newline="", encoding="utf-8", errors="surrogateescape"
    ) as file:
        as_csv = [
            {k: v if k in {"path", "label"} else float(v) for k, v in row.items()}
            for row in csv.DictReader(file)
        ]
    lines = written(tmp_path, "a.jsonl", both).read_text().splitlines()
    as_jsonl = [json.loads(line) for line in lines]
    as_parquet = parquet.read_table(written(tmp_path, "a.parquet", both)).to_pylist()

    assert as_csv == as_jsonl
    assert len(as_csv) == len(ODD_LABELS) + 2
    assert [row["label"] for row in as_csv[: len(ODD_LABELS)]] == list(ODD_LABELS)
    assert as_csv[0]["path"] == ODD_VIDEO.path
    assert as_csv[-1] == {
        **{"path": "b.mp4", "start": 0, "end": 1.235, "label": "run"},
        **{"score": 0.333333, "peak": 0.99},
    }
    escaped = [
        {k: v.replace("\udcff", "\\udcff") if isinstance(v, str) else v for k, v in row.items()}
        for row in as_csv
    ]
    assert as_parquet == escaped


def test_srt_as_its_reader_takes_it(tmp_path: Path) -> None:
    cues = list(srt.parse(written(tmp_path, "a.srt").read_text(encoding="utf-8")))

    assert [cue.start.total_seconds() for cue in cues] == STARTS
    assert [cue.end.total_seconds() for cue in cues] == ENDS
    wanted = [f"{label} 90%".replace("-->", "->") for label in AS_LINES[:-1]] + ["late 50%"]
    assert [cue.content for cue in cues] == wanted


def test_vtt_as_its_reader_takes_it(tmp_path: Path) -> None:
    path = written(tmp_path, "a.vtt")
    cues = webvtt.read(str(path)).captions

    assert [cue.start_in_seconds for cue in cues] == [int(start) for start in STARTS]
    assert (cues[-1].start, cues[-1].end) == ("01:02:03.040", "01:02:04.000")
    wanted = [f"{label} 90%" for label in AS_LINES[:-1]] + ["late 50%"]
    assert [html.unescape(cue.raw_text) for cue in cues] == wanted
    # The standard forbids the arrow in a cue's text, and browsers take < for a tag.
    assert path.read_text(encoding="utf-8").count("-->") == len(cues)
    assert not any("<" in cue.raw_text for cue in cues)


def test_elan_as_its_reader_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, "new/a.eaf")
    document = Eaf(str(path))

    annotations = sorted(document.get_annotation_data_for_tier("activity"))
    wanted = [
        (round(1000 * start), round(1000 * end), label)
        for start, end, label in zip(STARTS, ENDS, AS_LINES, strict=True)
    ]
    assert [a[:3] for a in annotations] == wanted
    (media,) = document.media_descriptors
    address = media["MEDIA_URL"].removeprefix("file://")
    assert unquote(address, errors="surrogateescape") == str(tmp_path / ODD_VIDEO.path)
    assert media["RELATIVE_MEDIA_URL"] == "./../footage/a%20b%2C%20%231%20%FF.mp4"
    assert media["MIME_TYPE"] == "video/mp4"


def test_audacity_labels_are_three_columns(tmp_path: Path) -> None:
    # As the manual describes it: start, end and text, between tabs, in seconds.
    lines = written(tmp_path, "a.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines]

    assert [float(row[0]) for row in rows] == STARTS
    assert [float(row[1]) for row in rows] == ENDS
    assert [row[2] for row in rows] == AS_LINES
    assert {len(row) for row in rows} == {3}


def read_fiftyone(path: Path) -> dict[str, list[tuple[str, int, int, float]]]:
    """What FiftyOneTemporalDetectionDatasetImporter makes of a labels.json."""
    content = json.loads(path.read_text())
    assert set(content) == {"classes", "labels"}
    detections = {}
    for name, entries in content["labels"].items():
        assert Path(name).is_absolute()  # else it is looked up in a folder that is not given
        detections[name] = [
            (content["classes"][entry["label"]], *entry["support"], entry["confidence"])
            for entry in entries
        ]
    return detections


def test_fiftyone_labels_follow_the_documented_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.fiftyone.json"
    write_segments(path, [ODD_VIDEO, video("none.mp4")], labels=["jump", "run"])
    found = read_fiftyone(path)

    own = found[str(tmp_path / ODD_VIDEO.path)]
    assert [entry[0] for entry in own] == [*ODD_LABELS, "late"]
    # 1.5 s at 25 frames per second: frame 38 from 0 is the first that is shown at or after it.
    assert own[1][1:] == (39, 69, 0.9)
    assert found[str(tmp_path / "none.mp4")] == []
    content = json.loads(path.read_text())
    assert content["classes"][:2] == ["jump", "run"]
    assert content["labels"][str(tmp_path / ODD_VIDEO.path)][0]["attributes"] == {"peak": 0.99}


LABEL_STUDIO_TASKS: dict[str, Any] = {
    # As label_studio_sdk.label_interface describes tasks, predictions and TimelineLabels.
    "type": "array",
    "items": {
        "type": "object",
        "required": ["data", "predictions"],
        "properties": {
            "data": {"type": "object", "required": ["video", "fps"]},
            "predictions": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["result"],
                    "properties": {
                        "score": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
                        "model_version": {"type": "string"},
                        "result": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["id", "from_name", "to_name", "type", "value"],
                                "properties": {
                                    "type": {"const": "timelinelabels"},
                                    "value": {
                                        "type": "object",
                                        "required": ["ranges", "timelinelabels"],
                                        "additionalProperties": False,
                                        "properties": {
                                            "ranges": {
                                                "type": "array",
                                                "minItems": 1,
                                                "maxItems": 1,
                                                "items": {
                                                    "required": ["start", "end"],
                                                    "properties": {
                                                        "start": {"type": "integer", "minimum": 1},
                                                        "end": {"type": "integer", "minimum": 1},
                                                    },
                                                },
                                            },
                                            "timelinelabels": {
                                                "type": "array",
                                                "items": {"type": "string"},
                                            },
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}


def test_label_studio_tasks_fit_their_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.labelstudio.json"
    videos = [ODD_VIDEO, video("http://cam/1.mp4"), video("b.mp4", segment(0, 1, "run"), fps=10)]
    files = write_segments(path, videos, labels=["jump"])
    tasks = json.loads(path.read_text())
    text = (tmp_path / "a.labelstudio.xml").read_text(encoding="utf-8")
    config = ElementTree.fromstring(text)

    assert files == (path, tmp_path / "a.labelstudio.xml")
    jsonschema.validate(tasks, LABEL_STUDIO_TASKS)
    assert text.startswith("<View>")  # Label Studio refuses a declaration with an encoding
    control, player = config
    assert control.attrib["toName"] == player.attrib["name"]
    offered = [label.attrib["value"] for label in control]
    assert offered == ["jump", *AS_LINES]
    for task in tasks:
        results = task["predictions"][0]["result"]
        assert len({result["id"] for result in results}) == len(results)
        for result in results:
            assert result["from_name"] == control.attrib["name"]
            assert result["to_name"] == player.attrib["name"]
            assert set(result["value"]["timelinelabels"]) <= set(offered)
    served = tasks[0]["data"]["video"].removeprefix("/data/local-files/?d=")
    assert "/" + unquote(served, errors="surrogateescape") == str(tmp_path / ODD_VIDEO.path)
    assert tasks[1]["data"]["video"] == "http://cam/1.mp4"
    assert tasks[1]["predictions"][0] == {"model_version": "activity", "score": None, "result": []}
    assert tasks[2]["data"]["fps"] == 10
    assert tasks[2]["predictions"][0]["result"][0]["value"]["ranges"] == [{"start": 1, "end": 10}]


@pytest.mark.parametrize("fps", [10, 24, 25, 30000 / 1001, 100])
def test_frames_of_a_segment_are_those_shown_while_it_lasts(fps: float) -> None:
    cuts = [0, 0.07, 1.5, 2.25, 2.3, 7 / 3, 3, 4]
    pieces = [segment(start, end, "run") for start, end in pairwise(cuts)]
    whole = VideoSegments(path="a", duration_seconds=4, fps=fps, segments=tuple(pieces))

    for piece in pieces:
        shown = [
            number + 1  # counted from 1
            for number in range(round(4 * fps))
            if piece.start_seconds <= number / fps + 1e-9 < piece.end_seconds
        ]
        first, last = frame_range(piece, whole)
        # One that is shorter than a frame still has the next one. 0.07 * 100 is a little above 7.
        assert [first, last] == ([shown[0], shown[-1]] if shown else [first, first])


@pytest.mark.parametrize("kind", ENDINGS)
def test_a_video_without_segments_and_upper_case_endings(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"A{kind.upper()}"

    write_segments(path, [video("a.mp4")])

    assert path.exists()
    assert not list(tmp_path.glob(".*"))  # nothing temporary is left
    if kind == ".eaf":
        assert Eaf(str(path)).get_annotation_data_for_tier("activity") == []
    if kind == ".vtt":
        assert webvtt.read(str(path)).captions == []


def test_one_file_per_video_where_the_format_holds_one(tmp_path: Path) -> None:
    paths = ["x/a.mp4", "y/a.mp4", "y/A.avi", "y/a-2.mp4", "b.mp4"]
    videos = [video(path, segment(0, 1, path)) for path in paths]
    template = tmp_path / "subtitles" / "{name}.srt"

    files = write_segments(template, videos)

    assert [file.name for file in files] == ["a.srt", "a-2.srt", "A-3.srt", "a-2-2.srt", "b.srt"]
    assert [next(srt.parse(file.read_text())).content for file in files] == [
        f"{path} 90%" for path in paths
    ]
    with pytest.raises(OutputError, match="cannot hold 5 videos") as error:
        SegmentOutputs([tmp_path / "all.vtt"], [Path(path) for path in paths])
    assert "{name}.vtt" in error.value.hint
    assert write_segments(tmp_path / "none.srt", []) == ()
    # Formats that name the video take both ways.
    assert len(write_segments(tmp_path / "{name}.csv", videos)) == 5
    assert len(write_segments(tmp_path / "all.csv", videos)) == 1


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    config = tmp_path / "a.labelstudio.xml"
    config.write_text("mine")
    tasks = tmp_path / "a.labelstudio.json"

    with pytest.raises(OutputError, match=r"a\.labelstudio\.xml exists already"):
        write_segments(tasks, [video("a.mp4")])
    assert not tasks.exists()
    write_segments(tasks, [video("a.mp4")], overwrite=True)
    assert config.read_text() != "mine"
    # The last of several is in the way: none is written.
    (tmp_path / "b.srt").touch()
    with pytest.raises(OutputError, match=r"b\.srt exists already"):
        write_segments(tmp_path / "{name}.srt", [video("c.mp4"), video("b.mp4")])
    assert not (tmp_path / "c.srt").exists()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("a.json", ".fiftyone.json or .labelstudio.json"),
        ("a.xlsx", ".csv, .jsonl, .parquet, .srt, .vtt, .eaf, .txt, .cvat.xml"),
        ("a", ".csv"),
    ],
)
def test_an_unknown_ending_is_refused_with_those_that_are_known(name: str, hint: str) -> None:
    with pytest.raises(OutputError, match=f"Cannot write {name}") as error:
        ending_of(Path(name))
    assert hint in error.value.hint


def test_the_longest_ending_counts() -> None:
    assert ending_of(Path("x.y.fiftyone.json")) == ".fiftyone.json"
    assert ending_of(Path("x.fiftyone.csv")) == ".csv"
