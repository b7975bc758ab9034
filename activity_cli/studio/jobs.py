"""What takes time: training, prediction, export. Each job runs commands of this program.

A job is what the user could type: `activity train . --name gym`, in a process of its own, which may
crash or be ended. Its progress is that of `--progress json`. One job runs at a time.
"""

import csv
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal

from activity_cli.common.files import parse_json
from activity_cli.common.processes import search_path
from activity_cli.errors import ActivityError
from activity_cli.report.terminal import STAGE_NAMES
from activity_cli.studio.security import RequestError

State = Literal["queued", "running", "done", "failed", "cancelled"]
_MOST_JOBS = 50  # that are remembered
_MOST_NOTES = 50
_SECONDS_BETWEEN_MESSAGES = 0.25
_SECONDS_TO_END = 10.0  # for Ctrl-C, before the process is killed
_SOME_WITHOUT_SCORE = 3  # exit code: finished, but some files have no score


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A command of a job; `finish` makes the job's result of its stdout."""

    arguments: tuple[str, ...]
    stop_signal: signal.Signals = signal.SIGINT  # ends it well
    finish: Callable[[str], Mapping[str, Any]] = lambda _: {}
    history: Path | None = None  # CSV of epochs that it writes

    @property
    def text(self) -> str:
        """The command as typed."""
        return shlex.join(["activity", *self.arguments])


@dataclass(slots=True, kw_only=True)
class Job:
    """A job and how far it is."""

    id: str
    kind: str
    steps: Sequence[Step]
    state: State = "queued"
    stage: str = ""
    done: int = 0
    total: int = 0
    detail: str = ""
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: str = ""
    hint: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    step: Step | None = None
    started: float = 0.0
    ended: float = 0.0
    stage_started: float = 0.0
    stops: Literal["", "well", "at once"] = ""
    process: "subprocess.Popen[bytes] | None" = None

    def to_json(self) -> dict[str, Any]:
        """Return the job as the page shows it."""
        now = self.ended or time.monotonic()
        spent, left = now - self.stage_started, None
        if self.state == "running" and self.total and self.done:
            left = round(spent * (self.total - self.done) / self.done, 1)
        names = ("id", "kind", "state", "stage", "done", "total", "detail", "error", "hint")
        histories = [step.history for step in self.steps if step.history is not None]
        return {
            **{name: getattr(self, name) for name in names},
            "stage_name": STAGE_NAMES.get(self.stage, self.stage),
            "seconds": round(now - self.started, 1) if self.started else 0.0,
            "left": left,
            "notes": self.notes[-_MOST_NOTES:],
            "warnings": self.warnings[-_MOST_NOTES:],
            "command": (self.step or self.steps[0]).text,
            "commands": [step.text for step in self.steps],
            "history": read_history(histories[0]) if histories else [],
            "result": self.result if self.state == "done" else None,
        }

    @property
    def is_over(self) -> bool:
        """Whether it ended, in whatever way."""
        return self.state in ("done", "failed", "cancelled")


class Jobs:
    """Runs jobs one after the other, in a folder.

    `on_change` is called when a job changes, at most a few times a second, from other threads;
    `on_end` once it is over.
    """

    def __init__(
        self, folder: Path, on_change: Callable[[Job], None], on_end: Callable[[Job], None]
    ) -> None:
        self._folder, self._on_change, self._on_end = folder, on_change, on_end
        self._numbers = count(1)
        self._jobs: deque[Job] = deque(maxlen=_MOST_JOBS)
        self._changed = threading.Condition()  # guards the jobs and what is asked of them
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, kind: str, steps: Sequence[Step]) -> Job:
        """Queue a job."""
        with self._changed:
            job = Job(id=f"j{next(self._numbers)}", kind=kind, steps=steps)
            self._jobs.append(job)
            self._changed.notify_all()
        self._on_change(job)
        return job

    def all(self) -> list[Job]:
        """Return the jobs, the newest first."""
        return list(reversed(self._jobs))

    def get(self, job_id: str) -> Job:
        """Return a job, or raise a RequestError."""
        job = next((job for job in self._jobs if job.id == job_id), None)
        if job is None:
            raise RequestError("There is no such job.", status=404)
        return job

    @property
    def current(self) -> Job | None:
        """The job that runs, or else waits."""
        return next((job for job in self._jobs if not job.is_over), None)

    def stop(self, job_id: str, *, at_once: bool) -> Job:
        """End a job: well, keeping what is done, or at once."""
        job = self.get(job_id)
        with self._changed:
            if job.state == "queued":
                job.state, job.ended = "cancelled", time.monotonic()
            elif job.state == "running":
                job.stops = "at once" if at_once else "well"
                self._signal(job)
        self._on_change(job)
        return job

    def close(self) -> None:
        """End all jobs."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for job in self.all():
            self.stop(job.id, at_once=True)
        self._thread.join()

    def _signal(self, job: Job) -> None:
        process, step = job.process, job.step
        if process is None or step is None or process.poll() is not None:
            return
        if os.name == "nt":  # there is no signal that a process there could handle
            process.kill()
            return
        process.send_signal(signal.SIGINT if job.stops == "at once" else step.stop_signal)
        if job.stops == "at once":
            timer = threading.Timer(_SECONDS_TO_END, process.kill)
            timer.daemon = True
            timer.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (waiting := [job for job in self._jobs if job.state == "queued"]):
                    if self._is_closed:
                        return
                    self._changed.wait()
                job = waiting[0]
                job.state, job.started = "running", time.monotonic()
            try:
                state = self._run_job(job)
                self._on_end(job)
            except (ActivityError, OSError, LookupError, ValueError) as error:
                state, job.error = "failed", f"{type(error).__name__}: {error}"
                job.hint = "Run the command in a terminal to see more."
            # Last: a job that is over has been heard by `on_end`, which reads its predictions.
            job.ended, job.state = time.monotonic(), state
            self._on_change(job)

    def _run_job(self, job: Job) -> State:
        """Run the commands of a job; return how it ended."""
        for step in job.steps:
            code, stdout, stderr = self._run_step(job, step)
            if job.stops == "at once":
                return "cancelled"
            if code not in (0, _SOME_WITHOUT_SCORE) and not (job.stops and code == 130):
                job.error, job.hint = _error_in(stderr, code)
                return "failed"
            job.result |= step.finish(stdout)
            if job.stops:
                break
        return "done"

    def _run_step(self, job: Job, step: Step) -> tuple[int, str, list[str]]:
        """Run a command to its end; return its exit code, stdout and the lines that are no JSON."""
        with self._changed:
            if job.stops:
                return 130, "", []
            job.step = step
            job.stage, job.done, job.total, job.detail = "Starting", 0, 0, ""
            job.stage_started = time.monotonic()
            # -P: nothing that lies in the folder of the videos is imported.
            program = [sys.executable, "-P", "-m", "activity_cli"]
            command = [*program, *step.arguments, "--progress", "json"]
            job.process = subprocess.Popen(
                command,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": search_path()},
                start_new_session=True,  # Ctrl-C in the terminal is for the server
            )
        process = job.process
        self._on_change(job)
        output: list[bytes] = []
        assert process.stdout is not None
        assert process.stderr is not None
        reader = threading.Thread(target=lambda: output.append(process.stdout.read()))  # type: ignore[union-attr]
        reader.start()
        others: list[str] = []
        told = 0.0
        with process.stderr as lines:
            for line in lines:
                self._read_line(job, line.decode(errors="replace").rstrip(), others)
                if time.monotonic() - told >= _SECONDS_BETWEEN_MESSAGES:
                    told = time.monotonic()
                    self._on_change(job)
        reader.join()
        process.stdout.close()
        return process.wait(), output[0].decode(errors="replace"), others

    @staticmethod
    def _read_line(job: Job, line: str, others: list[str]) -> None:
        """Take a line of progress; other lines are what a terminal would show."""
        try:
            values = parse_json(line)
            assert isinstance(values, dict)
        except (AssertionError, ValueError):
            others.append(line)
            return
        if "stage" in values:
            if values["stage"] != job.stage:
                job.stage_started = time.monotonic()
            job.stage, job.done, job.total = values["stage"], values["done"], values["total"] or 0
            job.detail = values["detail"]
        elif "note" in values:
            job.notes.append(values["note"])
        elif "warning" in values:
            job.warnings.append(values["warning"])


def _error_in(lines: Sequence[str], code: int) -> tuple[str, str]:
    """Return the message and the hint of a command that failed."""
    for number, line in enumerate(lines):
        if line.startswith("Error: "):
            hint = lines[number + 1].strip() if number + 1 < len(lines) else ""
            return line.removeprefix("Error: "), hint
    if code < 0:
        with suppress(ValueError):
            cause = signal.Signals(-code).name
            return f"The process ended unexpectedly ({cause}).", "Memory may be short. Try again."
    last = next((line for line in reversed(lines) if line.strip()), "")
    return (
        f"The command ended with code {code}. {last}".strip(),
        "Run it in a terminal.",
    )


def read_history(path: Path) -> list[dict[str, float]]:
    """Read the epochs that a training wrote so far."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except OSError:
        return []
    names = ("epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy")
    whole = [line for line in lines if line.endswith("\n")]
    rows = csv.DictReader(whole)
    return [{name: float(row[name]) for name in names} for row in rows]
