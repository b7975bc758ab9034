"""What the project could do next: labels from folders, groups from names, what a training lacks."""

from collections.abc import Sequence
from typing import Any

from activity_cli.common import count_of
from activity_cli.data.dataset import FEW, Dataset, balance_warnings, sample_groups
from activity_cli.data.loading import load_dataset
from activity_cli.data.name_groups import find_groups, guess_groups
from activity_cli.errors import ActivityError
from activity_cli.settings import TrainSettings
from activity_cli.studio.edits import Edit
from activity_cli.studio.project import Project, id_of
from activity_cli.studio.runs import Runs
from activity_cli.studio.security import RequestError

_START_SECONDS = 4.0  # of a process that trains: imports and the CNN
_MOST_SHOWN = 5


def suggestions(project: Project) -> list[dict[str, Any]]:
    """Return what could be taken over, as the page offers it."""
    found: list[dict[str, Any]] = []
    if (folders := _folders(project)) is not None:
        names = ", ".join(folders.labels[:_MOST_SHOWN])
        text = f"{count_of(len(folders.labels), 'folder')} look like labels: {names}"
        values = {"labels": list(folders.labels), "clips": len(folders.samples)}
        found.append({"kind": "folders", "text": text, **values})
    labelled = _labelled(project)
    if labelled is not None and (guess := guess_groups(labelled)):
        values = {"groups": len(guess.names)}
        found.append({"kind": "groups", "text": f"{guess.describe()} in the names", **values})
    return found


def expand(project: Project, edit: Edit) -> Sequence[Edit]:
    """Return the edits that a suggestion stands for; any other edit itself."""
    if edit.get("op") == "suggested_labels":
        if (folders := _folders(project)) is None:
            raise RequestError("No folders look like labels.", status=404)
        return [
            {"op": "label", "clip": id_of(sample.name), "label": sample.label}
            for sample in folders.samples
        ]
    if edit.get("op") == "suggested_groups":
        labelled = _labelled(project)
        guess = guess_groups(labelled) if labelled else None
        if labelled is None or guess is None:
            raise RequestError("The names suggest no groups.", status=404)
        groups = find_groups(labelled, guess.pattern)
        return [
            {"op": "group", "clip": id_of(sample.name), "group": group}
            for sample, group in zip(labelled.samples, groups, strict=True)
            if group
        ]
    return [edit]


def _folders(project: Project) -> Dataset | None:
    """Return the folder as labelled data, one folder per label; None if it has labels already."""
    if project.table.exists() or any(clip.pieces for clip in project.clips.values()):
        return None
    try:
        return load_dataset(project.root)
    except ActivityError:
        return None


def _labelled(project: Project) -> Dataset | None:
    try:
        project.sync()
        return load_dataset(project.table, min_labels=1, allow_missing=True)
    except ActivityError:
        return None


def readiness(project: Project, runs: Runs, copies: Sequence[str] = ()) -> dict[str, Any]:
    """Return what a training would lack: `stop` prevents it, the rest are remarks."""
    project.sync()
    try:
        if project.problem or not project.table.exists():
            reason = project.problem or "No video has a label yet."
            return _not_ready(reason)
        dataset = load_dataset(project.table)
    except ActivityError as error:
        return _not_ready(f"{error.message} {error.hint or ''}".strip())
    counts = dataset.counts()
    items = [
        {
            "level": "warning" if count < FEW else "fine",
            "text": f"{label} has {count_of(count, 'clip')}"
            + (f": add {FEW - count}." if count < FEW else "."),
            "label": label,
        }
        for label, count in counts.items()
    ]
    uneven = balance_warnings(dataset, TrainSettings())
    uneven = [line for line in uneven if line.startswith("Uneven")]  # the rest is said above
    items += [{"level": "warning", "text": line, "label": ""} for line in uneven]
    if copies:
        text = f"{count_of(len(copies), 'video')} are copies across labels or groups: {copies[0]}."
        items.append({"level": "warning", "text": text, "label": ""})
    groups = sample_groups(dataset.samples)
    if groups is None:
        text = "No groups: clips of one person or camera may be both trained and tested on."
        items.append({"level": "note", "text": text, "label": ""})
    else:
        text = f"{count_of(int(groups.max()) + 1, 'group')} keep alike clips together."
        items.append({"level": "fine", "text": text, "label": ""})
    return {"ready": True, "seconds": _estimate(runs), "items": items}


def _not_ready(text: str) -> dict[str, Any]:
    items = [{"level": "stop", "text": text, "label": ""}]
    return {"ready": False, "seconds": None, "items": items}


def _estimate(runs: Runs) -> float | None:
    """Return about how long a training takes, from the last one; None without one."""
    if not (done := runs.all()):
        return None
    metrics = done[-1][1]
    trained: float = sum(metrics["seconds"].get(stage, 0.0) for stage in ("training", "measuring"))
    return round(_START_SECONDS + trained, 1)
