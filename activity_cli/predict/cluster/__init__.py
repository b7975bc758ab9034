"""Scoring on a Ray cluster: Ray Data streams requests to workers with one model each.

The results arrive here, also when machines fail, and go to one result file as in a local run.
"""

import logging
import os
import pickle
import socket
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from activity_cli.common import count_of
from activity_cli.common.files import is_file
from activity_cli.common.optional_dependencies import import_ray
from activity_cli.errors import ActivityError, SettingsError
from activity_cli.features.extraction import ClipRequest
from activity_cli.predict.cluster.worker import (
    Identity,
    ScoringWorker,
    WorkerConfig,
    identify,
    read_outcome,
)
from activity_cli.predict.file_results import segment_settings
from activity_cli.predict.predictor import ignore
from activity_cli.types import FileResult, Status
from activity_cli.video.augmentation import describe_cost

_MOST_FILES_PER_TASK = 16  # scored again when a machine fails; rows that a worker sends at a time
_TASKS_PER_WORKER = 6  # the fewest, so that all workers end at about the same time
_SECONDS_TO_ANSWER = 10.0
_RESUME_HINT = "Finished rows are kept: run the same command again to resume."


class ClusterError(ActivityError):
    """A cluster cannot be reached, or could not do all of the work."""


@contextmanager
def connect(address: str, *, on_note: Callable[[str], None]) -> Iterator[None]:
    """Connect to a cluster for the length of the block; raise a ClusterError if there is none.

    The address is `host:port` of its head; `auto` is the one that this machine belongs to; `local`
    starts one on this machine alone, which ends with the block.
    """
    on_note("Starting Ray on this machine." if address == "local" else "Connecting to the cluster.")
    ray = import_ray()
    if address not in ("auto", "local"):
        _check_reachable(address)
    elif address == "auto" and (found := _last_address()):
        _check_reachable(found)
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    # Workers find modules where this process does, whatever folder it was started in.
    if path := os.environ.get("PYTHONPATH"):
        entries = [os.path.abspath(entry) for entry in path.split(os.pathsep) if entry]  # noqa: PTH100
        options["runtime_env"] = {"env_vars": {"PYTHONPATH": os.pathsep.join(entries)}}
    is_debugging = bool(os.environ.get("ACTIVITY_DEBUG"))
    level = logging.WARNING if is_debugging else logging.CRITICAL
    try:
        with _quiet_stderr(not is_debugging):
            ray.init(address=address, log_to_driver=is_debugging, logging_level=level, **options)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise _no_cluster(address, str(error)) from error
    try:
        yield
    finally:
        ray.shutdown()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """How many workers, and the resources of each one."""

    num_cpus: int = 1
    num_gpus: float = 0.0
    least: int = 1
    most: int | None = None  # as many as there is room for, also on machines that join later

    @classmethod
    def parse_count(cls, text: str) -> tuple[int, int]:
        """Parse `4` or `2,8`; raise a SettingsError if it is of another form."""
        try:
            least, _, most = text.partition(",")
            counts = int(least), int(most or least)
        except ValueError:
            counts = 0, 0
        if not 1 <= counts[0] <= counts[1]:
            raise SettingsError(
                f"{text!r} is not a number of workers.",
                hint="Write a number, 4, or a range, 2,8.",
            )
        return counts

    def __str__(self) -> str:
        gpus = f" and {self.num_gpus:g} GPU" if self.num_gpus else ""
        return f"{count_of(self.num_cpus, 'CPU')}{gpus}"

    def count_room(self, nodes: Iterable[Mapping[str, Any]]) -> int:
        """Return how many workers Ray's nodes have room for."""
        needs = {name: n for name, n in (("CPU", self.num_cpus), ("GPU", self.num_gpus)) if n}
        room = sum(
            min(int(node["Resources"].get(name, 0) / number) for name, number in needs.items())
            for node in nodes
            if node["Alive"]
        )
        return min(room, self.most or room)


class ClusterPredictor:
    """Scores on the cluster that this process is connected to. A `Predictor`.

    The callbacks of `worker` are called here, not by workers. With `may_grow`, machines may join
    later, so it waits for one with room.

    Raises:
        SettingsError: no machine has room for a worker, and none can join.
        ActivityError: the first worker cannot load the model.
        ClusterError: the cluster has failed.
    """

    def __init__(self, worker: WorkerConfig, workers: Workers, *, may_grow: bool = True) -> None:
        self._ray = import_ray()
        self._workers = workers
        self._config = _portable(worker)
        on_note, windows = worker.predict.on_prepare, worker.predict.windows
        if not workers.count_room(self._ray.nodes()):
            if not may_grow:
                raise SettingsError(
                    f"No machine has room for a worker with {workers}.",
                    hint="Request less with --cpus-per-worker and --gpus-per-worker.",
                )
            on_note(f"Waiting for a machine with {workers}; the cluster has none yet.")
        self._resources = {"num_cpus": workers.num_cpus, "num_gpus": workers.num_gpus}
        task = self._ray.remote(identify).options(**self._resources)
        with _translated():
            self._identity: Identity = read_outcome(self._ray.get(task.remote(self._config)))
        self.description = self._identity.description
        self.provenance = self._identity.provenance
        self.gives_ood_score = self._identity.gives_ood_score
        self.segments = segment_settings(windows, self.description)
        if cost := describe_cost(self.provenance, slides=windows is not None):
            on_note(cost)
        count = workers.count_room(self._ray.nodes()) or 1
        on_note(f"{count_of(count, 'worker')} with {workers} each.")

    def predict(
        self, requests: Iterable[ClipRequest], *, stop: threading.Event | None = None
    ) -> Iterator[FileResult]:
        """Yield one result per request as they are finished, with the state that each file had."""
        if asked := list(requests):
            with _translated(), closing(self._outcomes(asked)) as outcomes:
                yield from match_results(asked, outcomes, stop=stop)

    def close(self) -> None:
        """Do nothing: workers end with each run."""

    def _outcomes(
        self, requests: Sequence[ClipRequest]
    ) -> Generator[tuple[int, bytes], None, None]:
        """Yield what the workers send, in any order."""
        data = self._ray.data
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.execution_no_progress_timeout_s = -1  # long videos, or no machine for a while
        context.max_consecutive_actor_init_deaths = 8
        context.max_errored_blocks = -1  # what is missing at the end is reported
        count = self._workers.count_room(self._ray.nodes()) or 1
        size = max(1, min(_MOST_FILES_PER_TASK, len(requests) // (count * _TASKS_PER_WORKER)))
        results = data.from_blocks(list(_tables(requests, size))).map_batches(
            ScoringWorker,
            fn_constructor_args=(self._config, self._identity),
            batch_size=size,
            batch_format="pyarrow",
            compute=data.ActorPoolStrategy(
                min_size=self._workers.least,
                max_size=self._workers.most,
                initial_size=max(self._workers.least, count),
                max_tasks_in_flight_per_actor=2,
            ),
            **self._resources,
        )
        for table in results.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from zip(table["index"].to_pylist(), table["outcome"].to_pylist(), strict=True)


def match_results(
    requests: Sequence[ClipRequest],
    outcomes: Iterable[tuple[int, bytes]],
    *,
    stop: threading.Event | None = None,
) -> Iterator[FileResult]:
    """Yield one result per request; `outcomes` have their numbers, and one may arrive twice.

    Raises a ClusterError for requests without a result and for files that a machine does not see.
    """
    waiting = dict(enumerate(requests))
    for index, content in outcomes:
        if stop is not None and stop.is_set():
            return
        if (request := waiting.pop(index, None)) is not None:
            machine, result = read_outcome(content)
            if result.status is Status.MISSING and is_file(request.path):
                raise ClusterError(
                    f"The machine {machine} does not find {request.path}, which is here.",
                    hint="Put the files where every machine reaches them under the same path.",
                )
            yield replace(result, path=str(request.path))
    if waiting:
        raise ClusterError(
            f"{len(waiting)} of {len(requests)} files have no row: the cluster lost them. One of "
            f"them: {next(iter(waiting.values())).path}",
            hint=_RESUME_HINT,
        )


def _tables(requests: Sequence[ClipRequest], size: int) -> Iterator[Any]:
    """Yield requests as Arrow tables of `size` rows, with absolute paths."""
    import pyarrow

    numbered = iter(enumerate(requests))
    while part := list(islice(numbered, size)):
        contents = [pickle.dumps(replace(one, path=_absolute(one.path))) for _, one in part]
        indices = pyarrow.array([index for index, _ in part], pyarrow.int64())
        yield pyarrow.table(
            {"index": indices, "request": pyarrow.array(contents, pyarrow.binary())}
        )


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are


def _portable(worker: WorkerConfig) -> WorkerConfig:
    """Return the config with absolute paths, and without callbacks of this process."""
    predict = replace(worker.predict, on_prepare=ignore)
    if predict.cache_dir is not None:
        predict = replace(predict, cache_dir=_absolute(predict.cache_dir))
    if predict.windows is not None:
        predict = replace(predict, windows=replace(predict.windows, on_seconds=ignore))
    # The name of a shipped model is no path and stays as it is.
    model = str(_absolute(Path(worker.model))) if Path(worker.model).exists() else worker.model
    return replace(worker, model=model, predict=predict)


def _last_address() -> str | None:
    """Return the address that Ray takes for `auto`: RAY_ADDRESS, or that of the last head here.

    A head that was killed leaves its address in the file.
    """
    if address := os.environ.get("RAY_ADDRESS"):
        return address
    with suppress(OSError, ImportError):
        from ray._common.utils import get_ray_address_file  # not public, but the only way

        return Path(get_ray_address_file(None)).read_text(encoding="utf-8").strip() or None
    return None


def _check_reachable(address: str) -> None:
    """Check that something answers at the address: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise SettingsError(
            f"{address!r} is not the address of a cluster.",
            hint="Write auto, local, or host:port, as `ray start --head` prints it.",
        )
    try:
        socket.create_connection((host, int(port)), timeout=_SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, str(error)) from error


def _no_cluster(address: str, why: str) -> ClusterError:
    if address == "auto":
        return ClusterError(
            "No Ray cluster is running on this machine.",
            hint="Add --cluster local to start one here for this run, or start one that other "
            "machines can join with `ray start --head`, then run the same command again.",
        )
    reason = why.partition("\n")[0]
    return ClusterError(
        f"There is no Ray cluster at {address}: {reason}",
        hint="Start one there with `ray start --head`, or use --cluster local.",
    )


@contextmanager
def _quiet_stderr(is_quiet: bool) -> Iterator[None]:
    """Suppress what Ray's C++ part writes to stderr while it starts."""
    if not is_quiet:
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


@contextmanager
def _translated() -> Iterator[None]:
    """Raise Ray's errors as ClusterError."""
    ray = import_ray()
    try:
        yield
    except ray.exceptions.RayError as error:
        line = next((line for line in str(error).splitlines()[::-1] if line.strip()), repr(error))
        raise ClusterError(
            f"The cluster has failed: {line.strip()}",
            hint=f"{_RESUME_HINT} Check that every machine has the same version of activity-cli "
            "and sees the files under the same paths.",
        ) from error
