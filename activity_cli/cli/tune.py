"""`activity tune`: which settings are best for these clips, and is that worth anything?"""

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from activity_cli.cli import StoppedError, options
from activity_cli.cli.options import this_command
from activity_cli.cli.progress import ProgressReport, progress_report
from activity_cli.cli.settings import SettingsFile, settings_keys
from activity_cli.cli.train_options import ClipOptions, FoldOptions
from activity_cli.cli.tune_options import SearchOptions
from activity_cli.settings import FROZEN, AuditSettings, NetworkSettings, TrainSettings

if TYPE_CHECKING:
    from activity_cli.training.tuning.run import Listener
    from activity_cli.training.tuning.search import Trial

EXAMPLE = "activity tune clips --trials 40"

_HEADER = """\
The best of {number} trials: log-loss {log_loss:.4f}, accuracy {accuracy:.3f}, both optimistic,
as it was chosen on the clips that they are measured on.
Made by: {command}"""


@options.with_option_groups
def tune(
    context: typer.Context,
    data: options.Data,
    *,
    machine: options.MachineOptions,
    clip: ClipOptions,
    network: NetworkSettings,
    training: TrainSettings,
    audit: AuditSettings,
    folds: FoldOptions,
    search: SearchOptions,
    settings: SettingsFile = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of the search.", show_default="tuning/ and the data's name"),
    ] = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Search for the settings that suit your clips, by cross-validation on cached features.

    It begins with the options given here, or the defaults, and varies what --search names. Stop it
    at any time: the same command goes on. best.toml is for `activity train --settings`.
    """
    del settings  # its values are in the options by now
    from activity_cli.report.terminal.console import results_console
    from activity_cli.report.terminal.tuning import show_tuning, tuning_metrics, write_tuning
    from activity_cli.training.tuning.folder import BEST_FILE
    from activity_cli.training.tuning.run import tune as run_search
    from activity_cli.training.tuning.space import Candidate

    folder = output or Path("tuning") / data.resolve().stem
    with progress_report(quiet=quiet) as report:
        data_config = clip.data_config(machine, report, FROZEN)
        base = Candidate(clip=data_config.clip, network=network, training=training)
        decoders = machine.decoders()
        plan = search.plan(
            base,
            folds,
            audit,
            seed=training.seed,
            num_workers=decoders.num_workers,
        )
        listener = _listener(context, folder, report)
        try:
            run = run_search(
                data, data_config, folder, plan, overwrite=overwrite, listener=listener
            )
        except KeyboardInterrupt:
            raise StoppedError(
                f"Interrupted. The same command goes on; trials and best settings so far are in "
                f"{folder}."
            ) from None
    metrics = tuning_metrics(run, command=this_command())
    write_tuning(run, metrics)
    if json:
        typer.echo(jsonlib.dumps(metrics, indent=2))
    else:
        results_console().print(show_tuning(run, data=data, best_file=folder / BEST_FILE))


def _listener(context: typer.Context, folder: Path, report: ProgressReport) -> "Listener":
    """Shows the progress, and keeps the files of the search up to date with every trial."""
    from activity_cli.common.files import write_text_atomically
    from activity_cli.common.settings_file import write_settings
    from activity_cli.report.terminal.tuning import describe_best, trials_csv
    from activity_cli.training.tuning.folder import BEST_FILE, TRIALS_FILE
    from activity_cli.training.tuning.run import Listener
    from activity_cli.training.tuning.search import best_of

    keys = [key for key in settings_keys() if key.table in {"clip", "network", "training", "audit"}]
    command = this_command()

    def on_main(trials: "tuple[Trial, ...]") -> None:
        best = best_of(trials)
        header = _HEADER.format(
            number=len(trials), log_loss=best.log_loss, accuracy=best.accuracy, command=command
        )
        text = write_settings(keys, {**context.params, **best.point}, header=header)
        write_text_atomically(folder / TRIALS_FILE, trials_csv(trials))
        write_text_atomically(folder / BEST_FILE, text)

    return Listener(
        on_progress=report,
        on_best=lambda trial: report.detail(describe_best(trial)),
        on_main=on_main,
    )
