"""One project that is open, and all that serves its page: what the routes call."""

import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from activity_cli.studio.commands import CHECKED, Commands
from activity_cli.studio.events import Events
from activity_cli.studio.jobs import Job, Jobs
from activity_cli.studio.labels import NOTHING, Piece
from activity_cli.studio.media import MediaStore
from activity_cli.studio.pictures import MOST_HEIGHT, MOST_THUMBS, Pictures
from activity_cli.studio.predictions import ROWS, Predictions
from activity_cli.studio.project import Change, Project, id_of
from activity_cli.studio.proxy import MEDIA_TYPES, Proxies, plays
from activity_cli.studio.review import SORTS, Item, draw_stretches, queue
from activity_cli.studio.runs import RUNS, Runs
from activity_cli.studio.security import RequestError, safe_name
from activity_cli.studio.suggestions import expand, readiness, suggestions
from activity_cli.studio.uploads import Upload
from activity_cli.studio.views import Query, Views, piece_values

MOST_UPLOAD_BYTES = 20_000_000_000
_KEEP_FREE_BYTES = 1_000_000_000
_FEW_CLIPS = 500
_SECONDS_BETWEEN_SUGGESTIONS = 20.0
_MOST_EDITS = 10_000
_MOST_CLIPS_IN_EVENT = 50
_MEDIA_TYPES = {
    **{".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4"},
    **{".webm": "video/webm", ".mkv": "video/x-matroska"},
}


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
        self.proxies = Proxies(home / "proxies", self._on_proxy)
        self.runs = Runs(self.project.root, self._id_if_known)
        self.commands = Commands(self.project, self.runs)
        self.jobs = Jobs(self.project.root, self._on_job, self._on_job_end)
        self.predictions = Predictions()
        self.views = Views(self.project, self.media, lambda: self.predictions)
        self.project.predicted = self._predicted
        self.project.above = self._above
        self._read_predictions()
        self._suggested: tuple[float, list[dict[str, Any]]] = (-_SECONDS_BETWEEN_SUGGESTIONS, [])
        self._uploads = home / "uploads"
        shutil.rmtree(self._uploads, ignore_errors=True)  # what a crash left behind

    def close(self) -> None:
        """Write everything and end all workers."""
        self.events.stop()
        self.jobs.close()
        self.media.close()
        self.pictures.close()
        self.proxies.close()
        self.project.close()

    def summary(self) -> dict[str, Any]:
        """Return the project as a whole."""
        current = self.jobs.current
        return {
            **self.views.project(),
            "models": self.runs.summaries(),
            "model": self.runs.newest,
            "predicted_by": self.predictions.run,
            "suggestions": self._suggestions(),
            "job": current and current.to_json(),
            "demo": self.is_demo,
            "upload_limit": self.upload_limit(),
        }

    def _suggestions(self) -> list[dict[str, Any]]:
        """Return suggestions; with thousands of labels they take a second, so not at every key."""
        now = time.monotonic()
        few = len(self.project.clips) < _FEW_CLIPS
        if few or now - self._suggested[0] > _SECONDS_BETWEEN_SUGGESTIONS:
            self._suggested = (now, suggestions(self.project))
        return self._suggested[1]

    def _id_if_known(self, name: str) -> str | None:
        return id_of(name) if name in self.project.files else None

    def _predicted(self, name: str) -> tuple[Piece, ...]:
        found = self.predictions.get(name)
        return found.pieces if found else ()

    def _above(self, score: float, label: str | None) -> list[str]:
        """Return the videos without a label that the model is so sure of."""
        chosen = []
        for name in self.project.files:
            clip, found = self.project.clips.get(name, NOTHING), self.predictions.get(name)
            if found and not clip.pieces and not clip.flag and found.score >= score:
                chosen += [name] if label in (None, found.label) else []
        return chosen

    def prediction(self, clip_id: str) -> dict[str, Any]:
        """Return what the model found in a video, with its curve."""
        name = self.project.name_of(clip_id)
        found, curve = self.predictions.get(name), self.predictions.curve(name)
        if found is None:
            raise RequestError("This video has no prediction.", status=404)
        row = found.row
        ranks = ("", *(f"_{rank}" for rank in range(2, 6)))
        top = [(row[f"label{r}"], row[f"score{r}"]) for r in ranks if row.get(f"label{r}")]
        return {
            "model": self.predictions.run,
            "label": found.label,
            "score": found.score,
            "ood": found.ood,
            "status": row["status"],
            "reason": row["reason"] or "",
            "top": top,
            "segments": [
                {**piece_values(piece), "score": score}
                for piece, score in zip(found.segments, found.scores, strict=True)
            ],
            "curve": curve and curve.to_json(),
        }

    def readiness(self) -> dict[str, Any]:
        """Return what a training would lack."""
        return readiness(self.project, self.runs, self.views.copies)

    def add_job(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Queue a job."""
        steps = self.commands.steps(request)
        job = self.jobs.add(str(request["kind"]), steps)
        self.project.note({"kind": job.kind, "commands": [step.text for step in steps]})
        return job.to_json()

    def _on_job(self, job: Job) -> None:
        self.events.send("job", job.to_json())

    def _on_job_end(self, job: Job) -> None:
        if job.kind in ("train", "predict", "segments", "check"):
            self._read_predictions()
            self.events.send("clips", {"ids": []})

    def _read_predictions(self) -> None:
        """Take the predictions of the newest model that has scored the videos."""
        names = [name for name, _ in reversed(self.runs.all())]
        folders = [self.project.root / RUNS / name for name in names]
        scored = next((folder for folder in folders if (folder / ROWS).is_file()), None)
        self.predictions = Predictions(scored)
        self.views.read_checks(self.project.root / CHECKED)

    def review(self, values: Mapping[str, str]) -> dict[str, Any]:
        """Return a page of the moments that are most worth labelling."""
        sort = values.get("sort", "worth")
        query = Query.parse({k: v for k, v in values.items() if k in ("offset", "limit")})
        if sort not in SORTS:
            raise RequestError(f"The queue is sorted by {', '.join(SORTS)}.")
        items = queue(self.project, self.predictions, sort, values.get("label", ""))
        shown = items[query.offset : query.offset + query.limit]
        suggested = [self.predictions.get(name) for name in self._above(0.0, None)]
        return {
            "total": len(items),
            "model": self.predictions.run,
            "unavailable": "" if len(self.predictions) else "Train a model to get suggestions.",
            "suggested": sorted((one.score for one in suggested if one), reverse=True),
            "items": [self._item(item) for item in shown],
        }

    def _item(self, item: Item) -> dict[str, Any]:
        moment, clip = item.moment, self.project.clips.get(item.name, NOTHING)
        middle = (moment.start + moment.end) / 2
        mine = next((p for p in clip.pieces if p.span[0] <= middle < p.span[1]), None)
        return {
            "clip": self.views.clip(item.name),
            "start": moment.start,
            "end": moment.end,
            "label": mine.label if mine else None,
            "predicted": moment.label,
            "score": moment.score,
            "value": moment.value,
            "why": item.why,
        }

    def draw_truth(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Draw stretches to measure on."""
        count, seconds = request.get("count", 20), request.get("seconds", 4)
        if not isinstance(count, int) or not isinstance(seconds, int | float):
            raise RequestError("count and seconds must be numbers.")
        trained = self.runs.trained_on()
        truth = draw_stretches(self.project, self.media, trained, count, float(seconds))
        self.project.set_truth(truth, f"draw {count} stretches of ground truth")
        return self.truth()

    def truth(self) -> dict[str, Any]:
        """Return the next stretch without an answer, and how many there are."""
        truth = self.project.shared.truth
        answered = {"answered": sum(s.is_answered for s in truth), "stretches": len(truth)}
        stretch = next((one for one in truth if not one.is_answered), None)
        if stretch is None:
            return {"stretch": None, **answered}
        clip = {**self.views.clip(stretch.name), "prediction": None, "worth": None}
        times = {"start": stretch.start, "end": stretch.end}
        return {"stretch": stretch.id, "clip": clip, **times, **answered}

    def command_lines(self) -> dict[str, Any]:
        """Return the commands that the page ran, the newest last."""
        lines = [
            {"text": text, "does": note["kind"], "at": note["at"].replace("T", " ")[:16]}
            for note in self.project.notes
            for text in note.get("commands", ())
        ]
        return {"folder": str(self.project.root), "commands": lines}

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
        edits = [edit for one in edits for edit in expand(self.project, one)]
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
        path = self.project.path_of(clip_id)
        info = self.media.read(self.project.name_of(clip_id))
        names = ("fps", "frames", "duration", "width", "height")
        common = {name: getattr(info, name) for name in names}
        common["frames_url"] = f"/frames/{clip_id}/"
        if plays(path, info.codec, can):
            return {"kind": "video", "url": f"/media/{clip_id}", **common}
        if (proxy := self.proxies.ask(path, can)) is not None:
            url = f"/media/{clip_id}?proxy={proxy['codec']}"
            return {"kind": "proxy", "url": url, "ready": proxy["ready"], **common}
        return {"kind": "frames", "url": common["frames_url"], **common}

    def _on_proxy(self, video: Path, problem: str) -> None:
        clip = id_of(video.relative_to(self.project.root).as_posix())
        self.events.send("proxy", {"clip": clip, "ready": not problem, "error": problem})

    def media_file(self, clip_id: str, proxy: str) -> tuple[Path, str]:
        """Return a video's file, or its copy with the codec `proxy`, with its media type."""
        path = self.project.path_of(clip_id)
        if not proxy:
            return path, _MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream")
        copy = self.proxies.path(path, proxy) if proxy in MEDIA_TYPES else None
        if copy is None or not copy.is_file():
            raise RequestError("There is no such copy of this video.", status=404)
        return copy, MEDIA_TYPES[proxy]

    def upload_limit(self) -> int:
        """Return how many bytes may be added: room stays for labels and models."""
        free = shutil.disk_usage(self.project.root).free - _KEEP_FREE_BYTES
        return max(0, min(MOST_UPLOAD_BYTES, free))

    @contextmanager
    def receive(self, name: str) -> Iterator[Upload]:
        """Receive a file that is added; it appears in the folder when it is complete."""
        upload = Upload(self.project.root, safe_name(name), self._uploads / secrets.token_hex(8))
        try:
            yield upload
        finally:
            upload.clear_away()

    def added(self, name: str) -> dict[str, Any]:
        """Return a video that was received."""
        self.rescan()
        return self.views.clip(name)
