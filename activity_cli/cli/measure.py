"""`activity crossval`, `evaluate`, `compare` and `benchmark`."""

import tomllib
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from activity_cli.cli import EXIT_SOME_WITHOUT_SCORE, options
from activity_cli.cli.options import this_command
from activity_cli.cli.progress import progress_report
from activity_cli.cli.settings import (
    AugmentOptions,
    ClipOptions,
    CrossvalOptions,
    LabelOptions,
    SettingsFile,
    settings_text,
)
from activity_cli.errors import SettingsError
from activity_cli.setting_fields import setting
from activity_cli.settings import (
    DEFAULT_MODEL,
    AuditSettings,
    CnnSettings,
    NetworkSettings,
    TrainSettings,
)


def crossval(
    context: typer.Context,
    data: options.Data,
    *,
    machine: options.MachineOptions,
    clip: ClipOptions,
    augmentation: AugmentOptions,
    network: NetworkSettings,
    training: TrainSettings,
    cnn: CnnSettings,
    labels: LabelOptions,
    audit: AuditSettings,
    folds: CrossvalOptions,
    settings: SettingsFile = None,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Save the networks of all folds as one model, too.")
    ] = False,
    output: options.ReportFolder = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure by k-fold cross-validation, on clips held out from training.

    Folds are stratified by label. If the data has groups, such as a person, camera or source, no
    group is in training and held out at the same time.

    Example:  activity crossval clips --folds 5 --compare
    """
    del settings  # the options have its values by now
    from activity_cli.common.files import new_folder
    from activity_cli.model.folder import MODEL_SUBFOLDER
    from activity_cli.report.assembly import crossval_report
    from activity_cli.report.html import write_report
    from activity_cli.report.run_folder import crossval_metrics, write_card, write_evaluation
    from activity_cli.report.terminal.evaluation import REPORT_FILE, show_crossval
    from activity_cli.training.crossval import run_crossval
    from activity_cli.training.head import HeadConfig
    from activity_cli.training.run import save_ensemble

    if ensemble and output is None:
        raise SettingsError(
            "--ensemble needs a folder for its model.", hint="Add --output runs/NAME."
        )
    if ensemble and cnn.mode != "frozen":
        raise SettingsError(
            "--ensemble needs the same CNN in every fold, so the CNN cannot be trained.",
            hint="Use --cnn frozen, or train one model.",
        )
    if output is not None:
        new_folder(output, overwrite=overwrite)
    head = HeadConfig(network=network, training=training)
    with progress_report(quiet=quiet) as report:
        run = run_crossval(
            data,
            clip.data_config(machine, report, cnn, augmentation.chosen()),
            deal=partial(folds.deal, seed=training.seed),
            head=head,
            cnn=cnn,
            compare=folds.compare,
            background=labels.background_label,
            audit=audit,
        )
    text = settings_text(context)
    content = crossval_report(run, command=this_command(), settings=tomllib.loads(text))
    metrics = crossval_metrics(run, content)
    if output is not None:
        write_evaluation(
            output,
            content,
            metrics,
            settings=text,
            folds=[run.folds.names[index] for index in run.folds.index],
        )
        write_report(content, output / REPORT_FILE, decoders=machine.decoders())
        if ensemble:
            model = save_ensemble(
                run,
                output / MODEL_SUBFOLDER,
                name=output.resolve().name,
                head=head,
            )
            write_card(model, content, model.description.metrics["measured_on"])
    options.print_result(
        metrics, lambda: show_crossval(run, content, output, has_model=ensemble), json=json
    )


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=options.MODEL_HELP)],
    data: options.Data,
    *,
    machine: options.MachineOptions,
    reject: options.Reject = "off",
    tta: options.TestTimeAugmentation = 1,
    output: options.ReportFolder = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a model on labelled clips.

    Use clips that the model was not trained on; on training clips accuracy is overestimated.

    Example:  activity evaluate runs/gym new_clips --output results
    """
    from activity_cli.common.files import new_folder
    from activity_cli.data.loading import load_dataset
    from activity_cli.evaluation.measurement import evaluate_model, probe_order
    from activity_cli.predict.predictor import load_predictor
    from activity_cli.predict.rejection import with_rejection
    from activity_cli.report.assembly import measurement_report
    from activity_cli.report.html import write_report
    from activity_cli.report.run_folder import measurement_metrics, write_evaluation
    from activity_cli.report.terminal.evaluation import REPORT_FILE, show_measurement

    dataset = load_dataset(data, min_labels=1)
    if output is not None:
        new_folder(output, overwrite=overwrite)
    with progress_report(quiet=quiet) as report:
        predictor = load_predictor(model, replace(machine.predict_config(report.note), tta=tta))
        probe = probe_order(predictor, model)
        judging = with_rejection(predictor, reject, on_rule=report.note)
        measurement = evaluate_model(
            judging, dataset, rejects=judging is not predictor, on_progress=report
        )
    content = measurement_report(
        measurement,
        dataset,
        engine=predictor.provenance["engine"],
        orders=probe.scores() if probe else None,
        command=this_command(),
    )
    metrics = measurement_metrics(measurement, content)
    if output is not None:
        write_evaluation(output, content, metrics)
        write_report(content, output / REPORT_FILE, decoders=machine.decoders())
    options.print_result(metrics, lambda: show_measurement(content, output), json=json)
    if measurement.predictions.left_out:
        raise typer.Exit(EXIT_SOME_WITHOUT_SCORE)


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Run folders of train, or folders of crossval or evaluate."
        ),
    ],
    *,
    machine: options.EngineOptions,
    speed: Annotated[
        bool, typer.Option("--speed/--no-speed", help="Measure the time per clip on this machine.")
    ] = True,
    output: Annotated[
        Path | None, typer.Option(help="Write one row per run to this .csv or .json file.")
    ] = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare runs: metrics, cost, settings and the significance of differences.

    Each run is compared with the first one, clip by clip. There is a p-value if both measured the
    same clips.

    Example:  activity compare runs/gym runs/gym-2
    """
    from activity_cli.evaluation.comparison import compare_pair, differing_settings, read_run
    from activity_cli.report.terminal import comparison as report_of

    if len(runs) < 2:
        raise SettingsError(
            "A comparison needs two runs or more.", hint="Add the folder of another run."
        )
    if output is not None:
        report_of.check_comparison_file(output, overwrite=overwrite)
    read = [read_run(folder) for folder in runs]
    models = [run.model for run in read if run.model is not None]
    if speed and models:
        from activity_cli.evaluation.measurement import ms_per_clip

        with progress_report(quiet=quiet) as report:
            times = ms_per_clip(models, machine.predict_config(report.note))
        read = [
            replace(run, ms_per_clip=times.get(run.model)) if run.model else run for run in read
        ]
    pairs, settings = [compare_pair(read[0], run) for run in read[1:]], differing_settings(read)
    rows = report_of.comparison_rows(read, pairs, settings)
    if output is not None:
        report_of.write_comparison(output, rows)
    options.print_result(rows, lambda: report_of.show_comparison(read, pairs, settings), json=json)
    if output is not None:
        options.print_note(f"Results: {output}", quiet=quiet)


_MOST_CLIPS = 16


# Typer takes a list of an enum's values, but not of a Literal's.
Precision = StrEnum("Precision", ["fp32", "fp16", "bf16", "int8"])


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What is measured, and where it is written."""

    precisions: tuple[Precision, ...] = setting((), option="precision", derived="all")
    """Only this precision; can be given several times."""
    output: Path | None = setting(None)
    """Folder for benchmark.json and benchmark.png."""


def benchmark(
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help=options.MODEL)] = DEFAULT_MODEL,
    clips: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CLIPS]", help="Videos, folders or lists.", show_default="drawn clips"
        ),
    ] = None,
    *,
    own: BenchmarkOptions,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure every engine and precision of this machine on one model.

    Each runs in its own process. The table shows frames per second, time per clip, start-up time,
    size, memory, and the difference of scores to those of torch. Precisions that the machine only
    emulates are skipped.

    Example:  activity benchmark runs/gym clips/ --output speed
    """
    from activity_cli.common.files import new_folder, write_json
    from activity_cli.export.benchmark import run_benchmark
    from activity_cli.report.terminal.exports import plot_benchmark, show_benchmark
    from activity_cli.sampledata import draw_dataset
    from activity_cli.video.sources import expand_sources

    if own.output is not None:
        new_folder(own.output, overwrite=overwrite)
    with progress_report(quiet=quiet) as report, TemporaryDirectory() as folder:
        if not clips:
            draw_dataset(Path(folder, "clips"), clips_per_label=1, on_progress=report)
        paths = expand_sources(clips or [folder])
        step = max(1, len(paths) // _MOST_CLIPS)
        rows = run_benchmark(
            model,
            paths[::step][:_MOST_CLIPS],
            precisions=[one.value for one in own.precisions or Precision],
            on_progress=report,
        )
    values = [asdict(row) for row in rows]
    if own.output is not None:
        write_json(own.output / "benchmark.json", values)
        plot_benchmark(rows, own.output / "benchmark.png")
    options.print_result(values, lambda: show_benchmark(rows, own.output), json=json)
