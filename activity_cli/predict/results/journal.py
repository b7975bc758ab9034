"""The journal of a batch, with which the same command resumes where it ended.

JSON lines beside the results, `scores.csv.journal`: a header with the provenance of the rows, then
the state and the row of each finished file. A line is written before its row, so the results can be
written anew from the journal after kill -9 or on a full disk.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from activity_cli.common.files import parse_json, sha256_of, writing
from activity_cli.errors import OutputError
from activity_cli.features.cache import file_fingerprint
from activity_cli.types import FileState, Segment

FORMAT_VERSION = 1
NO_STATE = FileState(None, None)
SUFFIX = ".journal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A finished file: its state when it was read, and its result."""

    path: str
    state: FileState
    row: Mapping[str, Any]
    segments: tuple[Segment, ...] = ()  # for the files that `--segments` asks for


def look_at(path: Path, *, hash_content: bool = False) -> FileState:
    """Return the present state of a file; that it cannot be read is a state as well."""
    try:
        if path.is_dir() and (fingerprint := file_fingerprint(path)):  # of numbered frames
            return FileState(*fingerprint, None)
        stat = path.stat()
        digest = sha256_of(path) if hash_content and path.is_file() else None
    except (OSError, ValueError):
        return NO_STATE
    return FileState(stat.st_size, stat.st_mtime_ns, digest)


def journal_path(output: Path) -> Path:
    """Return the journal that belongs to a result file."""
    return output.with_name(output.name + SUFFIX)


def write_journal(
    path: Path,
    provenance: Mapping[str, Any],
    entries: Iterable[Entry],
    *,
    outputs: Iterable[str] = (),
) -> None:
    """Write a whole journal in place of an older one, or not at all; or an OutputError."""
    header = {"format": FORMAT_VERSION, "made_with": dict(provenance), "outputs": sorted(outputs)}
    with writing(path) as temporary, temporary.open("wb") as file:
        file.write(_line(header))
        file.writelines(map(entry_line, entries))


def resume_journal(
    path: Path,
    provenance: Mapping[str, Any],
    *,
    outputs: Iterable[str] = (),
    keep: Callable[[Entry], bool],
) -> None:
    """Rewrite a journal with the entries that `keep` keeps; of several for a path, the last one.

    Raises:
        OutputError: the provenance differs, the journal is damaged, or it cannot be written.
    """
    stored, earlier_outputs = read_header(path)
    for name in sorted({*stored, *provenance}):
        before, now = stored.get(name), provenance.get(name)
        if before != now:
            raise OutputError(
                f"{path.name.removesuffix(SUFFIX)} was made with another {name}: "
                f"{before or 'none'}, not {now or 'none'}.",
                hint="Add --overwrite to start over, or choose another file with --output.",
            )
    last = {entry.path: number for number, entry in enumerate(read_entries(path))}
    kept = (
        entry
        for number, entry in enumerate(read_entries(path))
        if last[entry.path] == number and keep(entry)
    )
    write_journal(path, provenance, kept, outputs={*earlier_outputs, *outputs})


def entry_line(entry: Entry) -> bytes:
    """Return an entry as a line of the journal."""
    values = {"file": astuple(entry.state), "row": dict(entry.row)}
    if entry.segments:
        values["segments"] = [astuple(segment) for segment in entry.segments]
    return _line(values)


def read_header(path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Read the provenance of a journal's rows, and the further files that were made of them.

    Raises:
        OutputError: the first line is damaged or of a newer format.
    """
    first = next(_read_lines(path), None)
    try:
        values: dict[str, Any] = parse_json(first[1]) if first else {}
        header = dict(values["made_with"]), tuple(map(str, values.get("outputs", ())))
        version = values["format"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, "its first line is not that of a journal") from error
    if version != FORMAT_VERSION:
        raise _damaged(path, f"it has format {version}, and this version reads {FORMAT_VERSION}")
    return header


def read_entries(path: Path) -> Iterator[Entry]:
    """Yield the entries of a journal, in order, without a last line that a crash cut off.

    Raises:
        OutputError: it cannot be read, or a line before the last is damaged.
    """
    for number, line in _read_lines(path):
        if number == 1:
            continue
        try:
            yield parse_entry(line)
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(path, f"line {number} cannot be read") from error


def parse_entry(line: bytes) -> Entry:
    """Parse what `entry_line` wrote; a ValueError, KeyError or TypeError if it is damaged."""
    values = dict(parse_json(line))
    row, names = dict(values["row"]), [field.name for field in fields(Segment)]
    segments = [dict(zip(names, each, strict=True)) for each in values.get("segments", ())]
    texts = [row["path"], *(segment.pop("label") for segment in segments)]
    numbers = [number for segment in segments for number in segment.values()]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a path or label is not a text")
    if not all(isinstance(number, float | int) for number in numbers):
        raise TypeError("a time or score is not a number")
    return Entry(
        path=row["path"],
        state=FileState(*values["file"]),
        row=row,
        segments=tuple(
            Segment(label=label, **segment)
            for label, segment in zip(texts[1:], segments, strict=True)
        ),
    )


def _read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield whole lines with their numbers, from 1."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    yield number, line
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, allow_nan=False).encode() + b"\n"


def _damaged(path: Path, why: str) -> OutputError:
    return OutputError(
        f"Cannot resume from {path}: {why}.",
        hint="Add --overwrite to start over, or choose another file with --output.",
    )
