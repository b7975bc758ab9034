"""Sources -> the list of videos, in order and without duplicates.

A source is a file, a folder, a pattern such as `*.mp4`, a list (`.txt`, `.csv`), or `-`, a list on
stdin.
"""

import glob
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path, PurePath
from typing import Self

from activity_cli.common.files import (
    PICTURE_SUFFIXES,
    VIDEO_SUFFIXES,
    describe_other_files,
    find_clips,
    is_file,
    is_folder,
    is_video,
    numbered_frames,
    walk_files,
)
from activity_cli.common.tables import TABLE_SUFFIXES, RowError, read_table, read_text
from activity_cli.errors import DataError, SettingsError

STDIN = "-"  # a list on stdin, one path per line


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a source."""

    path: Path
    name: str  # its name within the source: relative to the folder, or as the list has it


def expand_sources(sources: Sequence[str]) -> list[Path]:
    """List the paths of `find_sources`."""
    return [found.path for found in find_sources(sources)]


def find_sources(sources: Sequence[str]) -> list[Found]:
    """List the videos of the sources: the first of each file, sorted by name within a folder.

    An existing file or folder wins over any other reading of a source. Folders are searched with
    all their subfolders, by the videos' suffixes, without hidden files. A file that does not exist
    stays in the list, so that it is reported as missing; so does a subfolder that cannot be read.
    A source without videos is a DataError.
    """
    found: dict[str, Found] = {}
    identify = _identifier()
    for source in sources:
        base = Path(source) if is_folder(Path(source)) else None
        for video in _expand(source):
            name = str(video.relative_to(base)) if base else str(video)
            found.setdefault(identify(video), Found(video, name))
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several parts of a list of files, one for each machine."""

    number: int  # from 1
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `2/3`; a SettingsError if it is not of that form."""
        match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise SettingsError(f"{text!r} is not a shard.", hint="Write 1/3, 2/3 and 3/3.")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def has(self, name: str) -> bool:
        """Return whether a file belongs to this part, by its name within its source alone."""
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1


def select(
    found: Sequence[Found],
    *,
    patterns: Sequence[str] = (),
    exclude: Sequence[str] = (),
    shard: Shard | None = None,
) -> list[Path]:
    """Choose files by their names; it is a DataError if the patterns leave none.

    The file name, or its path within the source, must match one of `patterns`, if there are any,
    and none of `exclude`. A shard keeps its part of these.
    """

    def matches(one: Found, some: Sequence[str]) -> bool:
        return any(fnmatch(text, p) for p in some for text in (one.path.name, one.name))

    kept = [one for one in found if not patterns or matches(one, patterns)]
    kept = [one for one in kept if not matches(one, exclude)]
    if found and not kept:
        hint = "* stands for any characters, as in --pattern '*.mp4' --exclude '*/old/*'."
        raise DataError(f"--pattern and --exclude leave none of the {len(found)} files.", hint=hint)
    return [one.path for one in kept if shard is None or shard.has(one.name)]


def _expand(source: str) -> Iterator[Path]:
    path = Path(source)
    if not source.strip():
        raise DataError("A source is empty.", hint="Name a video, a folder, a pattern or a list.")
    if source == STDIN:
        lines = sys.stdin.buffer.read().decode("utf-8", "surrogateescape").splitlines()
        if not (entries := [line for line in lines if line.strip()]):
            hint = "find footage -name '*.mp4' | ... -"
            raise DataError("The list on stdin is empty.", hint=hint)
        yield from _videos_of_entries(entries, folder=Path())
    elif is_folder(path):
        yield from [path] if numbered_frames(path) else _videos_of_folder(path)
    elif path.suffix.lower() in (".txt", *TABLE_SUFFIXES) and not _is_pattern(source):
        yield from _videos_of_entries(_read_list(path), folder=path.parent)
    elif is_file(path):
        yield path
    elif _is_pattern(source) and "://" not in source:
        yield from _videos_of_pattern(source)
    else:
        yield from _videos_of_entries([source], folder=Path())


def _videos_of_folder(folder: Path) -> Iterator[Path]:
    files = list(walk_files(folder))
    videos = find_clips(files, inside=folder)  # with folders that are unreadable: reported
    if not videos:
        endings = ", ".join(sorted(VIDEO_SUFFIXES | PICTURE_SUFFIXES))
        hint = f"Looked for {endings}; name other files one by one."
        raise DataError(f"{folder} has no videos{describe_other_files(files)}.", hint=hint)
    yield from videos


def _videos_of_entries(entries: Sequence[str], folder: Path) -> Iterator[Path]:
    """Give the files and folders of a list; they are relative to `folder`."""
    for entry in entries:
        if "://" in entry:
            hint = "Download it and name the file."
            raise DataError(f"{entry} is an address; activity reads files.", hint=hint)
        path = folder / entry
        if is_folder(path) and not numbered_frames(path):
            yield from _videos_of_folder(path)
        else:
            yield path


def _read_list(path: Path) -> list[str]:
    if not is_file(path):
        raise DataError(f"There is no list {path}.", hint="Check the path.")
    if path.suffix.lower() == ".txt":
        # File names need not be valid text.
        lines = (line.strip() for line in read_text(path, errors="surrogateescape").splitlines())
        entries = [line for line in lines if line and not line.startswith("#")]
    else:
        table = read_table(path, required=("path",))
        if table.bad_rows:
            raise table.bad_rows[0]
        entries = [row.values["path"] for row in table.rows]
        if "" in entries:
            line = table.rows[entries.index("")].line
            hint = "Write the video's path, or remove the row."
            raise RowError(path, line, "path", "the value is empty.", hint=hint)
    if not entries:
        raise DataError(f"{path} lists no files.", hint="Write one path per line.")
    return entries


def _is_pattern(source: str) -> bool:
    return glob.has_magic(source) and not is_file(Path(source))


def _videos_of_pattern(pattern: str) -> Iterator[Path]:
    """Give matches in order. A pattern with a suffix matches files with any suffix."""
    any_suffix = bool(re.fullmatch(r"\.\w+", PurePath(pattern).suffix))
    videos: list[Path] = []
    others: list[Path] = []
    for path in _matches(pattern):
        if is_folder(path):
            videos += [path] if numbered_frames(path) else find_clips(walk_files(path), inside=path)
        else:
            (videos if any_suffix or is_video(path) else others).append(path)
    yield from videos
    if not videos:
        hint = "Check the folder and the pattern: * is any name, **/ any folders in between."
        raise DataError(f"{pattern} matches no videos{describe_other_files(others)}.", hint=hint)


def _matches(pattern: str) -> Iterator[Path]:
    """Give files and folders that match, sorted; below `**` as `walk_files` does."""
    before, stars, after = pattern.partition("**")
    if not stars:
        yield from map(Path, sorted(glob.glob(pattern)))  # noqa: PTH207 - absolute patterns too
        return
    after = after.lstrip("/" + os.sep)
    if "**" in after or (before and before[-1] not in ("/", os.sep)):
        hint = "Use ** once, as a folder of its own: footage/**/cam1/*.mp4"
        raise DataError(f"{pattern} is not a valid pattern.", hint=hint)
    for folder in sorted(glob.glob(before)) if before else ["."]:  # noqa: PTH207
        for path in walk_files(Path(folder)):
            if not after or path.relative_to(folder).match(after):
                yield path


def _identifier() -> Callable[[Path], str]:
    """Return a function that gives all spellings of a file's path the same name.

    Links are followed. Resolved folders are cached: to resolve a million files takes a minute.
    """
    resolve_folder = cache(os.path.realpath)

    def identify(source: Path) -> str:
        try:
            if source.is_symlink() or source.name in ("", ".."):
                return os.path.realpath(source)
            return os.path.join(resolve_folder(source.parent), source.name)  # noqa: PTH118
        except (OSError, ValueError):  # no such name can exist: reported as missing
            return str(source)

    return identify
