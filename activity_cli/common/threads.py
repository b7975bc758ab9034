"""How many threads engines compute with: one per core, unless this process is to use fewer.

Several workers on one machine share its cores; each is told its part before it loads an engine.
"""

import os

_limit: int | None = None


def limit_threads(count: int) -> None:
    """Let engines that are loaded from now on use so many threads at most."""
    global _limit  # noqa: PLW0603 - of the process, like the engines' own settings
    _limit = count


def thread_limit() -> int | None:
    """The most threads, where somebody has set that."""
    return _limit


def num_threads() -> int:
    """Threads to compute with."""
    return _limit or os.cpu_count() or 1
