"""A project on disk: a folder of videos, labels.csv, and the journal of all changes.

`.activity/` below the folder holds the journal and what can be made again. Every change is in the
journal before `edit` returns; labels.csv follows within a fraction of a second. A labels.csv that
somebody else changed is merged; one that cannot be read stays as it is until it is mended.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from activity_cli.common import count_of
from activity_cli.common.files import is_video, walk_files, write_text_atomically
from activity_cli.common.platform import lock_file
from activity_cli.common.tables import read_text
from activity_cli.errors import ActivityError, DataError
from activity_cli.predict.results.journal import look_at
from activity_cli.studio.edits import Draft, Edit, Shared, Stretch
from activity_cli.studio.journal import Journal
from activity_cli.studio.labels import (
    NOTHING,
    ClipState,
    Piece,
    digest_of,
    labels_text,
    merge,
    read_labels,
    without,
)
from activity_cli.studio.security import RequestError, inside
from activity_cli.types import FileState

HOME = ".activity"  # hidden: no command takes it for data
TABLE = "labels.csv"
_CLIP = "clip/"  # in front of the names of videos among the keys of the journal
_SHARED = "shared"
_SECONDS_BEFORE_WRITING = 0.2
_SECONDS_BETWEEN_LOOKS = 1.0
_JOIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a change did: to tell all windows."""

    revision: int
    names: tuple[str, ...]  # of the videos
    notice: str = ""


class Project:
    """A folder of videos, and what is stated about them. For calls from any thread.

    `on_change` is called after every change, also by another program.

    Raises:
        DataError: the folder is not there, or open in another studio; the journal is damaged.
        OutputError: nothing can be written into the folder.
    """

    def __init__(self, root: Path, on_change: Callable[[Change], None] = lambda _: None) -> None:
        if not root.is_dir():
            raise DataError(f"{root} is not a folder.", hint="Give the folder of your videos.")
        self.root, self.home = root.resolve(), root.resolve() / HOME
        self.table = self.root / TABLE
        self.problem = ""  # why labels.csv is not written at the moment
        self.predicted: Callable[[str], tuple[Piece, ...]] = lambda _: ()
        self.above: Callable[[float, str | None], Sequence[str]] = lambda *_: ()
        self._on_change = on_change
        self._lock = threading.RLock()  # guards all below
        self._claim()
        self._journal = Journal(self.home / "journal.jsonl")
        self.files: dict[str, FileState] = {}
        self._outside: set[str] = set()  # links that leave the folder
        self._names: dict[str, str] = {}  # by id
        self.clips: dict[str, ClipState] = {}
        self.shared = Shared()
        self._seen: FileState | None = None  # of labels.csv
        self._last_edit = 0.0
        self._take(self._journal.state)
        self.rescan()
        self._stop = threading.Event()
        self._is_dirty = threading.Event()
        self.sync()
        if not self.problem:
            self._journal.shorten()
        self._writer = threading.Thread(target=self._keep_writing, daemon=True)
        self._writer.start()

    def _claim(self) -> None:
        try:
            self.home.mkdir(exist_ok=True)
            self._claimed = (self.home / "lock").open("a")
        except OSError as error:
            raise DataError(
                f"The studio cannot write into {self.root}: {error.strerror or error}.",
                hint="Copy the videos to a folder of your own.",
            ) from error
        try:
            lock_file(self._claimed)
        except OSError as error:
            self._claimed.close()
            raise DataError(
                f"{self.root} is open in another studio already.",
                hint="Use that window, or end it with Ctrl-C first.",
            ) from error

    def close(self) -> None:
        """Write labels.csv and let go of the folder."""
        self._stop.set()
        self._is_dirty.set()
        self._writer.join()
        try:
            self.sync()
        finally:
            self._journal.close()
            self._claimed.close()

    @property
    def revision(self) -> int:
        """Number of changes so far."""
        return self._journal.revision

    @property
    def notes(self) -> list[Mapping[str, Any]]:
        """Trainings and other commands that were started here, oldest first."""
        return self._journal.notes

    @property
    def undo_text(self) -> str | None:
        """What an undo would take back."""
        return self._journal.done[-1].text if self._journal.done else None

    @property
    def redo_text(self) -> str | None:
        """What a redo would repeat."""
        return self._journal.undone[-1].text if self._journal.undone else None

    def changed_at(self, name: str) -> int:
        """Return the revision of the last change of a video."""
        return self._journal.changed_at.get(_CLIP + name, 0)

    def name_of(self, clip_id: str) -> str:
        """Return the name of the video with an id, or raise a RequestError."""
        if (name := self._names.get(clip_id)) is None:
            raise RequestError("There is no such video.", status=404)
        return name

    def path_of(self, clip_id: str) -> Path:
        """Return the file of a video, or raise a RequestError: no file outside of the folder."""
        name = self.name_of(clip_id)
        path = self.root / name
        if name not in self.files:
            raise RequestError(f"There is no file {name}.", status=404)
        if not inside(self.root, path):
            raise RequestError(f"{name} is a link that leaves the folder.", status=403)
        return path

    def is_outside(self, name: str) -> bool:
        """Return whether a video is a link that leaves the folder: it is not shown."""
        return name in self._outside

    def rescan(self) -> tuple[int, int]:
        """Look at the folder again; return how many videos are new and how many are gone."""
        found: dict[str, FileState] = {}
        outside = set()
        is_inside: dict[Path, bool] = {}  # of folders: to resolve each file would take seconds
        for path in walk_files(self.root):
            if not is_video(path) or (state := look_at(path)).num_bytes is None or path.is_dir():
                continue
            name, parent = path.relative_to(self.root).as_posix(), path.parent
            found[name] = state
            if parent not in is_inside:
                is_inside[parent] = inside(self.root, parent)
            if not is_inside[parent] or (path.is_symlink() and not inside(self.root, path)):
                outside.add(name)
        with self._lock:
            added, removed = found.keys() - self.files.keys(), self.files.keys() - found.keys()
            self.files, self._outside = found, outside
            self._identify()
        return len(added), len(removed)

    def _identify(self) -> None:
        names = dict.fromkeys([*self.files, *(n for n, c in self.clips.items() if c.pieces)])
        self._names = {id_of(name): name for name in names}

    def names(self) -> list[str]:
        """Return the names of all videos: of the folder and of labels.csv."""
        return list(self._names.values())

    def edit(self, edits: Sequence[Edit], text: str, *, join: bool = False) -> Change:
        """Apply edits as one step of undo; on disk when it returns.

        Raises:
            RequestError: an edit is not valid, or its video was changed meanwhile.
            OutputError: the disk is full; nothing is changed.
        """
        with self._lock:
            draft = Draft(
                state=self.clips,
                before=self.shared,
                name_of=self.name_of,
                predicted=self.predicted,
                above=self.above,
                revision_of=self.changed_at,
            )
            for one in edits:
                draft.apply(one)
            return self._commit(text, draft.clips, draft.shared, join=join)

    def _commit(
        self,
        text: str,
        clips: Mapping[str, ClipState],
        shared: Shared | None = None,
        *,
        join: bool = False,
        notice: str = "",
        is_step: bool = True,
    ) -> Change:
        shared = shared or self.shared
        new: dict[str, Any] = {
            _CLIP + name: clip.to_json() if clip != NOTHING else None
            for name, clip in clips.items()
            if clip != self.clips.get(name, NOTHING)
        }
        if shared != self.shared:
            new[_SHARED] = asdict(shared)
        if not new:
            return Change(revision=self.revision, names=())
        near = time.monotonic() - self._last_edit < _JOIN_SECONDS
        join = join and near and self.undo_text == text
        self._journal.change(text, new, join=join, is_step=is_step)
        self._last_edit = time.monotonic()
        return self._changed(tuple(new), notice)

    def _changed(self, keys: Sequence[str], notice: str = "") -> Change:
        self._take({key: self._journal.state.get(key) for key in keys})
        self._is_dirty.set()
        names = tuple(key.removeprefix(_CLIP) for key in keys if key != _SHARED)
        if any(id_of(name) not in self._names for name in names):
            self._identify()
        change = Change(revision=self.revision, names=names, notice=notice)
        self._on_change(change)
        return change

    def _take(self, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            if key == _SHARED:
                self.shared = _shared_from(value)
            elif value is None:
                self.clips.pop(key.removeprefix(_CLIP), None)
            else:
                self.clips[key.removeprefix(_CLIP)] = ClipState.from_json(value)

    def set_truth(self, truth: tuple[Stretch, ...], text: str) -> Change:
        """Set the stretches that are kept for measuring."""
        with self._lock:
            return self._commit(text, {}, replace(self.shared, truth=truth))

    def undo(self) -> Change:
        """Take the last step back, whichever window it came from."""
        with self._lock:
            if self.undo_text is None:
                raise RequestError("There is nothing to undo.", status=404)
            return self._changed(self._journal.undo())

    def redo(self) -> Change:
        """Repeat what was taken back last."""
        with self._lock:
            if self.redo_text is None:
                raise RequestError("There is nothing to redo.", status=404)
            return self._changed(self._journal.redo())

    def note(self, values: Mapping[str, Any]) -> None:
        """Add to the journal what is no change of labels."""
        with self._lock:
            self._journal.note({**values, "revision": self.revision})

    def corrections(self) -> int:
        """Return how many videos were changed since the last training began."""
        trained = [note["revision"] for note in self.notes if note.get("kind") == "train"]
        since = trained[-1] if trained else 0
        with self._lock:
            changed = self._journal.changed_at.items()
            return sum(key != _SHARED and at > since for key, at in changed)

    def sync(self) -> None:
        """Merge a labels.csv that somebody else changed, then write it if it is not what it says.

        Raises:
            OutputError: it cannot be written.
        """
        with self._lock:
            try:
                self._merge_table()
            except ActivityError as error:
                self.problem = error.message
                return
            self.problem = ""
            has_rows = any(clip.rows and not clip.flag for clip in self.clips.values())
            is_written = self._journal.state == self._journal.written_state
            if not is_written and (has_rows or self.table.exists()):
                text = labels_text(self.clips)
                self._journal.begin_writing(digest_of(text))
                write_text_atomically(self.table, text)
                self._journal.end_writing(digest_of(text))
                self._seen = look_at(self.table)

    def _merge_table(self) -> None:
        """Take over what another program wrote since labels.csv was read or written here."""
        if (state := look_at(self.table)) == self._seen:
            return
        self._merge_rows(state)
        self._seen = state  # not before: what cannot be read is tried again

    def _merge_rows(self, state: FileState) -> None:
        journal = self._journal
        if state.num_bytes is None:  # somebody deleted it: it is written again
            journal.written_state = {}
            return
        digest = digest_of(read_text(self.table, errors="surrogateescape"))
        if digest == journal.written:
            return
        if digest == journal.writing:  # a crash came before this was noted
            journal.end_writing(digest)
            return
        theirs = read_labels(self.table)
        changes, collided = merge(_clips_of(journal.written_state), self.clips, theirs)
        labels = {piece.label for clip in changes.values() for piece in clip.pieces}
        known = tuple(dict.fromkeys([*self.shared.labels, *sorted(labels)]))
        changes = {
            name: replace(clip, pieces=without(clip.pieces, self.shared.reserved(name)))
            for name, clip in changes.items()
        }
        is_first = not journal.written
        text = f"{TABLE} was changed: {count_of(len(changes), 'video')} taken over"
        if collided:
            text += f"; {count_of(len(collided), 'video')} had other labels here (undo restores)"
        notice = "" if is_first else f"{text}."
        shared = replace(self.shared, labels=known)
        self._commit(text, changes, shared, notice=notice, is_step=not is_first)
        if _shown(self.clips) == _shown(theirs):  # it stays as they wrote it
            journal.end_writing(digest)

    def _keep_writing(self) -> None:
        while not self._stop.is_set():
            was_set = self._is_dirty.wait(_SECONDS_BETWEEN_LOOKS)
            if was_set:
                self._stop.wait(_SECONDS_BEFORE_WRITING)
                self._is_dirty.clear()
            if not was_set and look_at(self.table) == self._seen:
                continue
            before = self.problem
            try:
                self.sync()
            except ActivityError as error:  # a full disk: the journal has it, and it is tried again
                self.problem = error.message
                self._stop.wait(_SECONDS_BETWEEN_LOOKS)
                self._is_dirty.set()
            if self.problem and self.problem != before:
                notice = f"{TABLE} is not written: {self.problem}"
                self._on_change(Change(revision=self.revision, names=(), notice=notice))


def id_of(name: str) -> str:
    """Return the id of a video: its place in the folder cannot be read from it."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _clips_of(state: Mapping[str, Any]) -> dict[str, ClipState]:
    """Return the videos that labels.csv has, from values of the journal."""
    values = {key.removeprefix(_CLIP): value for key, value in state.items() if key != _SHARED}
    return _shown({name: ClipState.from_json(value) for name, value in values.items()})


def _shown(clips: Mapping[str, ClipState]) -> dict[str, ClipState]:
    """Return what labels.csv tells about videos."""
    return {
        name: replace(clip, flag="") for name, clip in clips.items() if clip.rows and not clip.flag
    }


def _shared_from(values: Mapping[str, Any] | None) -> Shared:
    if values is None:
        return Shared()
    truth = tuple(Stretch(**one) for one in values["truth"])
    return Shared(labels=tuple(values["labels"]), background=values["background"], truth=truth)
