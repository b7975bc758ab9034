"""What is watched: a camera, an address or a growing file, told apart by its name."""

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
_PLAYLIST_SUFFIXES = (".m3u8", ".mpd")  # of short pieces, which arrive faster than they play


@dataclass(frozen=True, slots=True)
class LiveSource:
    """Where frames come from."""

    kind: Literal["camera", "stream", "file"]
    address: int | str
    """A camera's number, or the address or path."""

    @property
    def name(self) -> str:
        """Name for messages, without the password of an address."""
        if self.kind == "camera":
            return f"camera {self.address}"
        return _without_password(str(self.address)) if self.kind == "stream" else str(self.address)

    @property
    def is_live(self) -> bool:
        """Whether frames that are not read in time are lost; those of a file are not."""
        return self.kind != "file"

    @property
    def is_playlist(self) -> bool:
        """Whether frames arrive in pieces, faster than they play."""
        path = urlsplit(str(self.address)).path if self.kind == "stream" else ""
        return path.endswith(_PLAYLIST_SUFFIXES)

    def check_exists(self) -> None:
        """Refuse what cannot work, as opposed to what is only away for a while.

        Raises:
            DataError: there is no such file or camera.
        """
        path = Path(str(self.address))
        if self.kind == "file" and is_folder(path):
            raise DataError(
                f"{path} is a folder; activity watch reads one source.",
                hint=f"To score the videos in it: activity predict {path}",
            )
        if self.kind == "file" and not is_file(path):
            raise DataError(
                f"There is no file {path}.",
                hint="A source is a camera's number such as 0, an address, or a file.",
            )
        device = Path(f"/dev/video{self.address}")
        if self.kind == "camera" and sys.platform == "linux" and not device.exists():
            found = map(_CAMERA_FILE.fullmatch, map(str, sorted(Path("/dev").glob("video*"))))
            numbers = ", ".join(match[1] for match in found if match)
            raise DataError(
                f"There is no {self.name}: {device} does not exist.",
                hint=f"Cameras here: {numbers or 'none'}.",
            )


def parse_source(text: str) -> LiveSource:
    """Return the source of this name. An existing file wins over any other reading.

    Raises:
        DataError: the name is empty, or an address that cannot be opened.
    """
    if not text.strip():
        raise DataError("The source is empty.", hint="Name a camera (0), an address or a file.")
    if is_file(Path(text)):
        return LiveSource("file", text)
    camera = _CAMERA_FILE.fullmatch(text)
    if camera or (text.isdecimal() and text.isascii()):
        return LiveSource("camera", int(camera[1] if camera else text))
    scheme, colon, _ = text.partition("://")
    if not colon:
        return LiveSource("file", text)
    if scheme.lower() not in _SCHEMES:
        raise DataError(
            f"{_without_password(text)} cannot be watched.",
            hint=f"Addresses begin with {', '.join(f'{known}://' for known in _SCHEMES)}.",
        )
    return LiveSource("stream", text)


def _without_password(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:  # no valid address: hide all that may be a user and a password
        return re.sub(r"//[^/]*@", "//", address)
    user, at, host = parts.netloc.rpartition("@")
    if not at or ":" not in user:
        return address
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:***@{host}"))
