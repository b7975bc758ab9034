"""A survey -> what a terminal shows: the whole first, then what is wrong, then what is there twice.

A row for each file only where there are few. Paths and labels are text, never markup.
"""

import os
from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from activity_cli.data.inspection.checks import FileCheck
from activity_cli.data.inspection.survey import FoundDuplicates, Lengths, Overview, Survey
from activity_cli.report.terminal.elements import (
    SCORE_STYLE,
    bar,
    common_folder,
    new_table,
    printable,
)
from activity_cli.types import Status

_MOST_ROWS = 20
"""So many files are shown one by one."""
_MOST_PROBLEMS = 20
_MOST_SETS = 15
_MOST_IN_SET = 6
_MOST_KINDS = 5
_BAR_CELLS = 16
_STYLES = {Status.OK: "green", Status.SHORT: "yellow", Status.TRUNCATED: "yellow"}
_INDENT = (0, 0, 0, 2)


def show_survey(survey: Survey) -> RenderableType:
    """All of it; lists that are cut short say where the rest is."""
    names = _names(survey.checks)
    parts: list[RenderableType] = []
    if len(survey.checks) == 1:
        parts.append(_show_one(survey.checks[0]))
    else:
        parts += [_headline(survey), *_show_overview(survey.overview)]
        if len(survey.checks) <= _MOST_ROWS:
            parts += [Text(), _show_files(survey.checks, names)]
        parts += _show_problems(survey.checks, names)
        parts += _show_duplicates(survey, names)
    return Group(*parts)


def describe_failures(num_unsound: int) -> str:
    """Failures so far, beside the progress; nothing while there are none."""
    return f"{num_unsound} damaged" if num_unsound else ""


def _names(checks: Sequence[FileCheck]) -> list[str]:
    """Paths relative to the folder that all are in."""
    paths = [str(check.path) for check in checks]
    folder = common_folder(paths)
    return [printable(os.path.relpath(path, folder) if folder else path) for path in paths]


def _show_one(check: FileCheck) -> RenderableType:
    """A single file: every fact on a line of its own."""
    title = Text.assemble((printable(str(check.path)), "bold"), "  ", _status(check))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    if check.num_frames:
        promised = check.num_frames_from_header
        header = f"{promised} by the header" if promised else "the header gives no number"
        for name, value in {
            "codec": check.codec or "not named",
            "size": f"{check.width}x{check.height}",
            "rotation": f"{check.rotation_degrees}°",
            "fps": f"{_rate(check.fps_measured)} measured, {_rate(check.fps_from_header)} by the "
            f"header",
            "length": f"{check.duration_seconds:.2f} s, {check.num_frames} frames ({header})",
            "longest gap": f"{check.longest_gap_seconds or 0:.3f} s between two frames",
            "file": f"{(check.num_bytes or 0) / 1e6:.2f} MB, sha256 {check.sha256[:16]}...",
        }.items():
            facts.add_row(name, Text(value))
    lines = [Text(line, "yellow") for line in [*_reasons(check), *check.notes]]
    return Group(
        title, Padding(facts, _INDENT), *(Padding(line, _INDENT, expand=False) for line in lines)
    )


def _headline(survey: Survey) -> Text:
    """The statuses, and what there is to look at."""
    overview = survey.overview
    text = Text.assemble((f"{overview.num_files} files", "bold"), ": ")
    for number, (status, count) in enumerate(overview.statuses.items()):
        text.append(", " if number else "")
        text.append(f"{count} {status}", _STYLES.get(Status(status), "red"))
    for count, what, style in (
        (overview.num_unsound, "damaged or unreadable", "bold red"),
        (len(survey.duplicates), "duplicate set", "bold yellow"),
        (len(survey.leaks), "leak", "bold red"),
    ):
        if count:
            text.append(f" · {count} {what if 'or' in what else _plural(count, what)}", style)
    return text


def _show_overview(overview: Overview) -> list[RenderableType]:
    """What the files have in common, and in what they differ."""
    if overview.lengths is None:
        return []
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    lengths = overview.lengths
    facts.add_row(
        "video",
        f"{_duration(lengths.total)}, {overview.num_frames:,} frames, "
        f"{overview.num_bytes / 1e6:,.1f} MB",
    )
    facts.add_row("sizes", _kinds(overview.sizes))
    facts.add_row("fps", _kinds(overview.frame_rates))
    facts.add_row("codecs", _kinds(overview.codecs))
    facts.add_row(
        "lengths",
        f"{lengths.shortest:.1f} to {lengths.longest:.1f} s, median {lengths.median:.1f} s",
    )
    if len(lengths.counts) > 1:
        facts.add_row("", _histogram(lengths))
    if overview.labels:
        facts.add_row("labels", _show_labels(overview))
    return [Padding(facts, _INDENT, expand=False)]


def _histogram(lengths: Lengths) -> Table:
    table = _bars()
    limits = zip(lengths.edges, lengths.edges[1:], lengths.counts, strict=False)
    for low, high, count in limits:
        table.add_row(
            Text(f"{low:.1f} to {high:.1f} s", "dim"),
            _bar_of(count, max(lengths.counts)),
            str(count),
        )
    return table


def _show_labels(overview: Overview) -> Table:
    table = _bars()
    most = max(overview.labels.values())
    for label, count in overview.labels.items():
        lost = count - overview.sound_labels[label]
        note = f"{count}, {lost} of them damaged or unreadable" if lost else str(count)
        table.add_row(Text(printable(label)), _bar_of(count, most), note)
    return table


def _show_files(checks: Sequence[FileCheck], names: Sequence[str]) -> Table:
    table = new_table("file", "status", "codec", "size", "fps", "s", "frames")
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.no_wrap = True
    for column in table.columns[3:]:
        column.justify = "right"
    for check, name in zip(checks, names, strict=True):
        facts = ["", "", "", "", ""]
        if check.num_frames:
            size = f"{check.width}x{check.height}"
            mark = "~" if check.has_variable_rate else ""
            rate = mark + _rate(check.fps_measured or check.fps_from_header)
            length = f"{check.duration_seconds:.1f}"
            facts = [check.codec, size, rate, length, str(check.num_frames)]
        table.add_row(Text(name), _status(check), *map(Text, facts))
    return table


def _show_problems(checks: Sequence[FileCheck], names: Sequence[str]) -> list[RenderableType]:
    """Files that are not sound, each with its reasons; then what is unusual, in short."""
    pairs = list(zip(checks, names, strict=True))
    unsound = [(check, name) for check, name in pairs if not check.is_sound]
    noted = [(check, name) for check, name in pairs if check.is_sound and check.notes]
    parts: list[RenderableType] = []
    if unsound:
        parts += [Text(), Text(f"Damaged or unreadable: {len(unsound)}", "bold red")]
        for check, name in unsound[:_MOST_PROBLEMS]:
            line = Text.assemble(name, "  ", _status(check), "  ")
            line.append(" · ".join(_reasons(check)), "dim")
            parts.append(Padding(line, _INDENT, expand=False))
        parts += _and_more(len(unsound) - _MOST_PROBLEMS)
    if noted:
        parts += [Text(), Text(f"Unusual, but sound: {len(noted)}", "bold yellow")]
        for check, name in noted[: _MOST_PROBLEMS // 2]:
            line = Text.assemble(name, "  ", ("; ".join(check.notes), "dim"))
            parts.append(Padding(line, _INDENT, expand=False))
        parts += _and_more(len(noted) - _MOST_PROBLEMS // 2)
    return parts


def _show_duplicates(survey: Survey, names: Sequence[str]) -> list[RenderableType]:
    """Sets of copies, those that leak first."""
    sets, leaks = survey.duplicates, survey.leaks
    num_compared = sum(bool(check.num_frames) for check in survey.checks)
    if not sets:
        alone = num_compared < 2
        return [] if alone else [Text(), Text("No duplicates, neither exact nor near.", "green")]
    num_files = sum(len(one.files.files) for one in sets)
    title = f"Duplicates: {len(sets)} {_plural(len(sets), 'set')} of {num_files} files"
    parts: list[RenderableType] = [Text(), Text(title, "bold yellow")]
    if leaks:
        columns = dict.fromkeys(column for one in leaks for column in one.crosses)
        parts.append(
            Text(
                f"LEAKAGE: {len(leaks)} {_plural(len(leaks), 'set')} cross"
                f"{'es' * (len(leaks) == 1)} {', '.join(map(printable, columns))}. "
                "What is measured on such data is too good, or wrong.",
                "bold red",
            )
        )
    ranked = [*leaks, *(one for one in sets if not one.crosses)]
    for one in ranked[:_MOST_SETS]:
        parts += _show_set(one, names)
    parts += _and_more(len(ranked) - _MOST_SETS, "sets")
    advice = "Keep one of each set, or give all of a set the same label, and one group in a CSV."
    return [*parts, Text(advice, "dim")]


def _show_set(one: FoundDuplicates, names: Sequence[str]) -> list[RenderableType]:
    first, *others = one.files.files
    lines = [Text(names[first], "bold")]
    for file in others[: _MOST_IN_SET - 1]:
        lines.append(Text.assemble("  ", names[file], (f"  {_relation(one, file, names)}", "dim")))
    if (more := len(others) - _MOST_IN_SET + 1) > 0:
        lines.append(Text(f"  ... and {more} more", "dim"))
    if one.crosses:
        crossed = (
            f"{printable(column)} {' | '.join(printable(value) or 'none' for value in values)}"
            for column, values in one.crosses.items()
        )
        lines.append(Text(f"  crosses {' · '.join(crossed)}", "red"))
    return [Padding(line, _INDENT, expand=False) for line in lines]


def _relation(one: FoundDuplicates, file: int, names: Sequence[str]) -> str:
    """How a file of a set is like the first one, or like another where it is not."""
    if (same := one.files.same_content.get(file)) is not None:
        return "same content" + (f" as {names[same]}" if same != one.files.files[0] else "")
    mine = [copy for copy in one.files.copies if file in (copy.first, copy.second)]
    best = max(mine, key=lambda copy: one.files.files[0] in (copy.first, copy.second))
    offset = abs(best.offset_seconds)
    shift = f", shifted by {offset:.1f} s" if offset >= 0.15 else ""
    return f"same recording ({best.similarity:.2f}) for {best.overlap_seconds:.1f} s{shift}"


def _reasons(check: FileCheck) -> list[str]:
    return [reason for reason in (check.reason, *check.damage) if reason]


def _status(check: FileCheck) -> Text:
    damaged = check.status in {Status.OK, Status.SHORT} and check.damage
    style = "yellow" if damaged else _STYLES.get(check.status, "red")
    return Text(f"{check.status}, damaged" if damaged else check.status.value, style)


def _kinds(counts: Mapping[str, int]) -> Text:
    """What there is, with how many of each where there are several."""
    if len(counts) == 1:
        return Text(next(iter(counts)))
    shown = [f"{kind} ({count})" for kind, count in list(counts.items())[:_MOST_KINDS]]
    more = [f"and {len(counts) - _MOST_KINDS} more"] * (len(counts) > _MOST_KINDS)
    return Text(", ".join(shown + more))


def _bars() -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(style=SCORE_STYLE, no_wrap=True)
    table.add_column(no_wrap=True)
    return table


def _bar_of(count: int, most: int) -> str:
    return bar(count / most, _BAR_CELLS)


def _and_more(count: int, what: str = "") -> list[RenderableType]:
    if count <= 0:
        return []
    line = f"... and {count} more{' ' * bool(what)}{what}; --output FILE lists all"
    return [Padding(Text(line, "dim"), _INDENT, expand=False)]


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"


def _rate(fps: float | None) -> str:
    return f"{fps:.4g}" if fps else "none"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{value} {unit}" for value, unit in parts if value) or "0 s"
