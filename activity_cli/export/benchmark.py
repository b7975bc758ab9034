"""One model on this machine, by every engine and precision that it has: how fast, how equal.

Each setup runs in processes of its own (`benchmark_worker`), so that memory and start-up are its
own as well: one that prepares and measures, then one that only scores a clip, for the cold start.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from activity_cli.common.files import write_text_atomically
from activity_cli.errors import ActivityError, DataError
from activity_cli.export.exporting import export_model
from activity_cli.features.engines.choice import Engine, find_gpu
from activity_cli.model.folder import load_model
from activity_cli.predict.exported.loading import is_exported
from activity_cli.types import OnProgress, no_progress

_REFERENCE = Engine(name="torch", device="cpu", precision="fp32")
_CANDIDATES = (
    _REFERENCE,
    Engine(name="torch", device="cpu", precision="bf16"),
    Engine(name="onnx", device="cpu", precision="fp32"),
    Engine(name="openvino", device="cpu", precision="fp32"),
    Engine(name="openvino", device="cpu", precision="fp16"),
    Engine(name="openvino", device="cpu", precision="bf16"),
)
_INT8 = Engine(name="openvino", device="cpu", precision="int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkRow:
    """How one engine does in one precision. Figures are None where it does not run: see `failure`.

    Times hold for this machine and moment; compare rows, which were measured in one run.
    """

    engine: str
    device: str
    precision: str
    failure: str = ""
    frames_per_second: float | None = None
    """Of the CNN alone, on pictures in memory."""
    ms_per_clip: float | None = None
    """Of the whole: decoding, CNN, classifier, overlapped as in `predict`."""
    cold_start_seconds: float | None = None
    """From starting a new process to its first result, networks prepared."""
    size_mb: float | None = None
    """Of the network's files, in megabytes (10^6 bytes)."""
    peak_mib: float | None = None
    """Most memory that the process took."""
    max_difference: float | None = None
    """Of any score from that of torch in fp32."""
    label_agreement: float | None = None
    """Share of the clips that get the same label as from torch in fp32."""

    @property
    def name(self) -> str:
        """Engine and precision, and the device unless it is the CPU."""
        device = "" if self.device == "cpu" else f" {self.device}"
        return f"{self.engine}{device} {self.precision}"


def run_benchmark(
    model: str,
    clips: Sequence[Path],
    *,
    precisions: Sequence[str] = ("fp32", "fp16", "bf16", "int8"),
    on_progress: OnProgress = no_progress,
) -> list[BenchmarkRow]:
    """Measure a model with everything that this machine has; torch in fp32 is the reference.

    Args:
        model: a shipped model's name or a folder.
        clips: videos to score; also what int8 is calibrated on.
        precisions: those to measure. The reference is measured in any case.
        on_progress: told after each setup.

    Raises:
        ModelError: there is no such model, or it is an export.
        DataError: none of the clips can be scored.
    """
    if is_exported(Path(model)):
        raise DataError(
            f"{model} is an export, which has one runtime only.",
            hint="Give the model that it was made of.",
        )
    load_model(model)
    setups = [one for one in _setups() if one is _REFERENCE or one.precision in precisions]
    rows = []
    reference = None
    on_progress("benchmark", 0, len(setups))
    with tempfile.TemporaryDirectory() as folder:
        for number, engine in enumerate(setups):
            work = Path(folder, str(number))
            try:
                measured = _measure(model, engine, clips, work)
            except ActivityError as error:
                rows.append(_row(engine, failure=error.message))
            else:
                scores = np.array(measured.pop("scores"))
                reference = scores if reference is None else reference
                rows.append(_row(engine, **measured, **_compare(scores, reference)))
            on_progress("benchmark", number + 1, len(setups))
    if reference is None:
        raise DataError(f"Nothing could be measured: {rows[0].failure}")
    return rows


def _setups() -> Iterator[Engine]:
    yield from _CANDIDATES
    yield _INT8
    if (gpu := find_gpu()) is not None:
        yield Engine(name="torch", device=gpu, precision="fp32")
        yield Engine(name="torch", device=gpu, precision="fp16")


def _row(engine: Engine, **figures: Any) -> BenchmarkRow:
    return BenchmarkRow(
        engine=engine.name, device=engine.device, precision=engine.precision, **figures
    )


def _measure(model: str, engine: Engine, clips: Sequence[Path], work: Path) -> dict[str, Any]:
    """The figures of one setup and its scores (N, C)."""
    task: dict[str, Any] = {
        "model": model,
        "engine": asdict(engine),
        "cache_dir": str(work / "cache"),
        "clips": [str(clip) for clip in clips],
    }
    if engine.precision == "int8":
        task |= {"model": _quantise(model, clips, work / "int8"), "engine": None}
    measured = _run_worker({**task, "measure": True})
    started = time.perf_counter()
    _run_worker({**task, "clips": task["clips"][:1], "measure": False})
    return {**measured, "cold_start_seconds": time.perf_counter() - started}


def _quantise(model: str, clips: Sequence[Path], output: Path) -> str:
    """Export in int8, calibrated on the clips; returns the export.

    Raises:
        ActivityError: NNCF is not installed, or the export does not pass.
    """
    listed = output.with_suffix(".txt")
    write_text_atomically(listed, "\n".join(str(clip.absolute()) for clip in clips))
    export_model(
        load_model(model),
        output,
        formats=("openvino",),
        precision="int8",
        dynamic=False,
        verify=str(listed),
    )
    return str(output / "openvino")


def _run_worker(task: dict[str, Any]) -> dict[str, Any]:
    """Run a task in a process of its own.

    Raises:
        ActivityError: it failed; the message is its own.
    """
    command = [sys.executable, "-m", "activity_cli.export.benchmark_worker"]
    done = subprocess.run(
        command, input=json.dumps(task), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last_words = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
        raise ActivityError(last_words[-1])
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _compare(scores: Any, reference: Any) -> dict[str, float]:
    return {
        "max_difference": float(np.abs(scores - reference).max()),
        "label_agreement": float((scores.argmax(axis=1) == reference.argmax(axis=1)).mean()),
    }
