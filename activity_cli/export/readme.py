"""README.md beside every export: what goes in, what comes out, an example, the parity table."""

from collections.abc import Mapping
from textwrap import fill

from activity_cli.export.example import RUNTIME_PACKAGES, write_example
from activity_cli.export.metadata import describe_preprocessing
from activity_cli.export.parity import Parity
from activity_cli.model.folder import ModelDescription
from activity_cli.predict.exported.metadata import GraphMetadata, Part, TensorSpec, signature_of
from activity_cli.settings import ClipSettings


def write_readme(metadata: GraphMetadata, files: Mapping[Part, str], parity: Parity) -> str:
    """The README as Markdown.

    Args:
        metadata: of any of the files.
        files: name of the file of each graph, beside the README.
        parity: how the export compares with torch.
    """
    description = metadata.description
    package = RUNTIME_PACKAGES[metadata.format]
    graphs = "\n\n".join(_describe_graph(metadata, part, name) for part, name in files.items())
    split = f"\n{_describe_split(description.clip)}\n" if "cnn" in files else ""
    return f"""\
# {description.name} for {package}

Names one of {len(description.labels)} actions in a video: {", ".join(description.labels)}.
Format {metadata.format}, precision {metadata.precision}.
`activity predict VIDEO --model .` in this folder runs it as well.

## Input and output

{graphs}

{_describe_sizes(dynamic=metadata.dynamic)}
{_describe_scores(description)}

## Preprocessing

{fill(describe_preprocessing(description), 96)}
{split}
## Example

Needs `pip install {package} numpy opencv-python`. Save it as `example.py` in this folder and run
`python example.py VIDEO`. It samples by frame number, which is right for a constant frame rate;
`activity predict` goes by the time of each frame.

```python
{write_example(metadata.format, description, files)}```

## Compared with torch

{parity_table(parity)}
"""


def parity_table(parity: Parity) -> str:
    """The rows of the parity gate as Markdown."""
    rows = [
        f"| {row.batch_size} | {row.num_frames} | {row.num_clips} | {row.largest_difference:.1e} "
        f"| {row.num_same_label} of {row.num_clips} |"
        for row in parity.rows
    ]
    head = "| clips at once | frames each | clips | largest score difference | same label |"
    size = (
        f"{parity.megabytes:.1f} MB, {parity.milliseconds:.0f} ms per clip on the machine that "
        f"exported it (torch: {parity.torch_milliseconds:.0f} ms)."
    )
    return "\n".join([head, "|---|---|---|---|---|", *rows, "", size])


def _describe_graph(metadata: GraphMetadata, part: Part, file: str) -> str:
    signature = signature_of(part, metadata.description, dynamic=metadata.dynamic)
    rows = [_describe_tensor("input", spec) for spec in signature.inputs]
    rows.append(_describe_tensor("output", signature.output))
    return "\n".join([f"`{file}`:", "", "| | name | type | shape |", "|---|---|---|---|", *rows])


def _describe_tensor(role: str, spec: TensorSpec) -> str:
    return f"| {role} | `{spec.name}` | {spec.dtype} | {' x '.join(map(str, spec.axes))} |"


def _describe_sizes(*, dynamic: bool) -> str:
    sizes = "Sizes that are words are free in every call." if dynamic else "All sizes are fixed."
    return f"{sizes}\nInputs go by name; torch's formats take them in this order."


def _describe_scores(description: ModelDescription) -> str:
    """What the scores are, and what the graph cannot say."""
    lines = "Scores are those of the model"
    if description.calibration is not None:
        lines += f", calibrated: the temperature of {description.temperature:.2f} is in the graph"
    return (
        f"{lines}.\nNovelty, which `--reject auto` may go by, needs the model folder: the graph "
        "does not give it."
    )


def _describe_split(clip: ClipSettings) -> str:
    """What stands between the two graphs of a split export."""
    lines = ["The CNN turns each image into features; the classifier takes those of a clip,"]
    lines.append(f"ordered clip, stream ({', '.join(clip.streams)}), frame.")
    if "motion" in clip.streams:
        lines.append(
            f"The motion stream's images are {clip.motion_gain:g} * (later - earlier) + 128, "
            "rounded and clipped to uint8."
        )
    if "flow" in clip.streams:
        lines.append("The flow stream's images are `flow` as it is.")
    return fill(" ".join(lines), 96)
