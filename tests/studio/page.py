"""A studio that runs in this process, and a client that behaves as the page does."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from activity_cli.studio.security import Guard
from activity_cli.studio.server import Server
from activity_cli.studio.studio import Studio
from tests.processes import PATIENCE_SECONDS


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Page:
    """Sends requests with the cookie and the origin of the studio, unless told otherwise."""

    def __init__(self, port: int, guard: Guard | None = None, token: str = "") -> None:
        self.port, self.host = port, f"127.0.0.1:{port}"
        self.token = guard.token if guard else token
        self.headers = {
            "Host": self.host,
            "Origin": f"http://{self.host}",
            "Cookie": f"activity_studio_{port}={self.token}",
        }

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Send a request; a header that is "" is left out."""
        own = {**self.headers, **{name.replace("_", "-"): v for name, v in headers.items()}}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            connection.putrequest(method, path, skip_host=True)
            for name, value in own.items():
                if value:
                    connection.putheader(name, value)
            if body is not None and "Content-Length" not in own:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return Answer(
                answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
            )
        finally:
            connection.close()

    def get(self, path: str, status: int = 200) -> Any:
        answer = self.ask("GET", path)
        assert answer.status == status, answer.body
        return answer.json()

    def post(self, path: str, status: int = 200, **values: Any) -> Any:
        body = json.dumps(values).encode()
        answer = self.ask("POST", path, body, Content_Type="application/json")
        assert answer.status == status, answer.body
        return answer.json()

    def edit(self, *edits: Mapping[str, Any], status: int = 200, text: str = "edit") -> Any:
        return self.post("/api/edits", status, edits=edits, text=text)

    def id_of(self, name: str) -> str:
        [clip] = [c for c in self.get("/api/clips?limit=500")["clips"] if c["name"] == name]
        return str(clip["id"])


def eventually(answer: Callable[[], Any]) -> Any:
    """Wait until something is true; return it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := answer()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


@contextmanager
def open_studio(folder: Path) -> Iterator[Page]:
    """Serve a folder on a free port."""
    listening = socket.create_server(("127.0.0.1", 0))
    studio = Studio(folder)
    guard = Guard("127.0.0.1", listening.getsockname()[1])
    server = Server(studio, guard)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Page(listening.getsockname()[1], guard)
    finally:
        server.should_exit = True
        thread.join()
        studio.close()
        listening.close()
