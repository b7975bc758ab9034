"""The same files by one machine, by three shards and by a Ray cluster that loses a node.

    python -m tests.benchmarks.scale_out DATA

DATA is a folder of videos; 200 of them are linked into a temporary folder, some of them damaged.
All runs are on this machine, without the feature cache: the rows must be the same, and the rates
show what each way costs, not what more machines gain. Exits with 1 where rows differ. Needs the
extra `cluster`.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from activity_cli.common.files import is_video, walk_files
from tests.ray_nodes import ROOT, Nodes

CORES = os.cpu_count() or 1
SOME_WITHOUT_SCORE = 3
MODEL = ("--model", "surveillance-fight")


@dataclass
class Runs:
    """Runs of `activity` in one folder."""

    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)
    memory_mib: int = 0
    """The most that one worker of Ray has had."""

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "activity_cli", *arguments, "--quiet"]
        return subprocess.Popen(command, cwd=self.folder, env=environment)

    def run(self, *arguments: str) -> None:
        code = self.start(*arguments).wait()
        assert code in (0, SOME_WITHOUT_SCORE), f"{arguments} ended with {code}"

    def predict(self, output: str, *more: str) -> None:
        self.run("predict", "files", *MODEL, "--no-cache", "--output", output, *more)

    def rows(self, output: str) -> list[bytes]:
        return sorted((self.folder / output).read_bytes().splitlines())

    def measure(self, name: str, work: Callable[[], None]) -> None:
        started = time.perf_counter()
        work()
        self.seconds[name] = time.perf_counter() - started

    def shards(self) -> None:
        for number in (1, 2, 3):
            self.predict(f"shards/{number}.csv", "--shard", f"{number}/3")
        files = [f"shards/{number}.csv" for number in (1, 2, 3)]
        self.run("merge", *files, "--output", "shards.csv")

    def lose_a_node(self, nodes: Nodes, num_files: int) -> None:
        run = self.start(
            *("predict", "files", *MODEL, "--no-cache", "--output", "nodes.csv"),
            *("--cluster", nodes.address),
        )
        output = self.folder / "nodes.csv"
        while not output.exists() or len(output.read_bytes().splitlines()) < num_files // 3:
            assert run.poll() is None, "the run ended before a third of its rows"
            time.sleep(0.05)
        workers = nodes.workers_of(0)
        assert workers, "the node that is to die must be at work"
        self.memory_mib = max(peak_memory_mib(pid) for pid in workers)
        nodes.kill(0)
        at_death = len(output.read_bytes().splitlines()) - 1
        assert run.wait() in (0, SOME_WITHOUT_SCORE), f"ended with {run.returncode}"
        print(f"A node of three was killed when {at_death} of {num_files} rows were there.")
        assert at_death < num_files, "the node must die during the work"


def main() -> None:
    """Run all, compare the rows and print what each way took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    parser.add_argument("--count", type=int, default=200)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        runs = Runs(Path(folder))
        gather(arguments.data, arguments.count, runs.folder / "files")
        runs.predict("warm.csv")  # prepares the CNN, and fills the system's cache of files
        runs.measure("local", lambda: runs.predict("local.csv"))
        runs.measure("3 shards, one after the other, merged", runs.shards)
        each = ("--cpus-per-worker", "1", "--cluster-workers", str(CORES))
        runs.measure(
            f"Ray, {CORES} workers of 1 core",
            lambda: runs.predict("ray.csv", "--cluster", "local", *each),
        )
        with Nodes({**os.environ, "PYTHONPATH": str(ROOT)}) as nodes:
            runs.measure(
                "Ray, 3 nodes, one killed", lambda: runs.lose_a_node(nodes, arguments.count)
            )
        wanted = runs.rows("local.csv")
        assert len(wanted) == arguments.count + 1, f"{len(wanted) - 1} rows of {arguments.count}"
        others = ("shards.csv", "ray.csv", "nodes.csv")
        different = [name for name in others if runs.rows(name) != wanted]
    for name, seconds in runs.seconds.items():
        print(f"{name:40s} {seconds:6.1f} s  {arguments.count / seconds:5.1f} files/s")
    print(f"Memory of a Ray worker: {runs.memory_mib} MiB at most")
    print(f"Rows differ: {', '.join(different)}" if different else "Rows: identical in all runs.")
    sys.exit(bool(different))


def gather(data: Path, count: int, folder: Path) -> None:
    """Link files, and damage a few: cut short, empty, text, random bytes, gone."""
    found = [path.resolve() for path in walk_files(data) if is_video(path)]
    assert len(found) >= count, f"{data} has {len(found)} videos, not {count}"
    folder.mkdir()
    for number, path in enumerate(found[:: len(found) // count][:count]):
        file = folder / f"{number:04d}{path.suffix}"
        match number % 40:
            case 7:
                file.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            case 15:
                file.touch()
            case 23:
                file.write_text("no video\n" * 100)
            case 31:
                file.write_bytes(os.urandom(50_000))
            case 39:
                file.symlink_to(folder / f"nowhere{number}")  # links to one file are one file
            case _:
                file.symlink_to(path)


def peak_memory_mib(pid: int) -> int:
    """The most memory that a process has had."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


if __name__ == "__main__":
    main()
