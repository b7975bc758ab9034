"""What runs on the machines of a cluster: a worker with one model that scores the files it gets.

Requests and results travel as pickles in Arrow tables: file names need not be valid text, which
Arrow's own strings have to be.
"""

import pickle
import platform
import traceback
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from activity_cli.common.processes import limit_threads
from activity_cli.errors import SettingsError
from activity_cli.features.extraction import ClipRequest
from activity_cli.model.folder import ModelDescription
from activity_cli.predict.predictor import PredictConfig, Predictor, load_predictor
from activity_cli.predict.results.journal import look_at
from activity_cli.types import FileState
from activity_cli.version import __version__

Table = Any
"""A pyarrow.Table. Of requests: `index` and `request`; of results: `index` and `outcome`, the
pickled machine and result, or the exception."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """How each worker loads its model, from what is on its own machine."""

    model: str
    predict: PredictConfig = field(default_factory=PredictConfig)
    num_threads: int = 1  # threads of an engine
    hash_content: bool = False  # whether the state of a file includes a digest of its content

    def load(self) -> Predictor:
        """Load the model. Errors are those of `load_predictor`."""
        limit_threads(self.num_threads)
        return load_predictor(self.model, self.predict)


@dataclass(frozen=True, slots=True)
class Identity:
    """What the rows of all workers must have in common."""

    description: ModelDescription
    provenance: Mapping[str, str]
    gives_ood_score: bool = False
    version: str = __version__
    machine: str = field(default_factory=platform.node)


def identify(config: WorkerConfig) -> bytes:
    """Load a model and return its pickled `Identity`, or the exception."""
    try:
        with closing(config.load()) as model:
            provenance = dict(model.provenance)
            return pickle.dumps(Identity(model.description, provenance, model.gives_ood_score))
    except Exception as error:  # raised again by `read_outcome`
        return _pickled(error)


def read_outcome(content: bytes) -> Any:
    """Return what a worker sent, or raise it if it is an exception."""
    value = pickle.loads(content)
    if isinstance(value, Exception):
        raise value
    return value


class ScoringWorker:
    """Scores tables of requests; Ray Data makes one in each of its processes.

    A Python exception becomes the outcome. If the process ends, Ray sends the table to another one.
    """

    def __init__(self, config: WorkerConfig, expected: Identity) -> None:
        self._hash_content = config.hash_content
        self._error: Exception | None = None
        try:
            self._predictor = config.load()
            _check_same(self._predictor, expected)
        except Exception as error:
            self._error = error

    def __call__(self, requests: Table) -> Table:
        """Score a table of requests."""
        import pyarrow

        states: list[FileState] = []

        def begin() -> Iterable[ClipRequest]:
            for content in requests["request"].to_pylist():
                request: ClipRequest = pickle.loads(content)
                states.append(look_at(request.path, hash_content=self._hash_content))
                yield request

        try:
            if self._error is not None:
                raise self._error
            outcomes = [
                pickle.dumps((platform.node(), replace(result, state=states[number])))
                for number, result in enumerate(self._predictor.predict(begin()))  # in order
            ]
        except Exception as error:
            outcomes = [_pickled(error)] * len(requests)
        return pyarrow.table(
            {"index": requests["index"], "outcome": pyarrow.array(outcomes, pyarrow.binary())}
        )


def _check_same(predictor: Predictor, expected: Identity) -> None:
    """Raise a SettingsError if model, engine or version differ from those of the first worker."""
    here = {**predictor.provenance, "version of activity": __version__}
    there = {**expected.provenance, "version of activity": expected.version}
    for name, value in here.items():
        if value != there.get(name):
            raise SettingsError(
                f"The machine {platform.node()} has another {name} than {expected.machine}: "
                f"{value}, not {there.get(name)}.",
                hint="Choose what all machines can compute, such as --engine openvino --precision "
                "fp32, and install the same version everywhere.",
            )


def _pickled(error: Exception) -> bytes:
    error.add_note(f"On {platform.node()}:\n{''.join(traceback.format_exception(error))}")
    try:
        return pickle.dumps(error)
    except Exception:  # not every exception can be pickled
        return pickle.dumps(RuntimeError("\n".join([repr(error), *error.__notes__])))
