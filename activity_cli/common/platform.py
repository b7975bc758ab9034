"""The calls that differ between systems. All other modules are the same on Linux, macOS, Windows.

`make lint` checks the package for each of them (mypy --platform).
"""

import sys
from typing import IO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl
    import resource

_PIPE_BYTES = 2**19  # in place of 64 KB; all pipes of a user may hold 64 MB by default


def lock_file(file: IO[str]) -> None:
    """Lock a file until it is closed or this process ends; an OSError if another process has it."""
    if sys.platform == "win32":
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def enlarge_pipe(descriptor: int) -> None:
    """Let a pipe hold half a megabyte where the system can; an OSError if it has too many."""
    if sys.platform == "linux":
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def peak_memory_mib() -> float | None:
    """Return the most memory that this process has held, in MiB; None where it is unknown."""
    if sys.platform == "win32":
        return None
    else:  # noqa: RET505 - mypy would find the rest unreachable on Windows
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
