"""Videos that browsers cannot play, as smaller copies that they can: H.264 or VP9, made once.

The frames of a copy have the times of the original. Every twelfth frame is a key frame, so that
stepping backwards is quick. Without ffmpeg there are no copies: the page shows single frames.
"""

import hashlib
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from activity_cli.common.files import writing
from activity_cli.errors import OutputError
from activity_cli.predict.results.journal import look_at
from activity_cli.report.overlay.encoder import SoundSource, find_ffmpeg

_CODECS = {
    **dict.fromkeys(("h264", "avc1", "x264"), "h264"),
    **{"vp80": "vp8", "vp08": "vp8", "vp90": "vp9", "vp09": "vp9", "av01": "av1"},
}
_CONTAINERS = {
    ".webm": ("vp8", "vp9", "av1"),
    **dict.fromkeys((".mp4", ".m4v", ".mov"), ("h264", "vp9", "av1")),
}
MEDIA_TYPES = {"h264": "video/mp4", "vp9": "video/webm"}
"""Of copies, by codec; the first that the browser plays is taken."""
_PICTURE = ("-vf", "scale=-2:'min(720,trunc(ih/2)*2)'", "-pix_fmt", "yuv420p", "-g", "12")
_ENCODE = {
    "h264": (
        *("-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-bf", "0", *_PICTURE),
        *("-c:a", "aac", "-b:a", "96k", "-movflags", "+faststart", "-f", "mp4"),
    ),
    "vp9": (
        *("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-row-mt", "1"),
        *("-b:v", "0", "-crf", "34", *_PICTURE, "-c:a", "libopus", "-b:a", "96k", "-f", "webm"),
    ),
}


def plays(path: Path, codec: str, can: frozenset[str]) -> bool:
    """Return whether a browser that decodes the codecs `can` plays a file, by its header."""
    name = _CODECS.get(codec.lower(), "")
    return name in can and name in _CONTAINERS.get(path.suffix.lower(), ())


class Proxies:
    """Makes copies in the background, one at a time. `on_end` gets the video and the problem."""

    def __init__(self, folder: Path, on_end: Callable[[Path, str], None]) -> None:
        self._folder, self._on_end = folder, on_end
        self._waiting: deque[tuple[Path, str]] = deque()
        self._failed: set[Path] = set()  # copies that cannot be made
        self._changed = threading.Condition()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def ask(self, video: Path, can: frozenset[str]) -> dict[str, Any] | None:
        """Return the codec of a copy and whether it is ready, or begin it; None: there is none."""
        codec = next((codec for codec in MEDIA_TYPES if codec in can), None)
        if codec is None or find_ffmpeg() is None:
            return None
        target = self.path(video, codec)
        with self._changed:
            if target in self._failed:
                return None
            is_ready = target.is_file()
            if not is_ready and (video, codec) not in self._waiting:
                self._waiting.append((video, codec))
                self._changed.notify()
        return {"codec": codec, "ready": is_ready}

    def path(self, video: Path, codec: str) -> Path:
        """Return where the copy of this version of a video is, or will be."""
        name = hashlib.sha256(f"{video} {look_at(video)} {codec}".encode(errors="replace"))
        return self._folder / f"{name.hexdigest()[:32]}.{codec}"

    def close(self) -> None:
        """Stop; a copy that is being made is given up."""
        with self._changed:
            self._is_closed = True
            if self._process is not None:
                self._process.kill()
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._is_closed:
                    self._changed.wait()
                if self._is_closed:
                    return
                video, codec = self._waiting[0]
            target, problem = self.path(video, codec), ""
            try:
                with writing(target) as temporary:
                    self._make(video, codec, temporary)
            except OutputError as error:
                problem = error.message
            with self._changed:
                self._waiting.popleft()
                if problem:
                    self._failed.add(target)
            self._on_end(video, problem)

    def _make(self, video: Path, codec: str, target: Path) -> None:
        """Write a copy with sound, or without if that fails."""
        ffmpeg = find_ffmpeg()
        assert ffmpeg is not None
        begin = [ffmpeg, "-hide_banner", "-loglevel", "error", "-nostdin", "-y"]
        begin += [*SoundSource(video).arguments(), "-map", "0:v:0"]
        reason = ""
        for sound in (("-map", "0:a:0?"), ()):
            command = [*begin, *sound, *_ENCODE[codec][:-2], "-fps_mode", "passthrough"]
            command += [*_ENCODE[codec][-2:], f"file:{target.absolute()}"]
            with self._changed:
                if self._is_closed:
                    raise OutputError("The studio has ended.")
                process = self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            _, messages = process.communicate()
            self._process = None
            if process.returncode == 0:
                return
            lines = messages.decode(errors="replace").strip().splitlines()
            reason = lines[-1] if lines else f"ffmpeg ended with {process.returncode}"
        with suppress(OSError):
            target.unlink(missing_ok=True)
        raise OutputError(f"{video.name} cannot be converted: {reason}")
