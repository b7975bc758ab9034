"""`activity tune`: search for the settings that suit labelled clips."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from activity_cli.cli import StoppedError, options
from activity_cli.cli.options import this_command
from activity_cli.cli.progress import ProgressReport, progress_report
from activity_cli.cli.settings import (
    ClipOptions,
    FoldOptions,
    MultiLabelOption,
    SettingsFile,
    settings_keys,
)
from activity_cli.errors import SettingsError
from activity_cli.setting_fields import setting
from activity_cli.settings import FROZEN, AuditSettings, NetworkSettings, TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from activity_cli.data.splits import Folds
    from activity_cli.training.tuning.run import TuningCallbacks, TuningConfig
    from activity_cli.training.tuning.search import Trial
    from activity_cli.training.tuning.space import Candidate

_HEADER = """\
The best of {number} trials: log-loss {log_loss:.4f}, {figure}. Both are optimistic:
the trial was chosen on the clips that they are measured on.
Made by: {command}"""


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What is searched, for how long, and whether the gain is measured."""

    trials: int = setting(40, at_least=1)
    """Number of settings to try."""
    time_limit: float | None = setting(None, at_least=0, metavar="MINUTES")
    """Minutes after which no trial starts."""
    search: tuple[str, ...] = setting((), metavar="NAME", derived="all that can be searched")
    """Setting to vary; can be given several times."""
    try_frames: tuple[int, ...] = setting((8, 16, 24), metavar="N,N,...", rare=True)
    """Numbers of frames to try."""
    nested: bool = setting(False)
    """Measure the gain on unseen clips: a whole search per fold, scored on that fold."""
    outer_folds: int | None = setting(
        None, at_least=2, derived="those of --folds or --fold-column", rare=True
    )
    """As --nested, with this number of outer folds."""

    def config(
        self,
        base: "Candidate",
        make_folds: "Callable[..., Folds]",
        machine: options.MachineOptions,
        audit: AuditSettings,
        *,
        multi_label: bool | None,
    ) -> "TuningConfig":
        """Return what is searched around the settings of `base`, and on which folds."""
        from activity_cli.training.tuning.run import TuningConfig
        from activity_cli.training.tuning.space import Space

        is_nested = self.nested or self.outer_folds is not None
        return TuningConfig(
            space=Space.around(base, names=self.search, frames=self.try_frames),
            make_folds=make_folds,
            make_outer_folds=(
                partial(make_folds, num_folds=self.outer_folds) if is_nested else None
            ),
            num_trials=self.trials,
            max_seconds=None if self.time_limit is None else 60 * self.time_limit,
            num_workers=machine.decoders().num_workers,
            audit=audit,
            multi_label=multi_label,
        )


SearchFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="Folder of the search.", show_default="tuning/ and the data's name"
    ),
]


def tune(
    context: typer.Context,
    data: options.Data,
    *,
    search: SearchOptions,
    output: SearchFolder = None,
    settings: SettingsFile = None,
    folds: FoldOptions,
    audit: AuditSettings,
    labels: MultiLabelOption,
    clip: ClipOptions,
    training: TrainSettings,
    network: NetworkSettings,
    machine: options.MachineOptions,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Search for the settings that suit your clips, by cross-validation.

    The search starts from the options given here, or the defaults, and varies what --search names.
    Stop it at any time and run the same command again to resume. Use best.toml with
    `activity train --settings`.

    Example:  activity tune clips --trials 40
    """
    del settings  # the options have its values by now
    dataset = options.check_data(data, videos=clip.videos, multi_label=labels.multi_label)
    folds.deal(dataset, seed=training.seed)
    clip.check_backbone(FROZEN)
    from activity_cli.common.files import write_json
    from activity_cli.report.figures import plot_tuning
    from activity_cli.report.terminal.tuning import show_tuning, tuning_metrics
    from activity_cli.training.tuning.folder import BEST_FILE
    from activity_cli.training.tuning.run import tune as run_search
    from activity_cli.training.tuning.space import Candidate

    if search.outer_folds is not None and folds.fold_column is not None:
        raise SettingsError(
            "--outer-folds and --fold-column exclude each other.",
            hint="With --nested the column's folds are the outer ones too.",
        )
    folder = output or Path("tuning") / data.resolve().stem
    with progress_report(quiet=quiet) as report:
        data_config = clip.data_config(machine, report, FROZEN)
        base = Candidate(clip=data_config.clip, network=network, training=training)
        deal = partial(folds.deal, seed=training.seed)
        config = search.config(base, deal, machine, audit, multi_label=labels.multi_label)
        callbacks = _callbacks(context, folder, report)
        try:
            run = run_search(
                data, data_config, folder, config, overwrite=overwrite, callbacks=callbacks
            )
        except KeyboardInterrupt:
            raise StoppedError(
                f"Interrupted. Trials and best settings so far are in {folder}. "
                "Run the same command again to resume."
            ) from None
    metrics = tuning_metrics(run, command=this_command())
    write_json(folder / "metrics.json", metrics)
    plot_tuning(run.result.study, run.importance, folder)
    best_file = folder / BEST_FILE
    options.print_result(
        metrics, lambda: show_tuning(run, metrics, data=data, best_file=best_file), json=json
    )


def _callbacks(context: typer.Context, folder: Path, report: ProgressReport) -> "TuningCallbacks":
    """Return functions that show progress and keep trials.csv and best.toml up to date."""
    from activity_cli.common.files import write_text_atomically
    from activity_cli.common.settings_file import write_settings
    from activity_cli.report.terminal.tuning import write_trials
    from activity_cli.training.tuning.folder import BEST_FILE, TRIALS_FILE
    from activity_cli.training.tuning.run import TuningCallbacks
    from activity_cli.training.tuning.search import best_of

    tables = {"clip", "network", "training", "labels", "audit"}
    keys = [key for key in settings_keys() if key.table in tables and key.name in context.params]
    command = this_command()

    def on_trials(trials: "tuple[Trial, ...]") -> None:
        best = best_of(trials)
        header = _HEADER.format(
            number=len(trials), log_loss=best.log_loss, figure=best.figure, command=command
        )
        text = write_settings(keys, {**context.params, **best.point}, header=header)
        write_trials(folder / TRIALS_FILE, trials)
        write_text_atomically(folder / BEST_FILE, text)

    return TuningCallbacks(
        on_progress=report,
        on_best=lambda trial: report.detail(f"best {trial.log_loss:.3f} ({trial.figure})"),
        on_trials=on_trials,
    )
