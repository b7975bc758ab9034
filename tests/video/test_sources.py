"""What `predict` takes as a source, and the list of files that comes of it."""

import os
from pathlib import Path

import pytest

from activity_cli.errors import DataError
from activity_cli.video.sources import expand_sources


@pytest.fixture
def footage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `footage` in the current one, with names that are hard to handle."""
    monkeypatch.chdir(tmp_path)
    names = ["b.mp4", "a/2.MOV", "a/1.avi", "-x -y.mp4", "clip [1].mp4", "größe 日本.webm"]
    names += [".hidden.mp4", ".trash/x.mp4", "notes.txt", "a/._1.avi", "data.dat"]
    for name in names:
        path = tmp_path / "footage" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "footage"


def names(*sources: str) -> list[str]:
    return [str(source) for source in expand_sources(sources)]


def test_a_folder_is_searched_in_order_without_hidden_files(footage: Path) -> None:
    expected = ["-x -y.mp4", "a/1.avi", "a/2.MOV", "b.mp4", "clip [1].mp4", "größe 日本.webm"]

    assert names("footage") == [f"footage/{name}" for name in expected]
    assert names(str(footage)) == [str(footage / name) for name in expected]


@pytest.mark.skipif(os.name == "nt", reason="making links needs rights on Windows")
def test_links_are_followed_once(footage: Path) -> None:
    for name in ("loop", "loop2", "a/up"):
        (footage / name).symlink_to(footage)
    (footage / "z.mp4").symlink_to(footage / "b.mp4")

    assert len(names("footage")) == 6
    assert len(names("footage/**/*")) == 6
    assert names("footage/z.mp4", "footage/b.mp4", "footage/loop/b.mp4") == ["footage/z.mp4"]


def test_duplicates_keep_their_first_place(footage: Path) -> None:
    assert names("footage/b.mp4", "footage/a/../b.mp4", str(footage / "b.mp4"), "footage/a") == [
        "footage/b.mp4",
        "footage/a/1.avi",
        "footage/a/2.MOV",
    ]


@pytest.mark.usefixtures("footage")
def test_named_files_stay_even_when_missing_or_odd() -> None:
    sources = ["no.mp4", "footage/data.dat", "footage/clip [1].mp4", "footage/-x -y.mp4"]
    sources += ["0", "x" * 300 + ".mp4"]

    assert names(*sources) == sources


@pytest.mark.usefixtures("footage")
def test_patterns_match_in_order() -> None:
    assert names("footage/*.mp4") == [
        "footage/-x -y.mp4",
        "footage/b.mp4",
        "footage/clip [1].mp4",
    ]
    assert names("footage/**/*.avi") == ["footage/a/1.avi"]
    assert names("**/a/?.*") == ["footage/a/1.avi", "footage/a/2.MOV"]
    assert names("foot*/a") == ["footage/a/1.avi", "footage/a/2.MOV"]
    assert names("footage/*.dat") == ["footage/data.dat"]
    assert names("footage/b*") == ["footage/b.mp4"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.txt", "\ufeff# what to score\r\n\r\nb.mp4\r\ngröße 日本.webm \r\nno #1.mp4\r\n"),
        ("list.csv", "path,label,start\nb.mp4,x,0\ngröße 日本.webm,x,\nb.mp4,x,2\nno #1.mp4,y,\n"),
    ],
)
def test_a_list_is_relative_to_itself(footage: Path, name: str, content: str) -> None:
    (footage / name).write_bytes(content.encode())

    assert names(f"footage/{name}") == [
        "footage/b.mp4",
        "footage/größe 日本.webm",
        "footage/no #1.mp4",
    ]


def test_a_list_may_name_folders_and_undecodable_files(footage: Path) -> None:
    (footage / "list.txt").write_bytes(b"a\n\xff.mp4\n")

    assert names("footage/list.txt") == [
        "footage/a/1.avi",
        "footage/a/2.MOV",
        "footage/\udcff.mp4",
    ]


@pytest.mark.parametrize(
    ("source", "message", "hint"),
    [
        ("", "A source is empty", "Name a video"),
        ("rtsp://cam/1", "rtsp://cam/1 is an address", "Download"),
        ("empty", "empty has no videos and no other files.", ".mp4"),
        ("texts", "texts has no videos, only 1 other file (.md).", ".avi"),
        ("footage/*.mkv", "*.mkv matches no videos and no other files", "pattern"),
        ("texts/*", "texts/* matches no videos, only 1 other file (.md)", "pattern"),
        ("a**/x.mp4", "a**/x.mp4 is not a valid pattern", "**"),
        ("none.txt", "There is no list none.txt", "path"),
        ("nothing.txt", "nothing.txt lists no files", "one path per line"),
        ("bad.csv", "no column path; the columns are file", "path"),
        ("gap.csv", "gap.csv, line 2, column path: the value is empty", "remove"),
        ("long.csv", "long.csv, line 2, column after path: 2 fields", "quotes"),
    ],
)
@pytest.mark.usefixtures("footage")
def test_a_source_without_videos_says_why(source: str, message: str, hint: str) -> None:
    Path("empty").mkdir()
    Path("texts").mkdir()
    Path("texts/a.md").touch()
    Path("nothing.txt").write_text("# nothing yet\n")
    Path("bad.csv").write_text("file\na.mp4\n")
    Path("gap.csv").write_text("path,x\n,1\n")
    Path("long.csv").write_text("path\na,b.mp4\n")

    with pytest.raises(DataError) as error:
        expand_sources([source])

    assert message in error.value.message
    assert hint in error.value.hint


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_folder_that_cannot_be_read_is_not_lost(footage: Path) -> None:
    (footage / "a").chmod(0)
    try:
        assert "footage/a" in names("footage")
    finally:
        (footage / "a").chmod(0o755)


def test_an_empty_folder_that_is_named_like_a_video_is_not_lost(footage: Path) -> None:
    (footage / "folder.mp4").mkdir()
    (footage / "album.mp4").mkdir()
    (footage / "album.mp4" / "1.mp4").touch()

    found = [path.relative_to(footage).as_posix() for path in expand_sources([str(footage)])]

    assert "folder.mp4" in found
    assert "album.mp4/1.mp4" in found
    assert "album.mp4" not in found
