"""The weights of the action network: found, fetched, checked, or the user learns what to do."""

import gzip
import io
import json
import tarfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from activity_cli.errors import BackboneError
from activity_cli.features import action_weights
from activity_cli.features.action_weights import (
    FILE_BYTES,
    FILE_NAME,
    SHA256,
    action_weights_file,
    copy_action_weights,
    fetch_action_weights,
    find_action_weights,
    list_action_networks,
)
from tests.action_weights import real_weights
from tests.processes import PATIENCE_SECONDS
from tests.workplace import Workplace

Answer = Callable[[BaseHTTPRequestHandler], object]


@pytest.fixture(scope="module")
def content() -> bytes:
    return real_weights().read_bytes()


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where weights are kept, in an empty cache folder; nothing is set that leads elsewhere."""
    monkeypatch.setenv("ACTIVITY_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("ACTIVITY_WEIGHTS", "ACTIVITY_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "weights" / FILE_NAME


@pytest.fixture
def serve() -> Iterator[Callable[[dict[str, Answer]], str]]:
    """Starts a server on loopback that answers by path, and returns its address."""
    servers = []

    def start(answers: dict[str, Answer]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path in answers:
                    answers[self.path](self)
                else:
                    self.send_error(404)

            def log_message(self, format: str, *args: object) -> None:
                del format, args

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def send(content: bytes, *, announced: int | None = None) -> Answer:
    """Answer with this content; `announced` is the length that the server claims."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(announced or len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def send_slowly(handler: BaseHTTPRequestHandler) -> None:
    """Answer with a byte now and then: each comes in time, the whole does not."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        try:
            handler.wfile.write(b"x")
        except OSError:
            return
        time.sleep(0.05)


def send_forever(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(bytes(1 << 20))
    except OSError:
        pass


def archive_of(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


Serve = Callable[[dict[str, Answer]], str]


@pytest.mark.parametrize("is_archive", [False, True])
def test_the_first_address_that_has_the_file_is_taken(
    serve: Serve, cached: Path, content: bytes, is_archive: bool
) -> None:
    sent = archive_of("./1.tflite", content) if is_archive else content
    base = serve({"/here": send(sent), "/later": send(b"never asked")})
    addresses = [f"{base}/gone", f"{base}/here", f"{base}/later"]
    failures: list[str] = []
    steps: list[tuple[str, int, int]] = []

    file = fetch_action_weights(
        addresses,
        on_progress=lambda *step: steps.append(step),
        on_failure=failures.append,
    )

    assert file == cached == find_action_weights() == action_weights_file()
    assert cached.read_bytes() == content
    assert failures == [f"{base}/gone: HTTP 404 Not Found"]
    assert steps[-1] == ("download", len(sent) // 1000, len(sent) // 1000)
    assert list_action_networks()[0].is_local


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (send(b"<html>Accept our cookies</html>"), "another file"),
        (send(b"half", announced=FILE_BYTES), f"cut off after 4 of {FILE_BYTES:,} bytes"),
        (send(archive_of("1.tflite", bytes(FILE_BYTES))), "another file"),
        (send(archive_of("1.tflite", bytes(FILE_BYTES))[:2000]), "archive is damaged"),
        (send_slowly, "too slow"),
        (send_forever, "too long"),
    ],
    ids=["page", "cut off", "other archive", "cut archive", "slow", "endless"],
)
def test_a_wrong_answer_is_refused_with_its_reason(
    serve: Serve, cached: Path, answer: Answer, reason: str
) -> None:
    address = serve({"/file": answer}) + "/file"
    timeout_seconds = 0.3 if answer is send_slowly else PATIENCE_SECONDS
    failures: list[str] = []

    with pytest.raises(BackboneError, match="No address gave the weights") as caught:
        fetch_action_weights([address], timeout_seconds=timeout_seconds, on_failure=failures.append)

    assert len(failures) == 1
    assert failures[0].startswith(f"{address}: ")
    assert reason in failures[0]
    assert address in caught.value.hint
    assert "--from FILE" in caught.value.hint
    assert "ACTIVITY_WEIGHTS" in caught.value.hint
    assert not cached.parent.exists()


def test_a_server_that_never_answers_or_is_not_there_costs_one_line_each(
    serve: Serve, cached: Path
) -> None:
    is_over = threading.Event()
    silent = serve({"/file": lambda _: is_over.wait(PATIENCE_SECONDS)})
    addresses = [
        f"{silent}/file",
        "http://127.0.0.1:9/file",
        "nonsense",
    ]
    failures: list[str] = []

    with pytest.raises(BackboneError):
        fetch_action_weights(addresses, timeout_seconds=0.2, on_failure=failures.append)
    is_over.set()

    assert failures[0] == f"{silent}/file: too slow"
    assert failures[1] == "http://127.0.0.1:9/file: Connection refused"
    assert failures[2].startswith("nonsense: ")
    assert not cached.exists()


def test_offline_nothing_is_asked_for(
    serve: Serve, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    base = serve({"/file": lambda handler: asked.append(handler.path)})
    monkeypatch.setenv("ACTIVITY_OFFLINE", "1")

    with pytest.raises(BackboneError, match="ACTIVITY_OFFLINE is set") as caught:
        fetch_action_weights([f"{base}/file"])

    assert "--from FILE" in caught.value.hint
    assert not asked
    assert not cached.exists()


def test_an_older_file_stays_until_the_right_one_is_there(
    serve: Serve, cached: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"older")
    address = serve({"/file": send(content)}) + "/file"

    def interrupt(stage: str, done: int, total: int) -> None:
        del stage, total
        if done > 1000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_action_weights([address], on_progress=interrupt)
    assert [path.read_bytes() for path in cached.parent.iterdir()] == [b"older"]

    def full(path: Path, written: bytes) -> int:
        with path.open("wb") as file:
            file.write(written[:1000])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(BackboneError, match="No space left on device") as caught:
            fetch_action_weights([address])
    assert "ACTIVITY_CACHE_DIR" in caught.value.hint
    assert [path.read_bytes() for path in cached.parent.iterdir()] == [b"older"]

    with pytest.raises(BackboneError, match="damaged or another file"):
        action_weights_file()
    fetch_action_weights([address])
    assert action_weights_file() == cached


def test_the_folder_of_the_user_comes_before_the_cache(
    cached: Path, tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BackboneError, match="not on this machine") as caught:
        action_weights_file()
    assert "activity models pull movinet_a0" in caught.value.hint
    assert not list_action_networks()[0].is_local

    monkeypatch.setenv("ACTIVITY_WEIGHTS", str(tmp_path / "own"))
    cached.parent.mkdir(parents=True)
    cached.write_bytes(content)
    assert action_weights_file() == cached

    own = tmp_path / "own" / FILE_NAME
    own.parent.mkdir()
    own.write_bytes(content[:-1])
    with pytest.raises(BackboneError, match="damaged or another file"):
        action_weights_file()
    own.write_bytes(content)
    assert action_weights_file() == own


def test_a_local_file_is_copied_if_it_is_the_right_one(
    cached: Path, tmp_path: Path, content: bytes
) -> None:
    given = tmp_path / "download.bin"
    for wrong in (b"", content[:-1], content + b"x"):
        given.write_bytes(wrong)
        with pytest.raises(BackboneError, match="another file") as caught:
            copy_action_weights(given)
        assert SHA256 in caught.value.hint
    with pytest.raises(BackboneError, match="No such file"):
        copy_action_weights(tmp_path / "gone")
    assert not cached.exists()

    given.write_bytes(content)
    assert copy_action_weights(given) == cached
    given.write_bytes(archive_of("a/b.tflite", content))
    assert copy_action_weights(given).read_bytes() == content


def test_an_archive_that_unpacks_to_far_more_takes_no_more_memory(
    cached: Path, tmp_path: Path
) -> None:
    (tmp_path / "bomb").write_bytes(gzip.compress(bytes(100_000_000), compresslevel=1))
    tracemalloc.start()
    try:
        with pytest.raises(BackboneError, match="another file"):
            copy_action_weights(tmp_path / "bomb")
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak_bytes < 50_000_000
    assert not cached.exists()


def test_the_command_says_what_it_fetches_and_where_it_is(
    serve: Serve, cached: Path, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workplace = Workplace(tmp_path, cached.parents[1])
    address = serve({"/file": send(content)}) + "/file"
    addresses = (address.replace("file", "gone"), address)
    monkeypatch.setattr(action_weights, "ADDRESSES", addresses)
    pull = ("models", "pull", "movinet_a0")
    with monkeypatch.context() as patch:
        patch.setenv("ACTIVITY_OFFLINE", "1")
        assert "ACTIVITY_OFFLINE is set" in workplace.run(*pull, code=1).stderr

    pulled = workplace.run(*pull)

    messages = pulled.stderr.splitlines()
    assert all(part in messages[0] for part in ("movinet_a0", "3.3 MB", "Apache-2.0", "Garden"))
    assert messages[1:] == [f"{addresses[0]}: HTTP 404 Not Found"]
    assert pulled.stdout == f"{cached}\n"
    assert len(workplace.run(*pull).stderr.splitlines()) == 1  # it is there: no address is asked
    assert "to pull" in workplace.run("models", "pull", "resnet18", code=2).stderr

    cached.unlink()
    (tmp_path / "given").write_bytes(content)
    assert workplace.run(*pull, "--from", "given", "--json").stdout.count(str(cached)) == 1
    [listed] = json.loads(workplace.run("models", "--json").stdout)["action_networks"]
    assert listed["is_local"]
    assert (listed["licence"], listed["kinetics600_top1"]) == ("Apache-2.0", 65)
