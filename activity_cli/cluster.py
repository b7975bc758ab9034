"""Scoring on a Ray cluster: the same rows as on one machine, from many.

Ray Data streams requests to workers that hold one model each. Whatever happens to machines
meanwhile, the results arrive here, and go to the one file of results as those of a local run do.
"""

import logging
import os
import pickle
import socket
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from activity_cli.bundle import ModelDescription
from activity_cli.cluster_worker import Identity, Recipe, ScoringWorker, identify, outcome
from activity_cli.errors import ActivityError, SettingsError
from activity_cli.features import ClipRequest
from activity_cli.guarded_imports import import_ray
from activity_cli.types import FileResult

_MOST_FILES_PER_TASK = 16
"""What is done again when a machine is lost, and how many rows a worker sends at a time."""
_SECONDS_TO_ANSWER = 10.0
_TASKS_PER_WORKER = 6
"""At least, so that all workers end at about the same time."""


class ClusterError(ActivityError):
    """A cluster cannot be reached, or could not do all of the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """How many workers, and what each one has."""

    num_cpus: int = 1
    num_gpus: float = 0.0
    least: int = 1
    most: int | None = None
    """None is as many as there is room for, also on machines that join later."""

    @classmethod
    def parse_count(cls, text: str) -> tuple[int, int]:
        """Read `4` or `2,8`.

        Raises:
            SettingsError: it is not of that form.
        """
        try:
            least, _, most = text.partition(",")
            counts = int(least), int(most or least)
        except ValueError:
            counts = 0, 0
        if not 1 <= counts[0] <= counts[1]:
            raise SettingsError(
                f"{text!r} is no number of workers.", hint="Write a number, 4, or a range, 2,8."
            )
        return counts


@contextmanager
def connect(address: str, *, on_note: Callable[[str], None]) -> Iterator[None]:
    """Be a part of a cluster.

    Args:
        address: of its head, `host:port`; `auto` is the one that this machine belongs to, `local`
            starts one of this machine alone, which ends with the block.
        on_note: told in one line what takes a while.

    Raises:
        ClusterError: there is none.
        SettingsError: this is no address.
        MissingExtraError: Ray is not installed.
    """
    on_note("Starting Ray on this machine." if address == "local" else "Connecting to the cluster.")
    ray = import_ray()
    if address not in ("auto", "local"):
        _check_reachable(address)
    own = {"include_dashboard": False} if address == "local" else {}
    try:
        # Workers find modules where this process does, wherever it was started.
        path = os.pathsep.join(os.path.abspath(entry) for entry in _module_path())  # noqa: PTH100
        with _quiet_stderr():
            ray.init(
                address=address,
                log_to_driver=_is_debugging(),
                logging_level=logging.WARNING if _is_debugging() else logging.CRITICAL,
                runtime_env={"env_vars": {"PYTHONPATH": path}} if path else None,
                **own,
            )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise _no_cluster(address, str(error)) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """See that somebody answers there: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise SettingsError(
            f"{address!r} is no address of a cluster.",
            hint="Write auto, local, or host:port, as `ray start --head` says it.",
        )
    try:
        socket.create_connection((host, int(port)), timeout=_SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, str(error)) from error


def _no_cluster(address: str, why: str) -> ClusterError:
    if address == "auto":
        where, why = "on this machine", "nothing of Ray is running"
    else:
        where, why = f"at {address}", why.partition("\n")[0]
    return ClusterError(
        f"There is no Ray cluster {where}: {why}",
        hint="Start one with `ray start --head`, or use --cluster local.",
    )


def _is_debugging() -> bool:
    return bool(os.environ.get("ACTIVITY_DEBUG"))


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep Ray's C++ part from saying on stderr that, and how much, it will say there."""
    if _is_debugging():
        yield
        return
    sys.stderr.flush()
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def _module_path() -> Sequence[str]:
    return [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]


class ClusterPredictor:
    """Scores on the cluster that this process is connected to. A `Predictor`.

    Args:
        recipe: of each worker's predictor.
        workers: how many, and how large.
        on_note: told in one line what takes a while.

    Raises:
        ActivityError: the first worker cannot make its predictor.
        ClusterError: the cluster has failed.
    """

    def __init__(
        self, recipe: Recipe, workers: Workers, *, on_note: Callable[[str], None] = lambda _: None
    ) -> None:
        self._ray = import_ray()
        self._workers = workers
        self._recipe = replace(recipe, model=_absolute_model(recipe.model))
        if not self._num_workers_now():
            on_note(f"Waiting for a machine with {_describe(workers)}; the cluster has none yet.")
        task = self._ray.remote(identify).options(
            num_cpus=workers.num_cpus, num_gpus=workers.num_gpus
        )
        with _translated(self._ray):
            self._identity: Identity = outcome(self._ray.get(task.remote(self._recipe)))
        self.description: ModelDescription = self._identity.description
        self.made_with: Mapping[str, str] = self._identity.made_with
        on_note(f"{self._num_workers_now() or 1} workers of {_describe(workers)} each.")

    def predict(
        self, requests: Iterable[ClipRequest], *, stop: threading.Event | None = None
    ) -> Iterator[FileResult]:
        """One result per request, as they are finished, with the state that each file had.

        Args:
            requests: all are read at once.
            stop: once it is set, what is under way is dropped.

        Raises:
            ActivityError: a worker cannot score.
            ClusterError: some requests have no result in the end.
        """
        asked = list(requests)
        if not asked:
            return
        with _translated(self._ray), closing(self._outcomes(asked)) as outcomes:
            yield from match_results(asked, outcomes, stop=stop)

    def close(self) -> None:
        """Nothing: workers end with each run."""

    def _outcomes(
        self, requests: Sequence[ClipRequest]
    ) -> Generator[tuple[int, bytes], None, None]:
        """What the workers send, in any order."""
        data = self._ray.data
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.execution_no_progress_timeout_s = -1  # long videos, or no machine for a while
        context.max_consecutive_actor_init_deaths = 8
        context.max_errored_blocks = -1  # what is missing in the end is reported
        count = self._num_workers_now() or 1
        size = max(1, min(_MOST_FILES_PER_TASK, len(requests) // (count * _TASKS_PER_WORKER)))
        results = data.from_blocks(list(_tables(requests, size))).map_batches(
            ScoringWorker,
            fn_constructor_args=(self._recipe, self._identity),
            batch_size=size,
            batch_format="pyarrow",
            compute=data.ActorPoolStrategy(
                min_size=self._workers.least,
                max_size=self._workers.most,
                initial_size=max(self._workers.least, count),
                max_tasks_in_flight_per_actor=2,
            ),
            num_cpus=self._workers.num_cpus,
            num_gpus=self._workers.num_gpus,
        )
        for table in results.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from zip(table["index"].to_pylist(), table["outcome"].to_pylist(), strict=True)

    def _num_workers_now(self) -> int:
        """For how many workers there is room on the machines that are there."""
        room = 0
        for node in self._ray.nodes():
            if node["Alive"]:
                has = node["Resources"]
                fits = int(has.get("CPU", 0) // self._workers.num_cpus)
                if self._workers.num_gpus:
                    fits = min(fits, int(has.get("GPU", 0) / self._workers.num_gpus))
                room += fits
        return min(room, self._workers.most or room)


def match_results(
    requests: Sequence[ClipRequest],
    outcomes: Iterable[tuple[int, bytes]],
    *,
    stop: threading.Event | None = None,
) -> Iterator[FileResult]:
    """One result for each request, whatever arrives: what is lost with a machine may come twice.

    Args:
        requests: that results are expected for.
        outcomes: what workers sent, each with the number of its request.
        stop: once it is set, no more are taken.

    Raises:
        ClusterError: some requests have no result in the end.
        Exception: one that a worker sent.
    """
    waiting = dict(enumerate(requests))
    for index, content in outcomes:
        if stop is not None and stop.is_set():
            return
        if (request := waiting.pop(index, None)) is not None:
            yield replace(outcome(content), path=str(request.path))
    if waiting:
        raise ClusterError(
            f"{len(waiting)} of {len(requests)} files have no row: the cluster lost them. One of "
            f"them: {next(iter(waiting.values())).path}",
            hint="Rows so far are kept: the same command goes on.",
        )


def _tables(requests: Sequence[ClipRequest], size: int) -> Iterator[Any]:
    """Requests as Arrow tables of `size` rows, with paths that hold in any working folder."""
    import pyarrow

    numbered = iter(enumerate(requests))
    while part := list(islice(numbered, size)):
        contents = [pickle.dumps(replace(one, path=_absolute(one.path))) for _, one in part]
        yield pyarrow.table(
            {
                "index": pyarrow.array([index for index, _ in part], pyarrow.int64()),
                "request": pyarrow.array(contents, pyarrow.binary()),
            }
        )


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are


def _absolute_model(name: str) -> str:
    """A model's folder or file holds in any working folder; a shipped model's name stays."""
    return str(_absolute(Path(name))) if Path(name).exists() else name


def _describe(workers: Workers) -> str:
    gpus = f" and {workers.num_gpus:g} GPU" if workers.num_gpus else ""
    return f"{workers.num_cpus} CPU{'s' * (workers.num_cpus != 1)}{gpus}"


@contextmanager
def _translated(ray: Any) -> Iterator[None]:
    try:
        yield
    except ray.exceptions.RayError as error:
        line = next((line for line in str(error).splitlines()[::-1] if line.strip()), repr(error))
        raise ClusterError(
            f"The cluster has failed: {line.strip()}",
            hint="Rows so far are kept: the same command goes on. See that every machine has the "
            "same version of activity-cli, and reaches the files under the same paths.",
        ) from error
