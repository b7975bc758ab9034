"""What runs on the machines of a cluster: a worker that holds one model and scores what it is sent.

Requests and results travel as pickles, in Arrow tables: names of files need not be valid text,
which Arrow's own strings have to be.
"""

import pickle
import platform
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from activity_cli import __version__
from activity_cli.common.paths import default_cache_dir
from activity_cli.common.threads import limit_threads
from activity_cli.errors import SettingsError
from activity_cli.features.engines.choice import Precision, choose_engine
from activity_cli.features.extraction import ClipRequest
from activity_cli.model.folder import ModelDescription
from activity_cli.predict.predictor import Predictor, load_predictor
from activity_cli.predict.results.journal import look_at
from activity_cli.predict.sliding import Sliding
from activity_cli.types import FileResult, FileState
from activity_cli.video.decoder_pool import Decoders

Table = Any
"""A pyarrow.Table. Of requests: `index` and `request`; of results: `index` and `outcome`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How each worker makes its predictor, from what lies on its own machine."""

    model: str
    engine: Any = "auto"
    device: str = "auto"
    precision: Precision = "auto"
    cache_dir: Path | None = None
    """None is the user's cache folder on the worker's machine."""
    remember: bool = True
    decoders: Decoders = field(default_factory=Decoders)
    sliding: Sliding | None = None
    """How windows slide over videos that are longer than a clip."""
    test_views: int = 1
    """Views of each clip whose scores are averaged."""
    num_threads: int = 1
    """That an engine computes with."""
    hash_content: bool = False
    """Whether the state of a file includes a digest of its content."""

    def load(self) -> Predictor:
        """Make the predictor, as `load_predictor` does.

        Raises:
            ActivityError: it cannot be made on this machine.
        """
        limit_threads(self.num_threads)
        is_free = {self.engine, self.device, self.precision} == {"auto"}
        return load_predictor(
            self.model,
            cache_dir=self.cache_dir or default_cache_dir(),
            engine=None
            if is_free
            else choose_engine(self.engine, device=self.device, precision=self.precision),
            remember=self.remember,
            decoders=self.decoders,
            sliding=self.sliding,
            test_views=self.test_views,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the rows of all workers must have in common."""

    description: ModelDescription
    provenance: Mapping[str, str]
    gives_novelty: bool = False
    version: str = __version__
    machine: str = field(default_factory=platform.node)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A result, and the machine that it comes from."""

    result: FileResult
    machine: str = field(default_factory=platform.node)


def identify(recipe: Recipe) -> bytes:
    """Make a predictor and say what it is: a pickled `Identity`, or an exception."""
    try:
        with closing(recipe.load()) as predictor:
            provenance = dict(predictor.provenance)
            identity = Identity(
                description=predictor.description,
                provenance=provenance,
                gives_novelty=predictor.gives_novelty,
            )
            return pickle.dumps(identity)
    except Exception as error:  # raised again by `outcome`
        return _pickled(error)


def outcome(content: bytes) -> Any:
    """What a worker sent.

    Raises:
        Exception: one that the worker sent.
    """
    value = pickle.loads(content)
    if isinstance(value, Exception):
        raise value
    return value


class ScoringWorker:
    """Scores tables of requests; Ray Data makes one in each of its processes.

    What goes wrong in Python becomes the outcome, so that it arrives as it is. Only what ends the
    process is left to Ray, which does the same table again elsewhere.
    """

    def __init__(self, recipe: Recipe, expected: Identity) -> None:
        self._hash_content = recipe.hash_content
        self._error: Exception | None = None
        try:
            self._predictor = recipe.load()
            _check_same(self._predictor, expected)
        except Exception as error:
            self._error = error

    def __call__(self, requests: Table) -> Table:
        """Score a table of requests."""
        import pyarrow

        try:
            if self._error is not None:
                raise self._error
            outcomes = [pickle.dumps(Sent(result=one)) for one in self._score(requests)]
        except Exception as error:
            outcomes = [_pickled(error)] * len(requests)
        return pyarrow.table(
            {"index": requests["index"], "outcome": pyarrow.array(outcomes, pyarrow.binary())}
        )

    def _score(self, table: Table) -> Iterator[FileResult]:
        states: list[FileState] = []

        def begin() -> Iterable[ClipRequest]:
            for content in table["request"].to_pylist():
                request: ClipRequest = pickle.loads(content)
                states.append(look_at(request.path, hash_content=self._hash_content))
                yield request

        for number, result in enumerate(self._predictor.predict(begin())):  # in order
            yield replace(result, state=states[number])


def _check_same(predictor: Predictor, expected: Identity) -> None:
    """See that rows of this machine may stand beside those of the others.

    Raises:
        SettingsError: it computes something else.
    """
    here = {**predictor.provenance, "version of activity": __version__}
    there = {**expected.provenance, "version of activity": expected.version}
    for name, value in here.items():
        if value != there.get(name):
            raise SettingsError(
                f"The machine {platform.node()} has another {name} than {expected.machine}: "
                f"{value}, not {there.get(name)}.",
                hint="Choose what all can compute, as with --engine openvino --precision fp32, and "
                "install the same version everywhere.",
            )


def _pickled(error: Exception) -> bytes:
    error.add_note(f"On {platform.node()}:\n{''.join(traceback.format_exception(error))}")
    try:
        return pickle.dumps(error)
    except Exception:  # not every exception can be pickled
        return pickle.dumps(RuntimeError("\n".join([repr(error), *error.__notes__])))
