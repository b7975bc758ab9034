"""What is watched: a camera, an address or a file that grows. Told apart by its name alone."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from activity_cli.common.files import is_file, is_folder
from activity_cli.errors import DataError

_SCHEMES = ("http", "https", "rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "tcp", "udp")
_CAMERA_FILE = re.compile(r"/dev/video(\d+)")

# Playlists of short pieces, which come faster than they play.
_PLAYLIST_SUFFIXES = (".m3u8", ".mpd")


@dataclass(frozen=True, slots=True)
class LiveSource:
    """Where frames come from."""

    kind: Literal["camera", "stream", "file"]
    address: int | str
    """A camera's number, or the address or path."""

    @property
    def name(self) -> str:
        """How it is called in messages: without the password that an address may hold."""
        if self.kind == "camera":
            return f"camera {self.address}"
        return _without_password(str(self.address)) if self.kind == "stream" else str(self.address)

    @property
    def is_live(self) -> bool:
        """Whether frames that nobody takes are lost; those of a file stay where they are."""
        return self.kind != "file"

    @property
    def is_playlist(self) -> bool:
        """Whether frames come in pieces, faster than they play."""
        return self.kind == "stream" and urlsplit(str(self.address)).path.endswith(
            _PLAYLIST_SUFFIXES
        )

    def check_exists(self) -> None:
        """Refuse what cannot work, as opposed to what is only away for a while.

        Raises:
            DataError: there is no such file, folder or camera.
        """
        path = Path(str(self.address))
        if self.kind == "file" and is_folder(path):
            raise DataError(
                f"{path} is a folder; activity watch looks at one source.",
                hint=f"To score the videos in it: activity predict {path}",
            )
        if self.kind == "file" and not is_file(path):
            raise DataError(
                f"There is no file {path}.",
                hint="A source is a camera's number such as 0, an address, or a file.",
            )
        if self.kind == "camera" and sys.platform == "linux":
            device = Path(f"/dev/video{self.address}")
            if not device.exists():
                raise DataError(
                    f"There is no {self.name}: {device} does not exist.",
                    hint=f"Cameras here: {_cameras_here()}.",
                )


def parse_source(text: str) -> LiveSource:
    """Tell from its name what a source is. An existing file wins over any other reading.

    Raises:
        DataError: it is empty, or an address that nothing here can open.
    """
    if not text.strip():
        raise DataError("The source is empty.", hint="Name a camera (0), an address or a file.")
    if is_file(Path(text)):
        return LiveSource("file", text)
    if text.isdecimal() and text.isascii():
        return LiveSource("camera", int(text))
    if camera := _CAMERA_FILE.fullmatch(text):
        return LiveSource("camera", int(camera[1]))
    scheme, colon, _ = text.partition("://")
    if not colon:
        return LiveSource("file", text)
    if scheme.lower() not in _SCHEMES:
        raise DataError(
            f"{_without_password(text)} is no address that can be watched.",
            hint=f"It may begin with {', '.join(f'{known}://' for known in _SCHEMES)}.",
        )
    return LiveSource("stream", text)


def _without_password(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:  # no valid address; nothing can be told from it
        return re.sub(r"//[^/]*@", "//", address)
    user, at, host = parts.netloc.rpartition("@")
    if not at or ":" not in user:
        return address
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:***@{host}"))


def _cameras_here() -> str:
    found = (_CAMERA_FILE.fullmatch(str(path)) for path in sorted(Path("/dev").glob("video*")))
    return ", ".join(match[1] for match in found if match) or "none"
