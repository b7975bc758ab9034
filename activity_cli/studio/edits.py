"""The edits that the page sends -> the new state of what they change."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from activity_cli.settings import MOST_LABEL_CHARACTERS
from activity_cli.studio.labels import NOTHING, ClipState, Piece, paint, without
from activity_cli.studio.security import RequestError

Edit = Mapping[str, Any]
FLAGS = ("", "excluded", "unsure")
DEFAULT_BACKGROUND = "background"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A stretch of a video that is kept for measuring only."""

    id: str
    name: str  # of the video
    start: float
    end: float
    label: str | None = None
    is_answered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What is stated about the project as a whole."""

    labels: tuple[str, ...] = ()  # of the palette, in its order
    background: str = DEFAULT_BACKGROUND  # the label of stretches in which nothing happens
    truth: tuple[Stretch, ...] = ()

    def reserved(self, name: str) -> list[tuple[float, float]]:
        """Return the stretches of a video that are kept for measuring."""
        return [(one.start, one.end) for one in self.truth if one.name == name]


@dataclass(slots=True, kw_only=True)
class Draft:
    """The state with some edits applied: `clips` and `shared` are what they changed."""

    state: Mapping[str, ClipState]
    before: Shared
    name_of: Callable[[str], str]
    """From the id of a video to its name; a RequestError if there is none."""
    predicted: Callable[[str], tuple[Piece, ...]]
    """Pieces that the model found in a video; empty without a prediction."""
    above: Callable[[float, str | None], Sequence[str]]
    """Videos without labels whose prediction has at least this score, and this label."""
    revision_of: Callable[[str], int]
    clips: dict[str, ClipState] = field(default_factory=dict)
    shared: Shared = field(default_factory=Shared)

    def __post_init__(self) -> None:
        self.shared = self.before

    def clip(self, name: str) -> ClipState:
        """Return the state of a video after the edits so far."""
        return self.clips.get(name) or self.state.get(name, NOTHING)

    def apply(self, edit: Edit) -> None:
        """Apply an edit, or raise a RequestError."""
        operation = _OPERATIONS.get(str(edit.get("op")))
        if operation is None:
            raise RequestError(f"There is no edit {edit.get('op')!r}.")
        operation(self, edit)

    def name(self, edit: Edit) -> str:
        """Return the name of the edit's video."""
        return self.name_of(_text(edit, "clip"))

    def put(self, name: str, pieces: Sequence[Piece]) -> None:
        """Set the pieces of a video, without the stretches that are kept for measuring."""
        kept = without(pieces, self.shared.reserved(name))
        if pieces and not kept:
            hint = "Stretches that measure the model must not train it."
            raise RequestError("This stretch is ground truth.", status=409, hint=hint)
        clip = self.clip(name)
        flag = "" if kept else clip.flag  # a label is an answer
        self.clips[name] = replace(clip, pieces=kept, flag=flag)
        self.add_labels(piece.label for piece in kept)

    def add_labels(self, labels: Any) -> None:
        """Add labels to the palette."""
        known = tuple(dict.fromkeys([*self.shared.labels, *labels]))
        self.shared = replace(self.shared, labels=known)

    def every_clip(self) -> list[str]:
        """Return the names of all videos with a state."""
        return list({**self.state, **self.clips})


def _label(draft: Draft, edit: Edit) -> None:
    label, name = _label_or_none(edit), draft.name(edit)
    draft.put(name, paint((), None, None, label))


def _paint(draft: Draft, edit: Edit) -> None:
    name, label = draft.name(edit), _label_or_none(edit)
    start, end = _seconds(edit.get("start")), _seconds(edit.get("end"))
    draft.put(name, paint(draft.clip(name).pieces, start, end, label))


def _segments(draft: Draft, edit: Edit) -> None:
    name = draft.name(edit)
    if edit.get("revision") != draft.revision_of(name):
        raise RequestError("This video was changed in another window.", status=409)
    given = edit.get("segments")
    if not isinstance(given, list):
        raise RequestError("segments must be a list.")
    extra = {(p.start, p.end): p.extra for p in draft.clip(name).pieces}
    found: tuple[Piece, ...] = ()
    for one in given:
        start, end = _seconds(one.get("start")), _seconds(one.get("end"))
        label = _label_or_none(one)
        if label is None:
            raise RequestError("A segment needs a label.")
        if end is not None and end <= (start or 0.0):
            raise RequestError(f"A segment cannot end at {end:g} s and start at {start or 0:g} s.")
        found = paint(found, start, end, label)
    draft.put(name, [piece._replace(extra=extra.get(piece[:2], ())) for piece in found])


def _flag(draft: Draft, edit: Edit) -> None:
    if (flag := edit.get("flag")) not in FLAGS:
        raise RequestError(f"There is no flag {flag!r}.")
    name = draft.name(edit)
    draft.clips[name] = replace(draft.clip(name), flag=flag)


def _group(draft: Draft, edit: Edit) -> None:
    name, group = draft.name(edit), _plain(_text(edit, "group"))
    clip = draft.clip(name)
    pieces = tuple(
        piece._replace(extra=tuple(one for one in piece.extra if one[0] != "group"))
        for piece in clip.pieces
    )
    draft.clips[name] = replace(clip, group=group, pieces=pieces)


def _add_label(draft: Draft, edit: Edit) -> None:
    draft.add_labels([_label_of(edit, "label")])


def _rename_label(draft: Draft, edit: Edit) -> None:
    old, new = _label_of(edit, "label"), _label_of(edit, "to")
    _replace_label(draft, old, new)
    shared = draft.shared
    labels = tuple(dict.fromkeys(new if label == old else label for label in shared.labels))
    background = new if shared.background == old else shared.background
    truth = tuple(replace(s, label=new) if s.label == old else s for s in shared.truth)
    draft.shared = replace(shared, labels=labels, background=background, truth=truth)


def _remove_label(draft: Draft, edit: Edit) -> None:
    old = _label_of(edit, "label")
    _replace_label(draft, old, None)
    labels = tuple(label for label in draft.shared.labels if label != old)
    draft.shared = replace(draft.shared, labels=labels)


def _replace_label(draft: Draft, old: str, new: str | None) -> None:
    for name in draft.every_clip():
        clip = draft.clip(name)
        if any(piece.label == old for piece in clip.pieces):
            pieces = [p._replace(label=new or "") if p.label == old else p for p in clip.pieces]
            kept = tuple(piece for piece in pieces if piece.label)
            draft.clips[name] = replace(clip, pieces=kept)


def _background(draft: Draft, edit: Edit) -> None:
    draft.shared = replace(draft.shared, background=_label_of(edit, "label"))


def _accept(draft: Draft, edit: Edit) -> None:
    name = draft.name(edit)
    if not (pieces := draft.predicted(name)):
        raise RequestError("There is no prediction to accept.", status=404)
    draft.put(name, pieces)


def _accept_above(draft: Draft, edit: Edit) -> None:
    score = _seconds(edit.get("score"))
    label = _label_or_none(edit) if "label" in edit else None
    for name in draft.above(1.0 if score is None else score, label):
        if without(draft.predicted(name), draft.shared.reserved(name)):
            draft.put(name, draft.predicted(name))


def _truth(draft: Draft, edit: Edit) -> None:
    wanted, label = edit.get("stretch"), _label_or_none(edit)
    if not any(one.id == wanted for one in draft.shared.truth):
        raise RequestError("There is no such stretch.", status=404)
    truth = tuple(
        replace(one, label=label, is_answered=True) if one.id == wanted else one
        for one in draft.shared.truth
    )
    draft.shared = replace(draft.shared, truth=truth)
    draft.add_labels([label] if label else [])


_OPERATIONS: Mapping[str, Callable[[Draft, Edit], None]] = {
    "label": _label,
    "paint": _paint,
    "segments": _segments,
    "flag": _flag,
    "group": _group,
    "add_label": _add_label,
    "rename_label": _rename_label,
    "remove_label": _remove_label,
    "background": _background,
    "accept": _accept,
    "accept_above": _accept_above,
    "truth": _truth,
}


def _text(edit: Edit, key: str) -> str:
    if not isinstance(value := edit.get(key), str):
        raise RequestError(f"The edit {edit.get('op')} needs {key}, a text.")
    return value


def _plain(text: str) -> str:
    """Return a text as a field of labels.csv keeps it: on one line, without spaces around it."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _label_of(edit: Edit, key: str) -> str:
    label = _plain(_text(edit, key))
    if not 0 < len(label) <= MOST_LABEL_CHARACTERS:
        raise RequestError(f"A label has 1 to {MOST_LABEL_CHARACTERS} characters.")
    return label


def _label_or_none(edit: Edit) -> str | None:
    return None if edit.get("label") is None else _label_of(edit, "label")


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0:
        raise RequestError(f"{value!r} is not a time in seconds.")
    return float(value)
