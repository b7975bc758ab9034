"""Segment files, result files and annotations -> what happens in each video, and how long it is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from pathlib import Path

from activity_cli.common import and_more
from activity_cli.common.files import is_file, is_folder, is_video, walk_files
from activity_cli.common.optional_dependencies import import_parquet
from activity_cli.data.annotations.formats import ImportOptions, find_format
from activity_cli.data.annotations.importing import read_files
from activity_cli.data.annotations.media import NameIndex
from activity_cli.data.annotations.source import Source
from activity_cli.errors import DataError, SettingsError
from activity_cli.evaluation.segment_metrics import Bout
from activity_cli.predict.results import PARQUET
from activity_cli.predict.results.result_reader import open_stored

Span = tuple[float, float]  # start and end

_POINT_SECONDS = 1e-9  # points in time count as events that take no time
_DIGITS = 9
_RESULT_COLUMNS = {"path", "status", "label", "score"}
_ENDINGS = "csv tsv jsonl json boris eaf xml srt vtt txt parquet"
_TEXT_SUFFIXES = frozenset(f".{ending}" for ending in _ENDINGS.split())
"""Suffixes of the files that are taken from a folder; a file named directly needs none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A video and what happens in it."""

    path: str
    duration_seconds: float  # the end of the last bout where nothing else is known
    bouts: tuple[Bout, ...]  # by start; those of different labels may overlap
    fps: float | None = None
    group: str = ""
    looked_at: tuple[Span, ...] = ()
    """The stretches that a person looked at; empty: all of it."""


@dataclass(slots=True)
class _Found:
    bouts: tuple[Bout, ...] = ()
    looked_at: tuple[Span, ...] = ()
    source: Path | None = None  # of the bouts
    seconds: float | None = None
    fps: float | None = None
    group: str = ""


def read_recordings(
    paths: Sequence[Path],
    *,
    videos: Path | None = None,
    group_by: str | None = None,
    needs_lengths: bool = True,
    on_warning: Callable[[str], None],
) -> tuple[Recording, ...]:
    """Read what files state about videos, in the order in which the videos occur.

    Lengths come from result rows, else from the videos' headers. A video's bouts are those of the
    first file that has any. `group_by` is a column of one of the tables. With `needs_lengths`, a
    length that is not known is a warning.

    Raises:
        DataError: a file cannot be read, there is no event, or no table has the column.
    """
    files = list(_files(paths))
    found = _Reader(on_warning, needs_lengths=needs_lengths)
    results = [file for file in files if _is_result(file)]
    for file in results:
        found.add_lengths(file)
    for file in files:
        if file in results:
            found.add_journal(file)
        elif file not in paths or not _only_groups(file, group_by):
            found.add_annotations(file, ImportOptions(videos=videos, point_seconds=_POINT_SECONDS))
    if group_by is not None:
        found.add_groups(files, group_by)
    recordings = tuple(found.recordings())
    if not any(recording.bouts for recording in recordings):
        raise DataError(
            f"{and_more([str(path) for path in paths], 3)}: there are no segments.",
            hint="Give files that `activity predict --segments` writes, or annotations.",
        )
    return recordings


def match_recordings(
    recordings: Sequence[Recording], others: Sequence[Recording]
) -> list[tuple[Recording, Recording | None]]:
    """Pair recordings with those of the same name, whatever folders and endings they have."""
    index = NameIndex(Path(other.path) for other in others)
    by_path = {other.path: other for other in others}
    pairs = []
    for one in recordings:
        path = index.find(one.path)
        pairs.append((one, by_path.get(one.path) or (by_path[str(path)] if path else None)))
    return pairs


class _Reader:
    def __init__(self, on_warning: Callable[[str], None], *, needs_lengths: bool) -> None:
        self._needs_lengths = needs_lengths
        self._found: dict[str, _Found] = {}
        self._on_warning = on_warning

    def add_lengths(self, path: Path) -> None:
        """Take the lengths of videos from result rows."""
        for entry in open_stored(path).entries():
            if seconds := entry.row["seconds"]:
                video = self._video(entry.path)
                video.seconds, video.fps = seconds, entry.row["frames"] / seconds

    def add_journal(self, path: Path) -> None:
        """Take segments from the journal beside result rows, if there is one."""
        for entry in open_stored(path).entries():
            bouts = tuple(Bout(s.start_seconds, s.end_seconds, s.label) for s in entry.segments)
            if bouts:
                self._set_bouts(entry.path, path, bouts)

    def add_annotations(self, path: Path, options: ImportOptions) -> None:
        """Take events from a file of segments or annotations."""
        [imported] = read_files([path], options)
        for line in imported.problems():
            self._on_warning(line)
        bouts: dict[str, list[Bout]] = {}
        for piece in imported.pieces(_DIGITS):
            media = imported.media.get(piece.path)
            name = self._name(piece.path)
            video = self._video(name)
            if media is not None:
                video.seconds = video.seconds or media.seconds
                video.fps = video.fps or media.fps
            end = piece.end if piece.end is not None else video.seconds
            if end is None and not piece.label:
                end = inf
            if end is None:
                self._on_warning(f"{path}: the length of {name} is not known: give --videos.")
            else:
                bouts.setdefault(name, []).append(Bout(piece.start or 0.0, end, piece.label))
        for name, some in bouts.items():
            some.sort(key=lambda one: one.start_seconds)
            # An empty label is a stretch that was looked at.
            seen = tuple((b.start_seconds, b.end_seconds) for b in some if not b.label)
            self._set_bouts(name, path, tuple(b for b in some if b.label), seen)

    def add_groups(self, files: Sequence[Path], column: str) -> None:
        """Take the group of each video from the tables that have the column."""
        tables = [file for file in files if _column(file, column)]
        if not tables:
            raise DataError(
                f"No file has a column {column}.",
                hint=f"Give a CSV with path,{column} beside the results.",
            )
        for file in tables:
            name = _column(file, column)
            source, is_header = Source(file), _has_columns(name)
            for line, row in source.rows(is_header):
                key = next((row[key] for key in ("path", "video", "file") if row.get(key)), "")
                video = self._found.get(self._name(Path(key)))
                if video is None or not row[name]:
                    continue
                if video.group not in {"", row[name]}:
                    raise DataError(
                        f"{file}, line {line}: {key} is in two groups, {video.group} and "
                        f"{row[name]}.",
                        hint="A video must have one value in this column.",
                    )
                video.group = row[name]
        if missing := [path for path, video in self._found.items() if not video.group]:
            shown = and_more(missing, 3)
            self._on_warning(f"Without a value of {column}, in no group: {shown}.")

    def recordings(self) -> Iterator[Recording]:
        """Give what was found."""
        unknown = []
        for path, video in self._found.items():
            ends = [*(b.end_seconds for b in video.bouts), *(end for _, end in video.looked_at)]
            last = max((end for end in ends if end < inf), default=0.0)
            if video.seconds is None:
                unknown.append(path)
            yield Recording(
                path=path,
                duration_seconds=max(video.seconds or 0.0, last),
                bouts=video.bouts,
                looked_at=video.looked_at,
                fps=video.fps,
                group=video.group,
            )
        if unknown and self._needs_lengths:
            self._on_warning(
                f"{and_more(unknown, 3)}: the length is not known, the end of the last segment "
                "stands for it. Give --videos, or the file of `predict --output`."
            )

    def _name(self, path: Path) -> str:
        """Return the name under which a video occurred before, or its own."""
        if str(path) in self._found:
            return str(path)
        known = self._index.find(str(path))
        return str(path if known is None else known)

    @cached_property
    def _index(self) -> NameIndex:
        return NameIndex(Path(name) for name in self._found)

    def _video(self, name: str) -> _Found:
        if name not in self._found:
            self.__dict__.pop("_index", None)
        return self._found.setdefault(name, _Found())

    def _set_bouts(
        self, name: str, source: Path, bouts: tuple[Bout, ...], looked_at: tuple[Span, ...] = ()
    ) -> None:
        video = self._video(name)
        if video.source is None:
            video.bouts, video.source, video.looked_at = bouts, source, looked_at
        else:
            self._on_warning(f"{name}: the segments of {video.source} are used, not of {source}.")


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not is_folder(path):
            yield path
            continue
        files = [file for file in walk_files(path) if file.suffix.lower() in _TEXT_SUFFIXES]
        known = [file for file in files if _is_known(file)]
        if not known:
            raise DataError(
                f"{path} holds no segments.",
                hint="Give files that `activity predict --segments` writes, or annotations.",
            )
        yield from known


def _is_known(path: Path) -> bool:
    try:
        return is_file(path) and not is_video(path) and find_format(Source(path)) is not None
    except DataError:
        return False


def _is_result(path: Path) -> bool:
    """Return whether a file has a row per video, as `predict --output` writes it."""
    if path.suffix.lower() == PARQUET:
        return _parquet_columns(path) >= _RESULT_COLUMNS
    source = Source(path)
    if not source.is_readable or is_video(path):
        return False
    names = {name.lower() for name in source.first_object}
    return names >= _RESULT_COLUMNS or bool(source.columns(_RESULT_COLUMNS.issubset))


def _parquet_columns(path: Path) -> set[str]:
    _, parquet = import_parquet()
    try:
        return set(parquet.ParquetFile(path).schema_arrow.names)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.", hint="Check the file.") from error


def _column(path: Path, column: str) -> str:
    """Return the column of a table as its rows have it; empty where there is none."""
    if path.suffix.lower() not in {".csv", ".tsv"}:
        return ""
    wanted = column.strip().lower()
    return wanted if Source(path).columns(_has_columns(wanted)) else ""


def _has_columns(name: str) -> Callable[[Sequence[str]], bool]:
    return lambda names: name in names and bool({"path", "video", "file"} & set(names))


def _only_groups(path: Path, column: str | None) -> bool:
    """Return whether a table has the column of groups and no events."""
    return column is not None and bool(_column(path, column)) and find_format(Source(path)) is None


def group_names(recordings: Sequence[Recording]) -> Mapping[str, list[Recording]]:
    """Return the recordings of each group; those without one are left out.

    Raises:
        SettingsError: there is only one group.
    """
    groups: dict[str, list[Recording]] = {}
    for one in recordings:
        if one.group:
            groups.setdefault(one.group, []).append(one)
    if len(groups) < 2:
        raise SettingsError(
            "--group-by needs at least two groups.", hint="Choose a column with several values."
        )
    return dict(sorted(groups.items()))
