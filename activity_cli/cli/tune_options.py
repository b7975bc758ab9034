"""Options of a search for settings."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

from activity_cli.cli.option_groups import option
from activity_cli.cli.train_options import DealOptions
from activity_cli.errors import SettingsError

if TYPE_CHECKING:
    from activity_cli.data.dataset import Dataset
    from activity_cli.data.splits import Folds
    from activity_cli.settings import AuditSettings
    from activity_cli.training.tuning.run import Plan
    from activity_cli.training.tuning.space import Candidate

_PANEL = "Search"


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What is searched, for how long, and whether that is measured."""

    trials: Annotated[
        int, option(panel=_PANEL, text="How many settings to try, in all.", min=1)
    ] = 40
    time_limit: Annotated[
        float | None, option(panel=_PANEL, text="Minutes after which no trial begins.", min=0)
    ] = None
    search: Annotated[
        list[str] | None,
        option(
            panel=_PANEL,
            text="Setting to vary; may be given more than once.",
            metavar="NAME",
            show_default="all that can be searched",
        ),
    ] = None
    try_frames: Annotated[
        str, option(panel=_PANEL, text="Numbers of frames to try.", metavar="N,N,...")
    ] = "8,16,24"
    nested: Annotated[
        bool,
        option(
            "--nested",
            panel=_PANEL,
            text="Measure what tuning is worth: a whole search per fold, scored on that fold.",
        ),
    ] = False
    outer_folds: Annotated[
        int | None,
        option(
            panel=_PANEL,
            text="As --nested, with so many folds drawn for it.",
            min=2,
            show_default="those of --folds or --fold-column",
        ),
    ] = None

    def plan(
        self,
        base: "Candidate",
        folds: DealOptions,
        audit: "AuditSettings",
        *,
        seed: int,
        num_workers: int,
    ) -> "Plan":
        """The search that these options ask for.

        Args:
            base: the settings that it begins with.
            folds: how clips are dealt to folds.
            audit: groups in names, and whether leakage stops it.
            seed: draws candidates and folds.
            num_workers: folds fitted at a time.

        Raises:
            SettingsError: a setting cannot be searched, or options exclude each other.
        """
        from activity_cli.training.tuning.run import Plan
        from activity_cli.training.tuning.space import Space

        if self.outer_folds is not None and folds.fold_column is not None:
            raise SettingsError(
                "--outer-folds and --fold-column exclude each other.",
                hint="With --nested the column's folds are the outer ones too.",
            )
        deal_outer = None
        if self.nested or self.outer_folds is not None:
            deal_outer = partial(_deal, folds, seed, self.outer_folds or folds.folds)
        return Plan(
            space=Space.around(base, names=self.search or (), frames=self._frames()),
            deal=partial(_deal, folds, seed, folds.folds),
            deal_outer=deal_outer,
            num_trials=self.trials,
            max_seconds=None if self.time_limit is None else 60 * self.time_limit,
            num_workers=num_workers,
            audit=audit,
        )

    def _frames(self) -> tuple[int, ...]:
        try:
            return tuple(int(part) for part in self.try_frames.split(","))
        except ValueError as error:
            raise SettingsError(
                f"--try-frames {self.try_frames} is not a list of numbers.",
                hint="Write it like --try-frames 8,16,24",
            ) from error


def _deal(options: DealOptions, seed: int, num_folds: int, dataset: "Dataset") -> "Folds":
    from activity_cli.data.splits import make_folds

    return make_folds(
        dataset,
        num_folds=num_folds,
        fold_column=options.fold_column,
        group_column=options.group_column,
        seed=seed,
    )
