"""Compare runs: metrics, cost, settings that differ, and whether the difference is significant.

A run is the folder of a training, a cross-validation or an evaluation: metrics.json,
predictions.csv, and settings.toml where it was trained.
"""

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from activity_cli.common.settings_file import SETTINGS_FILE
from activity_cli.common.tables import read_table
from activity_cli.data.dataset import number_groups
from activity_cli.errors import DataError, SettingsError
from activity_cli.evaluation.intervals import Estimate, mean_with_interval, paired_p_value
from activity_cli.model.folder import MODEL_FILE, MODEL_SUBFOLDER, OOD_FILES

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.csv"
SPLIT_FILE = "split.csv"

Clip = tuple[str, str, str]
"""Path as in the data, start and end of the piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The prediction of a run for a held-out clip."""

    true_label: str
    is_correct: bool
    group: str  # as in the data; the path of the video for a clip without one
    fold: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was read from the folder of a run."""

    name: str  # the folder as the user typed it
    measured_on: str  # which clips were measured, such as `test clips` or `5 folds by groups`
    metrics: Mapping[str, Any]
    outcomes: Mapping[Clip, Outcome]
    settings: Mapping[str, Mapping[str, Any]]  # by table and key; empty where the folder has none
    created: datetime
    model: Path | None = None  # folder of the model, if the run has one
    num_parameters: int | None = None  # of what was trained; a frozen CNN does not count
    size_bytes: int | None = None  # of the model folder, without pictures and without a frozen CNN
    ms_per_clip: float | None = None

    @property
    def training_seconds(self) -> float | None:
        """Return the time for fitting, features not included."""
        seconds: float | None = self.metrics.get("seconds", {}).get("training")
        return seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedResult:
    """The paired comparison of two runs on the same clips."""

    only_first: int  # clips that only the first run predicts correctly
    only_second: int
    difference: Estimate
    """Accuracy of the second run minus that of the first, with its interval by group."""
    p_value: float  # of the exact paired test by group, see `paired_p_value`
    num_groups: int | None  # None where clips are independent


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two runs, compared where they measured the same clips."""

    first: Run
    second: Run
    num_shared: int  # clips that both have measured
    result: PairedResult | None  # None where the clips or their true labels differ
    same_labels: bool  # whether the shared clips have the same true labels in both
    same_folds: bool  # whether the two runs divided the clips into the same folds


def read_run(folder: Path) -> Run:
    """Read the folder of a run.

    Raises:
        SettingsError: it is not the folder of a run, or a file in it cannot be read.
    """
    path = folder / METRICS_FILE
    if not path.is_file():
        raise SettingsError(
            f"{folder} is not the folder of a run: it has no {METRICS_FILE}.",
            hint="Give folders of finished trainings, or of crossval or evaluate --output.",
        )
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        if metrics.get("task") == "describe":
            raise SettingsError(
                f"The model of {folder} writes sentences; compare takes runs with labels.",
                hint="metrics.json and report.html of each run have its metrics.",
            )
        run = Run(
            name=str(folder),
            measured_on=_measured_on(metrics),
            metrics=metrics,
            outcomes=_read_outcomes(folder),
            settings=_settings_of_any_version(folder / SETTINGS_FILE),
            created=datetime.fromtimestamp(path.stat().st_mtime, UTC),
        )
        return _with_model(run, folder / MODEL_SUBFOLDER)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, DataError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise SettingsError(
            f"{folder} cannot be read as a run: {reason.rstrip('.')}.",
            hint="Its files are damaged or of another version: train or measure again.",
        ) from error


def compare_pair(first: Run, second: Run) -> Pair:
    """Compare two runs clip by clip, if both measured exactly the same clips."""
    shared = [clip for clip in first.outcomes if clip in second.outcomes]
    pairs = [(first.outcomes[clip], second.outcomes[clip]) for clip in shared]
    same_labels = all(one.true_label == other.true_label for one, other in pairs)
    same_clips = len(shared) == len(first.outcomes) == len(second.outcomes) > 0
    folds = {(one.fold, other.fold) for one, other in pairs}
    return Pair(
        first=first,
        second=second,
        num_shared=len(shared),
        result=_compare_outcomes(pairs) if same_clips and same_labels else None,
        same_labels=same_labels,
        same_folds=len(folds) == len({a for a, _ in folds}) == len({b for _, b in folds}),
    )


def differing_settings(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Return settings that differ: values by "table.key", in the order of the runs.

    A table that a run does not have at all does not count: a training has no folds, and an older
    version may have had no such settings.
    """
    names = dict.fromkeys(
        (table, key) for run in runs for table, keys in run.settings.items() for key in keys
    )
    found = {}
    for table, key in names:
        values = [run.settings.get(table, {}).get(key) for run in runs]
        present = [v for v, run in zip(values, runs, strict=True) if table in run.settings]
        if any(value != present[0] for value in present):
            found[f"{table}.{key}"] = values
    return found


def _compare_outcomes(pairs: Sequence[tuple[Outcome, Outcome]]) -> PairedResult:
    correct = np.array([(one.is_correct, other.is_correct) for one, other in pairs])  # (N, 2)
    first, second = correct[:, 0], correct[:, 1]
    groups = number_groups([one.group for one, _ in pairs])
    return PairedResult(
        only_first=int((first & ~second).sum()),
        only_second=int((second & ~first).sum()),
        difference=mean_with_interval(second.astype(np.float64) - first, groups),
        p_value=paired_p_value(first, second, groups),
        num_groups=None if groups is None else int(groups.max()) + 1,
    )


def _measured_on(metrics: Mapping[str, Any]) -> str:
    if "folds" in metrics:
        return f"{len(metrics['folds'])} folds by {metrics['folds_by']}"
    if "measured_on" in metrics:
        return f"{metrics['measured_on']} clips"
    return f"clips for {metrics['model']}"


def _read_outcomes(folder: Path) -> dict[Clip, Outcome]:
    """Read the prediction of each clip; clips that could not be decoded have none."""
    rows = _read_rows(folder / PREDICTIONS_FILE, ("path", "true_label", "label"))
    groups: dict[Clip, str] = {}
    if "group" not in rows[0] and (folder / SPLIT_FILE).is_file():  # of an earlier version
        groups = {_clip(r): r["group"] for r in _read_rows(folder / SPLIT_FILE, ("path", "group"))}
    return {
        _clip(row): Outcome(
            true_label=row["true_label"],
            is_correct=row["label"] == row["true_label"],
            group=row.get("group") or groups.get(_clip(row)) or row["path"],
            fold=row.get("fold", ""),
        )
        for row in rows
        if row["score"]
    }


def _read_rows(path: Path, required: Sequence[str]) -> list[Mapping[str, str]]:
    # File names need not be valid text, and these files keep them as they are.
    table = read_table(path, required=required, errors="surrogateescape")
    if table.bad_rows:
        raise table.bad_rows[0]
    return [row.values for row in table.rows]


def _clip(row: Mapping[str, str]) -> Clip:
    return row["path"], row["start"], row["end"]


def _settings_of_any_version(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        return {}
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return {table: values for table, values in content.items() if isinstance(values, dict)}


def _with_model(run: Run, folder: Path) -> Run:
    """Add the date and size of the model folder, if there is one."""
    if not (folder / MODEL_FILE).is_file():
        return run
    values = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
    tensors = sorted(folder.glob("*.safetensors"))
    return replace(
        run,
        model=folder,
        created=datetime.fromisoformat(values["created"]),
        num_parameters=sum(_num_parameters(t) for t in tensors if t.name not in OOD_FILES),
        size_bytes=sum(file.stat().st_size for file in [folder / MODEL_FILE, *tensors]),
    )


def _num_parameters(path: Path) -> int:
    with safe_open(path, framework="numpy") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
