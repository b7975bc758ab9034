"""The folder of a tuning: its study resumes there, and only the same search may use it."""

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activity_cli.common.files import new_folder, output_error, write_json
from activity_cli.common.optional_dependencies import import_optuna
from activity_cli.common.platform import lock_file
from activity_cli.errors import OutputError

if TYPE_CHECKING:
    import optuna

SEARCH_FILE, STUDY_FILE = "search.json", "study.db"
BEST_FILE, TRIALS_FILE = "best.toml", "trials.csv"
_WORK, _LOCK = ".work", ".lock"
_DATABASE_TIMEOUT_SECONDS = 60.0
_HINT = "Choose another folder with --output, or add --overwrite to start again."


@contextmanager
def open_folder(
    folder: Path, identity: Mapping[str, Any], *, overwrite: bool = False
) -> Iterator[Path]:
    """Open a tuning's folder; yield a subfolder for features, which is deleted afterwards.

    The identity is what must be equal for a search to resume, under names for messages.

    Raises:
        OutputError: the folder holds something else, is in use, or cannot be written.
    """
    if overwrite or not (folder / SEARCH_FILE).is_file():
        new_folder(folder, overwrite=overwrite)
    else:
        _check_same(folder, identity)
    with _locked(folder):
        try:
            if overwrite:
                (folder / STUDY_FILE).unlink(missing_ok=True)
            shutil.rmtree(folder / _WORK, ignore_errors=True)  # of a process that was killed
            (folder / _WORK).mkdir()
        except OSError as error:
            raise output_error(folder, error) from error
        write_json(folder / SEARCH_FILE, identity)
        try:
            yield folder / _WORK
        finally:
            shutil.rmtree(folder / _WORK, ignore_errors=True)


def _check_same(folder: Path, identity: Mapping[str, Any]) -> None:
    try:
        before = json.loads((folder / SEARCH_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"{folder / SEARCH_FILE} cannot be read.", hint=_HINT) from error
    now = json.loads(json.dumps(identity))
    for what in now:
        if before.get(what) != now[what]:
            text = f"The search in {folder} has another {what}, so it cannot resume."
            raise OutputError(text, hint=_HINT)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock out other processes. The system releases the lock however this process ends."""
    with (folder / _LOCK).open("w") as lock:
        try:
            lock_file(lock)
        except OSError as error:
            raise OutputError(
                f"Another search is running in {folder}.",
                hint="Wait until it ends, or choose another folder with --output.",
            ) from error
        yield


def open_study(folder: Path, name: str) -> "optuna.Study":
    """Open a study, new or to be resumed, or raise OutputError if the database is damaged."""
    library = import_optuna()
    from sqlalchemy.exc import SQLAlchemyError

    path = folder / STUDY_FILE
    try:
        # As a connection, not as a URL: a folder may have ? and % in its name.
        connect = partial(sqlite3.connect, path, timeout=_DATABASE_TIMEOUT_SECONDS)
        storage = library.storages.RDBStorage(
            "sqlite:///study.db", engine_kwargs={"creator": connect}
        )
        study: optuna.Study = library.create_study(
            storage=storage, study_name=name, direction="minimize", load_if_exists=True
        )
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise OutputError(f"The database {path} cannot be used.", hint=_HINT) from error
    return study


def digest(value: object) -> str:
    """Return a few characters that tell JSON values apart."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
