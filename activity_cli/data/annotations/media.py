"""The videos that an annotation file names, wherever they are now, and their lengths."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from activity_cli.common.files import is_file, is_folder, is_video, walk_files
from activity_cli.errors import DataError

_HASH = re.compile(r"^[0-9a-f]{8}-")  # Label Studio puts one before the names of uploaded files
_DRIVE = re.compile(r"^[A-Za-z]:[\\/]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """A video by its header."""

    path: Path  # absolute
    seconds: float | None  # None: neither the header nor the packets have it
    fps: float
    num_frames: int | None


class MediaFinder:
    """Finds videos by the names in an annotation file: in a folder, whatever their endings.

    Without a folder they are where the file names them, or beside it.
    """

    def __init__(self, annotations: Path, folder: Path | None) -> None:
        self._beside = annotations.parent
        self._folder = folder
        if folder is not None and not is_folder(folder):
            raise DataError(f"{folder} is not a folder.", hint="--videos takes a folder of videos.")
        files = walk_files(folder) if folder else (p for p in self._beside.iterdir() if is_file(p))
        self._videos = NameIndex(path for path in files if is_video(path))

    def find(self, name: str) -> Path | None:
        """Return the video; None where it is missing, or several match equally well."""
        plain = _plain_path(name)
        for folder in (self._beside, Path()) if self._folder is None else ():
            if is_file(found := folder / plain):  # predict writes paths as seen from the shell
                return found.absolute()
        found_path = self._videos.find(name)
        return found_path and found_path.absolute()


class NameIndex:
    """Videos by name, with or without its ending, whatever folders the name has."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._by_name: defaultdict[str, list[Path]] = defaultdict(list)
        for path in paths:
            for key in {path.name.casefold(), path.stem.casefold()}:
                self._by_name[key].append(path)

    def find(self, name: str) -> Path | None:
        """Return the video whose folders agree best; None where several agree equally, or none."""
        plain = _plain_path(name)
        for key in _keys(PurePosixPath(plain).name):
            if paths := self._by_name.get(key):
                scores = [_common_parts(path, plain) for path in paths]
                best = [p for p, score in zip(paths, scores, strict=True) if score == max(scores)]
                return best[0] if len(best) == 1 else None
        return None


def _plain_path(name: str) -> str:
    """Return the path in an address or a path of any system, with / between folders."""
    if "?d=" in name:  # Label Studio's local files
        name = "/" + name.partition("?d=")[2]
    elif "://" in name:
        name = urlsplit(name).path
    elif not (name.startswith(("/data/", "./", "../")) and "%" in name):
        return name.replace("\\", "/")  # not an address: % is a character
    return unquote(name, errors="surrogateescape")


def _keys(name: str) -> Iterator[str]:
    """Give the names under which a video may be found, the best first."""
    for one in dict.fromkeys((name.casefold(), _HASH.sub("", name.casefold()))):
        stem = PurePosixPath(one).stem if is_video(Path(one)) else one
        yield from (one, stem, f"v_{stem}")  # ActivityNet's files have v_ before the name


def _common_parts(path: Path, plain: str) -> int:
    """Return how many names at the end of two paths, without the last one, are equal."""
    pairs = zip(path.parts[-2::-1], PurePosixPath(plain).parts[-2::-1], strict=False)
    count = 0
    for one, other in pairs:
        if one.casefold() != other.casefold():
            break
        count += 1
    return count


def read_media(path: Path) -> Media:
    """Read the length, rate and number of frames of a video; a VideoError if it is none."""
    from activity_cli.video.reader import VideoReader, frame_interval_seconds, read_seconds

    with VideoReader(path, num_threads=1) as reader:
        info = reader.info
    return Media(
        path=path,
        seconds=info.duration_seconds_from_header or read_seconds(path),
        fps=1 / frame_interval_seconds(info),
        num_frames=info.num_frames_from_header,
    )
