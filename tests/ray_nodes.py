"""Nodes of a Ray cluster on this machine, which can be killed as by a power cut."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from tests.processes import PATIENCE_SECONDS

ROOT = Path(__file__).parents[1]

START_NODES = """
import json, sys, time
from activity_cli.common.optional_dependencies import import_ray
import_ray()
from ray._common.usage import usage_lib
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
said = {"address": cluster.address, "raylets": raylets}
said["reports_usage"] = usage_lib.usage_stats_enabled()
print(json.dumps(said), flush=True)
for line in sys.stdin:
    cluster.remove_node(nodes[int(line)], allow_graceful=False)
    print("removed", flush=True)
cluster.shutdown()
"""
"""In a process of its own: Ray changes the process that it is in, and this one goes on testing."""


class Nodes:
    """A head and two more nodes of one CPU each; the two can be killed."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", START_NODES],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        said = json.loads(self._answer())
        self.address: str = said["address"]
        self.reports_usage: bool = said["reports_usage"]
        self._raylets: list[int] = said["raylets"]

    def workers_of(self, node: int) -> list[int]:
        """Processes on a node that hold a model."""
        return [pid for pid, name in children(self._raylets[node]) if "MapWorker" in name]

    def kill(self, node: int) -> None:
        """End all of a node at once, as when its power fails."""
        for pid in [self._raylets[node], *(pid for pid, _ in children(self._raylets[node]))]:
            os.kill(pid, signal.SIGKILL)
        assert self._process.stdin is not None
        self._process.stdin.write(f"{node}\n")
        self._process.stdin.flush()
        assert self._answer() == "removed\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """End the cluster."""
        self._process.communicate(timeout=PATIENCE_SECONDS)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def children(parent: int) -> list[tuple[int, str]]:
    """Process numbers and command lines of the processes that another one has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append((int(folder.name), (folder / "cmdline").read_text()))
        except OSError:  # it has ended
            continue
    return found
