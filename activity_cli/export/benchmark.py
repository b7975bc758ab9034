"""Speed of a model on this machine, and how its engines and precisions differ in their scores.

Each setup runs in processes of its own (`benchmark_worker`), so that memory and start-up can be
measured: one that prepares and measures, then one that only scores a clip, for the cold start.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from activity_cli.errors import ActivityError, DataError
from activity_cli.export.benchmark_worker import Task
from activity_cli.export.exporting import ExportConfig, export_model
from activity_cli.features.engines.choice import Engine, find_gpu
from activity_cli.model.folder import load_model
from activity_cli.model.metrics import predicted_labels
from activity_cli.predict.exported import is_exported
from activity_cli.types import OnProgress, no_progress

_ON_CPU = (
    _REFERENCE := Engine(name="torch", device="cpu", precision="fp32"),
    Engine(name="torch", device="cpu", precision="bf16"),
    Engine(name="onnx", device="cpu", precision="fp32"),
    Engine(name="openvino", device="cpu", precision="fp32"),
    Engine(name="openvino", device="cpu", precision="fp16"),
    Engine(name="openvino", device="cpu", precision="bf16"),
    Engine(name="openvino", device="cpu", precision="int8"),
)
_INT8_VERIFY_CLIPS = 4
"""Clips that the parity gate compares; the benchmark compares all of them anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkRow:
    """Figures of one engine in one precision. Compare rows of one run only."""

    engine: str
    device: str
    precision: str
    failure: str = ""  # why it was not measured; the figures are None then
    frames_per_second: float | None = None  # speed of the CNN alone, on pictures in memory
    ms_per_clip: float | None = None
    """Time of the whole: decoding, CNN and classifier, overlapped as in `predict`."""
    cold_start_seconds: float | None = None
    """Time from the start of a new process to its first result, networks prepared."""
    size_mb: float | None = None  # size of the network's files in megabytes (10^6 bytes)
    peak_mib: float | None = None  # peak memory of the process
    max_difference: float | None = None  # largest difference of a score from torch in fp32
    label_agreement: float | None = None  # share of clips with the same label as torch in fp32

    @property
    def name(self) -> str:
        """Engine, device unless it is the CPU, and precision."""
        device = "" if self.device == "cpu" else f" {self.device}"
        return f"{self.engine}{device} {self.precision}"


def run_benchmark(
    model: str,
    clips: Sequence[Path],
    *,
    precisions: Sequence[str] = ("fp32", "fp16", "bf16", "int8"),
    on_progress: OnProgress = no_progress,
) -> list[BenchmarkRow]:
    """Measure a model with every engine and precision of this machine.

    A precision that the machine does not have, or only emulates, gives a row with a `failure`.

    The clips also calibrate an export in int8 where the CNN has no int8 of its own. torch in fp32,
    the reference, is measured in any case.

    Raises:
        ModelError: there is no such model.
        DataError: the model is an export, or none of the clips can be scored.
    """
    if is_exported(Path(model)):
        raise DataError(
            f"{model} is an export, which has one runtime only.",
            hint="Give the model that it was exported from.",
        )
    thresholds = load_model(model).description.thresholds
    setups = list(_ON_CPU)
    if (gpu := find_gpu()) is not None:
        setups.append(Engine(name="torch", device=gpu, precision="fp32"))
        setups.append(Engine(name="torch", device=gpu, precision="fp16"))
    setups = [one for one in setups if one is _REFERENCE or one.precision in precisions]
    rows = []
    reference = None
    on_progress("benchmark", 0, len(setups))
    with tempfile.TemporaryDirectory() as folder:
        for number, engine in enumerate(setups):
            try:
                # Floats of an engine share what was prepared; int8 is another network.
                kind = "int8" if engine.precision == "int8" else "floats"
                measured = _measure(model, engine, clips, Path(folder, engine.name, kind))
            except ActivityError as error:
                rows.append(_row(engine, failure=error.message))
            else:
                scores = np.array(measured.pop("scores"))
                reference = scores if reference is None else reference
                own, others = (predicted_labels(one, thresholds) for one in (scores, reference))
                same = (own == others).all(axis=1)
                difference = float(np.abs(scores - reference).max())
                agreement = float(same.mean())
                rows.append(
                    _row(engine, **measured, max_difference=difference, label_agreement=agreement)
                )
            on_progress("benchmark", number + 1, len(setups))
    if reference is None:
        raise DataError(f"Nothing could be measured: {rows[0].failure}")
    return rows


def _row(engine: Engine, **figures: Any) -> BenchmarkRow:
    return BenchmarkRow(
        engine=engine.name, device=engine.device, precision=engine.precision, **figures
    )


def _measure(model: str, engine: Engine, clips: Sequence[Path], work: Path) -> dict[str, Any]:
    """Return the figures of one setup and its scores (N, C)."""
    task = Task(
        model=model,
        engine=asdict(engine),
        cache_dir=str(work / "cache"),
        clips=[str(clip) for clip in clips],
        measure=True,
    )
    if engine.precision == "int8" and not load_model(model).description.backbone.has_int8:
        config = ExportConfig(formats=("openvino",), precision="int8", dynamic=False)
        verify = clips[:_INT8_VERIFY_CLIPS]
        export_model(load_model(model), work / "int8", config, verify=verify, calibrate=clips)
        task = replace(task, model=str(work / "int8" / "openvino"), engine=None)
    measured = _run_worker(task)
    started = time.perf_counter()
    _run_worker(replace(task, clips=task.clips[:1], measure=False))
    return {**measured, "cold_start_seconds": time.perf_counter() - started}


def _run_worker(task: Task) -> dict[str, Any]:
    """Run a task in a process of its own; an ActivityError with its message if it fails."""
    command = [sys.executable, "-m", "activity_cli.export.benchmark_worker"]
    done = subprocess.run(
        command, input=json.dumps(asdict(task)), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last_words = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
        raise ActivityError(last_words[-1])
    result: dict[str, Any] = json.loads(done.stdout)
    return result
