"""Nobody but the studio's own page reaches videos and labels, and nothing outside the folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from activity_cli.studio.security import Guard, RequestError, safe_name
from tests.media import plain_pictures, write_video
from tests.studio.page import Page, open_studio

EVIL = "<img src=x onerror=alert(1)>"
SECRET = b"not for the page"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("attacked") / "project"
    write_video(root / "a.mp4", plain_pictures(5), 10)
    (root / "a.mp4").rename(root / f"{EVIL}.mp4".replace("/", ""))
    write_video(root / "b.mp4", plain_pictures(5), 10)
    (root.parent / "secret.mp4").write_bytes(SECRET)
    (root / "link.mp4").symlink_to(root.parent / "secret.mp4")
    return root


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[Page]:
    with open_studio(folder) as page:
        yield page


def test_the_token_is_exchanged_for_a_cookie(page: Page) -> None:
    first = page.ask("GET", f"/?token={page.token}", Cookie="", Origin="")
    assert (first.status, first.headers["location"]) == (303, "/")
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    shown = page.ask("GET", "/", Cookie=cookie.split(";")[0], Origin="")
    assert shown.status == 200


@pytest.mark.parametrize(
    ("path", "method"),
    [("/", "GET"), ("/api/project", "GET"), ("/api/events", "GET"), ("/static/index.html", "GET"),
     ("/media/x", "GET"), ("/api/edits", "POST"), ("/api/upload?name=a.mp4", "POST")],
)  # fmt: skip
@pytest.mark.parametrize(
    "headers",
    [
        {"Cookie": ""},
        {"Cookie": "activity_studio_{port}=guess"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example:{port}"},
        {"Host": "evil.example"},
        {"Host": ""},
    ],
    ids=str,
)
def test_strangers_are_refused(page: Page, path: str, method: str, headers: dict[str, str]) -> None:
    sent = {name: value.format(port=page.port) for name, value in headers.items()}
    # Without a Host, which HTTP requires, the server closes before it reads a body: no answer then.
    body = b"{}" if method == "POST" and headers != {"Host": ""} else None
    answer = page.ask(method, path, body, **sent)
    assert answer.status in {400, 403}
    assert b"a.mp4" not in answer.body


def test_writing_needs_an_origin_and_json(page: Page) -> None:
    body = b'{"edits": []}'
    assert page.ask("POST", "/api/edits", body, Origin="").status == 403
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):  # what forms can send
        assert page.ask("POST", "/api/edits", body, Content_Type=kind).status == 415
    assert page.ask("GET", f"/?token={page.token}x", Cookie="").status == 403


def test_every_answer_forbids_foreign_content(page: Page) -> None:
    for path in ("/", "/api/project", "/static/index.html", "/nothing", "/media/none"):
        headers = page.ask("GET", path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    ["/media/../secret.mp4", "/media/..%2fsecret.mp4", "/media/%2e%2e%2fsecret.mp4",
     "/media/%2fetc%2fpasswd", "//etc/passwd", "/static/../security.py",
     "/static/%2e%2e/security.py", "/static/..%2f..%2fversion.py", "/thumbs/..%2f..%2fsecret.mp4",
     "/frames/..%2fsecret.mp4/0", "/api/clips/..%2fsecret.mp4", "/media/secret.mp4"],
)  # fmt: skip
def test_no_path_leads_out_of_the_folder(page: Page, path: str) -> None:
    answer = page.ask("GET", path)
    assert answer.status in {403, 404, 405}
    assert SECRET not in answer.body
    assert b"root:" not in answer.body


def test_a_link_that_leaves_the_folder_is_named_but_not_served(page: Page) -> None:
    clip = page.id_of("link.mp4")
    assert page.get(f"/api/clips/{clip}")["damage"] == "This is a link that leaves the folder."
    for path in (f"/media/{clip}", f"/thumbs/{clip}", f"/frames/{clip}/0"):
        answer = page.ask("GET", path)
        assert answer.status == 403
        assert SECRET not in answer.body


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("../../x.mp4", "x.mp4"), ("C:\\evil\\x.mp4", "x.mp4"), ("/etc/x.mp4", "x.mp4"),
     ("..mp4.mp4", "mp4.mp4"), (f"{EVIL}.mp4", "img src_x onerror_alert(1)_.mp4"),
     (".hidden.mp4", "hidden.mp4"), ("a\0b\n.mp4", "a_b_.mp4"),
     ("é" * 300 + ".mp4", f"{'é' * 75}.mp4")],
)  # fmt: skip
def test_uploads_get_a_safe_name(sent: str, kept: str) -> None:
    assert safe_name(sent) == kept


@pytest.mark.parametrize(
    "name", ["", "..", "labels.csv", "a.html", "../.activity/journal.jsonl", ".mp4"]
)
def test_only_videos_are_uploaded(name: str) -> None:
    with pytest.raises(RequestError, match="does not have the name of a video"):
        safe_name(name)


def test_uploads_are_bounded_and_never_replace_a_file(
    page: Page, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "b.mp4").read_bytes()
    answer = page.ask("POST", "/api/upload?name=b.mp4", before)
    assert answer.json()["clip"]["name"] == "b-2.mp4"
    assert (folder / "b-2.mp4").read_bytes() == before
    monkeypatch.setattr("activity_cli.studio.studio.MOST_UPLOAD_BYTES", 1000)
    for headers in ({}, {"Content-Length": "", "Transfer-Encoding": "chunked"}):
        huge = b"7d0\r\n" + b"x" * 2000 + b"\r\n0\r\n\r\n" if headers else b"x" * 2000
        answer = page.ask("POST", "/api/upload?name=huge.mp4", huge, **headers)
        assert answer.status == 413
        assert "larger than" in answer.json()["error"]
    assert not list(folder.glob("huge*"))
    assert not list((folder / ".activity" / "uploads").iterdir())


def test_markup_in_names_and_labels_is_data(page: Page) -> None:
    clip = page.id_of(f"{EVIL}.mp4".replace("/", ""))
    assert EVIL not in page.ask("GET", "/").body.decode()
    answer = page.edit({"op": "label", "clip": clip, "label": EVIL})
    assert answer["clips"][0]["segments"][0]["label"] == EVIL
    kinds = page.ask("GET", f"/api/clips/{clip}").headers["content-type"]
    assert kinds == "application/json"
    assert page.ask("GET", f"/media/{clip}").headers["content-type"].startswith("video/")


def test_another_host_is_accepted_only_if_it_was_asked_for() -> None:
    good = {"host": "10.0.0.7:80", "origin": "http://10.0.0.7:80"}
    guard = Guard("10.0.0.7", 80)
    guard.check("POST", {**good, "cookie": f"{guard.cookie}={guard.token}"})
    with pytest.raises(RequestError):
        Guard("127.0.0.1", 80).check_host(good)
