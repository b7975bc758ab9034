"""The benchmark measures what the machine computes itself, and says what it leaves out."""

from pathlib import Path

import pytest
import torch

from activity_cli.export.benchmark import run_benchmark
from activity_cli.model.folder import Model


@pytest.mark.slow
def test_a_precision_that_the_cpu_only_emulates_is_skipped_and_said(
    tiny: Model, clips: list[Path]
) -> None:
    has_bf16 = any("bf16" in name and has for name, has in torch.cpu.get_capabilities().items())

    rows = {row.name: row for row in run_benchmark(str(tiny.folder), clips, precisions=("bf16",))}

    assert rows["torch fp32"].label_agreement == 1
    assert bool(rows["torch bf16"].frames_per_second) == has_bf16
    assert ("no bf16 instructions" in rows["torch bf16"].failure) != has_bf16
    assert not set(rows) & {"openvino fp32", "onnx fp32"}  # not asked for
