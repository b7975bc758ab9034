"""Runs side by side: what they reached, what they cost, what differs, and whether it means much.

A run is the folder of a training, a cross-validation or an evaluation: metrics.json,
predictions.csv, and settings.toml where it was trained.
"""

import json
import struct
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from activity_cli.common.settings_file import SETTINGS_FILE
from activity_cli.common.tables import read_table
from activity_cli.errors import DataError, SettingsError
from activity_cli.evaluation.significance import PairedResult, compare_paired
from activity_cli.model.folder import FAMILIAR_FILE, MODEL_FILE, MODEL_SUBFOLDER

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.csv"

Clip = tuple[str, str, str]
"""Path as in the data, start and end of the piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run made of a clip that it did not learn from."""

    true_label: str
    label: str
    fold: str

    @property
    def is_right(self) -> bool:
        """Whether the clip was named as it is labelled."""
        return self.label == self.true_label


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run's folder says."""

    name: str
    """The folder as it was asked for."""
    measured_on: str
    """Which clips the figures are of, such as `test clips` or `5 folds by groups`."""
    metrics: Mapping[str, Any]
    outcomes: Mapping[Clip, Outcome]
    settings: Mapping[str, Mapping[str, Any]]
    """By table and key; empty where the folder has none."""
    created: datetime
    model: Path | None = None
    """Folder of the model; None for what has none of its own."""
    num_parameters: int | None = None
    """Of what was trained: a CNN that was left as it is does not count."""
    size_bytes: int | None = None
    """Of the model folder, without pictures; a CNN that was left as it is lies elsewhere."""
    ms_per_clip: float | None = None

    @property
    def training_seconds(self) -> float | None:
        """Time for the fitting, features not included."""
        seconds: float | None = self.metrics.get("seconds", {}).get("training")
        return seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two runs, compared where that can be done."""

    first: Run
    second: Run
    num_shared: int
    """Clips that both have measured."""
    result: PairedResult | None
    """None where the two were measured on different clips, or these have other labels."""
    same_labels: bool
    """Whether the shared clips have the same true labels in both."""
    same_folds: bool
    """Whether each clip was held out together with the same others."""


def read_run(folder: Path) -> Run:
    """Read what a run left in its folder.

    Raises:
        SettingsError: the folder is not one of a run, or something in it cannot be read.
    """
    path = folder / METRICS_FILE
    if not path.is_file():
        raise SettingsError(
            f"{folder} is not the folder of a run: it has no {METRICS_FILE}.",
            hint="Give folders of finished trainings, or of crossval or evaluate --output.",
        )
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        run = Run(
            name=str(folder),
            measured_on=_measured_on(metrics),
            metrics=metrics,
            outcomes=_read_outcomes(folder / PREDICTIONS_FILE),
            settings=_read_settings(folder / SETTINGS_FILE),
            created=datetime.fromtimestamp(path.stat().st_mtime, UTC),
        )
        return _with_model(run, folder / MODEL_SUBFOLDER)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, DataError) as error:
        raise SettingsError(
            f"{folder} cannot be read as a run: {_describe(error)}.",
            hint="Its files are damaged or of another version: train or measure again.",
        ) from error


def compare_with_first(runs: Sequence[Run]) -> list[Pair]:
    """The first run and each of the others, clip by clip."""
    return [compare_pair(runs[0], other) for other in runs[1:]]


def compare_pair(first: Run, second: Run) -> Pair:
    """Two runs by the clips that both have measured.

    There is a result only where these are all clips of both: figures of other clips would stand
    beside a p-value that is not about them.
    """
    shared = [clip for clip in first.outcomes if clip in second.outcomes]
    pairs = [(first.outcomes[clip], second.outcomes[clip]) for clip in shared]
    same_labels = all(one.true_label == other.true_label for one, other in pairs)
    same_clips = len(shared) == len(first.outcomes) == len(second.outcomes) > 0
    result = None
    if same_clips and same_labels:
        right = np.array([(one.is_right, other.is_right) for one, other in pairs])  # (N, 2)
        result = compare_paired(right[:, 0], right[:, 1])
    folds = {(one.fold, other.fold) for one, other in pairs}
    return Pair(
        first=first,
        second=second,
        num_shared=len(shared),
        result=result,
        same_labels=same_labels,
        same_folds=len(folds) == len({a for a, _ in folds}) == len({b for _, b in folds}),
    )


def differing_settings(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Settings that are not the same in all runs: values by "table.key", in the order of the runs.

    A table that a run does not have at all is none of its kind (folds are none of a training) or
    of its version; that is no difference.
    """
    names = dict.fromkeys(
        (table, key) for run in runs for table, keys in run.settings.items() for key in keys
    )
    found = {}
    for table, key in names:
        values = [run.settings.get(table, {}).get(key) for run in runs]
        told = [v for v, run in zip(values, runs, strict=True) if table in run.settings]
        if any(value != told[0] for value in told):
            found[f"{table}.{key}"] = values
    return found


def _measured_on(metrics: Mapping[str, Any]) -> str:
    if "folds" in metrics:
        return f"{len(metrics['folds'])} folds by {metrics['folds_by']}"
    if "measured_on" in metrics:
        return f"{metrics['measured_on']} clips"
    return f"clips for {metrics['model']}"


def _read_outcomes(path: Path) -> dict[Clip, Outcome]:
    """By clip; those that could not be decoded have no outcome."""
    # Names of files need not be text, and predictions keep them as they are.
    required = ("path", "true_label", "label")
    table = read_table(path, required=required, errors="surrogateescape")
    if table.bad_rows:
        raise table.bad_rows[0]
    found = {}
    for row in table.rows:
        values = row.values
        if values["score"]:
            clip = (values["path"], values["start"], values["end"])
            found[clip] = Outcome(
                true_label=values["true_label"],
                label=values["label"],
                fold=values.get("fold", ""),
            )
    return found


def _read_settings(path: Path) -> dict[str, dict[str, Any]]:
    """All tables of a settings file, whatever version wrote it."""
    if not path.is_file():
        return {}
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return {table: values for table, values in content.items() if isinstance(values, dict)}


def _with_model(run: Run, folder: Path) -> Run:
    """The run with what its model folder says."""
    if not (folder / MODEL_FILE).is_file():
        return run
    values = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
    tensors = sorted(folder.glob("*.safetensors"))
    return replace(
        run,
        model=folder,
        created=datetime.fromisoformat(values["created"]),
        num_parameters=sum(_num_parameters(t) for t in tensors if t.name != FAMILIAR_FILE),
        size_bytes=sum(file.stat().st_size for file in [folder / MODEL_FILE, *tensors]),
    )


def _num_parameters(path: Path) -> int:
    """Numbers in a safetensors file, by its header: a JSON text after its length in 8 bytes."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
    return sum(int(np.prod(shape)) for shape in shapes)


def _describe(error: Exception) -> str:
    text = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return text.rstrip(".")
