"""Options of a search for settings."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from activity_cli.cli.train_options import FoldOptions
from activity_cli.errors import SettingsError
from activity_cli.setting_fields import setting

if TYPE_CHECKING:
    from activity_cli.settings import AuditSettings
    from activity_cli.training.tuning.run import Plan
    from activity_cli.training.tuning.space import Candidate


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What is searched, for how long, and whether the gain is measured."""

    trials: int = setting(40, at_least=1)
    """Number of settings to try."""
    time_limit: float | None = setting(None, at_least=0)
    """Minutes after which no trial starts."""
    search: tuple[str, ...] = setting((), metavar="NAME", derived="all that can be searched")
    """Setting to vary; can be given several times."""
    try_frames: tuple[int, ...] = setting((8, 16, 24), metavar="N,N,...")
    """Numbers of frames to try."""
    nested: bool = setting(False)
    """Measure the gain on unseen clips: a whole search per fold, scored on that fold."""
    outer_folds: int | None = setting(None, at_least=2, derived="those of --folds or --fold-column")
    """As --nested, with this number of outer folds."""

    def plan(
        self,
        base: "Candidate",
        folds: FoldOptions,
        audit: "AuditSettings",
        *,
        seed: int,
        num_workers: int,
    ) -> "Plan":
        """Return the search that these options ask for.

        Args:
            base: the settings that it starts from.
            folds: how clips are assigned to folds.
            audit: groups in names, and whether leakage stops it.
            seed: of candidates and folds.
            num_workers: folds fitted at the same time.

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
            deal_outer = partial(folds.deal, seed=seed, num_folds=self.outer_folds)
        return Plan(
            space=Space.around(base, names=self.search, frames=self.try_frames),
            deal=partial(folds.deal, seed=seed),
            deal_outer=deal_outer,
            num_trials=self.trials,
            max_seconds=None if self.time_limit is None else 60 * self.time_limit,
            num_workers=num_workers,
            audit=audit,
        )
