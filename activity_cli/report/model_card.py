"""The model card: README.md of a model folder."""

from pathlib import Path
from textwrap import fill

from activity_cli.common.wording import describe_parts
from activity_cli.model.folder import ModelDescription
from activity_cli.model.metrics import Evaluation

_TEMPLATE = Path(__file__).with_suffix(".md.j2")
_WIDTH = 96
_MEASURED_ON = {
    "test": "clips that were used neither for training nor to choose the best epoch",
    "val": "the validation clips, which also chose the best epoch: accuracy is overestimated",
    "inner-fold": "each scored by a network trained on the other inner folds. The model itself was "
    "trained on all of them",
    "out of fold": "each scored by the one member that was not trained on it. The ensemble, which "
    "averages its members, was trained on all clips and measured on none",
}

_LIMITS = """\
The model can only answer one of these labels: a video of another action gets the most similar
label, unless `--reject auto` reports it as unknown, which detects only some of them. The results
hold for videos similar to the training data. Do not make decisions about people by its output
alone."""


def write_model_card(
    description: ModelDescription,
    *,
    results: str,
    command: str,
    data_notes: str = "",
    limits: str = _LIMITS,
) -> str:
    """Return the card as Markdown.

    Args:
        description: of the model.
        results: as Markdown; `held_out_results` writes them for a training run.
        command: that trains the model again.
        data_notes: source and licence of the data.
        limits: of the model.
    """
    from jinja2 import Environment

    environment = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters["percent"] = "{:.1%}".format
    environment.filters["paragraph"] = _paragraph
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        description=description,
        results=results,
        command=command,
        data_notes=data_notes,
        limits=limits,
        describe_parts=describe_parts,
    )


def held_out_results(evaluation: Evaluation, measured_on: str) -> str:
    """Return the metrics of an evaluation as Markdown.

    `measured_on` is `test`, `inner-fold`, `val` or `out of fold`.
    """
    low, high = evaluation.accuracy_interval
    measured = f"Measured on {evaluation.num_clips} held-out clips: {_MEASURED_ON[measured_on]}."
    rows = [
        f"| {row.label} | {row.precision:.1%} | {row.recall:.1%} | {row.f1:.1%} | {row.num_clips} |"
        for row in evaluation.per_label
    ]
    return "\n".join(
        [
            fill(measured, _WIDTH),
            "",
            "| accuracy | 95% CI | macro precision | macro recall | macro F1 |",
            "|---|---|---|---|---|",
            f"| {evaluation.accuracy:.1%} | {100 * low:.1f} to {high:.1%} "
            f"| {evaluation.macro_precision:.1%} | {evaluation.macro_recall:.1%} "
            f"| {evaluation.macro_f1:.1%} |",
            "",
            "| label | precision | recall | F1 | clips |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )


def _paragraph(text: str) -> str:
    """Fill the lines of a template into one paragraph."""
    return fill(" ".join(text.split()), _WIDTH)
