"""Scoring on a Ray cluster: the same rows as on one machine, from many.

Ray Data streams requests to workers that hold one model each. Whatever happens to machines
meanwhile, the results arrive here, and go to the one file of results as those of a local run do.
"""

import os
import pickle
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from activity_cli.common.files import is_file
from activity_cli.common.optional_dependencies import import_ray
from activity_cli.errors import SettingsError
from activity_cli.features.extraction import ClipRequest
from activity_cli.model.folder import ModelDescription
from activity_cli.predict.cluster.connection import ClusterError, translated
from activity_cli.predict.cluster.worker import (
    Identity,
    Recipe,
    ScoringWorker,
    Sent,
    identify,
    outcome,
)
from activity_cli.predict.sliding import wanted_segments
from activity_cli.types import FileResult, Status
from activity_cli.video.augmentation import describe_cost

_MOST_FILES_PER_TASK = 16
"""What is done again when a machine is lost, and how many rows a worker sends at a time."""
_TASKS_PER_WORKER = 6
"""At least, so that all workers end at about the same time."""


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


class ClusterPredictor:
    """Scores on the cluster that this process is connected to. A `Predictor`.

    Args:
        recipe: of each worker's predictor.
        workers: how many, and how large.
        may_grow: whether machines may join, so that it is worth to wait for one.
        on_note: told in one line what takes a while.

    Raises:
        SettingsError: there is no room for a worker, nor will there be.
        ActivityError: the first worker cannot make its predictor.
        ClusterError: the cluster has failed.
    """

    def __init__(
        self,
        recipe: Recipe,
        workers: Workers,
        *,
        may_grow: bool = True,
        on_note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._ray = import_ray()
        self._workers = workers
        self._recipe = replace(recipe, model=_absolute_model(recipe.model))
        if not self._num_workers_now():
            if not may_grow:
                raise SettingsError(
                    f"No machine has room for a worker of {_describe(workers)}.",
                    hint="Ask for less with --cpus-per-worker and --gpus-per-worker.",
                )
            on_note(f"Waiting for a machine with {_describe(workers)}; the cluster has none yet.")
        task = self._ray.remote(identify).options(
            num_cpus=workers.num_cpus, num_gpus=workers.num_gpus
        )
        with translated():
            self._identity: Identity = outcome(self._ray.get(task.remote(self._recipe)))
        self.description: ModelDescription = self._identity.description
        self.provenance: Mapping[str, str] = self._identity.provenance
        self.gives_novelty = self._identity.gives_novelty
        self.segments = wanted_segments(recipe.sliding, self.description)
        if cost := describe_cost(self.provenance, slides=recipe.sliding is not None):
            on_note(cost)
        count = self._num_workers_now() or 1
        on_note(f"{count} worker{'s' * (count > 1)} of {_describe(workers)} each.")

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
        with translated(), closing(self._outcomes(asked)) as outcomes:
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
        ClusterError: some requests have no result in the end, or a machine does not see files that
            this one does.
        Exception: one that a worker sent.
    """
    waiting = dict(enumerate(requests))
    for index, content in outcomes:
        if stop is not None and stop.is_set():
            return
        if (request := waiting.pop(index, None)) is not None:
            sent: Sent = outcome(content)
            if sent.result.status is Status.MISSING and is_file(request.path):
                raise ClusterError(
                    f"The machine {sent.machine} does not find {request.path}, which is here.",
                    hint="Put the files where every machine reaches them under the same path.",
                )
            yield replace(sent.result, path=str(request.path))
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
