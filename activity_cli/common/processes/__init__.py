"""Worker processes that survive a crash or a hang; how many CPUs and threads they may use."""

import math
import os
import sys
from pathlib import Path

_limit: int | None = None


def limit_threads(count: int) -> None:
    """Let engines that are loaded from now on use at most `count` threads."""
    global _limit  # noqa: PLW0603 - of the process, like the engines' own settings
    _limit = count


def thread_limit() -> int | None:
    """Return the most threads for an engine; None where it may use all CPUs that it sees.

    Engines respect the CPU affinity themselves, but not a container's quota.
    """
    if _limit is None and _quota() < _affinity():
        return available_cpus()
    return _limit


def num_threads() -> int:
    """Return the number of threads to compute with."""
    return _limit or available_cpus()


def available_cpus() -> int:
    """Return how many CPUs this process may use: its affinity and its cgroups' quota count."""
    return max(1, math.ceil(min(_affinity(), _quota())))


def search_path() -> str:
    """Return a PYTHONPATH with which a child finds modules where this process does."""
    return os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)


def _affinity() -> int:
    if hasattr(os, "process_cpu_count"):  # Python 3.13; respects PYTHON_CPU_COUNT as well
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota(root: Path = Path("/")) -> float:
    """Return the CPUs' worth of time that Linux cgroups allow; infinity without a quota.

    Those of this process's cgroups (version 1 and 2) and of all above them count.
    """
    quotas = [math.inf]
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return math.inf
    mount = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        group = Path(path.lstrip("/"))
        for folder in (group, *group.parents):  # inside a container only the last one is visible
            try:
                if controllers:
                    quota = (mount / "cpu" / folder / "cpu.cfs_quota_us").read_text()
                    period = (mount / "cpu" / folder / "cpu.cfs_period_us").read_text()
                else:
                    quota, period = (mount / folder / "cpu.max").read_text().split()
                if quota.strip() not in {"max", "-1"}:
                    quotas.append(int(quota) / int(period))
            except (OSError, ValueError):
                continue
    return min(quotas)
