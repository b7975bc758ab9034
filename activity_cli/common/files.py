"""Find files, and write them completely or not at all."""

import hashlib
import io
import json
import math
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO, Any, Literal

from activity_cli.common import count_of
from activity_cli.errors import OutputError

_ENDINGS = "mp4 avi mov mkv webm mpeg mpg m4v gif wmv flv ts 3gp ogv m2ts mts"
VIDEO_SUFFIXES = frozenset(f".{ending}" for ending in _ENDINGS.split())
"""Suffixes of the files that are taken from a folder; a file named directly needs none."""


PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
"""Suffixes of pictures, which are clips of one frame."""
_NUMBERED = re.compile(r"(?i)(?:frame[-_ ]?)?(\d+)")


def is_picture(path: Path) -> bool:
    """Return whether the name ends like a picture's; does not open the file."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def numbered_frames(folder: Path) -> list[Path]:
    """Return the pictures of a folder of numbered ones, in order; of other folders nothing.

    Their names are `0001.jpg` or `frame_0001.jpg`. There must be at least two, and nothing else but
    hidden files.
    """
    try:
        files = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:
        return []
    numbers = [(_NUMBERED.fullmatch(path.stem) if is_picture(path) else None) for path in files]
    if len(files) < 2 or not all(numbers):
        return []
    pairs = zip(numbers, files, strict=True)
    return [path for _, path in sorted((int(n[1]), path) for n, path in pairs if n)]


def is_clip(path: Path) -> bool:
    """Return whether there is a file, or a folder of numbered frames."""
    return is_file(path) or (is_folder(path) and bool(numbered_frames(path)))


def find_clips(files: Iterable[Path], *, inside: Path) -> list[Path]:
    """Choose the clips of `walk_files(inside)`: videos, pictures, folders of numbered frames.

    Pictures beside videos are thumbnails, not clips. The folder itself is never a clip: a label's
    numbered pictures are clips of one frame each.
    """
    files = list(files)
    videos = {path for path in files if is_video(path) or is_folder(path)}
    with_videos = {path.parent for path in videos}
    pictures = [path for path in files if is_picture(path) and path.parent not in with_videos]
    folders = {path.parent for path in pictures} - {inside}
    clips: dict[Path, Path] = {path: path for path in videos}
    clips |= {path: path for path in pictures}
    for folder in folders:
        if frames := numbered_frames(folder):
            clips |= dict.fromkeys(frames, folder)
    return list(dict.fromkeys(clips[path] for path in files if path in clips))


def is_video(path: Path) -> bool:
    """Return whether the name ends like a video's; does not open the file."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def sha256_of(path: Path) -> str:
    """Return the digest of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_file(path: Path) -> bool:
    """Return whether there is a file; False for a name that the system refuses."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises for too long names


def is_folder(path: Path) -> bool:
    """Return whether there is a folder; False for a name that the system refuses."""
    return os.path.isdir(path)  # noqa: PTH112 - as above


def walk_files(folder: Path) -> Iterator[Path]:
    """Give all files below a folder in the order of their names, without hidden ones.

    Links to folders are followed, each folder once. A folder that cannot be read is given itself,
    so that it can be reported; so is an empty one that is named like a video.
    """
    pending = [(folder, True)]
    seen: set[tuple[int, int]] = set()
    while pending:
        path, is_directory = pending.pop()
        if not is_directory:
            yield path
            continue
        try:
            identity = path.stat()
            with os.scandir(path) as found:
                entries = sorted((entry.name, entry.is_dir()) for entry in found)
        except OSError:
            yield path
            continue
        if (identity.st_dev, identity.st_ino) not in seen:
            seen.add((identity.st_dev, identity.st_ino))
            visible = [entry for entry in entries if not entry[0].startswith(".")]
            if not visible and path != folder and is_video(path):
                yield path
            pending += [(path / name, is_dir) for name, is_dir in reversed(visible)]


def describe_other_files(paths: Iterable[Path]) -> str:
    """Continue "no videos": ", only 3 other files (.csv, .txt)", or " and no other files"."""
    endings = [path.suffix.lower() or "no ending" for path in paths]
    shown = ", ".join(sorted(set(endings))[:5])
    if not endings:
        return " and no other files"
    return f", only {count_of(len(endings), 'other file')} ({shown})"


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to, which replaces the file when the block ends without error.

    Missing parent folders are made. An OutputError leaves an older file as it was.
    """
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"  # same disk, so that replace works
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(path, error) from error


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Write a file, as `writing` does."""
    with writing(path) as temporary:
        temporary.write_bytes(content)


def write_text_atomically(path: Path, text: str) -> None:
    """Write a text file in UTF-8, as `writing` does."""
    write_bytes_atomically(path, encode_text(text))


def write_json(path: Path, value: object) -> None:
    """Write strict JSON, as `writing` does: numpy as plain values, NaN and infinity as null."""
    text = json.dumps(_plain(value), indent=2, allow_nan=False)
    write_text_atomically(path, text + "\n")


def parse_json(text: str | bytes) -> Any:
    """Parse JSON; a ValueError if it is damaged, or nested so deep that Python gives up."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def encode_text(text: str) -> bytes:
    """Encode as UTF-8; file names that are not valid text keep their bytes."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair, which Windows allows in names
        return text.encode("utf-8", "surrogatepass")


class LineFile:
    """A file to which whole lines are added: each is written at once, or not at all.

    Missing parent folders are made. The mode is as for `open`, with its FileExistsError; any other
    failure is an OutputError, and all lines before are in the file.
    """

    def __init__(self, path: Path, mode: Literal["a", "w", "x"] = "a") -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = io.FileIO(path, mode)
        except OSError as error:
            if isinstance(error, FileExistsError) and path.exists():
                raise
            raise output_error(path, error) from error

    def write(self, lines: bytes) -> None:
        """Add lines."""
        content = memoryview(lines)
        begin = self._file.seek(0, os.SEEK_END) if self._file.seekable() else 0
        try:
            while content:  # the system may write only a part
                content = content[self._file.write(content) :]
        except OSError as error:
            with suppress(OSError):  # a device cannot be truncated
                self._file.truncate(begin)
                self._file.seek(begin)
            raise output_error(self._path, error) from error

    def sync(self) -> None:
        """Wait until all lines are on the disk: a power cut does not lose them."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise output_error(self._path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@contextmanager
def temporary_file(folder: Path) -> Iterator[IO[bytes]]:
    """Open an unnamed file in the folder; it is gone when its last handle or map is closed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed below
    except OSError as error:
        raise output_error(folder, error) from error
    with file:
        yield file


def new_folder(path: Path, *, overwrite: bool = False) -> Path:
    """Make a folder for results, with its parents; it may hold files only with `overwrite`."""
    hint = "Choose another folder with --output"
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not overwrite and any(path.iterdir()):
            hint = f"{hint}, or add --overwrite."
            raise OutputError(f"{path} exists and is not empty.", hint=hint)
    except FileExistsError as error:
        problem = f"{path} is a file, so it cannot be a folder for results."
        raise OutputError(problem, hint=f"{hint}.") from error
    except OSError as error:
        raise output_error(path, error) from error
    return path


def check_new(path: Path, *, overwrite: bool = False) -> None:
    """Raise an OutputError if there is a file at the path, unless it may be replaced."""
    if path.exists() and not overwrite:
        hint = "Choose another file, or add --overwrite."
        raise OutputError(f"{path} exists already.", hint=hint)


def numbered_folder(parent: Path, name: str) -> Path:
    """Make a new folder `parent/name`, or `name-2`, ...; several programs may call it at once."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for ending in numbered_endings():
            with suppress(FileExistsError):
                path = parent / f"{name}{ending}"
                path.mkdir()
                return path
    except OSError as error:
        raise output_error(parent, error) from error
    raise AssertionError("endless")


def output_error(path: Path, error: OSError) -> OutputError:
    """Return the error for a file that the system did not let us write."""
    return OutputError(
        f"Cannot write {path}: {error.strerror or error}.",
        hint="Choose another place with --output, or free space there and check its permissions.",
    )


NAME = "{name}"  # placeholder for a video's name in the path of a file per video


def path_per_video(path: Path, videos: Sequence[str]) -> list[Path]:
    """Return a path for each video: `{name}` in it becomes the video's name, numbered if equal."""
    targets: list[Path] = []
    taken: set[str] = set()
    for video in videos:
        stem = Path(video).stem
        names = (path.name.replace(NAME, stem + ending) for ending in numbered_endings())
        name = next(name for name in names if name.casefold() not in taken)
        taken.add(name.casefold())  # some file systems ignore case
        targets.append(path.parent / name)
    return targets


def numbered_endings() -> Iterator[str]:
    """Give what tells equal names apart: nothing, then -2, -3 and so on."""
    yield ""
    yield from (f"-{number}" for number in count(2))


def _plain(value: Any) -> Any:
    match value:
        case float():
            return float(value) if math.isfinite(value) else None
        case None | str() | int():
            return value
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case Sequence() | set() | frozenset():
            return [_plain(item) for item in value]
        case Path():
            return str(value)
        case _ if hasattr(value, "tolist"):  # numpy scalars and arrays
            return _plain(value.tolist())
    raise TypeError(f"{type(value).__name__} has no JSON form")
