"""Annotation files of other programs: golden files of every format, round trips, bad input.

The golden files describe the same events, in two videos of 10 and 5 s at 10 frames a second.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import srt
import webvtt
from pympi import Eaf

from activity_cli.data.annotations.formats import FORMATS, ImportOptions, open_source
from activity_cli.data.annotations.importing import import_annotations
from activity_cli.data.loading import load_dataset
from activity_cli.errors import DataError, SettingsError
from activity_cli.predict.results.segment_files import ENDINGS, SegmentOutputs
from activity_cli.types import Segment, VideoSegments
from tests.media import plain_pictures, write_video
from tests.workplace import Workplace

GOLDEN = Path(__file__).with_name("annotations")
DAY1 = [("day1", "wave", 1.0, 2.5), ("day1", "run", 3.0, 6.0)]
BOTH = [*DAY1, ("day2", "wave", 0.5, 4.0)]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "day1.avi", plain_pictures(100, (16, 16)), 10)
    write_video(folder / "deeper" / "day2.MP4", plain_pictures(50, (16, 16)), 10)
    return folder


def pieces(
    path: Path, videos: Path | None, *, lenient: bool = False, **options: object
) -> list[tuple[str, str, float | None, float | None]]:
    found = import_annotations(
        [path],
        ImportOptions(videos=videos, **options),  # type: ignore[arg-type]
        lenient=lenient,
    )
    return [(one.path.stem, one.label, one.start, one.end) for one in found.pieces()]


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("project.boris", "boris", BOTH),
        ("boris_aggregated.csv", "boris-events", BOTH),
        ("boris_tabular.tsv", "boris-events", BOTH),
        ("boris_old.tsv", "boris-events", DAY1),
        ("boris8_offset.boris", "boris", BOTH),  # written by BORIS 8.27; day2 has an offset
        ("boris8_offset.tsv", "boris-events", BOTH[2:]),
        ("label_studio.json", "label-studio", BOTH),
        ("cvat.xml", "cvat", BOTH),
        ("cvat_tags.xml", "cvat", DAY1),
        ("activitynet.json", "activitynet", BOTH),
        ("via.json", "via", BOTH),
        ("fiftyone.json", "fiftyone", BOTH),
        ("feral_multilabel.json", "feral", BOTH),
        ("day1.txt", "audacity", DAY1),
        ("day1.srt", "srt", DAY1),
        ("day1.vtt", "vtt", DAY1),
        ("table.csv", "csv", BOTH),
        ("frames.tsv", "csv", BOTH),
        ("segments.jsonl", "jsonl", BOTH),
        ("elan.eaf", "elan", [DAY1[0], ("day1", "left", 1.0, 2.5), DAY1[1]]),
        # Rows of -1 were not looked at; the stretch before them was.
        (
            "day1_labels.csv",
            "deepethogram",
            [("day1", "Wave", 1.0, 2.5), DAY1[1], ("day1", "", 0.0, 9.0)],
        ),
    ],
)
def test_golden_file(
    videos: Path, name: str, kind: str, expected: list[tuple[str, str, float, float]]
) -> None:
    assert open_source(GOLDEN / name)[1].name == kind  # by its content
    assert sorted(pieces(GOLDEN / name, videos)) == sorted(expected)


def test_frames_of_class_zero_are_events_of_its_name(videos: Path) -> None:
    found = pieces(GOLDEN / "feral.json", videos)
    assert set(BOTH) < set(found)
    assert ("day2", "other", 4.0, 5.0) in found


def test_the_usual_readers_of_these_formats_agree() -> None:
    eaf = Eaf(str(GOLDEN / "elan.eaf"))
    assert (3000, 6000, "run") in eaf.get_annotation_data_for_tier("actions")
    cues = srt.parse((GOLDEN / "day1.srt").read_text(encoding="utf-8-sig"))
    assert [(c.content, c.end.total_seconds()) for c in cues] == [(p[1], p[3]) for p in DAY1]
    captions = webvtt.read(str(GOLDEN / "day1.vtt")).captions
    assert [(c.text, c.voice) for c in captions] == [("wave", "Anna"), ("run", None)]


ROUND = VideoSegments(
    path="day1.avi",
    duration_seconds=10,
    fps=10,
    segments=tuple(
        Segment(start_seconds=s, end_seconds=e, label=label, mean_score=0.93, peak_score=1)
        for s, e, label in (
            (0.04, 1.26, "run & hide"),
            (2, 3.333, "Ходьба 走る"),
            (3.333, 4.5, "run & hide"),
            (5, 10, "to 5%"),
        )
    ),
)


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_predict_writes_is_read_again(videos: Path, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"day1{ending}"
    SegmentOutputs([file], [Path(ROUND.path)]).write([ROUND], ["run & hide", "not found"])

    found = pieces(file, videos)

    assert [one[:2] for one in found] == [("day1", s.label) for s in ROUND.segments]
    for (_, _, start, end), segment in zip(found, ROUND.segments, strict=True):
        assert start == pytest.approx(segment.start_seconds, abs=1 / ROUND.fps)
        assert end == pytest.approx(segment.end_seconds, abs=1 / ROUND.fps)


def test_boris_takes_its_own_fields_from_what_predict_writes(tmp_path: Path) -> None:
    # BORIS 8.27 opened such a file, found no problem, and exported the same events (by hand).
    real = json.loads((GOLDEN / "boris8_offset.boris").read_text())
    SegmentOutputs([tmp_path / "a.boris"], []).write([ROUND, ROUND], [])
    ours = json.loads((tmp_path / "a.boris").read_text())

    assert ours.keys() == real.keys()
    assert ours["project_format_version"] == real["project_format_version"]
    for part, name in (("behaviors_conf", "0"), ("observations", "monday")):
        for one in ours[part].values():
            assert one.keys() == real[part][name].keys()
            assert [type(v) for v in one.values()] == [type(v) for v in real[part][name].values()]
    assert list(ours["observations"]) == ["day1", "day1-2"]


def test_subjects_choose_label_and_group(videos: Path) -> None:
    path, anna = GOLDEN / "boris_tabular.tsv", [BOTH[0], BOTH[2]]
    assert pieces(path, videos, subject=("anna",)) == anna
    assert [p[1] for p in pieces(path, videos, label_by_subject=True)] == [
        *("anna:wave", "run", "anna:wave")
    ]
    options = ImportOptions(videos=videos, group_by_subject=True)
    assert [p.group for p in import_annotations([path], options).pieces()] == ["anna", "", "anna"]
    with pytest.raises(SettingsError, match="no events of the subject bob") as error:
        pieces(path, videos, subject=("bob",))
    assert "anna" in error.value.hint


def test_an_observation_of_several_videos_and_points(videos: Path, tmp_path: Path) -> None:
    project = json.loads((GOLDEN / "project.boris").read_text())
    project["behaviors_conf"]["1"]["type"] = "Point event"
    events = [[9.0, "", "wave", "", ""], [12.0, "", "wave", "", ""], [14.0, "", "run", "", ""]]
    lengths = {"a/day1.mp4": 10.0, "b/day2.mp4": 5.0}
    observation = {"file": {"1": list(lengths)}, "events": events, "media_info": {}}
    observation["media_info"] = {"length": lengths}
    project["observations"] = {"both": observation}
    path = tmp_path / "both.boris"
    path.write_text(json.dumps(project))

    assert pieces(path, videos, point_seconds=0.5) == [
        *(("day1", "wave", 9.0, 10.0), ("day2", "wave", 0.0, 2.0), ("day2", "run", 3.75, 4.25))
    ]


def test_whole_videos_and_frame_rates(videos: Path, tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    choice = {"type": "choices", "value": {"choices": ["wave"]}}
    span = {"type": "timelinelabels", "value": {"ranges": [{"start": 25, "end": 48}]}}
    span["value"]["timelinelabels"] = ["run"]  # type: ignore[index]
    tasks = [
        {"data": {"video": name}, "annotations": [{"result": [result]}]}
        for name, result in (("day2.MP4", choice), ("day1.avi", span))
    ]
    path.write_text(json.dumps(tasks))

    expected = [("day1", "run", 1.0, 2.0), ("day2", "wave", None, None)]
    assert sorted(pieces(path, videos, fps=24.0)) == expected
    table = tmp_path / "clips.csv"
    table.write_text("file,action\nday1,wave\nday2,run\n")
    assert pieces(table, videos) == [("day1", "wave", None, None), ("day2", "run", None, None)]


EDITS: dict[str, tuple[str, Callable[[str], str], str, str]] = {
    "start twice": (
        "boris_tabular.tsv",
        lambda text: text.replace("\tSTOP\t2.5", "\tSTART\t2.5"),
        "a START without a STOP: 2 (line 2, line 3), left out",
        "run",
    ),
    "stop only": (
        "boris_tabular.tsv",
        lambda text: text.replace("\tSTART\t1.0", "\tSTOP\t1.0"),
        "a STOP without a START: 2 (line 2, line 3), left out",
        "run",
    ),
    "odd state": (
        "project.boris",
        lambda text: text.replace('[2.5, "anna", "wave", "", "", 25],', ""),
        "a START without a STOP: 1 (observation monday, event 1), left out",
        "run",
    ),
    "unknown behaviour": (
        "project.boris",
        lambda text: text.replace('"code": "run"', '"code": "walk"'),
        "a behaviour that is not in the ethogram: 2 (observation monday, event 3: run",
        "wave",
    ),
    "missing video": (
        "table.csv",
        lambda text: text.replace("day2.mp4", "day9.mp4"),
        "no such video: 1 (day9.mp4, line 4), left out",
        "run",
    ),
    "beyond the end": (
        "activitynet.json",
        lambda text: text.replace("6.0]", "16.0]"),
        "an end beyond the end of the video: 1 (day1, annotation 2, 16 s), shortened",
        "run",
    ),
    "starts beyond": (
        "activitynet.json",
        lambda text: text.replace("[1.0, 2.5]", "[11, 12]"),
        "a start beyond the end of the video: 1 (day1, annotation 1, 11 s), left out",
        "run",
    ),
    "backwards": (
        "day1.txt",
        lambda text: text.replace("2.500000", "0.500000"),
        "an end before the start: 1 (line 1, 1 s), left out",
        "run",
    ),
    "no number": (
        "table.csv",
        lambda text: text.replace("1,0;", "soon;"),
        "a time that is not a number: 1 (line 2), left out",
        "run",
    ),
    "no label": (
        "day1.txt",
        lambda text: text.replace("wave", ""),
        "no label: 1 (line 1), left out",
        "run",
    ),
    "too few frames": (
        "day1_labels.csv",
        lambda text: "".join(text.splitlines(keepends=True)[:80]),
        "another number of frames than the video: 1 (day1: 79, not 100), kept",
        "run",
    ),
    "not in the options": (
        "via.json",
        lambda text: text.replace('"2_c":{"vid":"2","flg":0,"z":[0.5,4.0],"xy":[],"av":{"1":"0"',
                                  '"2_c":{"vid":"2","flg":0,"z":[0.5,4.0],"xy":[],"av":{"1":"7"'),
        "a label that is not among the options: 1 (metadata 2_c: 7), left out",
        "run",
    ),
    "class without a name": (
        "feral_multilabel.json",
        lambda text: text.replace('"0": "wave", ', ""),
        "a class without a name: 2 (day1.mp4, frame 10: 0, day2.mp4, frame 5: 0), left out",
        "run",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_events_that_cannot_be_used_are_counted(videos: Path, tmp_path: Path, name: str) -> None:
    file, edit, message, rest = EDITS[name]
    text = (GOLDEN / file).read_text(encoding="utf-8")
    assert edit(text) != text
    path = tmp_path / file
    path.write_text(edit(text), encoding="utf-8")

    found = import_annotations([path], ImportOptions(videos=videos), lenient=True)

    assert any(message in line for line in found.problems()), found.problems()
    assert rest in {piece.label for piece in found.pieces()}


def test_such_events_are_an_error_by_default(videos: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("video,label,start,end\nday1,wave,1,20\nday8,wave,1,2\nday1,run,9,2\n")
    with pytest.raises(DataError) as error:
        pieces(path, videos)
    assert error.value.message.count(": 1 (") == 3
    assert "--lenient" in error.value.hint


ONE_OF_EACH = ["project.boris", "elan.eaf", "cvat.xml", "label_studio.json", "feral.json"]


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_truncated_files_are_refused(videos: Path, tmp_path: Path, name: str) -> None:
    content = (GOLDEN / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=rf"{name}, line \d+: the (JSON|XML) is not complete"):
        pieces(path, videos)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.srt", b"\xef\xbb\xbf \n", "is empty"),
        ("a.eaf", b"Dear all, the file is late.", "no annotation file"),
        ("a.boris", b'{"rows": []}', "no annotation file"),
        ("a.csv", "video,label,start,end\nday1,Käfer,1,2\n".encode("latin-1"), r"line 2.*UTF-8"),
        ("a.xml", b'<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>', "document type"),
        ("a.boris", b'{"behaviors_conf": {"0": {}}, "observations": {}}', "not as that program"),
        ("a.json", b'{"data": {"video": "day1"}, "annotations": [{"result": [{"type": "rect"}]}]}',
         "a region that is not a time with a label: 1 .task 1: rect"),
        ("a.eaf", b"<ANNOTATION_DOCUMENT><HEADER/><TIME_ORDER/></ANNOTATION_DOCUMENT>", "no event"),
    ],
)  # fmt: skip
def test_other_bad_files(
    videos: Path, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        pieces(path, videos)


def test_format_can_be_stated_and_is_checked(videos: Path) -> None:
    assert pieces(GOLDEN / "cvat.xml", videos, format="cvat") == sorted(BOTH, key=lambda p: p[0::2])
    with pytest.raises(DataError, match="is not ELAN"):
        pieces(GOLDEN / "cvat.xml", videos, format="elan")
    with pytest.raises(SettingsError, match="no format 'excel'") as error:
        pieces(GOLDEN / "cvat.xml", videos, format="excel")
    assert all(one.name in error.value.hint for one in FORMATS)


def test_data_for_training_is_read_by_the_same_code(videos: Path, tmp_path: Path) -> None:
    dataset = load_dataset(GOLDEN / "project.boris", videos=videos)
    found = [(s.name, s.label, s.start_seconds, s.end_seconds) for s in dataset.samples]
    assert found == [
        ("day1.avi", *BOTH[0][1:]),
        ("day1.avi", *BOTH[1][1:]),
        ("deeper/day2.MP4", *BOTH[2][1:]),
    ]
    assert all(sample.path.is_file() for sample in dataset.samples)
    shutil.copy(videos / "day1.avi", tmp_path / "day1.avi")  # beside the file, without --videos
    shutil.copy(GOLDEN / "day1.srt", tmp_path)
    assert load_dataset(tmp_path / "day1.srt").labels == ("run", "wave")
    own = tmp_path / "own.csv"
    own.write_text("path,label,group\nday1.avi,run,a\ndeeper/day2.MP4,wave,b\n")
    assert [s.group for s in load_dataset(own, videos=videos).samples] == ["a", "b"]
    table = tmp_path / "overlap.csv"
    table.write_text("video,label,start,end\nday1,run,1,5\nday1,wave,0,2\nday1,wave,6,7\n")
    with pytest.raises(
        DataError, match=r"'run' at 1 s overlaps 'wave' in day1.avi; 1 event in all"
    ):
        load_dataset(table, videos=videos)


def test_the_command_writes_the_csv_and_counts(tmp_path: Path, videos: Path) -> None:
    workplace = Workplace(tmp_path, tmp_path / "cache")
    golden = [str(GOLDEN / name) for name in ("fiftyone.json", "via.json")]
    output = workplace.folder / "out" / "labels.csv"
    command = ["import", *golden, "--videos", str(videos), "--output", str(output)]

    done = workplace.run(*command)

    lines = output.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "path,label,start,end"
    assert len(load_dataset(output).samples) == len(lines) - 1 == len(BOTH)
    assert "3 events imported, after 3 repetitions were merged" in done.stdout
    again = workplace.run(*command, "--overwrite", "--json", "--subject", "anna", code=2)
    assert "fiftyone.json has no events of the subject anna" in again.stderr
    assert "exists already" in workplace.run(*command, code=1).stderr


@pytest.mark.slow
def test_training_takes_an_annotation_file(tmp_path: Path, videos: Path) -> None:
    workplace = Workplace(tmp_path, tmp_path / "cache")
    rows = [f"day1,{'wave' if i % 2 else 'run'},{i / 2},{i / 2 + 0.5}" for i in range(20)]
    rows += [f"day2,{'wave' if i % 2 else 'run'},{i / 2},{i / 2 + 0.5}" for i in range(10)]
    table = workplace.folder / "events.tsv"
    table.write_text("\n".join(["video,behaviour,start,stop", *rows]))
    preview = workplace.folder / "preview.png"

    command = ["train", str(table), "--videos", str(videos), "--streams", "rgb"]
    workplace.run(*command, "--preview", str(preview))

    assert preview.is_file()


def test_time_that_was_looked_at_is_a_row_without_a_label(videos: Path, tmp_path: Path) -> None:
    project = json.loads((GOLDEN / "project.boris").read_text())
    project["observations"]["monday"]["observation time interval"] = [0.5, 7.5]
    project["observations"]["tuesday"]["events"] = []
    (tmp_path / "part.boris").write_text(json.dumps(project))
    table = tmp_path / "labels.csv"

    Workplace(tmp_path, tmp_path).run(
        "import", "part.boris", "--videos", str(videos), "--output", "labels.csv"
    )

    rows = [row.split(",")[1:] for row in table.read_text().splitlines()[1:]]
    assert ["", "0.5", "7.5"] in rows  # of day1
    assert ["", "0.0", ""] in rows  # all of day2, in which nothing happens
    assert sorted(row[0] for row in rows if row[0]) == ["run", "wave"]
    assert len(load_dataset(table).samples) == 2  # of one label each: the events alone
    looked_at = [row for row in load_dataset(table, multi_label=True).events if not row.label]
    assert [row.path.stem for row in looked_at] == ["day1", "day2"]
