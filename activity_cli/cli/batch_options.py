"""Options of a batch: which files, and on which machines."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from activity_cli.cli.option_groups import option
from activity_cli.cli.options import MachineOptions

if TYPE_CHECKING:
    from activity_cli.predict.batch import FailureLimit
    from activity_cli.predict.predictor import Predictor
    from activity_cli.predict.results.result_file import ResumePolicy
    from activity_cli.predict.sliding import Sliding
    from activity_cli.video.sources import Found

_BATCH = "Many files"


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """Which files, and what becomes of those that are done or fail."""

    pattern: Annotated[
        list[str] | None,
        option(panel=_BATCH, text="Only files that match, e.g. '*.mp4'; several may be given."),
    ] = None
    exclude: Annotated[
        list[str] | None, option(panel=_BATCH, text="Leave out files that match, e.g. '*/old/*'.")
    ] = None
    shard: Annotated[
        str | None,
        option(panel=_BATCH, text="One machine's part of the files, e.g. 2/3.", metavar="I/N"),
    ] = None
    dry_run: Annotated[
        bool, option("--dry-run", panel=_BATCH, text="Show what would be done, and stop.")
    ] = False
    retry_failed: Annotated[
        bool, option("--retry-failed", panel=_BATCH, text="Do files without a score again.")
    ] = False
    verify_content: Annotated[
        bool,
        option(
            "--verify-content",
            panel=_BATCH,
            text="Tell changed files by their content, not by size and time.",
        ),
    ] = False
    max_failures: Annotated[
        str | None,
        option(panel=_BATCH, text="Stop after more without a score: 10, or 5%.", metavar="N|P%"),
    ] = None

    def select(self, found: "list[Found]") -> list[Path]:
        """The files to score.

        Raises:
            DataError: the patterns leave nothing.
            SettingsError: the shard is none.
        """
        from activity_cli.video.sources import Shard, select

        return select(
            found,
            patterns=self.pattern or (),
            exclude=self.exclude or (),
            shard=Shard.parse(self.shard) if self.shard else None,
        )

    @property
    def provenance(self) -> dict[str, str]:
        """What a journal remembers of these, so that only the same part goes on in its file.

        Raises:
            SettingsError: the shard is none.
        """
        from activity_cli.predict.batch import SHARD
        from activity_cli.video.sources import Shard

        return {SHARD: str(Shard.parse(self.shard))} if self.shard else {}

    def going_on(self, *, overwrite: bool) -> "ResumePolicy":
        """When a file that has a row is done again."""
        from activity_cli.predict.results.result_file import ResumePolicy

        return ResumePolicy(
            overwrite=overwrite,
            retry_failed=self.retry_failed,
            verify_content=self.verify_content,
        )

    def failure_limit(self) -> "FailureLimit | None":
        """How many files without a score are too many.

        Raises:
            SettingsError: it is no number.
        """
        from activity_cli.predict.batch import FailureLimit

        return FailureLimit.parse(self.max_failures) if self.max_failures else None


_CLUSTER = "Cluster"


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Whether other machines do the work, and what each worker gets of them."""

    cluster: Annotated[
        str | None,
        option(
            panel=_CLUSTER,
            text="Score on a Ray cluster: auto, the address of its head, or local, to start one.",
            metavar="auto|local|HOST:PORT",
        ),
    ] = None
    cpus_per_worker: Annotated[
        int, option(panel=_CLUSTER, text="Cores of a worker, which holds one model.", min=1)
    ] = 1
    gpus_per_worker: Annotated[
        float, option(panel=_CLUSTER, text="GPUs of a worker; 0.5 shares one.", min=0)
    ] = 0
    cluster_workers: Annotated[
        str | None,
        option(
            panel=_CLUSTER,
            text="How many: 4, or from 2 to 8 as there is room: 2,8.",
            metavar="N|MIN,MAX",
            show_default="as many as there is room for",
        ),
    ] = None

    def connected(self, on_note: Callable[[str], None]) -> AbstractContextManager[None]:
        """A connection to the cluster, if one is asked for.

        Raises:
            ClusterError: there is none.
            MissingExtraError: Ray is not installed.
        """
        if self.cluster is None:
            return nullcontext()
        from activity_cli.predict.cluster.connection import connect

        return connect(self.cluster, on_note=on_note)

    def load_predictor(
        self,
        model: str,
        machine: MachineOptions,
        *,
        sliding: "Sliding | None",
        test_views: int,
        remember: bool,
        verify_content: bool,
        on_prepare: Callable[[str], None],
    ) -> "Predictor":
        """A model ready to score, on this machine or on the cluster that it is connected to.

        Raises:
            ActivityError: as `prediction.load_predictor` and `cluster.ClusterPredictor` say.
        """
        if self.cluster is None:
            from activity_cli.predict.predictor import load_predictor

            return load_predictor(
                model,
                cache_dir=machine.cache,
                engine=machine.asked_engine(),
                remember=remember,
                decoders=machine.decoders(),
                sliding=sliding,
                test_views=test_views,
                on_prepare=on_prepare,
            )
        from activity_cli.predict.cluster.driver import ClusterPredictor, Workers
        from activity_cli.predict.cluster.worker import Recipe
        from activity_cli.predict.long_video import no_seconds

        least, most = 1, None
        if self.cluster_workers is not None:
            least, most = Workers.parse_count(self.cluster_workers)
        recipe = Recipe(
            model=model,
            engine=machine.engine,
            device=machine.device,
            precision=machine.precision,
            cache_dir=machine.cache_dir.absolute() if machine.cache_dir else None,
            remember=remember,
            decoders=machine.decoders(num_cores=self.cpus_per_worker),
            # Who has scored how much of a video, workers do not tell.
            sliding=replace(sliding, on_seconds=no_seconds) if sliding else None,
            test_views=test_views,
            num_threads=self.cpus_per_worker,
            hash_content=verify_content,
        )
        workers = Workers(
            num_cpus=self.cpus_per_worker, num_gpus=self.gpus_per_worker, least=least, most=most
        )
        may_grow = self.cluster != "local"
        return ClusterPredictor(recipe, workers, may_grow=may_grow, on_note=on_prepare)
