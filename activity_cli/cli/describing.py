"""What train, crossval and evaluate do for models that describe: `--task describe`."""

import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activity_cli.cli.options import this_command
from activity_cli.errors import SettingsError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from activity_cli.cli.explain import ExplainOptions
    from activity_cli.cli.progress import ProgressReport
    from activity_cli.cli.settings import CrossvalOptions
    from activity_cli.data.dataset import Dataset
    from activity_cli.features.extraction import ClipRequest
    from activity_cli.predict.predictor import PredictConfig
    from activity_cli.training.fitting import Plan
    from activity_cli.training.loop.loop import Session
    from activity_cli.video.decoder_pool import Decoders

Result = tuple[dict[str, Any], "Callable[[], RenderableType]"]
"""Values for `--json`, and what shows them to people."""


def check_captions(data: Path, videos: Path | None) -> None:
    """Raise an error before anything heavy is imported: bad captions, or no metrics."""
    from activity_cli.data.captions import check_trainable, load_captions

    check_trainable(load_captions(data, videos=videos))


def is_captioner(model: str) -> bool:
    """Return whether a model describes; False where there is none."""
    from activity_cli.errors import ModelError
    from activity_cli.model.folder import find_model, read_task

    try:
        return read_task(find_model(model)) == "describe"
    except ModelError:
        return False


def train_captions(
    plan: "Plan", session: "Session", folder: Path, text: str, begin: Callable[[], None]
) -> Result:
    """Train a captioner, and write the run folder; `text` are its settings."""
    from activity_cli.evaluation.captions import Described, require_metrics
    from activity_cli.report.captions import (
        caption_report,
        run_metrics,
        show_captions,
        write_caption_run,
    )
    from activity_cli.report.html.captions import write_caption_report
    from activity_cli.training.describing.fitting import fit_captions
    from activity_cli.training.describing.run import save_captioner

    require_metrics()
    if session.context.size > 1:
        raise SettingsError("--task describe trains in one process.", hint="Leave out torchrun.")
    run = save_captioner(fit_captions(plan, session, on_begin=begin), folder)
    data, split = run.data, run.split
    groups = data.dataset.groups()
    content = caption_report(
        Described(
            samples=tuple(data.dataset.samples[row] for row in run.rows),
            seconds=tuple(c.decoded.duration_seconds if c.decoded else 0.0 for c in data.clips),
            captions=run.captions,
            baselines=run.baselines,
            groups=None if groups is None else _numbered(groups[run.rows]),
        ),
        title=run.model.description.name,
        subtitle=f"Training run, measured on {len(run.rows)} {run.measured_on} clips",
        method=f"Train {len(split.train)}, validation {len(split.val)}, test {len(split.test)} "
        f"clips. Split by {split.by}. Best epoch {run.result.best_epoch}.",
        data=data,
        settings=tomllib.loads(text),
        command=this_command(),
        next_command=f"activity predict VIDEO --model {run.folder}",
        left_out=_left_out(data.left_out),
    )
    metrics = run_metrics(run, content)
    write_caption_run(run, content, metrics, text)
    write_caption_report(content, folder / "report.html", decoders=plan.data_config.decoders)
    return metrics, lambda: show_captions(content, folder)


def crossval_captions(
    plan: "Plan", folds: "CrossvalOptions", output: Path | None, text: str, decoders: "Decoders"
) -> Result:
    """Cross-validate captioners, and write the folder if there is one."""
    from activity_cli.evaluation.captions import Described, require_metrics
    from activity_cli.report.captions import caption_report, show_captions, write_captions
    from activity_cli.report.html.captions import write_caption_report
    from activity_cli.training.describing import crossval

    require_metrics()
    found = crossval.crossval_captions(plan, partial(folds.deal, seed=plan.head.training.seed))
    data, names = found.data, found.folds.names
    content = caption_report(
        Described(
            samples=data.dataset.samples,
            seconds=tuple(c.decoded.duration_seconds if c.decoded else 0.0 for c in data.clips),
            captions=found.captions,
            baselines=found.baselines,
            groups=data.dataset.groups(),
        ),
        title=data.dataset.root.name,
        subtitle=f"Cross-validation, {len(names)} folds by {found.folds.by}",
        method="Each clip was described by the model that was trained on the other "
        f"{len(names) - 1} folds.",
        data=data,
        settings=tomllib.loads(text),
        command=this_command(),
        left_out=_left_out(data.left_out),
    )
    metrics = {**content.to_json(), "leakage": found.leakage.to_json()}
    if output is not None:
        write_captions(output, content, metrics, text)
        write_caption_report(content, output / "report.html", decoders=decoders)
    return metrics, lambda: show_captions(content, output)


def evaluate_captions(
    model: str,
    dataset: "Dataset",
    config: "PredictConfig",
    report: "ProgressReport",
    output: Path | None,
) -> Result:
    """Describe clips whose captions are known, and compare."""
    from activity_cli.evaluation.captions import Described, require_metrics
    from activity_cli.evaluation.measurement import score_samples
    from activity_cli.predict.predictor import load_predictor
    from activity_cli.report.captions import caption_report, show_captions, write_captions
    from activity_cli.report.html.captions import write_caption_report

    require_metrics()
    predictor = load_predictor(model, config)
    pairs = score_samples(predictor, dataset.samples, report)
    good = [(sample, result) for sample, result in pairs if result.captions]
    groups = dataset.groups()
    kept = [row for row, (_, result) in enumerate(pairs) if result.captions]
    description = predictor.description
    content = caption_report(
        Described(
            samples=tuple(sample for sample, _ in good),
            seconds=tuple(result.duration_seconds or 0.0 for _, result in good),
            captions=tuple(result.captions for _, result in good),
            baselines={
                name: (sentence,) * len(good)
                for name, sentence in description.data.get("baselines", {}).items()
            },
            groups=None if groups is None else _numbered(groups[kept]),
        ),
        title=description.name,
        subtitle=f"Evaluation on {dataset.root.name or dataset.root}, {len(good)} clips",
        method="The metrics are valid for clips that the model was not trained on.",
        data=description,
        settings={"training": description.training},
        command=this_command(),
        next_command=f"activity predict VIDEO --model {model}",
        left_out=[(s.name, r.status.value, r.reason) for s, r in pairs if not r.captions],
    )
    metrics = {**content.to_json(), "model": description.name}
    if output is not None:
        write_captions(output, content, metrics)
        write_caption_report(content, output / "report.html", decoders=config.decoders)
    return metrics, lambda: show_captions(content, output)


def explain_captions(
    own: "ExplainOptions", request: "ClipRequest", report: "ProgressReport", *, overwrite: bool
) -> Result:
    """Show for each word of a sentence the frames that it attended to."""
    from contextlib import closing

    from activity_cli.common.files import new_folder
    from activity_cli.model.folder import load_model
    from activity_cli.predict.describing import CaptionPredictor
    from activity_cli.predict.predictor import PredictConfig
    from activity_cli.report.attention import attention_values, show_attention, write_attention

    if own.label or own.details or own.save_video:
        raise SettingsError(
            "--label, --details and --save-video are for models with labels.",
            hint="A sentence is explained by the frames of each word.",
        )
    config = PredictConfig(on_prepare=report.note)
    with closing(CaptionPredictor(load_model(own.model), config)) as predictor:
        caption, seconds = predictor.attend(request)
    values = attention_values(request, caption, seconds)
    if own.output is not None:
        write_attention(new_folder(own.output, overwrite=overwrite), values, request)
    return values, lambda: show_attention(values)


def _left_out(found: Any) -> list[tuple[str, str, str]]:
    return [(sample.name, clip.status.value, clip.reason) for sample, clip in found]


def _numbered(groups: Any) -> Any:
    """Number the groups that are left from 0."""
    import numpy as np

    return np.unique(groups, return_inverse=True)[1]
