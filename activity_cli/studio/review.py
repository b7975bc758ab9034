"""Which moments to look at next, and the stretches that measure the model honestly."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from activity_cli.studio.edits import Stretch
from activity_cli.studio.labels import NOTHING
from activity_cli.studio.media import MediaStore
from activity_cli.studio.predictions import Moment, Predictions
from activity_cli.studio.project import Project
from activity_cli.studio.security import RequestError

SORTS = ("worth", "uncertain", "disagrees", "unlike")
_MOST_STRETCHES = 1000
_SHORTEST = 0.5  # seconds of a stretch


class Item(NamedTuple):
    """A moment in the queue."""

    name: str
    moment: Moment
    why: str


def queue(project: Project, predictions: Predictions, sort: str, label: str) -> list[Item]:
    """Return the moments most worth labelling, best first; of each video at most one.

    `uncertain` and `unlike` are of videos without labels, `disagrees` of those with labels, `worth`
    of all.
    """
    items: list[Item] = []
    for name in project.names():
        clip, found = project.clips.get(name, NOTHING), predictions.get(name)
        if found is None or clip.flag == "excluded" or project.shared.reserved(name):
            continue
        item: Item | None = None
        if clip.pieces and sort in ("worth", "disagrees"):
            if (moment := predictions.disagreement(name, clip.pieces)) is not None:
                why = f"The label is not {moment.label}, {moment.score:.1%} by the model."
                item = Item(name, moment, why)
        elif not clip.pieces:
            item = _open_item(name, found, sort)
        if item is not None and label in ("", item.moment.label):
            items.append(item)
    return sorted(items, key=lambda item: -item.moment.value)


def _open_item(name: str, found: Any, sort: str) -> Item | None:
    """Return the moment of a video without labels."""
    uncertain: Moment | None = found.uncertain
    unlike: Moment | None = found.unlike
    if sort == "disagrees" or uncertain is None:
        return None
    is_unlike = unlike is not None and (
        sort == "unlike" or (sort == "worth" and found.worth > uncertain.value)
    )
    if unlike is not None and is_unlike:
        value = unlike.value if sort == "unlike" else found.worth
        why = f"Unlike the training clips (OOD score {unlike.value:.2f})."
        return Item(name, unlike._replace(value=value), why)
    if sort == "unlike":
        return None
    first = f"{uncertain.label} {uncertain.score:.1%}"
    second = f"{uncertain.second} {uncertain.second_score:.1%}"
    return Item(name, uncertain, f"{first}, {second}")


def draw_stretches(
    project: Project, media: MediaStore, trained: set[str], count: int, seconds: float
) -> tuple[Stretch, ...]:
    """Draw random stretches of what has no label, each moment as likely as any other.

    Videos that a model was trained on are left out, unless there are no others.

    Raises:
        RequestError: there is nothing without a label.
    """
    if not 1 <= count <= _MOST_STRETCHES or not _SHORTEST <= seconds <= 600:
        raise RequestError(f"1 to {_MOST_STRETCHES} stretches of {_SHORTEST} to 600 s.")
    names = [name for name in project.files if project.clips.get(name, NOTHING).flag != "excluded"]
    fresh = [name for name in names if name not in trained]
    known = project.shared.truth
    number = max((int(one.id[1:]) for one in known), default=0)
    rng, found = random.Random(), list(known)
    for pool in (fresh, names):
        while len(found) < len(known) + count:
            free = [
                (name, start, end)
                for name in pool
                for start, end in _free(project, media, found, name)
            ]
            if not free:
                break
            name, start, end = rng.choices(free, [end - start for _, start, end in free])[0]
            first = rng.uniform(start, max(start, end - seconds))
            number += 1
            stretch = Stretch(id=f"t{number}", name=name, start=round(first, 3), end=0.0)
            found.append(replace(stretch, end=round(min(end, first + seconds), 3)))
        if len(found) > len(known):
            break
    if len(found) == len(known):
        raise RequestError("Every video has labels already.", status=409, hint="Add videos.")
    return tuple(found)


def _free(
    project: Project, media: MediaStore, drawn: Sequence[Stretch], name: str
) -> list[tuple[float, float]]:
    """Return the parts of a video without labels and stretches."""
    info = media.get(name)
    if info.damage or not info.duration:
        return []
    taken = [piece.span for piece in project.clips.get(name, NOTHING).pieces]
    taken += [(one.start, one.end) for one in drawn if one.name == name]
    parts, position = [], 0.0
    for start, end in [*sorted(taken), (info.duration, info.duration)]:
        if start - position >= _SHORTEST:
            parts.append((position, min(start, info.duration)))
        position = max(position, end)
    return parts
