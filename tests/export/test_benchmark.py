"""The benchmark measures what the machine computes itself, and says what it leaves out."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from activity_cli.export import benchmark
from activity_cli.model.folder import Model
from tests.workplace import Workplace

LEFT_OUT = {("openvino", "bf16")}

MEASURE_FOR_A_MOMENT = """
import sys
from activity_cli.export import benchmark_worker

benchmark_worker._SECONDS_PER_ROUND = benchmark_worker._SECONDS_FOR_CLIPS = 0.1
sys.exit(benchmark_worker.main())
"""


@pytest.mark.slow
def test_benchmark_measures_every_engine_in_what_the_cpu_does_not_emulate(
    tiny: Model, clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_bf16 = any("bf16" in name and has for name, has in torch.cpu.get_capabilities().items())
    run = subprocess.run

    def run_for_a_moment(command: list[str], **options: Any) -> object:
        assert command[1:] == ["-m", "activity_cli.export.benchmark_worker"]
        return run([sys.executable, "-c", MEASURE_FOR_A_MOMENT], **options)

    monkeypatch.setattr(subprocess, "run", run_for_a_moment)
    # Enough of them to show each engine, and a precision that the CPU may not have.
    setups = [one for one in benchmark._ON_CPU if (one.name, one.precision) not in LEFT_OUT]
    monkeypatch.setattr(benchmark, "_ON_CPU", setups)
    precisions = ("--precision", "fp32", "--precision", "bf16")
    place = Workplace(tmp_path, tmp_path / "cache")
    place.run("benchmark", str(tiny.folder), *map(str, clips), *precisions, "--output", "speed")

    rows = json.loads((tmp_path / "speed" / "benchmark.json").read_text())
    assert (tmp_path / "speed" / "benchmark.png").stat().st_size > 10_000
    failures = {f"{row['engine']} {row['precision']}": row["failure"] for row in rows}
    assert set(failures) >= {"torch fp32", "torch bf16", "onnx fp32", "openvino fp32"}
    assert not set(failures) & {"openvino fp16", "openvino int8"}  # not asked for
    assert ("no bf16 instructions" in failures["torch bf16"]) != has_bf16
    measured = {f"{row['engine']} {row['precision']}": row for row in rows if not row["failure"]}
    assert {"torch fp32", "onnx fp32", "openvino fp32"} <= set(measured)
    assert ("torch bf16" in measured) == has_bf16
    for row in measured.values():
        assert row["frames_per_second"] > 0
        assert row["ms_per_clip"] > 0
        assert row["cold_start_seconds"] > 0
        assert row["peak_mib"] > 50
    assert measured["torch fp32"]["label_agreement"] == 1
    assert measured["onnx fp32"]["max_difference"] < 1e-3
