"""The model card: README.md of a model folder."""

from collections.abc import Mapping
from textwrap import fill
from typing import Any

from activity_cli.common.wording import describe_parts
from activity_cli.model.folder import ModelDescription
from activity_cli.model.metrics import Evaluation

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
    clip = description.clip
    data = "\n\n".join(part for part in (data_notes, _describe_data(description.data)) if part)
    how_it_works = (
        f"{clip.num_frames} frames at equal distances over the video, {clip.frame_size} x "
        f"{clip.frame_size} pixels; streams: {', '.join(clip.streams)}. CNN of every frame: "
        f"{description.backbone.describe()}. "
        f"{_describe_network(description)}{_describe_ensemble(description)}"
    )
    versions = ", ".join(f"{name} {version}" for name, version in description.versions.items())
    return f"""\
# {description.name}

Recognizes {len(description.labels)} actions in a video: {", ".join(description.labels)}.

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

Created {description.created} with {versions}.
"""


def held_out_results(evaluation: Evaluation, measured_on: str) -> str:
    """Return the metrics of an evaluation as Markdown.

    `measured_on` is `test`, `inner-fold`, `val` or `out of fold`.
    """
    low, high = evaluation.accuracy_interval
    measured = f"Measured on {evaluation.num_clips} held-out clips: {_MEASURED_ON[measured_on]}."
    return f"""\
{fill(measured, 96)}

| accuracy | 95% CI | macro precision | macro recall | macro F1 |
|---|---|---|---|---|
| {evaluation.accuracy:.1%} | {100 * low:.1f} to {high:.1%} | {evaluation.macro_precision:.1%} \
| {evaluation.macro_recall:.1%} | {evaluation.macro_f1:.1%} |

{per_label_table(evaluation)}"""


def describe_calibration(description: ModelDescription) -> str:
    """Return how well scores are calibrated, and what `--reject auto` rejects."""
    calibration, parts = description.calibration, []
    if calibration is None:
        parts.append("Not calibrated: do not read a score as a probability.")
    else:
        clips = f"{calibration.num_clips} {calibration.fitted_on}"
        parts.append(
            f"Calibrated with temperature {calibration.temperature:.2f}, fitted on {clips}. "
            f"Expected calibration error {calibration.ece_before:.1%} before and "
            f"{calibration.ece_after:.1%} after (15 bins; {calibration.measured_on})."
        )
        if calibration.rule is None:
            parts.append(f"No rejection thresholds: {clips} are too few.")
        else:
            parts.append(
                f"`--reject auto` rejects a video as unknown at {calibration.rule}; it rejects "
                f"{calibration.known_lost or 0:.1%} of known clips ({calibration.measured_on}). "
                "The OOD score is the distance to the training clips; 1 is typical."
            )
    if description.background is not None:
        parts.append(f"The label {description.background} means that there is no event.")
    return " ".join(parts)


def per_label_table(evaluation: Evaluation) -> str:
    """Return precision, recall and F1 per label as a Markdown table."""
    rows = [
        f"| {row.label} | {row.precision:.1%} | {row.recall:.1%} | {row.f1:.1%} | {row.num_clips} |"
        for row in evaluation.per_label
    ]
    return "\n".join(
        ["| label | precision | recall | F1 | clips |", "|---|---|---|---|---|", *rows]
    )


def _describe_data(data: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{label} {count}" for label, count in data["clips_per_label"].items())
    lines = [f"`{data['source']}`: {data['num_clips']} clips ({counts})."]
    if split := data.get("split"):
        parts = describe_parts(split["train"], split["val"], split["test"])
        lines.append(f"{parts}. Split by {split['by']}.")
    if folds := data.get("folds"):
        sizes = ", ".join(str(count) for count in folds["clips"].values())
        lines.append(f"Folds of {sizes} clips, by {folds['by']}.")
    if data.get("num_left_out"):
        lines.append(f"{data['num_left_out']} more could not be decoded and were left out.")
    lines += [fill(line, 96) for line in data.get("leakage", ())]
    return "\n".join(lines)


def _describe_network(description: ModelDescription) -> str:
    network = description.network
    pooled = "A regularized linear classifier of the mean of the features over the clip"
    if network.temporal == "frame":
        return "A regularized linear classifier of the features of the middle frame."
    if network.temporal == "mean":
        return f"{pooled}."
    direction = "bidirectional " if network.bidirectional else ""
    lstm = f"{direction}LSTM with {network.hidden_size} units and {network.pooling} pooling"
    if description.training.get("best_epoch") == 0:
        return (
            f"{pooled}. The {lstm} is not used by this model: it did not improve the loss on "
            "held-out clips significantly."
        )
    return f"{pooled}, plus a {lstm} of the centred features. Their logits are added."


def _describe_ensemble(description: ModelDescription) -> str:
    """Return how the members were trained; nothing for a single network."""
    if description.num_members == 1:
        return ""
    epochs = description.training.get("best_epoch", [])
    unused = epochs.count(0) if description.network.temporal == "lstm" else 0
    without = f" {unused} of them do not use the LSTM." if unused else ""
    return (
        f" An ensemble of {description.num_members} such networks, one per fold of a "
        "cross-validation, each trained on the other folds; the logits are averaged."
        f"{without} The temperature was fitted on scores of single members, so scores of the "
        "ensemble may be slightly too low."
    )
