"""Which commands a job consists of: what the page asks for -> command lines."""

import json
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from activity_cli.common.tables import write_table
from activity_cli.predict.results.segment_files import ENDINGS, OF_ONE_VIDEO
from activity_cli.studio.jobs import Step
from activity_cli.studio.predictions import ROWS, WINDOWS
from activity_cli.studio.project import HOME, Project
from activity_cli.studio.runs import EXPORTS, RUNS, Runs
from activity_cli.studio.security import RequestError

SETTINGS, TRUTH = "activity.toml", "truth.csv"
CHECKED = f"{HOME}/check.csv"
FORMATS = ("onnx", "openvino", "torchscript", "torch-export")
_MOST_FILES = 100  # that are listed
Request = Mapping[str, Any]


class Commands:
    """Makes the steps of each kind of job."""

    def __init__(self, project: Project, runs: Runs) -> None:
        self._project, self._runs, self._root = project, runs, project.root

    def steps(self, request: Request) -> list[Step]:
        """Return the steps of a job, or raise a RequestError."""
        kinds: Mapping[str, Callable[[Request], list[Step]]] = {
            "train": self._train,
            "predict": self._predict,
            "check": self._check,
            "export": self._export,
            "segments": self._segments,
            "truth": self._truth,
        }
        make = kinds.get(str(request.get("kind")))
        if make is None:
            raise RequestError(f"There is no job {request.get('kind')!r}.")
        self._project.sync()
        if self._project.problem:
            raise RequestError(f"labels.csv cannot be used: {self._project.problem}", status=409)
        return make(request)

    def _train(self, request: Request) -> list[Step]:
        name = self._runs.free_name(_run_name(request.get("name") or self._root.name))
        words = ["train", ".", "--name", name, "--json"]
        if (self._root / SETTINGS).is_file():
            words += ["--settings", SETTINGS]
        background = self._project.shared.background
        if any(p.label == background for c in self._project.clips.values() for p in c.pieces):
            words += [f"--background-label={background}"]  # it may begin with a dash
        words += _option(request, "speed", "--speed", ("fast", "balanced", "best"))
        words += _option(request, "groups", "--groups", ("auto",))
        words += _number(request, "test_fraction", "--test-fraction", 0.0, 0.9)
        words += _number(request, "window", "--window", 0.1, 3600)
        words += _number(request, "epochs", "--epochs", 1, 10_000, whole=True)
        words += _number(request, "seed", "--seed", 0, 2**31, whole=True)
        train = Step(
            arguments=tuple(words),
            stop_signal=signal.SIGTERM,
            finish=lambda text: {"run": Path(json.loads(text)["run"]).name},
            history=self._root / RUNS / name / "history.csv",
        )
        return [train, self._score(name)] if request.get("predict", True) else [train]

    def _score(self, run: str, *more: str) -> Step:
        folder = f"{RUNS}/{run}"
        outputs = ("--output", f"{folder}/{ROWS}", "--window-scores", f"{folder}/{WINDOWS}")
        return Step(arguments=("predict", ".", "--model", folder, *outputs, *more))

    def _predict(self, request: Request) -> list[Step]:
        again = ("--overwrite",) if request.get("again") is True else ()
        return [self._score(self._run_of(request), *again)]

    def _check(self, _: Request) -> list[Step]:
        def count(text: str) -> dict[str, Any]:
            found = json.loads(text)
            return {
                "damaged": found["summary"]["num_unsound"],
                "duplicates": len(found["duplicates"]),
            }

        words = ("check", ".", "--output", CHECKED, "--overwrite", "--json")
        return [Step(arguments=words, finish=count)]

    def _export(self, request: Request) -> list[Step]:
        run = self._run_of(request)
        folder = f"{EXPORTS}/{run}"
        formats = request.get("formats") or []
        if not isinstance(formats, list) or not set(formats) <= set(FORMATS):
            raise RequestError(f"The formats are {', '.join(FORMATS)}.")
        chosen = [word for one in formats for word in ("--format", one)]
        words = ("export", f"{RUNS}/{run}", *chosen, "--output", folder, "--overwrite", "--json")

        def files(_: str) -> dict[str, Any]:
            found = [path for path in sorted((self._root / folder).rglob("*")) if path.is_file()]
            return {"folder": folder, "files": self._values(found)}

        return [Step(arguments=words, finish=files)]

    def _segments(self, request: Request) -> list[Step]:
        run, formats = self._run_of(request), request.get("formats") or [".csv"]
        if not isinstance(formats, list) or not set(formats) <= set(ENDINGS):
            raise RequestError(f"The formats are {', '.join(ENDINGS)}.")
        folder = f"{EXPORTS}/{run}-segments"
        names = [("{name}" if one in OF_ONE_VIDEO else "segments") + one for one in formats]
        words = [word for name in names for word in ("--segments", f"{folder}/{name}")]

        def files(_: str) -> dict[str, Any]:
            found = [p for p in (self._root / folder).iterdir() if p.name.endswith(tuple(formats))]
            return {"folder": folder, "files": self._values(sorted(found))}

        return [Step(arguments=self._score(run, *words).arguments, finish=files)]

    def _values(self, paths: Sequence[Path]) -> list[dict[str, Any]]:
        return [self._runs.file_values(path) for path in paths[:_MOST_FILES]]

    def _truth(self, request: Request) -> list[Step]:
        run = self._run_of(request)
        rows = [
            (one.name, one.label, one.start, one.end)
            for one in self._project.shared.truth
            if one.label is not None
        ]
        if not rows:
            raise RequestError("No stretch has an answer yet.", status=409)
        write_table(self._root / TRUTH, ("path", "label", "start", "end"), rows)

        def figure(text: str) -> dict[str, Any]:
            found = json.loads(text)
            accuracy, low, high = found["intervals"]["accuracy"]
            clips = found["num_clips"]
            return {"run": run, "accuracy": accuracy, "low": low, "high": high, "clips": clips}

        return [Step(arguments=("evaluate", f"{RUNS}/{run}", TRUTH, "--json"), finish=figure)]

    def _run_of(self, request: Request) -> str:
        run = request.get("run") or self._runs.newest
        if run is None:
            raise RequestError("There is no model yet.", status=409, hint="Train one first.")
        return self._runs.folder(str(run)).name


def _run_name(name: Any) -> str:
    """Return a name as a folder may have it."""
    return re.sub(r"[^\w.-]+", "-", str(name)).strip(".-")[:60] or "model"


def _option(request: Request, key: str, flag: str, values: tuple[str, ...]) -> list[str]:
    value = request.get(key)
    if value in (None, ""):
        return []
    if value not in values:
        raise RequestError(f"{key} is one of {', '.join(values)}.")
    return [flag, str(value)]


def _number(
    request: Request, key: str, flag: str, least: float, most: float, *, whole: bool = False
) -> list[str]:
    value = request.get(key)
    if value is None:
        return []
    is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not is_number or not least <= float(value) <= most:
        raise RequestError(f"{key} is a number from {least:g} to {most:g}.")
    return [flag, f"{value:g}" if isinstance(value, float) else str(value)]
