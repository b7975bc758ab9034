"""A camera in a process of its own: clips, one after the other and again, as Motion JPEG over HTTP.

    python -m tests.mjpeg_server PORT FPS CLIP...

Like a camera it shows what is now: a client that reads slowly misses frames. Prints a line when it
listens. A port of 0 takes a free one; the line names it.
"""

import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

PORT_LINE = "listening on "


class Camera:
    """The server as a context manager; it can be killed and started again at the same address."""

    def __init__(self, clips: list[Path], *, fps: float = 20) -> None:
        self._clips = clips
        self._fps = fps
        self._port = 0
        self.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}/live.mjpg"

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.mjpeg_server", str(self._port), str(self._fps)]
        self._process = subprocess.Popen(
            [*command, *map(str, self._clips)],
            cwd=Path(__file__).parent.parent,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line.startswith(PORT_LINE), "the camera did not start"
        self._port = int(line.removeprefix(PORT_LINE))

    def replace(self, clips: list[Path]) -> None:
        """Start again at the same address, with other clips."""
        self._clips = clips
        self.start()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()


def serve(port: int, fps: float, clips: list[Path]) -> None:
    """Answer any number of clients until the process is killed."""
    pictures = [jpeg for clip in clips for jpeg in _jpegs(clip)]
    began = time.monotonic()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            number = int((time.monotonic() - began) * fps)
            while True:
                jpeg = pictures[number % len(pictures)]
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                except OSError:
                    return
                number = max(number + 1, int((time.monotonic() - began) * fps))
                time.sleep(max(0.0, began + number / fps - time.monotonic()))

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    print(f"{PORT_LINE}{server.server_port}", flush=True)
    server.serve_forever()


def _jpegs(clip: Path) -> list[bytes]:
    import cv2

    from tests.media import iter_frames

    pictures = (cv2.cvtColor(frame, cv2.COLOR_RGB2BGR) for _, frame in iter_frames(clip))
    return [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures]


if __name__ == "__main__":
    serve(int(sys.argv[1]), float(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
