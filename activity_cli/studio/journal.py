"""The journal of a project: every change is a line on disk before it is answered.

JSON lines. A change holds the new state of what it changes, so a replay needs nothing else:

    {"set": {"wave/2.mp4": {...}}, "text": "label wave on 2.mp4", "at": "2026-11-30T03:10:00"}
    {"undo": true} | {"redo": true} | {"note": {...}} | {"writing": DIGEST} | {"written": DIGEST}

The last two surround each replacement of labels.csv, to tell later whether somebody else changed
it. A line that a crash cut off is removed.
"""

import json
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from activity_cli.common.files import LineFile, parse_json, writing
from activity_cli.errors import DataError

MOST_STEPS = 1000  # that can be undone
_MOST_BYTES = 50_000_000  # an hour of painting writes as much; it is read in about a second
State = Mapping[str, Any]  # plain values by key


@dataclass(slots=True)
class Step:
    """One step of undo: what its keys were before and after."""

    text: str
    before: dict[str, Any]
    after: dict[str, Any]
    revision: int


class Journal:
    """The state of a project, read from its journal, to which changes are added.

    `revision` counts changes. For calls from one thread at a time.

    Raises:
        DataError: the file is damaged.
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.revision = 0
        self.state: dict[str, Any] = {}
        self.changed_at: dict[str, int] = {}  # revision of the last change of a key
        self.undone: list[Step] = []
        self.done: deque[Step] = deque(maxlen=MOST_STEPS)
        self.writing, self.written = "", ""  # digests of labels.csv
        self.written_state: dict[str, Any] = {}  # when it was written last
        self.notes: list[Mapping[str, Any]] = []  # trainings and other commands
        entries = self._read()
        last = max((n for n, entry in enumerate(entries) if "written" in entry), default=-1)
        for number, entry in enumerate(entries):
            self._apply(entry)
            if number == last:
                self.written_state = dict(self.state)
        self._file = LineFile(path)

    def change(
        self, text: str, new: Mapping[str, Any], *, join: bool = False, is_step: bool = True
    ) -> None:
        """Set keys, None to remove them; `join` makes it part of the step before.

        Without `is_step` it cannot be undone.
        """
        entry = {"set": dict(new), "text": text, "at": now()}
        flags = {"join": join, "fixed": not is_step}
        self._append(entry | {name: True for name, is_on in flags.items() if is_on})

    def undo(self) -> tuple[str, ...]:
        """Take the last step back; return its keys."""
        keys = tuple(self.done[-1].before)
        self._append({"undo": True, "at": now()})
        return keys

    def redo(self) -> tuple[str, ...]:
        """Repeat the step that was taken back last; return its keys."""
        keys = tuple(self.undone[-1].after)
        self._append({"redo": True, "at": now()})
        return keys

    def note(self, values: Mapping[str, Any]) -> None:
        """Add something that is no change, such as a training that began."""
        self._append({"note": dict(values), "at": now()})

    def begin_writing(self, digest: str) -> None:
        """Note that labels.csv is going to be replaced."""
        self._append({"writing": digest})

    def end_writing(self, digest: str) -> None:
        """Note that labels.csv is what it should be now."""
        self._append({"written": digest})
        self.written_state = dict(self.state)

    def shorten(self) -> None:
        """Rewrite a file that has grown large: the steps that can be undone stay.

        To be called when labels.csv is what it should be.
        """
        if self.path.stat().st_size < _MOST_BYTES:
            return
        begin = dict(self.state)
        for step in reversed(self.done):
            begin |= step.before
        kept = {key: value for key, value in begin.items() if value is not None}
        first: dict[str, Any] = {"set": kept, "text": "", "at": now(), "fixed": True}
        first |= {"changed_at": self.changed_at, "revision": 1}
        steps = [*self.done, *reversed(self.undone)]
        entries: list[Mapping[str, Any]] = [first]
        entries += [{"note": note, "at": note["at"]} for note in self.notes]
        entries += [{"set": s.after, "text": s.text, "revision": s.revision} for s in steps]
        entries += [{"undo": True, "at": now()} for _ in self.undone]
        entries.append({"written": self.written})
        self._file.close()
        with writing(self.path) as temporary:
            temporary.write_bytes(b"".join(map(_line, entries)))
        self._file = LineFile(self.path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, entry: Mapping[str, Any]) -> None:
        self._file.write(_line(entry))
        self._file.sync()
        self._apply(entry)

    def _apply(self, entry: Mapping[str, Any]) -> None:
        if "set" in entry:
            self._set(entry)
        elif "undo" in entry:
            step = self.done.pop()
            self.undone.append(step)
            self._put(step.before)
        elif "redo" in entry:
            step = self.undone.pop()
            self.done.append(step)
            self._put(step.after)
        elif "writing" in entry:
            self.writing = entry["writing"]
        elif "written" in entry:
            self.written = entry["written"]
        elif "note" in entry:
            self.notes.append({"at": entry["at"], **entry["note"]})

    def _set(self, entry: Mapping[str, Any]) -> None:
        new = entry["set"]
        before = {key: self.state.get(key) for key in new}
        self.revision = entry.get("revision", self.revision + 1) - 1
        if entry.get("fixed"):
            self.done.clear()
        elif entry.get("join") and self.done:
            step = self.done[-1]
            step.before, step.after = {**before, **step.before}, {**step.after, **new}
            step.revision = self.revision + 1
        else:
            self.done.append(Step(entry["text"], before, dict(new), self.revision + 1))
        self.undone.clear()
        self._put(new)
        self.changed_at |= entry.get("changed_at", {})

    def _put(self, values: Mapping[str, Any]) -> None:
        self.revision += 1
        for key, value in values.items():
            self.changed_at[key] = self.revision
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value

    def _read(self) -> list[Mapping[str, Any]]:
        """Return the entries; cut off a last line that is not whole."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DataError(f"Cannot read {self.path}: {error.strerror}.") from error
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self.path, whole)
        entries: list[Mapping[str, Any]] = []
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                entries.append(dict(parse_json(line)))
            except (TypeError, ValueError) as error:
                raise DataError(
                    f"{self.path}, line {number}: this is not an entry of the journal.",
                    hint="Move the file away to begin a new one; labels.csv keeps all labels.",
                ) from error
        return entries


def _line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, allow_nan=False).encode() + b"\n"


def now() -> str:
    """Return the time of an entry."""
    return datetime.now().isoformat(timespec="seconds")
