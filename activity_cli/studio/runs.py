"""The trained models of a project, and their results as the page shows them."""

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from activity_cli.common.files import numbered_endings
from activity_cli.evaluation.comparison import METRICS_FILE, PREDICTIONS_FILE, SPLIT_FILE
from activity_cli.model.folder import MODEL_SUBFOLDER
from activity_cli.studio.jobs import read_history
from activity_cli.studio.security import RequestError, inside

RUNS, EXPORTS = "runs", "exports"
_MOST_PER_CELL = 200


class Runs:
    """The run folders of a project. `id_of` gives the id of a video by its name, or None."""

    def __init__(self, root: Path, id_of: Callable[[str], str | None]) -> None:
        self._root, self._id_of = root, id_of
        self._metrics: dict[Path, tuple[int, Mapping[str, Any]]] = {}

    def all(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the names of all trained models with their metrics, oldest first."""
        found = []
        for file in (self._root / RUNS).glob(f"*/{METRICS_FILE}"):
            with suppress(OSError, ValueError):
                changed = file.stat().st_mtime_ns
                if (file.parent / MODEL_SUBFOLDER).is_dir():
                    found.append((changed, file.parent.name, self._read(file, changed)))
        return [(name, metrics) for _, name, metrics in sorted(found, key=lambda run: run[:2])]

    def _read(self, file: Path, changed: int) -> Mapping[str, Any]:
        known = self._metrics.get(file)
        if known is None or known[0] != changed:
            known = self._metrics[file] = (changed, json.loads(file.read_text(encoding="utf-8")))
        return known[1]

    @property
    def newest(self) -> str | None:
        """The name of the model that was trained last."""
        runs = self.all()
        return runs[-1][0] if runs else None

    def folder(self, name: str) -> Path:
        """Return the folder of a run, or raise a RequestError."""
        if name not in [run for run, _ in self.all()]:
            raise RequestError(f"There is no model {name}.", status=404)
        return self._root / RUNS / name

    def free_name(self, name: str) -> str:
        """Return a name that no run has: gym, gym-2, ..."""
        names = (f"{name}{ending}" for ending in numbered_endings())
        return next(one for one in names if not (self._root / RUNS / one).exists())

    def summaries(self) -> list[dict[str, Any]]:
        """Return the figures of all runs, oldest first."""
        return [self.summary(name, metrics) for name, metrics in self.all()]

    def summary(self, name: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Return the figures of a run in a list of runs."""
        accuracy, low, high = metrics["intervals"]["accuracy"]
        return {
            "run": name,
            "created": (self._root / RUNS / name / METRICS_FILE).stat().st_mtime,
            "accuracy": accuracy,
            "low": low,
            "high": high,
            "clips": metrics["num_clips"],
            "measured_on": metrics["measured_on"],
            "labels": metrics["labels"],
        }

    def result(self, name: str) -> dict[str, Any]:
        """Return the results of a run; its confusion matrix names the clips of each cell."""
        folder = self.folder(name)
        metrics = dict(self.all())[name]
        labels, matrix = metrics["labels"], metrics["confusion"]
        missed = [sum(row) - row[index] for index, row in enumerate(matrix)]
        worst = max(
            range(len(labels)), key=lambda i: missed[i] / sum(matrix[i]) if sum(matrix[i]) else 0.0
        )
        return {
            **self.summary(name, metrics),
            "sentence": metrics["conclusion"]["sentence"],
            "problem": metrics["conclusion"]["problem"] or "",
            "next": metrics["conclusion"]["next_command"],
            "by": "group" if metrics["intervals"]["by_group"] else "clip",
            "matrix": matrix,
            "cells": self._cells(folder, labels),
            "per_label": [
                {**one, "clips": one["num_clips"]} for one in metrics.get("per_label", ())
            ],
            "weakest": {"label": labels[worst], "missed": missed[worst], "of": sum(matrix[worst])},
            "checks": metrics["checks"],
            "lstm": metrics["does_the_lstm_help"]["answer"],
            "history": read_history(folder / "history.csv"),
            "best_epoch": metrics["best_epoch"],
            "ended_by": metrics["ended_by"],
            "files": self._files(folder),
        }

    def _cells(self, folder: Path, labels: list[str]) -> dict[str, list[dict[str, Any]]]:
        cells: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in _rows(folder / PREDICTIONS_FILE):
            if row["label"] not in labels or row["true_label"] not in labels:
                continue
            key = f"{labels.index(row['true_label'])},{labels.index(row['label'])}"
            if len(cells[key]) < _MOST_PER_CELL:
                start, end = (float(v) if v else None for v in (row["start"], row["end"]))
                clip = {"clip": self._id_of(row["path"]), "name": row["path"]}
                cells[key].append(
                    {**clip, "start": start, "end": end, "score": float(row["score"])}
                )
        return cells

    def trained_on(self) -> set[str]:
        """Return the names of all videos that any model was trained on."""
        parts = ("train", "val")
        return {
            row["path"]
            for name, _ in self.all()
            for row in _rows(self._root / RUNS / name / SPLIT_FILE)
            if row["split"] in parts
        }

    def _files(self, folder: Path) -> list[dict[str, Any]]:
        files = [path for path in sorted(folder.iterdir()) if path.is_file()]
        return [self.file_values(path) for path in files]

    def file_values(self, path: Path) -> dict[str, Any]:
        """Return a result file as the page lists it."""
        name = path.relative_to(self._root).as_posix()
        return {"path": name, "bytes": path.stat().st_size}

    def file(self, name: str) -> Path:
        """Return a result file for download; a RequestError for any other file."""
        path = self._root / name
        below = [folder for folder in (RUNS, EXPORTS) if inside(self._root / folder, path)]
        if not below or not path.is_file():
            raise RequestError("There is no such result file.", status=404)
        return path


def _rows(file: Path) -> Iterator[dict[str, str]]:
    with suppress(OSError), file.open(newline="", encoding="utf-8") as opened:
        yield from csv.DictReader(opened)
