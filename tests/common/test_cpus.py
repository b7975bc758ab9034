"""How many CPUs this process may use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from activity_cli.common import processes as threads
from activity_cli.video.decoder_pool import Decoders


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),  # version 2, as a container sees it
        ({"app/cpu.max": "max 100000", "cpu.max": "400000 100000"}, 4.0),  # the parent's counts
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),  # version 1
        ({"cpu/app/cpu.cfs_quota_us": "-1", "cpu/app/cpu.cfs_period_us": "100000"}, float("inf")),
        ({}, float("inf")),
    ],
)
def test_a_containers_quota_is_read(files: dict[str, str], quota: float, tmp_path: Path) -> None:
    texts = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    texts["proc/self/cgroup"] = "4:memory:/other\n1:cpu,cpuacct:/app\n0::/app"
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")

    assert threads._quota(tmp_path) == quota


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only some systems pin processes")
def test_a_pinned_process_decodes_with_as_many_workers_as_it_has_cpus() -> None:
    script = (
        "import os\n"
        "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "from activity_cli.video.decoder_pool import Decoders\n"
        "from activity_cli.common.processes import num_threads\n"
        "print(Decoders().num_workers, num_threads())\n"
    )

    output = subprocess.check_output([sys.executable, "-c", script], text=True)

    assert output.split() == ["1", "1"]
    assert Decoders().num_workers <= len(os.sched_getaffinity(0))


def test_a_thread_limit_holds_whenever_it_was_set() -> None:
    script = (
        "from activity_cli.common.optional_dependencies import openvino_core\n"
        "from activity_cli.common.processes import limit_threads\n"
        "first = openvino_core()\n"
        "limit_threads(1)\n"
        "print(openvino_core().get_property('CPU', 'INFERENCE_NUM_THREADS'))\n"
    )

    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "1"
