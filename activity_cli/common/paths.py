"""Where things are kept for the user, and how much they take."""

import os
import shutil
from pathlib import Path

from activity_cli.errors import OutputError

FEATURES = "features"
ENGINES = "engines"


def default_cache_dir() -> Path:
    """The folder for features and prepared networks: ACTIVITY_CACHE_DIR, or the user's own."""
    import platformdirs

    if chosen := os.environ.get("ACTIVITY_CACHE_DIR"):
        return Path(chosen)

    return Path(platformdirs.user_cache_dir("activity-cli", appauthor=False))


def cache_sizes(folder: Path) -> dict[str, int]:
    """Bytes and files of each part of a cache folder; all 0 where there is none."""
    sizes = {}
    for part in (FEATURES, ENGINES):
        files = [path for path in (folder / part).rglob("*") if path.is_file()]
        sizes[f"{part}_files"] = len(files)
        sizes[f"{part}_bytes"] = sum(_size(path) for path in files)
    return sizes


def clear_cache(folder: Path) -> dict[str, int]:
    """Remove our parts of a cache folder, and nothing else that may lie in it.

    Returns:
        What was there, as from `cache_sizes`.

    Raises:
        OutputError: something cannot be removed.
    """
    sizes = cache_sizes(folder)
    for part in (FEATURES, ENGINES):
        try:
            shutil.rmtree(folder / part)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise OutputError(
                f"Cannot clear {folder / part}: {error.strerror}.",
                hint="Check its permissions, and that no other run is using it.",
            ) from error
    return sizes


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # another process has just replaced it
        return 0
