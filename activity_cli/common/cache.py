"""The user's cache folder: where it is, how large it is, and checked files in it."""

import hashlib
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from activity_cli.errors import OutputError

FEATURES = "features"
ENGINES = "engines"
_DIGEST_SIZE = hashlib.sha256().digest_size


def default_cache_dir() -> Path:
    """Return the folder for features and prepared networks: ACTIVITY_CACHE_DIR, or the user's."""
    import platformdirs

    if chosen := os.environ.get("ACTIVITY_CACHE_DIR"):
        return Path(chosen)
    return Path(platformdirs.user_cache_dir("activity-cli", appauthor=False))


def cache_sizes(folder: Path) -> dict[str, int]:
    """Return the bytes and files of each part of a cache folder; all 0 if there is none."""
    sizes = {}
    for part in (FEATURES, ENGINES):
        bytes_of = []
        for path in (folder / part).rglob("*"):
            with suppress(OSError):  # another process has just replaced it
                bytes_of += [path.stat().st_size] if path.is_file() else []
        sizes[f"{part}_files"], sizes[f"{part}_bytes"] = len(bytes_of), sum(bytes_of)
    return sizes


def clear_cache(folder: Path) -> dict[str, int]:
    """Remove the parts of a cache folder, and no other file in it; return the sizes before."""
    sizes = cache_sizes(folder)
    for part in (FEATURES, ENGINES):
        try:
            with suppress(FileNotFoundError):
                shutil.rmtree(folder / part)
        except OSError as error:
            hint = "Check its permissions, and that no other run is using it."
            raise OutputError(
                f"Cannot clear {folder / part}: {error.strerror}.", hint=hint
            ) from error
    return sizes


@dataclass(frozen=True, slots=True)
class CheckedFiles:
    """Files of one folder, each with its checksum in front. Several processes may share it."""

    folder: Path

    def read(self, name: str) -> bytes | None:
        """Return what was written, or None if it is missing or was damaged since."""
        try:
            stored = (self.folder / name).read_bytes()
        except OSError:
            return None
        digest, content = stored[:_DIGEST_SIZE], stored[_DIGEST_SIZE:]
        return content if hashlib.sha256(content).digest() == digest else None

    def remove(self, name: str) -> None:
        """Remove a file, if the disk lets us."""
        with suppress(OSError):
            (self.folder / name).unlink(missing_ok=True)

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically. A full or read-only disk is no error: it only costs time."""
        path = self.folder / name
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                try:
                    file.write(hashlib.sha256(content).digest() + content)
                    file.close()
                    Path(file.name).replace(path)
                finally:
                    Path(file.name).unlink(missing_ok=True)  # where it has not been renamed
