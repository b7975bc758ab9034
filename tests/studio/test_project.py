"""Labels are never lost: not by kill -9, not by two windows, not by another program."""

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from activity_cli.data.loading import load_dataset
from activity_cli.errors import DataError
from activity_cli.studio.labels import Piece, merge, paint, read_labels
from activity_cli.studio.project import Project, id_of
from tests.media import plain_pictures, write_video
from tests.processes import PATIENCE_SECONDS
from tests.studio.page import Page, eventually
from tests.workplace import Workplace, rows_of

Edits = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.mp4", "cam/b.mp4", "cam/c.mp4"):
        write_video(tmp_path / "videos" / name, plain_pictures(5), 10)
    return tmp_path / "videos"


@pytest.fixture
def project(folder: Path) -> Iterator[Project]:
    project = Project(folder)
    yield project
    project.close()


def label(name: str, label: str | None) -> dict[str, Any]:
    return {"op": "label", "clip": id_of(name), "label": label}


def rows(folder: Path) -> list[tuple[str, ...]]:
    return [tuple(row.values()) for row in rows_of(folder / "labels.csv")]


def test_painting_cuts_and_joins() -> None:
    whole = paint((), None, None, "run")
    cut = paint(whole, 1.0, 2.0, "wave")
    assert cut == (Piece(None, 1, "run"), Piece(1, 2, "wave"), Piece(2, None, "run"))
    joined = paint(paint((), 0.0, 0.25, "run"), 0.25, 0.5004, "run")  # held down while it plays
    assert joined == (Piece(0.0, 0.5, "run"),)
    assert paint(cut, 0.5, None, None) == (Piece(None, 0.5, "run"),)
    assert paint(joined, 0.2, 0.2, "wave") == joined  # a tap of no length


def test_the_table_is_what_train_reads(project: Project, folder: Path) -> None:
    paints = {"op": "paint", "clip": id_of("cam/b.mp4"), "start": 0.1, "end": 0.3, "label": "run"}
    group = {"op": "group", "clip": id_of("cam/b.mp4"), "group": "cam1"}
    project.edit([label("a.mp4", "wave"), paints, group], "label")
    project.edit([{"op": "flag", "clip": id_of("cam/c.mp4"), "flag": "unsure"}], "unsure")
    eventually((folder / "labels.csv").exists)
    dataset = load_dataset(folder)
    assert [
        (s.name, s.label, s.start_seconds, s.end_seconds, s.group) for s in dataset.samples
    ] == [
        ("a.mp4", "wave", None, None, None),
        ("cam/b.mp4", "run", 0.1, 0.3, "cam1"),
    ]
    for flag in ("excluded", "unsure"):
        project.edit([{"op": "flag", "clip": id_of("a.mp4"), "flag": flag}], flag)
        project.sync()
        assert [row[0] for row in rows(folder)] == ["cam/b.mp4"]
        project.undo()
    project.sync()
    assert [row[0] for row in rows(folder)] == ["a.mp4", "cam/b.mp4"]


def test_undo_reaches_back_over_a_restart(folder: Path) -> None:
    for name, action in (("a.mp4", "wave"), ("a.mp4", "run"), ("cam/b.mp4", "run")):
        project = Project(folder)
        project.edit([label(name, action)], f"{action} {name}")
        project.close()
    project = Project(folder)
    project.undo()
    project.undo()
    project.close()
    assert rows(folder) == [("a.mp4", "wave", "", "", "")]
    project = Project(folder)
    assert (project.undo_text, project.redo_text) == ("wave a.mp4", "run a.mp4")
    project.redo()
    project.edit([label("cam/c.mp4", "wave")], "wave c")
    assert project.redo_text is None  # a new step ends what could be repeated
    project.close()
    assert rows(folder) == [("a.mp4", "run", "", "", ""), ("cam/c.mp4", "wave", "", "", "")]


def test_a_large_journal_is_shortened_without_losing_a_step(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(folder)
    project.edit([label("cam/c.mp4", "run")], "run c")
    project.note({"kind": "train", "commands": []})
    for number in range(100):
        project.edit([label("a.mp4", f"label {number}")], "hold", join=True)
    project.edit([label("cam/b.mp4", "run")], "run b")
    project.undo()
    project.close()
    journal = folder / ".activity" / "journal.jsonl"
    before = journal.stat().st_size
    monkeypatch.setattr("activity_cli.studio.journal._MOST_BYTES", 10_000)
    Project(folder).close()
    assert journal.stat().st_size < before / 5
    project = Project(folder)
    assert (project.undo_text, project.redo_text, project.corrections()) == ("hold", "run b", 2)
    project.redo()
    for _ in range(3):
        project.undo()
    project.close()
    assert not rows(folder)


def test_an_existing_table_is_kept_as_it_is_until_something_changes(folder: Path) -> None:
    text = "label;path;person;split\nwave;a.mp4;ann;train\nrun;cam/b.mp4;bob;test\n"
    (folder / "labels.csv").write_text(text)
    project = Project(folder)
    assert project.undo_text is None  # opening it is no step
    project.close()
    assert (folder / "labels.csv").read_text() == text
    project = Project(folder)
    project.edit([label("cam/c.mp4", "run")], "run c")
    project.close()
    found = load_dataset(folder).samples  # further columns and the split stay
    assert [(s.name, s.split, s.folds.get("person")) for s in found] == [
        ("a.mp4", "train", "ann"),
        ("cam/b.mp4", "test", "bob"),
        ("cam/c.mp4", None, ""),
    ]


def test_stretches_that_were_looked_at_stay_in_the_table(folder: Path) -> None:
    lines = ["path,label,start,end", "a.mp4,wave,0.1,0.2", "a.mp4,,0,0.4", "cam/b.mp4,,0,0.5"]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    project = Project(folder)
    project.edit([label("a.mp4", "run")], "run a")  # all of it, in place of wave
    project.sync()
    looked_at = [("a.mp4", "", "0", "0.4"), ("cam/b.mp4", "", "0", "0.5")]
    assert [row[:4] for row in rows(folder)] == [
        looked_at[0],
        ("a.mp4", "run", "", ""),
        looked_at[1],
    ]
    # Another program looks at less of it, then the label is taken back.
    text = (folder / "labels.csv").read_text()
    (folder / "labels.csv").write_text(text.replace("a.mp4,,0,0.4", "a.mp4,,0,0.3"))
    project.sync()
    project.undo()
    project.undo()
    project.close()
    assert ("a.mp4", "", "0", "0.4") in [row[:4] for row in rows(folder)]
    assert ("a.mp4", "wave", "0.1", "0.2") in [row[:4] for row in rows(folder)]


@pytest.mark.parametrize("is_open", [True, False])
def test_an_edit_by_hand_is_merged(folder: Path, is_open: bool) -> None:
    project = Project(folder)
    project.edit([label("a.mp4", "wave"), label("cam/b.mp4", "run")], "label")
    project.sync()
    if not is_open:
        project.close()
    table = folder / "labels.csv"
    # Somebody corrects b and adds c in a spreadsheet, while the page labels a anew.
    table.write_text("path,label\na.mp4,wave\ncam/b.mp4,jump\ncam/c.mp4,jump\n")
    if not is_open:
        project = Project(folder)
    project.edit([label("a.mp4", "run")], "run a")
    project.close()
    assert [row[:2] for row in rows(folder)] == [
        ("a.mp4", "run"),
        ("cam/b.mp4", "jump"),
        ("cam/c.mp4", "jump"),
    ]


def test_a_table_that_cannot_be_read_is_not_replaced(project: Project, folder: Path) -> None:
    project.edit([label("a.mp4", "wave")], "label")
    project.sync()
    broken = "path,label,start,end\na.mp4,wave,5,1\n"
    (folder / "labels.csv").write_text(broken)
    project.edit([label("cam/b.mp4", "run")], "label")
    project.sync()
    assert (folder / "labels.csv").read_text() == broken
    assert "ends at 1 s, but starts at 5 s" in project.problem
    (folder / "labels.csv").write_text("path,label\na.mp4,wave\n")
    project.sync()
    assert [row[:2] for row in rows(folder)] == [("a.mp4", "wave"), ("cam/b.mp4", "run")]


def test_of_two_labels_for_one_moment_the_hand_edit_wins_and_is_told() -> None:
    run, wave, jump = Piece(0, 2, "run"), Piece(0, 2, "wave"), Piece(1, 3, "jump")
    base, ours, theirs = ({"a": read_clip(p)} for p in (run, wave, jump))
    changes, collided = merge(base, ours, theirs)
    assert changes["a"].pieces == (Piece(0, 1, "wave"), jump)
    assert collided == ["a"]
    # The same change on both sides is none.
    assert merge(base, ours, ours) == ({}, [])


def read_clip(*pieces: Piece) -> Any:
    from activity_cli.studio.labels import ClipState

    return ClipState(pieces=pieces)


def test_two_windows_paint_at_once(project: Project, folder: Path) -> None:
    def paint_all(action: str, offset: float) -> None:
        for number in range(25):
            start = offset + number
            one = {"op": "paint", "clip": id_of("a.mp4"), "start": start, "end": start + 0.5}
            project.edit([{**one, "label": action}], action)

    threads = [
        threading.Thread(target=paint_all, args=each) for each in (("run", 0.0), ("wave", 0.5))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    project.sync()
    assert len(rows(folder)) == 50
    # Replacing all segments is refused if the other window was quicker.
    stale = {"op": "segments", "clip": id_of("a.mp4"), "segments": [], "revision": 1}
    with pytest.raises(Exception, match="changed in another window"):
        project.edit([stale], "drag")


def test_a_folder_is_open_once(project: Project, folder: Path) -> None:
    with pytest.raises(DataError, match="open in another studio"):
        Project(folder)
    assert project.root == folder.resolve()


@pytest.mark.slow
def test_kill_9_while_painting_loses_nothing_that_was_answered(folder: Path) -> None:
    workplace = Workplace(folder, folder.parent / "cache")
    process = workplace.start("studio", ".", "--no-browser")
    page = page_of(process)
    clip = page.id_of("a.mp4")
    answered: list[float] = []

    def paint_on() -> None:
        try:
            for number in range(10_000):
                start, action = number / 4, "run" if number % 2 else "wave"
                page.edit({"op": "paint", "clip": clip, "start": start, "end": start + 0.25,
                           "label": action})  # fmt: skip
                answered.append(start)
        except (OSError, HTTPException, AssertionError):
            return

    thread = threading.Thread(target=paint_on)
    thread.start()
    eventually(lambda: len(answered) >= 40)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    thread.join()
    process = workplace.start("studio", ".", "--no-browser")
    page = page_of(process)
    pieces = page.get(f"/api/clips/{page.id_of('a.mp4')}")["segments"]
    assert {piece["start"] for piece in pieces} >= set(answered)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    assert "Everything is saved." in stderr
    assert len(read_labels(folder / "labels.csv")["a.mp4"].pieces) == len(pieces)


def page_of(process: "subprocess.Popen[str]") -> Page:
    """Return the page whose address a server prints."""
    assert process.stdout is not None
    address = process.stdout.readline()
    port, token = address.removeprefix("http://127.0.0.1:").split("/?token=")
    return Page(int(port), token=token.strip())
