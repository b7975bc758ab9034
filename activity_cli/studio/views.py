"""What the page shows, as plain values: the project, its videos, each with all that is known."""

import csv
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from activity_cli.common.tables import unguarded
from activity_cli.data.dataset import FEW
from activity_cli.errors import ActivityError
from activity_cli.report.figures import label_colours
from activity_cli.studio.labels import NOTHING, ClipState, Piece
from activity_cli.studio.media import MediaStore
from activity_cli.studio.predictions import Predictions
from activity_cli.studio.project import Project, id_of
from activity_cli.studio.security import RequestError
from activity_cli.version import __version__

MOST_CLIPS = 500  # in one answer
_SOUND = ("ok", "short")  # statuses of `check`
_SORTS = ("name", "length", "worth", "state")
_STATES = ("new", "suggested", "labelled", "corrected", "unsure", "excluded", "damaged")


class Query(NamedTuple):
    """Which videos the page asks for."""

    state: str = ""
    label: str = ""
    group: str = ""
    text: str = ""
    sort: str = "name"
    offset: int = 0
    limit: int = 200

    @classmethod
    def parse(cls, values: Mapping[str, str]) -> "Query":
        """Read the parameters of an address, or raise a RequestError."""
        try:
            found = cls(
                state=values.get("state", ""),
                label=values.get("label", ""),
                group=values.get("group", ""),
                text=values.get("q", ""),
                sort=values.get("sort", "name"),
                offset=max(0, int(values.get("offset", 0))),
                limit=min(MOST_CLIPS, max(0, int(values.get("limit", 200)))),
            )
        except ValueError as error:
            raise RequestError("offset and limit must be whole numbers.") from error
        if found.sort not in _SORTS or found.state not in ("", "predicted", *_STATES):
            raise RequestError(f"There is no sort {found.sort!r} or no state {found.state!r}.")
        return found


class Views:
    """Builds the answers about a project and its videos."""

    def __init__(
        self, project: Project, media: MediaStore, predictions: Callable[[], Predictions]
    ) -> None:
        self._project, self._media, self._get_predictions = project, media, predictions
        self._damage: dict[str, str] = {}  # by `activity check`
        self.copies: list[str] = []
        """Videos that are copies of others with another label, group or split."""

    @property
    def _predictions(self) -> Predictions:
        return self._get_predictions()

    def read_checks(self, file: Path) -> None:
        """Take what `activity check` found, if it ran."""
        found, self.copies = {}, []
        with suppress(OSError, KeyError), file.open(newline="", encoding="utf-8") as opened:
            for row in csv.DictReader(opened):
                if row["status"] not in _SOUND:
                    found[unguarded(row["path"])] = row["reason"] or row["status"]
                if row["crosses"] and (row["duplicate_of"] or row["near_duplicate_of"]):
                    self.copies.append(unguarded(row["path"]))
        self._damage = found

    def clip(self, name: str) -> dict[str, Any]:
        """Return all that is known of a video."""
        project, info = self._project, self._media.get(name)
        clip, file = project.clips.get(name, NOTHING), project.files.get(name)
        prediction = self._predictions.get(name)
        return {
            "id": id_of(name),
            "name": name,
            "bytes": file.num_bytes if file else None,
            "state": self._state(name, clip),
            "flag": clip.flag,
            "group": clip.group,
            "segments": [piece_values(piece) for piece in clip.pieces],
            "revision": project.changed_at(name),
            **{key: getattr(info, key) for key in ("duration", "fps", "frames", "width", "height")},
            "damage": self.damage(name),
            "prediction": prediction and {"label": prediction.label, "score": prediction.score},
            "worth": prediction.worth if prediction else None,
            "reserved": project.shared.reserved(name),
        }

    def damage(self, name: str) -> str:
        """Return why a video cannot be used, in one line; empty if it can."""
        if name not in self._project.files:
            return "There is no file of this name any more."
        if self._project.is_outside(name):
            return "This is a link that leaves the folder."
        return self._media.get(name).damage or self._damage.get(name, "")

    def _state(self, name: str, clip: ClipState) -> str:
        if self.damage(name):
            return "damaged"
        if clip.flag:
            return clip.flag
        prediction = self._predictions.get(name)
        if clip.pieces:
            differs = prediction is not None and prediction.differs(clip.pieces)
            return "corrected" if differs else "labelled"
        return "suggested" if prediction else "new"

    def clips(self, query: Query) -> dict[str, Any]:
        """Return one page of the videos that match."""
        project = self._project
        nothing: ClipState = NOTHING
        found = []
        text = query.text.casefold()
        for name in project.names():
            clip = project.clips.get(name, nothing)
            if text and text not in name.casefold():
                continue
            if query.group and clip.group != query.group:
                continue
            if query.label and all(piece.label != query.label for piece in clip.pieces):
                continue
            if query.state == "predicted" and self._predictions.get(name) is None:
                continue
            if query.state not in ("", "predicted") and self._state(name, clip) != query.state:
                continue
            found.append(name)
        self._sort(found, query.sort)
        page = found[query.offset : query.offset + query.limit]
        self._media.hurry(page)
        return {
            "revision": project.revision,
            "total": len(found),
            "offset": query.offset,
            "clips": [self.clip(name) for name in page],
        }

    def _sort(self, names: list[str], sort: str) -> None:
        if sort == "length":
            names.sort(key=lambda name: -(self._media.get(name).duration or 0.0))
        elif sort == "worth":
            known = {name: self._predictions.get(name) for name in names}
            names.sort(key=lambda name: -(p.worth if (p := known[name]) else -1.0))
        elif sort == "state":
            clips = self._project.clips
            names.sort(key=lambda n: _STATES.index(self._state(n, clips.get(n, NOTHING))))

    def project(self) -> dict[str, Any]:
        """Return what the page shows of the project as a whole."""
        project = self._project
        clips = dict(project.clips)
        states = Counter(self._state(n, clips.get(n, NOTHING)) for n in project.names())
        counts = {state: states[state] for state in _STATES}
        counts["labelled"] += counts["corrected"]
        counts["predicted"] = sum(self._predictions.get(n) is not None for n in project.files)
        groups = Counter(clip.group for clip in clips.values() if clip.group)
        truth = project.shared.truth
        return {
            "name": project.root.name,
            "folder": str(project.root),
            "version": __version__,
            "revision": project.revision,
            "counts": {"clips": len(project.names()), **counts},
            "labels": self.labels(),
            "background": project.shared.background,
            "groups": [{"name": name, "clips": number} for name, number in sorted(groups.items())],
            "undo": project.undo_text,
            "redo": project.redo_text,
            "corrections": project.corrections(),
            "truth": {
                "stretches": len(truth),
                "answered": sum(one.is_answered for one in truth),
            },
            "problem": project.problem,
            "disk_free": shutil.disk_usage(project.root).free,
        }

    def labels(self) -> list[dict[str, Any]]:
        """Return the palette: every label with its colour, key and what it has so far."""
        project = self._project
        used: dict[str, list[Piece]] = {label: [] for label in project.shared.labels}
        clips_of: Counter[str] = Counter()
        seconds: defaultdict[str, float] = defaultdict(float)
        for name, clip in list(project.clips.items()):
            if clip.flag:
                continue
            clips_of.update({piece.label for piece in clip.pieces})
            duration = self._media.get(name).duration or 0.0
            for piece in clip.pieces:
                used.setdefault(piece.label, []).append(piece)
                start, end = piece.span
                seconds[piece.label] += max(0.0, min(end, duration or end) - start)
        background = project.shared.background
        others = [label for label in used if label != background]
        keys = {label: str(number) for number, label in enumerate(others[:9], start=1)}
        colours = label_colours(used)
        return [
            {
                "name": label,
                "colour": colours[label],
                "key": "0" if label == background else keys.get(label, ""),
                "clips": clips_of[label],
                "segments": sum(piece[:2] != (None, None) for piece in pieces),
                "seconds": round(seconds[label], 1) if seconds[label] < float("inf") else None,
                "needs": max(0, FEW - len(pieces)),
                "background": label == background,
            }
            for label, pieces in used.items()
        ]


def piece_values(piece: Piece) -> dict[str, Any]:
    """Return a labelled piece as the page has it."""
    return {"start": piece.start, "end": piece.end, "label": piece.label}


def error_values(error: ActivityError) -> dict[str, str]:
    """Return an error as the page shows it."""
    return {"error": error.message, "hint": error.hint or ""}
