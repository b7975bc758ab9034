"""Results -> what a terminal shows. Paths and labels are text, never markup."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from activity_cli.files import is_file
from activity_cli.journal import journal_path
from activity_cli.report.elements import SCORE_STYLE, bar, new_table
from activity_cli.types import FileResult, Status

if TYPE_CHECKING:
    from activity_cli.backbones import BackboneListing
    from activity_cli.bundle import ModelDescription
    from activity_cli.prediction import Tally

_STAGES = {"decode": "decoding", "cnn": "CNN", "lstm": "LSTM", "network": "CNN + LSTM"}
_STATUS_STYLES = {Status.OK: "green", Status.SHORT: "yellow", Status.TRUNCATED: "yellow"}


def results_console() -> Console:
    """The console that results go to. A pipe gets long lines, not wrapped ones."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


def messages_console() -> Console:
    """The console for what is said about the results."""
    return Console(stderr=True, highlight=False)


def show_result(result: FileResult, *, top_k: int) -> RenderableType:
    """One video: its best labels with bars."""
    if result.prediction is None:
        return _status_line(result)
    facts = f"{result.duration_seconds or 0:.1f} s, {result.num_frames} frames"
    title = Text.assemble((_printable(result.path), "bold"), ("  " + facts, "dim"))
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(style=SCORE_STYLE, no_wrap=True)
    table.add_column(justify="right")
    for rank, (label, score) in enumerate(result.prediction.top(top_k)):
        style = "bold" if rank == 0 else "dim"
        table.add_row(Text("  " + label, style), bar(score), Text(f"{score:.1%}", style))
    lines: list[RenderableType] = [title, table]
    if result.status is not Status.OK:
        lines.append(Text(f"  {result.status}: {result.reason}", "yellow"))
    if result.rejected:
        lines.append(Text(f"  {result.label}: {result.rejected}", "yellow"))
    return Group(*lines)


def show_results(results: Sequence[FileResult]) -> RenderableType:
    """Many videos: one line each, with names relative to the folder that all are in."""
    folder = _common_folder([result.path for result in results])
    table = new_table("file", "status", "label", "score", "")
    table.columns[0].overflow = "fold"
    table.columns[1].no_wrap = table.columns[2].no_wrap = True
    table.columns[3].justify = "right"
    for result in results:
        name = Text(_printable(os.path.relpath(result.path, folder) if folder else result.path))
        status = Text(result.status.value, _STATUS_STYLES.get(result.status, "red"))
        if result.prediction is None:
            table.add_row(name, status, "", "", Text(result.reason, "dim"))
        else:
            score = result.prediction.score
            label = Text(result.label or "", "yellow" if result.rejected else "bold")
            table.add_row(name, status, label, f"{score:.1%}", Text(bar(score, 12), SCORE_STYLE))
    return Group(Text(f"In {_printable(folder)}:", "dim"), table) if folder else table


def show_model(description: "ModelDescription", *, is_default: bool) -> Text:
    """Which model spoke and what it knows: without --model a user should not have to guess."""
    known = ", ".join(description.labels)
    return Text.assemble(
        ("Model ", "dim"),
        description.name,
        (f" knows: {known}.", "dim"),
        (" Your own actions: activity train." if is_default else "", "dim"),
    )


def describe_plan(num_files: int, num_kept: int) -> str:
    """What a batch is about to do, in one line."""
    if not num_kept:
        return f"{num_files} files to score."
    return f"{num_files} files, {num_kept} of them done before: {num_files - num_kept} to score."


def describe_failures(tally: "Tally") -> str:
    """Failures so far, beside the progress; nothing while there are none."""
    return f"{tally.num_without_score} without a score" if tally.num_without_score else ""


def show_plan(paths: Sequence[Path], output: Path | None) -> RenderableType:
    """What `--dry-run` says: how many files, how large, of which kinds, and the first few."""
    sizes = [path.stat().st_size if is_file(path) else 0 for path in paths]
    endings = Counter(path.suffix.lower() or "no ending" for path in paths)
    kinds = ", ".join(f"{count} {ending}" for ending, count in endings.most_common())
    lines = [f"{len(paths)} files, {sum(sizes) / 1e9:.2f} GB: {kinds or 'none'}."]
    lines += [f"  {_printable(str(path))}" for path in paths[:5]]
    lines += [f"  ... and {len(paths) - 5} more"] if len(paths) > 5 else []
    if output is not None:
        goes_on = journal_path(output).exists()
        lines.append(f"Rows: {output}{' (goes on with the one that is there)' * goes_on}")
    return Text("\n".join(lines))


def show_tally(
    tally: "Tally",
    seconds: float,
    output: Path | None,
    *,
    num_kept: int = 0,
    num_kept_without_score: int = 0,
) -> Text:
    """The closing lines of a prediction: statuses, first failures, time per stage."""
    lines = []
    if num_kept:
        failed = f", {num_kept_without_score} without a score (--retry-failed does these again)"
        lines.append(f"{num_kept} done before{failed if num_kept_without_score else ''}.")
    num_scored = tally.num_files - tally.num_without_score
    if tally.num_files > 1:
        counts = ", ".join(f"{count} {status}" for status, count in tally.by_status.items())
        unknown = f" {tally.num_unknown} called unknown." if tally.num_unknown else ""
        lines.append(f"{tally.num_files} files: {counts}.{unknown}")
    if output is not None:
        lines += [f"No score: {r.path}: {r.reason}" for r in tally.first_failures]
        if (more := tally.num_without_score - len(tally.first_failures)) > 0:
            lines.append(f"... and {more} more without a score.")
        lines.append(f"Rows: {output}")
    per_clip = " · ".join(
        f"{_STAGES[stage]} {1000 * total / num_scored:.0f} ms"
        for stage, total in tally.stage_seconds.items()
        if num_scored
    )
    each = " each" if tally.num_files > 1 else ""
    lines.append(f"{per_clip}{each} · {seconds:.1f} s in all" if per_clip else f"{seconds:.1f} s")
    return Text("\n".join(lines), "dim")


def show_models(
    models: "Sequence[ModelDescription]", backbones: "Sequence[BackboneListing]"
) -> RenderableType:
    """The shipped models, then the CNNs that a model can be trained on."""
    shipped = new_table("shipped model", "labels", "frames", "CNN")
    for model in models:
        labels = Text(", ".join(model.labels))
        shipped.add_row(Text(model.name), labels, str(model.clip.num_frames), model.backbone.name)
    cnns = new_table("backbone", "parameters", "file", "ImageNet top-1", "weights")
    for column in cnns.columns[1:4]:
        column.justify = "right"
    for cnn in backbones:
        here = (
            Text("on this machine", "green")
            if cnn.is_local
            else Text("fetched on first use", "dim")
        )
        size = f"{cnn.num_parameters / 1e6:.1f} M", f"{cnn.file_mb:.0f} MB"
        cnns.add_row(cnn.name, *size, f"{cnn.imagenet_top1:.1f}%", here)
    return Group(shipped, Text(), cnns)


def show_cache(folder: Path, sizes: Mapping[str, int], *, cleared: bool) -> RenderableType:
    """What lies in the cache, or lay in it until now."""
    table = Table.grid(padding=(0, 2))
    for part, what in (("features", "features of clips"), ("engines", "prepared networks")):
        megabytes = f"{sizes[f'{part}_bytes'] / 1e6:.1f} MB"
        table.add_row(what, Text(megabytes, justify="right"), f"{sizes[f'{part}_files']} files")
    verb = "Cleared" if cleared else "Cache"
    return Group(Text(f"{verb}: {folder}", "bold"), table)


def _status_line(result: FileResult) -> Text:
    return Text.assemble(
        (_printable(result.path), "bold"), "  ", (result.status.value, "red"), f"  {result.reason}"
    )


def _common_folder(paths: Sequence[str]) -> str:
    """The folder that all paths are in, if naming it once makes them shorter."""
    try:
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120
    except ValueError:  # some are absolute, some are not
        return ""
    return folder if folder not in {"", ".", "/"} else ""


def _printable(path: str) -> str:
    """A path as it can be printed: bytes that are no text become escapes."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")
