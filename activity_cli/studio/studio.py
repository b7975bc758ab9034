"""One project that is open, and all that serves its page: what the routes call."""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from activity_cli.common.files import output_error
from activity_cli.studio.events import Events
from activity_cli.studio.media import MediaStore
from activity_cli.studio.pictures import MOST_HEIGHT, MOST_THUMBS, Pictures
from activity_cli.studio.project import Change, Project, id_of
from activity_cli.studio.security import RequestError, safe_name
from activity_cli.studio.views import Views

MOST_UPLOAD_BYTES = 20_000_000_000
_KEEP_FREE_BYTES = 1_000_000_000
_MOST_EDITS = 10_000
_MOST_CLIPS_IN_EVENT = 50
_MEDIA_TYPES = {
    **{".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4"},
    **{".webm": "video/webm", ".mkv": "video/x-matroska"},
}


class _NoPredictions:
    def get(self, name: str) -> Any:
        del name


class Studio:
    """A project with its media, pictures and windows.

    Raises:
        DataError: the folder is not there, or open in another studio.
        OutputError: nothing can be written into it.
    """

    def __init__(self, root: Path, *, is_demo: bool = False) -> None:
        self.events = Events()
        self.is_demo = is_demo
        self.project = Project(root, self._on_change)
        home = self.project.home
        self.media = MediaStore(home / "media.jsonl", self.project.root, self._on_known)
        self.media.update(self.project.files)
        self.pictures = Pictures(home / "pictures")
        self.views = Views(self.project, self.media, _NoPredictions())
        self._uploads = home / "uploads"
        shutil.rmtree(self._uploads, ignore_errors=True)  # what a crash left behind

    def close(self) -> None:
        """Write everything and end all workers."""
        self.events.stop()
        self.media.close()
        self.pictures.close()
        self.project.close()

    def summary(self) -> dict[str, Any]:
        """Return the project as a whole."""
        return {
            **self.views.project(),
            "models": [],
            "model": None,
            "predicted_by": None,
            "suggestions": [],
            "job": None,
            "demo": self.is_demo,
            "upload_limit": self.upload_limit(),
        }

    def clip(self, clip_id: str) -> dict[str, Any]:
        """Return a video."""
        return self.views.clip(self.project.name_of(clip_id))

    def rescan(self) -> dict[str, Any]:
        """Look at the folder again."""
        added, removed = self.project.rescan()
        self.media.update(self.project.files)
        if added or removed:
            self.events.send("clips", {"ids": []})
        return {"added": added, "removed": removed, "revision": self.project.revision}

    def edit(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Apply the edits of a request as one step of undo."""
        edits, text = request.get("edits"), request.get("text", "edit")
        if not isinstance(edits, list) or not isinstance(text, str):
            raise RequestError("edits must be a list of objects, and text a text.")
        if not all(isinstance(one, dict) for one in edits):
            raise RequestError("An edit must be an object.")
        if len(edits) > _MOST_EDITS:
            raise RequestError(f"More than {_MOST_EDITS} edits at once.", status=413)
        try:
            change = self.project.edit(edits, text[:200], join=request.get("join") is True)
        except RequestError as error:
            if error.status == 409:
                error.values = {"clip": self.clip(edits[0]["clip"])}
            raise
        return self._answer(change)

    def undo(self) -> dict[str, Any]:
        """Take the last step back."""
        return self._answer(self.project.undo())

    def redo(self) -> dict[str, Any]:
        """Repeat what was taken back last."""
        return self._answer(self.project.redo())

    def _answer(self, change: Change) -> dict[str, Any]:
        return {**self._step(change.revision), "clips": self._clips(change.names)}

    def _step(self, revision: int) -> dict[str, Any]:
        project = self.project
        return {"revision": revision, "undo": project.undo_text, "redo": project.redo_text}

    def _clips(self, names: Sequence[str]) -> list[dict[str, Any]]:
        many = len(names) > _MOST_CLIPS_IN_EVENT
        return [] if many else [self.views.clip(name) for name in names]

    def _on_change(self, change: Change) -> None:
        if not hasattr(self, "views"):  # what is merged as the project opens
            return
        values = {**self._step(change.revision), "clips": self._clips(change.names)}
        self.events.send("edit", {**values, "notice": change.notice})

    def _on_known(self, names: list[str]) -> None:
        self.events.send("clips", {"ids": [id_of(name) for name in names]})

    def thumbs(
        self, clip_id: str, start: float | None, end: float | None, count: int, height: int
    ) -> bytes:
        """Return thumbnails of a stretch, side by side, as a JPEG."""
        path = self.project.path_of(clip_id)
        if not (1 <= count <= MOST_THUMBS and 16 <= height <= MOST_HEIGHT):
            raise RequestError(f"At most {MOST_THUMBS} pictures, 16 to {MOST_HEIGHT} pixels high.")
        first = start or 0.0
        last = end if end is not None else self._info(clip_id).duration or 0.0
        if not 0 <= first <= last < 1e7:
            raise RequestError("The end must be after the start.")
        return self.pictures.strip(path, first, last, count, height)

    def frame(self, clip_id: str, number: int) -> bytes:
        """Return one frame as a JPEG."""
        return self.pictures.frame(self.project.path_of(clip_id), number)

    def _info(self, clip_id: str) -> Any:
        return self.media.get(self.project.name_of(clip_id))

    def media_of(self, clip_id: str, can: frozenset[str]) -> dict[str, Any]:
        """Return how the page shows a video, given the codecs that the browser plays."""
        path, info = self.project.path_of(clip_id), self._info(clip_id)
        names = ("fps", "frames", "duration", "width", "height")
        common = {name: getattr(info, name) for name in names}
        common["frames_url"] = f"/frames/{clip_id}/"
        if plays(path, info.codec, can):
            return {"kind": "video", "url": f"/media/{clip_id}", **common}
        return {"kind": "frames", "url": common["frames_url"], **common}

    def media_file(self, clip_id: str, proxy: str) -> tuple[Path, str]:
        """Return a video's file, or its proxy, with its media type."""
        path = self.project.path_of(clip_id)
        if proxy:
            raise RequestError("There is no proxy of this video.", status=404)
        return path, _MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream")

    def upload_limit(self) -> int:
        """Return how many bytes may be added: room stays for labels and models."""
        free = shutil.disk_usage(self.project.root).free - _KEEP_FREE_BYTES
        return max(0, min(MOST_UPLOAD_BYTES, free))

    @contextmanager
    def receive(self, name: str) -> Iterator["Upload"]:
        """Receive a file that is added; it appears in the folder when it is complete."""
        upload = Upload(self, safe_name(name), self._uploads / secrets.token_hex(8))
        try:
            yield upload
        finally:
            upload.clear_away()


class Upload:
    """A file on its way into the project."""

    def __init__(self, studio: Studio, name: str, temporary: Path) -> None:
        self._studio, self._name, self._temporary = studio, name, temporary
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

    def finish(self) -> dict[str, Any]:
        """Put the file into the folder under a name that is free; return the video."""
        if not self.num_bytes:
            raise RequestError("The file is empty.")
        self._file.close()
        root, wanted = self._studio.project.root, Path(self._name)
        number = 1
        while True:
            ending = f"-{number}" if number > 1 else ""
            target = root / f"{wanted.stem}{ending}{wanted.suffix}"
            try:
                os.link(self._temporary, target)  # fails where there is such a file
                break
            except FileExistsError:
                number += 1
            except OSError as error:
                raise output_error(target, error) from error
        self._studio.rescan()
        return self._studio.views.clip(target.name)

    def clear_away(self) -> None:
        """Remove what is left of it."""
        self._file.close()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)


_CODECS = {
    **dict.fromkeys(("h264", "avc1", "x264"), "h264"),
    **{"vp80": "vp8", "vp08": "vp8", "vp90": "vp9", "vp09": "vp9", "av01": "av1"},
}
_CONTAINERS = {
    ".webm": ("vp8", "vp9", "av1"),
    **dict.fromkeys((".mp4", ".m4v", ".mov"), ("h264", "vp9", "av1")),
}


def plays(path: Path, codec: str, can: frozenset[str]) -> bool:
    """Return whether a browser plays a file, by its container and codec."""
    name = _CODECS.get(codec.lower(), "")
    return name in can and name in _CONTAINERS.get(path.suffix.lower(), ())
