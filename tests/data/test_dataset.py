"""Labelled data in a folder or a CSV, and pieces of long videos as training clips."""

import csv
from pathlib import Path

import pytest

from activity_cli.data.dataset import Dataset, Sample
from activity_cli.data.loading import load_dataset
from activity_cli.data.windows import cut, prepare_pieces
from activity_cli.errors import DataError, SettingsError
from activity_cli.video.decoder_pool import DecoderPool
from tests.media import DrawClip, Picture, iter_frames, write_video
from tests.workplace import LABELS, QUICK, Workplace, rows_of

SHARED_VIDEOS = ("a.mp4", "b.mp4", "c d.mp4", "sub/e,f.mp4")


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def load_csv(folder: Path, content: str | bytes) -> Dataset:
    touch(folder, *SHARED_VIDEOS)
    path = folder / "data.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_dataset(path)


def test_each_folder_is_a_label(tmp_path: Path) -> None:
    touch(tmp_path, "wave/2.mp4", "wave/deep/1.AVI", "run/x.webm", "wave/notes.txt")
    touch(tmp_path, ".hidden/x.mp4", "wave/.trash/y.mp4", "wave/._2.mp4")

    dataset = load_dataset(tmp_path)

    assert dataset.labels == ("run", "wave")
    assert [s.name for s in dataset.samples] == ["run/x.webm", "wave/2.mp4", "wave/deep/1.AVI"]
    assert dataset.samples[1].path == tmp_path / "wave" / "2.mp4"
    assert dataset.counts() == {"run": 1, "wave": 2}
    assert dataset.label_indices().tolist() == [0, 1, 1]
    assert dataset.groups() is None


def test_folders_may_be_parted_into_train_and_test(tmp_path: Path) -> None:
    touch(tmp_path, "train/wave/1.mp4", "train/run/1.mp4", "valid/wave/2.mp4", "test/run/3.mp4")

    dataset = load_dataset(tmp_path)

    assert dataset.labels == ("run", "wave")
    parts = {sample.name: sample.split for sample in dataset.samples}
    assert parts["train/run/1.mp4"] == "train"
    assert parts["valid/wave/2.mp4"] == "val"


def test_a_labels_csv_in_the_folder_is_used(tmp_path: Path) -> None:
    touch(tmp_path, "x/1.mp4", "y/1.mp4")
    (tmp_path / "labels.csv").write_text("path,label,group\nx/1.mp4,wave,ann\ny/1.mp4,run,bob\n")

    dataset = load_dataset(tmp_path)

    assert dataset.labels == ("run", "wave")
    assert [sample.group for sample in dataset.samples] == ["ann", "bob"]


@pytest.mark.parametrize(
    ("files", "message", "hint"),
    [
        ([], "has no videos and no other files.", "wave/1.mp4"),
        (["readme.txt", "a.csv"], "has no videos, only 2 other files (.csv, .txt).", "wave/1.mp4"),
        (["a.mp4", "b.mp4"], "has 2 videos but no folders", "wave/1.mp4"),
        (
            ["wave/a.mp4", "run/a.mp4", "c.mp4"],
            "1 video outside of them; the first is c.mp4",
            "Move",
        ),
        (["wave/a.mp4"], "has one label only, 'wave'", "another action"),
        (
            ["wave/a.mp4", "run/a.txt"],
            "run has no videos, only 1 other file (.txt)",
            "Every folder",
        ),
    ],
)
def test_a_folder_that_cannot_be_used_says_why(
    tmp_path: Path, files: list[str], message: str, hint: str
) -> None:
    touch(tmp_path, *files)

    with pytest.raises(DataError) as error:
        load_dataset(tmp_path)

    assert str(tmp_path) in error.value.message
    assert message in error.value.message
    assert hint in error.value.hint


@pytest.mark.parametrize(
    ("name", "message"), [("none", "does not exist"), ("a.mp4", "is a video"), ("a.xls", ".xls")]
)
def test_a_source_of_another_kind_says_so(tmp_path: Path, name: str, message: str) -> None:
    touch(tmp_path, "a.mp4", "a.xls")

    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [
        "path,label\na.mp4,wave\nb.mp4,run\n",
        "path,label\r\na.mp4,wave\r\nb.mp4,run\r\n",
        "path;label\na.mp4;wave\nb.mp4;run",
        "label\tpath\nwave\ta.mp4\nrun\tb.mp4",
        " path , label \n\n  a.mp4 ,wave \n,\nb.mp4,\trun\n\n",
        b"\xef\xbb\xbfpath,label\na.mp4,wave\nb.mp4,run\n",
        "path,label\na.mp4,wave\nb.mp4,run\n".encode("utf-16"),
        'path,label\n"a.mp4","wave"\n"b.mp4",run\n',
    ],
    ids=["plain", "crlf", "semicolon", "tab", "spaces", "bom", "utf-16", "quoted"],
)
def test_a_csv_is_read_as_programs_write_it(tmp_path: Path, content: str | bytes) -> None:
    dataset = load_csv(tmp_path, content)

    assert [(s.name, s.label) for s in dataset.samples] == [("a.mp4", "wave"), ("b.mp4", "run")]
    assert dataset.samples[0].path == tmp_path / "a.mp4"


def test_a_csv_says_pieces_groups_splits_and_folds(tmp_path: Path) -> None:
    dataset = load_csv(
        tmp_path,
        "path,label,start,end,group,split,camera\n"
        'a.mp4,wave,0,2.5,ann,train,north\n"sub/e,f.mp4",run,1,,bob,Test,\n'
        'c d.mp4,"two\nlines",,,,val,south\n',
    )

    first, second, third = dataset.samples
    assert (first.start_seconds, first.end_seconds) == (0, 2.5)
    assert (second.name, second.start_seconds, second.end_seconds) == ("sub/e,f.mp4", 1, None)
    assert [s.group for s in dataset.samples] == ["ann", "bob", None]
    assert [s.split for s in dataset.samples] == ["train", "test", "val"]
    assert [dict(s.folds) for s in dataset.samples] == [
        {"camera": "north"},
        {"camera": ""},
        {"camera": "south"},
    ]
    assert (third.label, third.line) == ("two\nlines", 4)


def test_pieces_of_one_video_are_one_group(tmp_path: Path) -> None:
    dataset = load_csv(
        tmp_path, "path,label,start,end\na.mp4,wave,0,1\na.mp4,run,1,2\nb.mp4,run,0,1\n"
    )

    groups = dataset.groups()

    assert groups is not None
    assert groups.tolist() == [0, 0, 1]


BAD_CSV = {
    "empty file": ("", "data.csv is empty", "path,label"),
    "header only": ("path,label\n\n", "header but no rows", "Add a row"),
    "no label column": (
        "path,class\na.mp4,wave\n",
        "no column label; the columns are path, class",
        "",
    ),
    "neither column": ("a.mp4,wave\nb.mp4,run\n", "no column path or label", "first line"),
    "column twice": ("path,label,label\na.mp4,x,y\n", "label is listed twice", "Rename"),
    "nameless column": ("path,label,\na.mp4,x,y\n", "column 3 has no name", "Name it"),
    "extra comma": (
        "path,label\na.mp4,wave\nsub/e,f.mp4,run\n",
        "line 3, column after label: 3 fields where the header has 2",
        "double quotes",
    ),
    "too few fields": ("path,label,group\na.mp4,x\n", "line 2, column group: 2 fields", "missing"),
    "unmatched quote": ('path,label\n"a.mp4,x\nb.mp4,y\n', "line 2: quotes", "whole value"),
    "empty path": ("path,label\n,wave\n", "line 2, column path: the value is empty", "path"),
    "empty label": ("path,label\na.mp4,\n", "line 2, column label: the value is empty", "shows"),
    "missing file": (
        "path,label\na.mp4,x\nno.mp4,x\nno2.mp4,x\nb.mp4,\n",
        "line 3, column path: there is no file no.mp4."
        " (2 files are missing in all; 2 more bad rows)",
        "relative to the CSV's folder",
    ),
    "backslash": ("path,label\nsub\\e.mp4,x\n", "no file sub\\e.mp4", "relative"),
    "one label": ("path,label\na.mp4,x\nb.mp4,x\n", "one label only, 'x'", "another action"),
    "not UTF-8": (b"path,label\na.mp4,x\nb.mp4,\xe9\n", "line 3: this is not UTF-8", "UTF-8"),
    "start not a number": (
        "path,label,start\na.mp4,x,one\n",
        "column start: 'one' is not a",
        "12.5",
    ),
    "decimal comma": ('path,label,end\na.mp4,x,"1,5"\n', "column end: '1,5' is not a", "12.5"),
    "nan": ("path,label,end\na.mp4,x,nan\n", "column end: 'nan' is not a number", "12.5"),
    "negative start": ("path,label,start\na.mp4,x,-1\n", "column start: -1 s is negative", "0"),
    "end before start": (
        "path,label,start,end\na.mp4,x,3,2\n",
        "column end: the clip ends at 2 s, but starts at 3 s",
        "after start",
    ),
    "same row twice": (
        "path,label\na.mp4,x\n./a.mp4,x\n",
        "listed twice, first in line 2",
        "Remove",
    ),
    "two labels": (
        "path,label\na.mp4,x\na.mp4,y\n",
        "line 3, column path: a.mp4 is 'y' here, but 'x' in line 2",
        "one label",
    ),
    "unknown split": (
        "path,label,split\na.mp4,x,dev\n",
        "column split: 'dev' is not a split",
        "val",
    ),
}


@pytest.mark.parametrize(("content", "message", "hint"), BAD_CSV.values(), ids=BAD_CSV)
def test_a_bad_csv_names_the_place_and_the_fix(
    tmp_path: Path, content: str | bytes, message: str, hint: str
) -> None:
    with pytest.raises(DataError) as error:
        load_csv(tmp_path, content)

    assert str(tmp_path / "data.csv") in error.value.message
    assert message in error.value.message
    assert hint in error.value.hint
    assert "\n" not in error.value.message


def spans(samples: list[Sample]) -> list[tuple[float | None, float | None]]:
    return [(sample.start_seconds, sample.end_seconds) for sample in samples]


def test_windows_spread_over_a_piece_and_stay_in_it() -> None:
    piece = Sample(path=Path("a.mp4"), name="a.mp4", label="run", start_seconds=10, end_seconds=17)

    assert spans(cut(piece, 60.0, 2.0)) == [(10, 12), (12.5, 14.5), (15, 17)]
    assert spans(cut(piece, 14.0, 2.0)) == [(10, 12), (12, 14)]  # as much as there is
    assert cut(piece, 60.0, 5.0) == [piece]  # hardly longer than a window
    assert cut(piece, None, 2.0) == [piece]
    whole = Sample(path=Path("a.mp4"), name="a.mp4", label="run")
    starts = [sample.start_seconds for sample in cut(whole, 3600.0, 2.0)]
    assert len(starts) == 8
    assert (starts[0], starts[-1]) == (0, 3598)


def test_a_piece_beyond_the_end_of_its_video_names_the_line(
    draw_clip: DrawClip, tmp_path: Path
) -> None:
    draw_clip("a.avi", frames=50, fps=10)
    table = tmp_path / "pieces.csv"

    def prepare(rows: str, window: float | None = None) -> Dataset:
        table.write_text("path,label,start,end\n" + rows)
        with DecoderPool() as pool:
            return prepare_pieces(load_dataset(table), pool, window_seconds=window)

    good = prepare("a.avi,run,0,2.5\na.avi,wave,2.5,5\n")
    assert len(good.samples) == 2
    with pytest.raises(DataError, match=r"a.avi, line 3, column end: 50 s is beyond.* 5.0 s"):
        prepare("a.avi,run,0,2.5\na.avi,wave,2.5,50\n")
    windows = prepare("a.avi,run,0,2.5\na.avi,wave,2.5,5\n", window=1.0)
    assert spans(list(windows.samples)) == [(0, 1), (1.5, 2.5), (2.5, 3.5), (4, 5)]
    assert windows.groups() is not None  # those of one video stay together
    with pytest.raises(SettingsError, match="--window"):
        prepare("a.avi,run,0,2.5\na.avi,wave,2.5,5\n", window=0.0)
    with pytest.raises(DataError, match="line 3, column start: the piece overlaps that of line 2"):
        prepare("a.avi,run,0,2.5\na.avi,wave,2,5\n")
    with pytest.raises(DataError, match="line 4, column start: the piece overlaps that of line 2"):
        prepare("a.avi,run,0,5\na.avi,run,1,2\na.avi,wave,3,4\n")  # not neighbours by their start
    prepare("a.avi,run,0,2.5\na.avi,run,2,4\na.avi,wave,4,5\n")  # one label may overlap itself


@pytest.mark.slow
def test_a_model_learns_from_long_videos(shared: Workplace, workplace: Workplace) -> None:
    with (workplace.folder / "pieces.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "start", "end"])
        for number in range(4):
            frames: list[Picture] = []
            for label in LABELS:
                start = len(frames) / 25
                clips = sorted((shared.folder / "clips" / label).glob("*.mp4"))
                for clip in clips[2 * number : 2 * number + 2]:
                    frames += [frame for _, frame in iter_frames(clip)]
                writer.writerow([f"{number}.mp4", label, start, len(frames) / 25])
            write_video(workplace.folder / f"{number}.mp4", frames, fps=25)

    workplace.run("train", "pieces.csv", "--name", "long", "--window", "2", *QUICK)

    split = rows_of(workplace.folder / "runs" / "long" / "split.csv")
    assert len(split) > 12  # several windows of a piece
    parts: dict[str, set[str]] = {}
    for row in split:
        parts.setdefault(row["path"], set()).add(row["split"])
    assert all(len(names) == 1 for names in parts.values())  # no video is in two parts
    predicted = workplace.run("predict", "0.mp4", "--model", "runs/long", "--json").stdout
    assert '"segments": [{"start"' in predicted
