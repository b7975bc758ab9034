"""Cache files that are either whole or not there."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

_DIGEST_SIZE = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class CheckedFiles:
    """Files of one folder, each with its checksum in front. Several processes may share it."""

    folder: Path

    def read(self, name: str) -> bytes | None:
        """Return what was written, or None if it is not there or was damaged since."""
        try:
            stored = (self.folder / name).read_bytes()
        except OSError:
            return None
        digest, content = stored[:_DIGEST_SIZE], stored[_DIGEST_SIZE:]
        return content if hashlib.sha256(content).digest() == digest else None

    def write(self, name: str, content: bytes) -> None:
        """Keep `content`, if the folder lets us: a full or read-only disk only costs time."""
        path = self.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                try:
                    file.write(hashlib.sha256(content).digest())
                    file.write(content)
                    file.close()
                    Path(file.name).replace(path)
                except BaseException:
                    Path(file.name).unlink(missing_ok=True)
                    raise
        except OSError:
            pass
