"""Results of predictions -> what the terminal shows. Paths and labels are text, never markup."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from activity_cli.common import and_more, count_of
from activity_cli.common.files import is_file
from activity_cli.predict.results.journal import journal_path
from activity_cli.report.terminal import (
    SCORE_STYLE,
    bar,
    clock,
    common_folder,
    new_console,
    new_table,
    printable,
)
from activity_cli.report.terminal.timeline import show_timeline
from activity_cli.settings import DEFAULT_MODEL, MOST_LABELS_SHOWN
from activity_cli.types import Caption, FileResult, Status

if TYPE_CHECKING:
    from activity_cli.features.action_weights import ActionNetworkListing
    from activity_cli.features.backbones import BackboneListing
    from activity_cli.model.folder import ModelDescription
    from activity_cli.predict.batch import Tally
    from activity_cli.predict.results.merging import MergeReport

_STAGES = {"decode": "decoding", "cnn": "CNN", "lstm": "classifier", "network": "CNN + LSTM"}
_UNCERTAIN = 0.2  # difference of the two best scores below which a row is marked
_MAX_TOTALS = 8
_STATUS_STYLES = {Status.OK: "green", Status.SHORT: "yellow", Status.TRUNCATED: "yellow"}


def results_console() -> Console:
    """Return the console for results. A pipe gets long lines, not wrapped ones."""
    console = new_console()
    return console if console.is_terminal else new_console(width=200)


def messages_console() -> Console:
    """Return the console for messages about the results."""
    return new_console(stderr=True)


def show_predictions(results: Sequence[FileResult], *, top_k: int) -> RenderableType:
    """Show one video in detail, with its timeline if it is long, or many with a line each."""
    if any(result.captions for result in results):
        return show_sentences(results, top_k=top_k)
    if len(results) > 1:
        return show_results(results)
    shown, timeline = show_result(results[0], top_k=top_k), results[0].timeline
    if timeline is None or len(timeline.starts_seconds) == 1:
        return shown
    return Group(shown, Text(), show_timeline(timeline, results[0].segments))


def show_result(result: FileResult, *, top_k: int) -> RenderableType:
    """Show one video: its best labels with bars."""
    path = (printable(result.path), "bold")
    if result.prediction is None:
        return Text.assemble(path, "  ", (result.status.value, "red"), f"  {result.reason}")
    facts = f"{result.duration_seconds or 0:.1f} s, {result.num_frames} frames"
    title = Text.assemble(path, ("  " + facts, "dim"))
    table = Table.grid(
        Column(no_wrap=True),
        Column(style="dim" if result.rejected else SCORE_STYLE, no_wrap=True),
        Column(justify="right"),
        padding=(0, 2),
    )
    for rank, (label, score) in enumerate(result.prediction.top(top_k)):
        style = "bold" if rank == 0 and not result.rejected else "dim"
        table.add_row(Text("  " + label, style), bar(score), Text(f"{score:.1%}", style))
    lines: list[RenderableType] = [title]
    if result.rejected:
        why = result.rejected.replace("; closest:", ". Closest:")
        lines.append(Text(f"  UNKNOWN: {why}", "bold yellow"))
    lines.append(table)
    if result.status is not Status.OK:
        lines.append(Text(f"  {result.status}: {result.reason}", "yellow"))
    return Group(*lines)


def show_sentences(results: Sequence[FileResult], *, top_k: int) -> RenderableType:
    """Show the sentences of videos: of one with the probability of each word and alternatives."""
    lines: list[RenderableType] = []
    for result in results:
        lines.append(Text(printable(result.path), "bold"))
        if not result.captions:
            lines.append(Text(f"  {result.status}: {result.reason}", "red"))
        elif len(result.segments) > 1:
            for segment in result.segments:
                times = f"  {clock(segment.start_seconds):>7}-{clock(segment.end_seconds):<7} "
                lines.append(Text.assemble((times, "dim"), segment.label))
        else:
            lines += _sentences(result.captions, top_k if len(results) == 1 else 1)
        if result.captions and result.status is not Status.OK:
            lines.append(Text(f"  {result.status}: {result.reason}", "yellow"))
    return Group(*lines)


def _sentences(captions: Sequence[Caption], top_k: int) -> list[RenderableType]:
    best, *others = captions[:top_k]
    if top_k == 1:
        return [Text(f"  {best.text}")]
    words = zip(best.words, best.probabilities, strict=True)
    each = "  ".join(f"{word} {probability:.1%}" for word, probability in words)
    return [
        Text(f"  {best.text}", "bold"),
        Padding(Text(each, "dim"), (0, 0, 0, 4), expand=False),
        *(Text(f"  {one.text}", "dim") for one in others),
    ]


def show_results(results: Sequence[FileResult]) -> RenderableType:
    """Show many videos, a line each, with paths relative to their common folder; then totals."""
    folder = common_folder([result.path for result in results])
    table = new_table("file", "status", "label", "score", "")
    table.columns[0].overflow = "fold"
    table.columns[1].no_wrap = table.columns[2].no_wrap = True
    table.columns[3].justify = "right"
    num_uncertain = 0
    for result in results:
        name = Text(printable(os.path.relpath(result.path, folder) if folder else result.path))
        status = Text(result.status.value, _STATUS_STYLES.get(result.status, "red"))
        if result.prediction is None:
            table.add_row(name, status, "", "", Text(result.reason, "dim"))
            continue
        score = result.prediction.score
        label = Text(_answer(result) or "", "yellow" if result.rejected else "bold")
        bars = Text(bar(0 if result.rejected else score, 12), SCORE_STYLE)
        if _is_uncertain(result):
            num_uncertain += 1
            bars.append(" ?", "yellow")
        table.add_row(name, status, label, f"{score:.1%}", bars)
    totals = Counter(answer for answer in map(_answer, results) if answer)
    lines = [f"{label}: {count}" for label, count in totals.most_common(_MAX_TOTALS)]
    if len(totals) > _MAX_TOTALS:
        lines.append(f"{len(totals) - _MAX_TOTALS} more labels")
    marked = f"; {num_uncertain} uncertain (?)" if num_uncertain else ""
    total = Text.assemble("\nTotal  ", (" · ".join(lines) + marked, "bold"))
    head = [Text(f"In {printable(folder)}:", "dim")] if folder else []
    return Group(*head, table, *([total] if totals else []))


def _answer(result: FileResult) -> str | None:
    """Return the reported label, of a multi-label model all of them; None without a prediction."""
    if result.prediction is None or result.rejected:
        return result.label
    return result.prediction.answer


def _is_uncertain(result: FileResult) -> bool:
    """Return whether the two best labels have nearly the same score."""
    assert result.prediction is not None
    best = [score for _, score in result.prediction.top(2)]
    if result.prediction.thresholds is not None:
        return False
    return len(best) > 1 and best[0] - best[1] < _UNCERTAIN and not result.rejected


def show_model(description: "ModelDescription", *, is_default: bool) -> Text:
    """Show which model is used and its labels, so that nobody has to guess without --model."""
    if description.captions is not None:
        can = f" writes sentences, with a vocabulary of {len(description.labels)} words."
        return Text.assemble(("Model ", "dim"), description.name, (can, "dim"))
    if len(description.labels) > MOST_LABELS_SHOWN:
        can = f" recognizes {len(description.labels)} actions. To restrict or rename them: --labels"
        return Text.assemble(("Model ", "dim"), description.name, (can, "dim"))
    is_offered = is_default and description.name == DEFAULT_MODEL
    hint = "\nFor 600 everyday actions: activity models pull movinet_a0" * is_offered
    *labels, last = description.labels
    answers = f"{', '.join(labels)} or {last}" if labels else last
    if description.multi_label:
        several = ", several at once" if labels else ""
        answers = f"{', '.join(description.labels)}{several} or none"
    return Text.assemble(
        ("Model ", "dim"),
        description.name,
        (f" can only answer {answers}.", "dim"),
        (hint, "dim"),
    )


def show_plan(paths: Sequence[Path], output: Path | None) -> RenderableType:
    """Show what `--dry-run` found: number, size and types of the files, and the first few."""
    sizes = [path.stat().st_size if is_file(path) else 0 for path in paths]
    extensions = Counter(path.suffix.lower() or "no extension" for path in paths)
    kinds = ", ".join(f"{count} {extension}" for extension, count in extensions.most_common())
    lines = [f"{len(paths)} files, {sum(sizes) / 1e9:.2f} GB: {kinds or 'none'}."]
    lines += [f"  {printable(str(path))}" for path in paths[:5]]
    lines += [f"  ... and {len(paths) - 5} more"] if len(paths) > 5 else []
    if output is not None:
        resumes = " (resumes the existing file)" * journal_path(output).exists()
        lines.append(f"Results: {output}{resumes}")
    return Text("\n".join(lines))


def show_tally(
    tally: "Tally",
    seconds: float,
    output: Path | None,
    *,
    segment_files: Sequence[Path] = (),
    num_kept: int = 0,
    num_kept_without_score: int = 0,
) -> Text:
    """Show the summary of a prediction: statuses, first failures, time per stage."""
    lines = []
    if num_kept:
        failed = f", {num_kept_without_score} without a score (to try again: --retry-failed)"
        lines.append(f"{num_kept} scored before{failed if num_kept_without_score else ''}.")
    num_scored = tally.num_files - tally.num_without_score
    if tally.num_files > 1:
        unknown = f" {tally.num_unknown} unknown." if tally.num_unknown else ""
        counts = _describe_counts(tally.by_status)
        lines.append(f"{tally.num_files} files: {counts}.{unknown}")
    if output is not None:
        lines += [f"No score: {r.path}: {r.reason}" for r in tally.first_failures]
        if (more := tally.num_without_score - len(tally.first_failures)) > 0:
            lines.append(f"... and {more} more without a score.")
        lines.append(f"Results: {output}")
    if segment_files:
        lines.append(f"Segments: {and_more(list(map(str, segment_files)), 3)}")
    per_clip = " · ".join(
        f"{_STAGES[stage]} {1000 * total / num_scored:.0f} ms"
        for stage, total in tally.stage_seconds.items()
        if num_scored
    )
    each = " each" if tally.num_files > 1 else ""
    lines.append(f"{per_clip}{each} · {seconds:.1f} s total" if per_clip else f"{seconds:.1f} s")
    return Text("\n".join(lines), "dim")


def show_merged(merged: "MergeReport", output: Path) -> Text:
    """Show the summary of a merge: files, rows, duplicates, statuses, and what is missing."""
    files = count_of(merged.num_files, "file")
    lines = [f"{merged.num_rows} rows of {files} in {printable(str(output))}."]
    if merged.by_status:
        lines.append(f"{_describe_counts(merged.by_status)}.")
    if merged.num_same or merged.num_settled:
        lines.append(
            f"Duplicate rows removed: {merged.num_same} identical, "
            f"{merged.num_settled} without a score or older."
        )
    if merged.missing_shards:
        shards = ", ".join(merged.missing_shards)
        lines.append(f"Missing shards: {shards}. Run predict to add them.")
    if merged.without_journal:
        names = and_more(list(map(printable, merged.without_journal)), 3)
        lines.append(f"No journal beside {names}: predict cannot resume the merged file.")
    return Text("\n".join(lines), "dim")


def show_models(
    models: "Sequence[ModelDescription]",
    own: "Mapping[str, ModelDescription]",
    action_networks: "Sequence[ActionNetworkListing]",
) -> RenderableType:
    """Show the shipped models, then those trained here, by folder."""
    weights = {one.name: one for one in action_networks}
    table = new_table("model", "labels", "input", "accuracy", "weights")
    rows = [(m.name, m, weights.get(m.backbone.name)) for m in models]
    rows += [(folder, description, None) for folder, description in own.items()]
    for name, model, network in rows:
        labels = and_more(list(model.labels), 4)
        if model.captions is not None:
            labels = f"sentences of {len(model.labels) - 2} words"
        published = model.metrics.get("published_accuracy")
        if published is not None:
            labels = f"{len(model.labels)} everyday actions"
        folds = model.metrics.get("cross_validation", {}).get("fold_by_source", {})
        accuracy = published or model.metrics.get("accuracy") or folds.get("accuracy")
        here = Text("here" if name in own else "included", "green")
        table.add_row(
            Text(name, "bold"),
            Text(labels),
            f"{model.clip.num_frames} frames, {'+'.join(model.clip.streams)}",
            "" if accuracy is None else f"{accuracy:.1%}",
            here if network is None else _where(network),
        )
    note = "Accuracy on held-out clips; that of kinetics600 as published."
    more = "CNNs to train with: activity models --backbones"
    return Group(table, Text(f"\n{note} {more}", "dim"))


def show_backbones(backbones: "Sequence[BackboneListing]") -> RenderableType:
    """Show the CNNs that a model can be trained with."""
    titles = ("backbone", "parameters", "file", "ImageNet top-1", "weights")
    table = new_table(*titles, right=slice(1, 4))
    for cnn in backbones:
        where = ("here", "green") if cnn.is_local else ("downloaded on first use", "dim")
        size = f"{cnn.num_parameters / 1e6:.1f} M", f"{cnn.file_mb:.0f} MB"
        table.add_row(cnn.name, *size, f"{cnn.imagenet_top1:.1f}%", Text(*where))
    return table


def _where(network: "ActionNetworkListing") -> Text:
    if network.is_local:
        return Text("on this machine", "green")
    return Text(f"activity models pull {network.name}", "dim")


def show_cache(folder: Path, sizes: Mapping[str, int], *, cleared: bool) -> RenderableType:
    """Show the content of the cache, or what was cleared."""
    table = Table.grid(padding=(0, 2))
    for part, what in (("features", "features of clips"), ("engines", "prepared networks")):
        megabytes = f"{sizes[f'{part}_bytes'] / 1e6:.1f} MB"
        table.add_row(what, Text(megabytes, justify="right"), f"{sizes[f'{part}_files']} files")
    return Group(Text(f"{'Cleared' if cleared else 'Cache'}: {folder}", "bold"), table)


def _describe_counts(by_status: Mapping[Any, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in by_status.items())
