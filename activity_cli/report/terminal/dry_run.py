"""What `activity train --dry-run` says."""

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from activity_cli.report.terminal.elements import describe_seconds

if TYPE_CHECKING:
    from activity_cli.training.dry_run import DryRunReport


def show_rehearsal(rehearsal: "DryRunReport") -> RenderableType:
    """That all is well, and how long the whole will take."""
    stages = " · ".join(
        f"{stage} {describe_seconds(seconds)}" for stage, seconds in rehearsal.stage_seconds.items()
    )
    return Group(
        Text.assemble(
            ("All is well: ", "green"),
            f"{rehearsal.clips} of {rehearsal.all_clips} clips were decoded and read by the CNN, "
            f"a batch of {rehearsal.batch_size} was learned from, a model saved and measured.",
        ),
        *[Text(note, "yellow") for note in rehearsal.notes],
        Text.assemble(
            "The training will take about ", (describe_seconds(rehearsal.seconds), "bold cyan"), "."
        ),
        Text(
            f"{stages}. Less where features are cached, or where it stops before epoch "
            f"{rehearsal.epochs}.",
            "dim",
        ),
        Text("Nothing was kept.", "dim"),
    )
