"""A video that is added by the page: bounded, under a safe name, complete or not there at all."""

from contextlib import suppress
from pathlib import Path

from activity_cli.common.files import output_error
from activity_cli.studio.security import RequestError


class Upload:
    """A file on its way into a folder; `temporary` is on the same disk."""

    def __init__(self, folder: Path, name: str, temporary: Path) -> None:
        self._folder, self._name, self._temporary = folder, name, temporary
        self.num_bytes = 0
        try:
            temporary.parent.mkdir(exist_ok=True)
            self._file = temporary.open("xb")
        except OSError as error:
            raise output_error(temporary, error) from error

    def write(self, chunk: bytes) -> None:
        """Add bytes."""
        self.num_bytes += len(chunk)
        try:
            self._file.write(chunk)
        except OSError as error:
            raise output_error(self._temporary, error) from error

    def finish(self) -> str:
        """Put the file into the folder under a name that is free, and return the name."""
        if not self.num_bytes:
            raise RequestError("The file is empty.")
        self._file.close()
        wanted = Path(self._name)
        number = 1
        while True:
            ending = f"-{number}" if number > 1 else ""
            target = self._folder / f"{wanted.stem}{ending}{wanted.suffix}"
            try:
                target.open("xb").close()  # fails where there is such a file
                self._temporary.replace(target)
                return target.name
            except FileExistsError:
                number += 1
            except OSError as error:
                raise output_error(target, error) from error

    def clear_away(self) -> None:
        """Remove what is left of it."""
        self._file.close()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)
