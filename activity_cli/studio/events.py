"""Server-sent events: what happens is told to every window."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any

_MOST_WAITING = 1000  # messages for a window that does not read: then it starts over
_SECONDS_BETWEEN_SIGNS = 15.0


class Events:
    """Passes messages from any thread to the windows that listen."""

    def __init__(self) -> None:
        self.server = secrets.token_hex(8)
        """Another value than before tells a window that the server was started anew."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queues: set[asyncio.Queue[bytes | None]] = set()

    def start(self) -> None:
        """Begin: call it in the loop that serves."""
        self._loop = asyncio.get_running_loop()

    def send(self, kind: str, values: Mapping[str, Any]) -> None:
        """Send a message to all windows."""
        self._put(message(kind, values))

    def stop(self) -> None:
        """Say good-bye to all windows."""
        self.send("end", {})
        self._put(None)

    def _put(self, content: bytes | None) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._pass_on, content)

    def _pass_on(self, content: bytes | None) -> None:
        for queue in self._queues:
            if queue.qsize() < _MOST_WAITING:
                queue.put_nowait(content)

    async def listen(self, hello: Mapping[str, Any]) -> AsyncIterator[bytes]:
        """Yield messages for one window until the server ends; a sign of life when it is quiet."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._queues.add(queue)
        try:
            yield message("hello", {**hello, "server": self.server})
            while True:
                try:
                    content = await asyncio.wait_for(queue.get(), _SECONDS_BETWEEN_SIGNS)
                except TimeoutError:
                    content = b": quiet\n\n"
                if content is None:
                    return
                yield content
        finally:
            self._queues.discard(queue)


def message(kind: str, values: Mapping[str, Any]) -> bytes:
    """Return an event as the browser reads it."""
    return f"event: {kind}\ndata: {json.dumps(values, allow_nan=False)}\n\n".encode()
