"""Videos, pictures and events as the page gets them, without a browser."""

import http.client
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from activity_cli.studio.proxy import plays
from activity_cli.video.reader import read_packet_times
from tests.media import plain_pictures, write_video
from tests.processes import PATIENCE_SECONDS
from tests.studio.page import Page, eventually, open_studio
from tests.workplace import Workplace

NUM_FRAMES = 80  # more than one chunk of frames


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served") / "videos"
    write_video(root / "clip.mp4", plain_pictures(NUM_FRAMES), 10)  # MPEG-4 Part 2: no browser
    (root / "damaged.mp4").write_bytes(b"\0" * 5000)
    for number in range(30):
        shutil.copy(root / "clip.mp4", root / f"copy{number:02d}.mp4")
    return root


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[Page]:
    with open_studio(folder) as page:
        yield page


def picture(content: bytes) -> Any:
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded[:, :, ::-1]


def test_a_list_comes_in_pages(page: Page) -> None:
    first = page.get("/api/clips?limit=20&sort=name")
    rest = page.get("/api/clips?limit=20&offset=20&sort=name")
    assert (first["total"], len(first["clips"]), len(rest["clips"])) == (32, 20, 12)
    names = [clip["name"] for clip in first["clips"] + rest["clips"]]
    assert names == sorted(names)
    assert page.get("/api/clips?q=COPY07")["total"] == 1
    page.get("/api/clips?limit=many", 400)
    page.get("/api/clips?sort=luck", 400)


def test_properties_and_damage_become_known(page: Page) -> None:
    clip = page.id_of("clip.mp4")
    found = eventually(lambda: (c := page.get(f"/api/clips/{clip}"))["duration"] and c)
    assert (found["duration"], found["fps"], found["frames"], found["width"]) == (8.0, 10.0, 80, 64)
    bad = page.id_of("damaged.mp4")
    found = eventually(lambda: (c := page.get(f"/api/clips/{bad}"))["damage"] and c)
    assert found["state"] == "damaged"
    assert page.get("/api/clips?state=damaged")["total"] == 1
    for path in (f"/thumbs/{bad}", f"/frames/{bad}/0"):
        assert page.ask("GET", path).status == 404


def test_seeking_reads_parts_of_the_file(page: Page, folder: Path) -> None:
    clip, content = page.id_of("clip.mp4"), (folder / "clip.mp4").read_bytes()
    part = page.ask("GET", f"/media/{clip}", Range="bytes=100-199")
    assert (part.status, part.body) == (206, content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(content)}"
    assert page.ask("GET", f"/media/{clip}").body == content
    assert page.ask("GET", f"/media/{clip}", Range=f"bytes={len(content)}-").status == 416


def test_frames_are_exact(page: Page) -> None:
    clip = page.id_of("clip.mp4")
    for number in (0, 1, 2, 63, 64, 79):  # frame i is RGB (50 * i modulo 250, 30, 30)
        answer = page.ask("GET", f"/frames/{clip}/{number}")
        assert answer.headers["content-type"] == "image/jpeg"
        assert picture(answer.body)[24, 32, 0] == pytest.approx(50 * number % 250, abs=12)
    assert page.ask("GET", f"/frames/{clip}/1000").status == 404


def test_a_strip_shows_the_middle_of_each_part(page: Page) -> None:
    clip = page.id_of("clip.mp4")
    answer = page.ask("GET", f"/thumbs/{clip}?start=0&end=0.5&count=5&height=48")
    strip = picture(answer.body)
    assert strip.shape == (48, 5 * 64, 3)
    assert strip[24, 32::64, 0] == pytest.approx([0, 50, 100, 150, 200], abs=12)
    for bad in ("count=65", "height=5000", "start=-1", "start=9&end=1", "count=x"):
        page.get(f"/thumbs/{clip}?{bad}", 400)


@pytest.mark.parametrize(("codec", "kind"), [("h264", "video/mp4"), ("vp9", "video/webm")])
def test_a_copy_for_the_browser_has_the_same_frames_at_the_same_times(
    page: Page, folder: Path, tmp_path: Path, codec: str, kind: str
) -> None:
    clip = page.id_of("clip.mp4")
    address = f"/media/{clip}?proxy={codec}"
    shown = page.get(f"/api/clips/{clip}/media?can={codec}")
    assert (shown["kind"], shown["url"]) == ("proxy", address)
    eventually(lambda: page.get(f"/api/clips/{clip}/media?can={codec}")["ready"])
    answer = page.ask("GET", address)
    assert answer.headers["content-type"] == kind
    copy = tmp_path / f"copy.{codec}"
    copy.write_bytes(answer.body)
    own, copied = (read_packet_times(path).seconds for path in (folder / "clip.mp4", copy))
    assert len(copied) == NUM_FRAMES
    assert copied == pytest.approx(own, abs=0.002)
    assert page.get(f"/api/clips/{clip}/media?can=")["kind"] == "frames"
    assert page.ask("GET", f"/media/{clip}?proxy=../x").status == 404


def test_what_browsers_play_is_not_copied() -> None:
    can = frozenset({"h264", "vp9"})
    assert plays(Path("a.mp4"), "h264", can)
    assert plays(Path("a.webm"), "VP90", can)
    assert not plays(Path("a.mkv"), "h264", can)
    assert not plays(Path("a.mp4"), "hev1", can)
    assert not plays(Path("a.mp4"), "avc1", frozenset({"vp9"}))


def test_another_window_hears_of_every_change(page: Page) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=PATIENCE_SECONDS)
    connection.request("GET", "/api/events", headers=page.headers)
    answer = connection.getresponse()
    assert answer.headers["content-type"].startswith("text/event-stream")

    def next_event(kind: str) -> Any:
        for line in answer:
            if line == f"event: {kind}\n".encode():
                return json.loads(next(answer).removeprefix(b"data: "))
        raise AssertionError("the stream has ended")

    revision = next_event("hello")["revision"]
    clip = page.id_of("copy00.mp4")
    page.edit({"op": "label", "clip": clip, "label": "run"}, text="label run")
    heard = next_event("edit")
    assert (heard["revision"], heard["undo"]) == (revision + 1, "label run")
    assert heard["clips"][0]["segments"] == [{"start": None, "end": None, "label": "run"}]
    page.post("/api/undo")
    assert next_event("edit")["redo"] == "label run"
    connection.close()


@pytest.mark.parametrize(
    ("edit", "status"),
    [
        ({"op": "label", "clip": "nothing", "label": "run"}, 404),
        ({"op": "label", "label": "run"}, 400),
        ({"op": "label", "clip": "{clip}", "label": ""}, 400),
        ({"op": "label", "clip": "{clip}", "label": "x" * 256}, 400),
        ({"op": "paint", "clip": "{clip}", "start": -1, "end": 2, "label": "run"}, 400),
        ({"op": "paint", "clip": "{clip}", "start": "0", "end": 2, "label": "run"}, 400),
        ({"op": "segments", "clip": "{clip}", "segments": 5, "revision": 0}, 400),
        ({"op": "segments", "clip": "{clip}", "segments": [], "revision": -1}, 409),
        ({"op": "flag", "clip": "{clip}", "flag": "lost"}, 400),
        ({"op": "accept", "clip": "{clip}"}, 404),
        ({"op": "erase everything"}, 400),
        ({}, 400),
    ],
)
def test_what_is_no_edit_changes_nothing(page: Page, edit: dict[str, Any], status: int) -> None:
    clip = page.id_of("copy01.mp4")
    sent = {key: clip if value == "{clip}" else value for key, value in edit.items()}
    before = page.get("/api/project")["revision"]
    good = {"op": "label", "clip": clip, "label": "run"}
    answer = page.edit(good, sent, status=status)  # all edits of a request or none
    assert answer["error"]
    assert page.get("/api/project")["revision"] == before


def test_a_second_studio_and_a_missing_folder_are_refused(folder: Path, page: Page) -> None:
    assert page.get("/api/project")["folder"] == str(folder)
    workplace = Workplace(folder.parent, folder.parent / "cache")
    stderr = workplace.run("studio", "videos", "--no-browser", code=1).stderr
    assert "open in another studio already" in stderr
    assert "is not a folder" in workplace.run("studio", "nothing", code=1).stderr
    assert "FOLDER is missing" in workplace.run("studio", code=2).stderr
