"""What a batch remembers, so that the same command goes on where it ended.

A file of JSON lines beside the results, `scores.csv.journal`: first what the rows were made with,
then one line per finished file, with what the file was like and its whole row. A line is written
before its row, and both at once or not at all, so that neither kill -9 nor a full disk leaves
anything that cannot be gone on from: the results are made anew from the journal first.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from activity_cli.common.files import LineFile, sha256_of, writing
from activity_cli.errors import OutputError
from activity_cli.types import FileState, Segment

FORMAT_VERSION = 1
SUFFIX = ".journal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A finished file: as it was when it was read, and what became of it."""

    path: str
    state: FileState
    row: Mapping[str, Any]
    segments: tuple[Segment, ...] = ()
    """What happens when, for the files that `--segments` asks for."""


def look_at(path: Path, *, hash_content: bool = False) -> FileState:
    """The state of a file now. One that cannot be looked at is a state as well."""
    try:
        stat = path.stat()
        digest = None
        if hash_content and path.is_file():
            digest = sha256_of(path)
    except (OSError, ValueError):
        return FileState(None, None)
    return FileState(stat.st_size, stat.st_mtime_ns, digest)


def journal_path(output: Path) -> Path:
    """The journal that belongs to a file of results."""
    return output.with_name(output.name + SUFFIX)


class Journal:
    """The journal of one file of results, open to be added to. Made by `new` or `go_on`."""

    def __init__(self, path: Path, lines: LineFile) -> None:
        self.path = path
        self._lines = lines

    @classmethod
    def new(
        cls, path: Path, provenance: Mapping[str, Any], *, outputs: Iterable[str] = ()
    ) -> "Journal":
        """Start a journal in place of any that is there.

        Args:
            path: the journal.
            provenance: what rows will be made with.
            outputs: further files that are made of the rows, and may be made anew.

        Raises:
            OutputError: it cannot be written.
        """
        write_journal(path, provenance, (), outputs=outputs)
        return cls(path, LineFile(path))

    @classmethod
    def go_on(
        cls,
        path: Path,
        provenance: Mapping[str, Any],
        *,
        outputs: Iterable[str] = (),
        keep: Callable[[Entry], bool],
    ) -> "Journal":
        """Open a journal that is there, without the entries that are not worth keeping.

        Of several entries for one path the last one counts.

        Args:
            path: the journal.
            provenance: what new rows will be made with; it has to be the same as before.
            outputs: as for `new`; those of before stay.
            keep: whether a file need not be done again.

        Raises:
            OutputError: it was made with something else, is damaged, or cannot be written.
        """
        _check_provenance(path, provenance)
        last = {entry.path: number for number, entry in enumerate(read_entries(path))}
        kept = (
            entry
            for number, entry in enumerate(read_entries(path))
            if last[entry.path] == number and keep(entry)
        )
        write_journal(path, provenance, kept, outputs={*read_outputs(path), *outputs})
        return cls(path, LineFile(path))

    def add(self, entry: Entry) -> None:
        """Write an entry.

        Raises:
            OutputError: the disk is full or gone; what was there before is whole.
        """
        self._lines.write(_entry_line(entry))

    def close(self) -> None:
        """Close the file."""
        self._lines.close()


def write_journal(
    path: Path,
    provenance: Mapping[str, Any],
    entries: Iterable[Entry],
    *,
    outputs: Iterable[str] = (),
) -> None:
    """Write a whole journal, in place of any that is there.

    Raises:
        OutputError: it cannot be written; an older one is still as it was.
    """
    with writing(path) as temporary, temporary.open("wb") as file:
        file.write(_first_line(provenance, outputs))
        file.writelines(map(_entry_line, entries))


def read_entries(path: Path) -> Iterator[Entry]:
    """The entries of a journal, in order. A last line that was torn by a crash is left out.

    Raises:
        OutputError: it cannot be read, or a line before the last is damaged.
    """
    for number, line in _read_lines(path):
        if number == 1:
            continue
        try:
            values = json.loads(line)
            yield Entry(
                path=values["row"]["path"],
                state=FileState(*values["file"]),
                row=values["row"],
                segments=segments_from_json(values.get("segments", [])),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(path, f"line {number} cannot be read") from error


def read_provenance(path: Path) -> dict[str, Any]:
    """What the rows of a journal were made with.

    Raises:
        OutputError: it is not a journal, or of a newer format.
    """
    return dict(_read_header(path)["made_with"])


def read_outputs(path: Path) -> list[str]:
    """The further files that were made of the rows of a journal.

    Raises:
        OutputError: it is not a journal, or of a newer format.
    """
    return [str(name) for name in _read_header(path).get("outputs", [])]


def _read_header(path: Path) -> dict[str, Any]:
    first = next(_read_lines(path), None)
    try:
        values: dict[str, Any] = json.loads(first[1]) if first else {}
        dict(values["made_with"])
        version = values["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, "it does not begin like one") from error
    if version != FORMAT_VERSION:
        raise _damaged(path, f"it has format {version}, and this version knows {FORMAT_VERSION}")
    return values


def _check_provenance(path: Path, provenance: Mapping[str, Any]) -> None:
    before = read_provenance(path)
    for name in sorted({*before, *provenance}):
        if before.get(name) != provenance.get(name):
            raise OutputError(
                f"{path.name.removesuffix(SUFFIX)} was made with another {name}: "
                f"{before.get(name, 'none')}, not {provenance.get(name, 'none')}.",
                hint="Add --overwrite to start over, or choose another file with --output.",
            )


def _read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Whole lines with their numbers, from 1."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    yield number, line
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, allow_nan=False).encode() + b"\n"


def _first_line(provenance: Mapping[str, Any], outputs: Iterable[str]) -> bytes:
    values = {"format": FORMAT_VERSION, "made_with": dict(provenance)}
    return _line(values | {"outputs": sorted(outputs)})


def _entry_line(entry: Entry) -> bytes:
    values = {"file": astuple(entry.state), "row": dict(entry.row)}
    if entry.segments:
        values["segments"] = segments_to_json(entry.segments)
    return _line(values)


def segments_to_json(segments: Sequence[Segment]) -> list[list[Any]]:
    """Segments as plain values; `segments_from_json` is the way back."""
    return [[*astuple(segment)] for segment in segments]


def segments_from_json(values: Iterable[Sequence[Any]]) -> tuple[Segment, ...]:
    """Segments that `segments_to_json` wrote.

    Raises:
        TypeError, ValueError: they are none.
    """
    names = [field.name for field in fields(Segment)]
    return tuple(Segment(**dict(zip(names, each, strict=True))) for each in values)


def _damaged(path: Path, why: str) -> OutputError:
    return OutputError(
        f"{path} cannot be gone on from: {why}.",
        hint="Add --overwrite to start over, or choose another file with --output.",
    )
