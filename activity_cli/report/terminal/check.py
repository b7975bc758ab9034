"""The result of `activity check` -> what the terminal shows, rows of a file, one JSON document."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from activity_cli.common import count_of
from activity_cli.data.inspection.checks import FileCheck
from activity_cli.data.inspection.duplicates import DuplicateSet
from activity_cli.data.inspection.survey import LABEL, Overview, Survey
from activity_cli.predict.results import SCORE_DIGITS, SECONDS_DIGITS
from activity_cli.report.terminal import (
    SCORE_STYLE,
    bar,
    common_folder,
    describe_seconds,
    new_table,
    printable,
)
from activity_cli.types import Status

_MAX_ROWS = 20  # up to this number all files are listed
_MAX_DAMAGED, _MAX_UNUSUAL, _MAX_SETS, _MAX_IN_SET, _MAX_KINDS = 20, 10, 15, 6, 5
_BAR_CELLS = 16
_STYLES = {Status.OK: "green", Status.SHORT: "yellow", Status.TRUNCATED: "yellow"}


def show_survey(survey: Survey) -> RenderableType:
    """Show one file in detail, or a summary of many with their problems and duplicates."""
    checks = survey.checks
    if len(checks) == 1:
        return _show_one(checks[0])
    paths = [str(check.path) for check in checks]
    folder = common_folder(paths)
    names = [printable(os.path.relpath(path, folder) if folder else path) for path in paths]
    parts: list[RenderableType] = [_headline(survey), *_show_overview(survey.overview)]
    if len(checks) <= _MAX_ROWS:
        parts += [Text(), _show_files(checks, names)]
    damaged, unusual = [], []
    for check, name in zip(checks, names, strict=True):
        if not check.is_sound:
            reasons = (" · ".join(_reasons(check)), "dim")
            damaged.append(Text.assemble(name, "  ", _status(check), "  ", reasons))
        elif check.notes:
            unusual.append(Text.assemble(name, "  ", (" · ".join(check.notes), "dim")))
    parts += _section("Damaged or unreadable", damaged, _MAX_DAMAGED, "bold red")
    parts += _section("Unusual, not damaged", unusual, _MAX_UNUSUAL, "bold yellow")
    return Group(*parts, *_show_duplicates(survey, names))


def _show_one(check: FileCheck) -> RenderableType:
    """Show one value per line."""
    title = Text.assemble((printable(str(check.path)), "bold"), "  ", _status(check))
    lines = [_indented(Text(line, "yellow")) for line in (*_reasons(check), *check.notes)]
    if not check.num_frames:
        return Group(title, *lines)
    promised = check.num_frames_from_header
    header = f"{promised} by the header" if promised else "none stated by the header"
    measured, stated = _rate(check.fps_measured), _rate(check.fps_from_header)
    values: dict[str, RenderableType] = {
        "codec": check.codec or "unknown",
        "size": f"{check.width}x{check.height}",
        "rotation": f"{check.rotation_degrees}°",
        "fps": f"{measured} measured, {stated} by the header",
        "length": f"{check.duration_seconds:.2f} s, {check.num_frames} frames ({header})",
        "longest gap": f"{check.longest_gap_seconds or 0:.3f} s between two frames",
        "file": f"{(check.num_bytes or 0) / 1e6:.2f} MB, sha256 {check.sha256[:16]}...",
    }
    return Group(title, _grid(values), *lines)


def _headline(survey: Survey) -> Text:
    """Show the number of files by status, and of problems."""
    overview = survey.overview
    text = Text.assemble((f"{overview.num_files} files", "bold"), ": ")
    counts = [
        Text(f"{count} {status}", _STYLES.get(Status(status), "red"))
        for status, count in overview.statuses.items()
    ]
    text.append_text(Text(", ").join(counts))
    if overview.num_unsound:
        text.append(f" · {overview.num_unsound} damaged or unreadable", "bold red")
    if survey.duplicates:
        text.append(f" · {count_of(len(survey.duplicates), 'duplicate set')}", "bold yellow")
    if survey.leaks:
        text.append(f" · {count_of(len(survey.leaks), 'leak')}", "bold red")
    return text


def _show_overview(overview: Overview) -> list[RenderableType]:
    """Show the distribution of size, frame rate, codec, length and label."""
    if (lengths := overview.lengths) is None:
        return []
    rows: dict[str, RenderableType] = {
        "video": f"{describe_seconds(lengths['total'])}, {overview.num_frames:,} frames, "
        f"{overview.num_bytes / 1e6:,.1f} MB",
        "sizes": _kinds(overview.sizes),
        "fps": _kinds(overview.frame_rates),
        "codecs": _kinds(overview.codecs),
        "lengths": "{shortest:.1f} to {longest:.1f} s, median {median:.1f} s".format(**lengths),
    }
    if len(lengths["counts"]) > 1:
        limits = zip(pairwise(lengths["edges"]), lengths["counts"], strict=True)
        bins = {f"{low:.1f} to {high:.1f} s": (count, str(count)) for (low, high), count in limits}
        rows[""] = _bars(bins)
    if overview.labels:
        labels = {}
        for label, count in overview.labels.items():
            lost = count - overview.sound_labels[label]
            note = f"{count}, {lost} damaged or unreadable" if lost else str(count)
            labels[printable(label)] = (count, note)
        rows["labels"] = _bars(labels)
    return [_grid(rows)]


def _show_files(checks: Sequence[FileCheck], names: Sequence[str]) -> Table:
    table = new_table("file", "status", "codec", "size", "fps", "s", "frames", right=slice(3, None))
    table.columns[0].overflow = "fold"
    for check, name in zip(checks, names, strict=True):
        values = [""] * 5
        if check.num_frames:
            mark = "~" if check.has_variable_rate else ""
            rate = mark + _rate(check.fps_measured or check.fps_from_header)
            values = [check.codec, f"{check.width}x{check.height}", rate]
            values += [f"{check.duration_seconds:.1f}", str(check.num_frames)]
        table.add_row(Text(name), _status(check), *map(Text, values))
    return table


def _show_duplicates(survey: Survey, names: Sequence[str]) -> list[RenderableType]:
    """Show sets of copies, those that leak first."""
    sets, leaks = survey.duplicates, survey.leaks
    if not sets:
        is_compared = sum(bool(check.num_frames) for check in survey.checks) > 1
        return [Text(), Text("No exact or near duplicates.", "green")] if is_compared else []
    parts: list[RenderableType] = []
    if leaks:
        columns = dict.fromkeys(printable(column) for one in leaks for column in one.crosses)
        leakage = (
            f"LEAKAGE: {count_of(len(leaks), 'set')} with different {', '.join(columns)}. "
            "Accuracy on such data is overestimated or wrong."
        )
        parts += [Text(), Text(leakage, "bold red")]
    shown = [_show_set(one, names) for one in (*leaks, *(one for one in sets if not one.crosses))]
    num_files = sum(len(one.files) for one in sets)
    parts += _section("Duplicate sets", shown, _MAX_SETS, "bold yellow", f" with {num_files} files")
    advice = "Keep one file per set, or give all files of a set one label and one group in a CSV."
    return [*parts, Text(advice, "dim")]


def _show_set(one: DuplicateSet, names: Sequence[str]) -> Text:
    first, *others = one.files
    lines = [Text(names[first], "bold")]
    for file in others[: _MAX_IN_SET - 1]:
        lines.append(Text.assemble("  ", names[file], (f"  {_relation(one, file, names)}", "dim")))
    if (more := len(others) - _MAX_IN_SET + 1) > 0:
        lines.append(Text(f"  and {more} more", "dim"))
    if one.crosses:
        crossed = (
            f"{printable(column)} {' | '.join(printable(value) or 'none' for value in values)}"
            for column, values in one.crosses.items()
        )
        lines.append(Text(f"  different {' · '.join(crossed)}", "red"))
    return Text("\n").join(lines)


def _relation(one: DuplicateSet, file: int, names: Sequence[str]) -> str:
    """Return how a file resembles the first of its set, or another if not the first."""
    first = one.files[0]
    if (same := one.same_content.get(file)) is not None:
        return "same content" + (f" as {names[same]}" if same != first else "")
    copies = [copy for copy in one.copies if file in (copy.first, copy.second)]
    best = max(copies, key=lambda copy: first in (copy.first, copy.second))
    offset = abs(best.offset_seconds)
    shift = f", shifted by {offset:.1f} s" if offset >= 0.15 else ""
    return f"same recording ({best.similarity:.2f}) for {best.overlap_seconds:.1f} s{shift}"


def _section(
    title: str, lines: Sequence[Text], limit: int, style: str, note: str = ""
) -> list[RenderableType]:
    """Show a title and the first lines; nothing without lines."""
    if not lines:
        return []
    parts: list[RenderableType] = [Text(), Text(f"{title}: {len(lines)}{note}", style)]
    parts += map(_indented, lines[:limit])
    if (more := len(lines) - limit) > 0:
        parts.append(_indented(Text(f"and {more} more; use --output FILE for all", "dim")))
    return parts


def _reasons(check: FileCheck) -> list[str]:
    return [reason for reason in (check.reason, *check.damage) if reason]


def _status(check: FileCheck) -> Text:
    is_damaged = check.status in {Status.OK, Status.SHORT} and check.damage
    style = "yellow" if is_damaged else _STYLES.get(check.status, "red")
    return Text(f"{check.status}, damaged" if is_damaged else check.status.value, style)


def _kinds(counts: Mapping[str, int]) -> str:
    """Return the values, with the number of files where there are several."""
    if len(counts) == 1:
        return next(iter(counts))
    shown = [f"{kind} ({count})" for kind, count in list(counts.items())[:_MAX_KINDS]]
    if len(counts) > _MAX_KINDS:
        shown.append(f"and {len(counts) - _MAX_KINDS} more")
    return ", ".join(shown)


def _grid(rows: Mapping[str, RenderableType]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    for name, value in rows.items():
        table.add_row(name, Text(value) if isinstance(value, str) else value)
    return _indented(table)


def _bars(counts: Mapping[str, tuple[int, str]]) -> Table:
    table = Table.grid(padding=(0, 1))
    for style in ("", SCORE_STYLE, ""):
        table.add_column(style=style, no_wrap=True)
    most = max(count for count, _ in counts.values())
    for name, (count, note) in counts.items():
        table.add_row(Text(name), bar(count / most, _BAR_CELLS), note)
    return table


def _indented(content: RenderableType) -> Padding:
    return Padding(content, (0, 0, 0, 2), expand=False)


def _rate(fps: float | None) -> str:
    return f"{fps:.4g}" if fps else "none"


_ATTRIBUTES = {
    **{name: name for name in ("path", "status", "reason", "damage", "notes", "codec")},
    **{name: name for name in ("width", "height")},
    **{"rotation": "rotation_degrees", "fps": "fps_from_header"},
    **{name: name for name in ("fps_measured", "fps_variation")},
    "longest_gap": "longest_gap_seconds",
    "seconds": "duration_seconds",
    "frames": "num_frames",
    "frames_promised": "num_frames_from_header",
    "bytes": "num_bytes",
    "sha256": "sha256",
}
"""Attribute of a `FileCheck` by column."""

COLUMNS = (*_ATTRIBUTES, LABEL, "duplicate_of", "near_duplicate_of", "crosses")
"""The last three are about copies: the first file with the same content, the first similar one,
and the columns of the data in which they differ."""

SEPARATOR = "; "  # between several values in one field


def make_rows(survey: Survey) -> list[dict[str, Any]]:
    """Return one row per file, in order, with None or "" where there is no value."""
    rows = []
    for columns, check in zip(survey.columns, survey.checks, strict=True):
        row = {name: _plain(getattr(check, field)) for name, field in _ATTRIBUTES.items()}
        label = SEPARATOR.join(sorted(columns.get(LABEL, ())))
        rows.append(dict.fromkeys(COLUMNS, "") | row | {LABEL: label})
    for one in survey.duplicates:
        first = rows[one.files[0]]["path"]
        for file in one.files:
            same = one.same_content.get(file)
            if same is not None:
                rows[file]["duplicate_of"] = rows[same]["path"]
            elif file != one.files[0]:
                rows[file]["near_duplicate_of"] = first
            rows[file]["crosses"] = SEPARATOR.join(one.crosses)
    return rows


def make_document(survey: Survey) -> dict[str, Any]:
    """Return everything as plain values for JSON."""
    rows = make_rows(survey)
    for row, check in zip(rows, survey.checks, strict=True):
        row |= {"damage": list(check.damage), "notes": list(check.notes)}
    return {
        "summary": {**asdict(survey.overview), "num_leaks": len(survey.leaks)},
        "duplicates": [_describe(one, [row["path"] for row in rows]) for one in survey.duplicates],
        "files": rows,
    }


def _describe(one: DuplicateSet, paths: list[str]) -> dict[str, Any]:
    return {
        "files": [paths[file] for file in one.files],
        "crosses": {name: list(values) for name, values in one.crosses.items()},
        "same_content": [
            {"path": paths[file], "duplicate_of": paths[first]}
            for file, first in one.same_content.items()
        ],
        "copies": [
            {name: _plain(value) for name, value in asdict(copy).items()}
            | {"first": paths[copy.first], "second": paths[copy.second]}
            | {"similarity": round(copy.similarity, SCORE_DIGITS)}
            for copy in one.copies
        ],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, SECONDS_DIGITS)
    if isinstance(value, tuple):
        return SEPARATOR.join(value)
    return str(value) if isinstance(value, Path | str) else value
