"""`activity evaluate`: measure a model on labelled clips."""

from dataclasses import replace

import typer

from activity_cli.cli import EXIT_SOME_WITHOUT_SCORE, describing, options
from activity_cli.cli.options import this_command
from activity_cli.cli.progress import progress_report


def evaluate(
    model: options.ModelOrExport,
    data: options.Data,
    *,
    videos: options.Videos = None,
    output: options.ReportFolder = None,
    reject: options.Reject = "off",
    machine: options.MachineOptions,
    tta: options.TestTimeAugmentation = 1,
    trust_model: options.TrustModel = False,
    overwrite: options.Overwrite = False,
    open_report: options.Open = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a model on labelled clips.

    Use clips that the model was not trained on; on training clips accuracy is overestimated.

    Example:  activity evaluate runs/gym new_clips --output results
    """
    if describing.is_captioner(model):
        from activity_cli.common.files import new_folder
        from activity_cli.data.captions import load_captions

        dataset = load_captions(data, videos=videos)
        if output is not None:
            new_folder(output, overwrite=overwrite)
        with progress_report(quiet=quiet) as report:
            config = machine.predict_config(report.note)
            done = describing.evaluate_captions(model, dataset, config, report, output)
        options.print_result(*done, json=json)
        options.open_report(output, wanted=open_report)
        if done[0]["num_left_out"]:
            raise typer.Exit(EXIT_SOME_WITHOUT_SCORE)
        return
    options.check_data(data, min_labels=1, videos=videos, multi_label=None)
    options.check_model(model)
    from activity_cli.common.files import new_folder
    from activity_cli.evaluation.measurement import evaluate_model, probe_order
    from activity_cli.predict.predictor import load_predictor
    from activity_cli.predict.rejection import with_rejection
    from activity_cli.report.assembly import measurement_report
    from activity_cli.report.html import write_report
    from activity_cli.report.run_folder import measurement_metrics, write_evaluation
    from activity_cli.report.terminal.evaluation import REPORT_FILE, show_measurement

    if output is not None:
        new_folder(output, overwrite=overwrite)
    with progress_report(quiet=quiet) as report:
        config = machine.predict_config(report.note)
        predictor = load_predictor(model, replace(config, tta=tta, trust_model=trust_model))
        multi_label = predictor.description.multi_label
        dataset = options.check_data(data, min_labels=1, videos=videos, multi_label=multi_label)
        probe = probe_order(predictor, model)
        judging = with_rejection(predictor, reject, on_rule=report.note)
        measurement = evaluate_model(
            judging,
            dataset,
            rejects=judging is not predictor,
            decoders=machine.decoders(),
            on_progress=report,
        )
    content = measurement_report(
        measurement,
        dataset,
        engine=predictor.provenance["engine"],
        orders=probe.scores() if probe else None,
        command=this_command(),
        model=model,
    )
    metrics = measurement_metrics(measurement, content)
    if output is not None:
        write_evaluation(output, content, metrics)
        write_report(content, output / REPORT_FILE, decoders=machine.decoders())
    options.print_result(metrics, lambda: show_measurement(content, output), json=json)
    options.open_report(output, wanted=open_report)
    if measurement.predictions.left_out:
        raise typer.Exit(EXIT_SOME_WITHOUT_SCORE)
