"""Whether a video file has a sound track, by the words of its container alone.

OpenCV says nothing of sound, so this is for machines without ffmpeg. It knows the containers of
nearly all videos, MP4, MOV, Matroska, WebM and AVI, and of others says that it does not know.
"""

import os
import re
import struct
from pathlib import Path
from typing import BinaryIO

_HEAD_BYTES = 2**20  # Matroska and AVI describe their tracks before the first frame
_MOST_INDEX_BYTES = 2**28
# A track's handler in MP4 is a version, four bytes of zero or QuickTime's "mhlr", and its kind.
_MP4_SOUND = re.compile(rb"hdlr.{8}soun", re.DOTALL)
# A codec's name in Matroska: its tag, the length in one byte, and a name that begins with A_.
_MATROSKA_SOUND = re.compile(rb"\x86[\x81-\xbf]A_[A-Z]")


def has_sound_track(path: Path) -> bool | None:
    """Whether a file has sound; None where its container is not known, or cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            if head[4:8] in {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}:
                return bool(_MP4_SOUND.search(_movie_box(file)))
    except OSError:
        return None
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return bool(_MATROSKA_SOUND.search(head))
    if head.startswith(b"GIF8"):
        return False
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return b"strh" in head and bool(re.search(rb"strh.{4}auds", head, re.DOTALL))
    return None


def _movie_box(file: BinaryIO) -> bytes:
    """What MP4 says of its tracks: the content of the box `moov`; empty where there is none."""
    position, size = 0, os.fstat(file.fileno()).st_size
    while position + 8 <= size:
        file.seek(position)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:  # the true length follows in 8 bytes
            length = int.from_bytes(file.read(8), "big")
        if kind == b"moov":
            return file.read(min(length or size, _MOST_INDEX_BYTES))
        if length < 8:  # 0: to the end of the file; others are damage
            break
        position += length
    return b""
