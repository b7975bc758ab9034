"""Finding video files, and writing results so that nothing half-written or overwritten is left."""

import hashlib
import io
import json
import math
import os
import secrets
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO, Any, Literal

from activity_cli.errors import OutputError

VIDEO_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("mp4", "avi", "mov", "mkv", "webm", "mpeg", "mpg", "m4v"),
        *("gif", "wmv", "flv", "ts", "3gp", "ogv", "m2ts", "mts"),
    )
)
"""Endings that make a file a video when a folder is searched; a file named directly needs none."""


def is_video(path: Path) -> bool:
    """Whether the name ends like a video's; the file is not opened."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def sha256_of(path: Path) -> str:
    """Digest of a file's content, in hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_file(path: Path) -> bool:
    """Whether there is a file, where a name that the system refuses counts as none."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, not permitted, a zero byte
        return False


def is_folder(path: Path) -> bool:
    """Whether there is a folder, where a name that the system refuses counts as none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def walk_files(folder: Path) -> Iterator[Path]:
    """All files below a folder in the order of their names, without hidden ones.

    Links to folders are followed, each folder once, so that loops of links end. A folder
    that cannot be read is given itself, in place of its files, so that it is not lost; so is one
    that is named like a video and empty.
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
    """The files that are no videos, in words: "3 other files (.csv, .txt)", or "no files"."""
    endings = Counter(path.suffix.lower() or "no ending" for path in paths)
    if not endings:
        return "no files"
    total = endings.total()
    return f"{total} other file{'s' * (total != 1)} ({', '.join(sorted(endings)[:5])})"


def encode_text(text: str) -> bytes:
    """UTF-8, where names that are not valid text keep their own bytes."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair, which Windows allows in names
        return text.encode("utf-8", "surrogatepass")


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to, which becomes the file when the block ends well.

    So the file is there completely or not at all, and an older one is replaced. The temporary
    path has another suffix. Missing parent folders are made.

    Raises:
        OutputError: the file cannot be written; an older one is still as it was.
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
    """Write a file that is there completely or not at all, as `writing` does.

    Raises:
        OutputError: the file cannot be written; an older one is still as it was.
    """
    with writing(path) as temporary:
        temporary.write_bytes(content)


def write_text_atomically(path: Path, text: str) -> None:
    """Write a text file in UTF-8, as `writing` does.

    Raises:
        OutputError: the file cannot be written; an older one is still as it was.
    """
    write_bytes_atomically(path, encode_text(text))


class LineFile:
    """A file that whole lines are added to: each reaches the system at once, or not at all."""

    def __init__(self, path: Path, mode: Literal["a", "w", "x"] = "a") -> None:
        """Open it, as `open` does: at its end, emptied, or only if it is new.

        Missing parent folders are made.

        Raises:
            FileExistsError: it must be new, and is not.
            OutputError: it cannot be written.
        """
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(path, error) from error
        try:
            self._file = io.FileIO(path, mode)
        except FileExistsError:
            raise
        except OSError as error:
            raise output_error(path, error) from error

    def write(self, lines: bytes) -> None:
        """Add lines.

        Raises:
            OutputError: the disk is full or gone. All lines before are in the file.
        """
        content = memoryview(lines)
        begin = self._file.seek(0, os.SEEK_END) if self._file.seekable() else 0
        try:
            while content:  # the system may take less than the whole
                content = content[self._file.write(content) :]
        except OSError as error:
            with suppress(OSError):  # a device cannot be cut
                self._file.truncate(begin)
                self._file.seek(begin)
            raise output_error(self._path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@contextmanager
def temporary_file(folder: Path) -> Iterator[IO[bytes]]:
    """A file without a name in the folder, gone when the last handle or map of it is.

    Raises:
        OutputError: nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed below
    except OSError as error:
        raise output_error(folder, error) from error
    with file:
        yield file


def write_json(path: Path, value: object) -> None:
    """Write JSON that every reader takes: numpy as plain values, NaN and infinity as null.

    Raises:
        OutputError: the file cannot be written; an older one is still as it was.
    """
    text = json.dumps(_plain(value), indent=2, allow_nan=False)
    write_text_atomically(path, text + "\n")


def new_folder(path: Path, *, overwrite: bool = False) -> Path:
    """Make a folder for results, with its parents; an empty one that exists will do.

    Args:
        path: The folder.
        overwrite: Accept a folder with files in it. They stay until they are written anew.

    Raises:
        OutputError: there are files in it, or it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not overwrite and any(path.iterdir()):
            raise OutputError(
                f"{path} exists and is not empty.",
                hint="Choose another folder with --output, or add --overwrite.",
            )
    except FileExistsError as error:
        raise OutputError(
            f"{path} is a file, so it cannot be a folder for results.",
            hint="Choose another folder with --output.",
        ) from error
    except OSError as error:
        raise output_error(path, error) from error
    return path


def numbered_folder(parent: Path, name: str) -> Path:
    """Make `parent/name`, or `name-2`, `name-3`, ... when that exists: always a new folder.

    Safe when several programs do it at once.

    Raises:
        OutputError: the folder cannot be made.
    """
    number = 1
    try:
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            path = parent / (name if number == 1 else f"{name}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                number += 1
            else:
                return path
    except OSError as error:
        raise output_error(parent, error) from error


def output_error(path: Path, error: OSError) -> OutputError:
    """The error for a file that the system did not let us write."""
    return OutputError(
        f"Cannot write {path}: {error.strerror or error}.",
        hint="Choose another place with --output, or free space there and check its permissions.",
    )


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


NAME = "{name}"
"""What stands in a file's name for that of a video, where there is a file for each."""


def path_per_video(path: Path, videos: Sequence[str]) -> list[Path]:
    """A path for each video: `{name}` becomes its name without the ending; equal ones are numbered.

    Args:
        path: with `{name}` in its last part.
        videos: paths of the videos.
    """
    targets: list[Path] = []
    taken: set[str] = set()
    for video in videos:
        stem = Path(video).stem
        names = (path.name.replace(NAME, stem + end) for end in _numbered_ends())
        name = next(name for name in names if name.casefold() not in taken)
        taken.add(name.casefold())  # some disks do not tell A from a
        targets.append(path.parent / name)
    return targets


def _numbered_ends() -> Iterator[str]:
    yield ""
    yield from (f"-{number}" for number in count(2))
