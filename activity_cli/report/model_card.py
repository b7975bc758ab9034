"""The model card: README.md of a model folder, written from what is known and nothing else."""

from collections.abc import Mapping
from textwrap import fill
from typing import Any

from activity_cli.common.wording import describe_parts
from activity_cli.model.folder import ModelDescription
from activity_cli.model.metrics import Evaluation

_MEASURED_ON = {
    "test": "clips that neither training nor the choice of the best epoch saw",
    "val": "the validation clips, which also chose the best epoch: expect less on new clips",
    "inner-fold": "each by a network that learned from the other inner folds. The model learned "
    "from all of them",
    "out of fold": "each clip by the one member that did not see it. The whole model, which "
    "averages its members, has seen all clips and was measured on none",
}


_LIMITS = """\
It knows these labels and nothing else: a video of anything different gets the nearest of them,
unless `--reject auto` calls it unknown, which sees only some. Figures hold for videos like those
it was trained on. Do not decide about people by its output alone."""


def write_model_card(
    description: ModelDescription,
    *,
    results: str,
    command: str,
    data_notes: str = "",
    limits: str = _LIMITS,
) -> str:
    """The card as Markdown.

    Args:
        description: the model.
        results: how it did, as Markdown; `held_out_results` writes it for a training run.
        command: what to type to train it again.
        data_notes: where the data comes from and under which licence.
        limits: what not to expect of it.
    """
    clip = description.clip
    data = "\n\n".join(part for part in (data_notes, _describe_data(description.data)) if part)
    how_it_works = (
        f"{clip.num_frames} frames spread evenly over the video, {clip.frame_size} x "
        f"{clip.frame_size} pixels; streams: {', '.join(clip.streams)}. Every frame goes through "
        f"{description.backbone.describe()}. "
        f"{_describe_network(description)}{_describe_ensemble(description)}"
    )
    return f"""\
# {description.name}

Names one of {len(description.labels)} actions in a video: {", ".join(description.labels)}.

    activity predict VIDEO --model {description.name}

## Results

{results}

![confusion matrix](confusion.png)

## Scores

{fill(describe_calibration(description), 96)}

## Data

{data}

## How it works

{fill(how_it_works, 96)}

## Limits

{limits}

## How to train it again

    {command}

Made {description.created} with {_describe_versions(description.versions)}.
"""


def held_out_results(evaluation: Evaluation, measured_on: str) -> str:
    """The figures of one evaluation as Markdown.

    `measured_on` is `test`, `inner-fold`, `val` or `out of fold`.
    """
    low, high = evaluation.accuracy_interval
    measured = f"Measured on {evaluation.num_clips} held-out clips: {_MEASURED_ON[measured_on]}."
    return f"""\
{fill(measured, 96)}

| accuracy | 95% interval | macro precision | macro recall | macro F1 |
|---|---|---|---|---|
| {evaluation.accuracy:.3f} | {low:.3f} to {high:.3f} | {evaluation.macro_precision:.3f} \
| {evaluation.macro_recall:.3f} | {evaluation.macro_f1:.3f} |

{per_label_table(evaluation)}"""


def describe_calibration(description: ModelDescription) -> str:
    """What its scores mean, and what `--reject auto` calls unknown."""
    calibration, parts = description.calibration, []
    if calibration is None:
        parts.append("Not calibrated: a score of 0.9 need not be right nine times out of ten.")
    else:
        clips = f"{calibration.num_clips} {calibration.fitted_on}"
        parts.append(
            f"Calibrated with a temperature of {calibration.temperature:.2f}, fitted on {clips}. "
            f"Expected calibration error {calibration.ece_before:.3f} before and "
            f"{calibration.ece_after:.3f} after (15 bins; {calibration.measured_on})."
        )
        if calibration.rule is None:
            parts.append(f"No rule for unknown clips: {clips} are too few to choose one.")
        else:
            parts.append(
                f"`--reject auto` calls a video unknown at {calibration.rule}, which loses "
                f"{calibration.known_lost or 0:.1%} of known clips ({calibration.measured_on}). "
                "Novelty says how unlike the training clips a video is; about 1 is usual."
            )
    if description.background is not None:
        parts.append(f"The label {description.background} stands for no event.")
    return " ".join(parts)


def per_label_table(evaluation: Evaluation) -> str:
    """Precision, recall and F1 per label as a Markdown table."""
    rows = [
        f"| {row.label} | {row.precision:.3f} | {row.recall:.3f} | {row.f1:.3f} | {row.num_clips} |"
        for row in evaluation.per_label
    ]
    return "\n".join(
        ["| label | precision | recall | F1 | clips |", "|---|---|---|---|---|", *rows]
    )


def _describe_data(data: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{label} {count}" for label, count in data["clips_per_label"].items())
    lines = [f"`{data['source']}`: {data['num_clips']} clips ({counts})."]
    if split := data.get("split"):
        lines.append(
            f"{describe_parts(split['train'], split['val'], split['test'])}; "
            f"split by {split['by']}."
        )
    if folds := data.get("folds"):
        sizes = ", ".join(str(count) for count in folds["clips"].values())
        lines.append(f"Dealt to folds of {sizes} clips, by {folds['by']}.")
    if data.get("num_left_out"):
        lines.append(f"{data['num_left_out']} more could not be decoded and were left out.")
    lines += [fill(line, 96) for line in data.get("leakage", ())]
    return "\n".join(lines)


def _describe_network(description: ModelDescription) -> str:
    network = description.network
    linear = "A penalised linear classifier reads the mean of the features over the clip"
    if network.temporal == "frame":
        return "A penalised linear classifier reads the features of the middle frame."
    if network.temporal == "mean":
        return f"{linear}."
    direction = "bidirectional " if network.bidirectional else ""
    lstm = f"{direction}LSTM with {network.hidden_size} units and {network.pooling} pooling"
    if description.training.get("best_epoch") == 0:
        return (
            f"{linear}. The {lstm} beside it, which reads what changes in order, gained less than "
            "chance would on clips held out; it is part of the model, but says nothing."
        )
    return f"{linear}; a {lstm} reads what changes, in order; the two are added up."


def _describe_ensemble(description: ModelDescription) -> str:
    """What several members have to do with each other; nothing for one."""
    if description.num_members == 1:
        return ""
    epochs = description.training.get("best_epoch", [])
    silent = epochs.count(0) if description.network.temporal == "lstm" else 0
    without = f" In {silent} of them the LSTM gained too little and says nothing." if silent else ""
    return (
        f" There are {description.num_members} such networks, the members, one per fold of a "
        "cross-validation, each trained on the clips of the other folds; the model's logits are "
        f"the mean of theirs.{without} The temperature was fitted on scores of single members, so "
        "those of the model may be a little less sure than they could be."
    )


def _describe_versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
