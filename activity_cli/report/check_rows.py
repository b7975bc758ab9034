"""A survey -> rows of a file, and one JSON document."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from activity_cli.data.inspection.checks import FileCheck
from activity_cli.data.inspection.survey import LABEL, FoundDuplicates, Survey
from activity_cli.errors import OutputError
from activity_cli.predict.results.rows import SCORE_DIGITS, SECONDS_DIGITS, rows_suffix

COLUMNS = (
    *("path", "status", "reason", "damage", "notes", "codec", "width", "height", "rotation"),
    *("fps", "fps_measured", "fps_variation", "longest_gap", "seconds"),
    *("frames", "frames_promised", "bytes", "sha256", "label"),
    *("duplicate_of", "near_duplicate_of", "crosses"),
)
"""Of the rows, one per file. The last three tell of copies: the first file with the same content,
the first one that shows the same, and in which columns of the data they differ."""

SEPARATOR = "; "
"""Between several values in one field."""


def make_rows(survey: Survey) -> list[dict[str, Any]]:
    """One row per file, in order, with None or "" where there is no value."""
    rows = []
    for entry, check in zip(survey.entries, survey.checks, strict=True):
        row = dict.fromkeys(COLUMNS, "") | _facts(check)
        row[LABEL] = SEPARATOR.join(sorted(entry.columns.get(LABEL, ())))
        rows.append(row)
    for one in survey.duplicates:
        first = rows[one.files.files[0]]["path"]
        for file in one.files.files:
            same = one.files.same_content.get(file)
            if same is not None:
                rows[file]["duplicate_of"] = rows[same]["path"]
            elif file != one.files.files[0]:
                rows[file]["near_duplicate_of"] = first
            rows[file]["crosses"] = SEPARATOR.join(one.crosses)
    return rows


def make_document(survey: Survey) -> dict[str, Any]:
    """All of it as values that JSON has."""
    paths = [str(check.path) for check in survey.checks]
    rows = make_rows(survey)
    for row, check in zip(rows, survey.checks, strict=True):
        row |= {"damage": list(check.damage), "notes": list(check.notes)}
    return {
        "summary": {**asdict(survey.overview), "num_leaks": len(survey.leaks)},
        "duplicates": [_describe(one, paths) for one in survey.duplicates],
        "files": rows,
    }


def check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that rows cannot go to, before the work begins.

    Raises:
        OutputError: the suffix is not known, or the file exists already.
        MissingExtraError: the format needs a package that is not installed.
    """
    rows_suffix(path)
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path} exists already.", hint="Choose another file, or add --overwrite."
        )


def _facts(check: FileCheck) -> dict[str, Any]:
    return {
        "path": str(check.path),
        "status": check.status.value,
        "reason": check.reason,
        "damage": SEPARATOR.join(check.damage),
        "notes": SEPARATOR.join(check.notes),
        "codec": check.codec,
        "width": check.width,
        "height": check.height,
        "rotation": check.rotation_degrees,
        "fps": _rounded(check.fps_from_header),
        "fps_measured": _rounded(check.fps_measured),
        "fps_variation": _rounded(check.fps_variation),
        "longest_gap": _rounded(check.longest_gap_seconds),
        "seconds": _rounded(check.duration_seconds),
        "frames": check.num_frames,
        "frames_promised": check.num_frames_from_header,
        "bytes": check.num_bytes,
        "sha256": check.sha256,
    }


def _describe(one: FoundDuplicates, paths: Sequence[str]) -> dict[str, Any]:
    same, copies = one.files.same_content, one.files.copies
    return {
        "files": [paths[file] for file in one.files.files],
        "crosses": {name: list(values) for name, values in one.crosses.items()},
        "same_content": [
            {"path": paths[file], "duplicate_of": paths[first]} for file, first in same.items()
        ],
        "copies": [
            {
                "first": paths[copy.first],
                "second": paths[copy.second],
                "similarity": round(copy.similarity, SCORE_DIGITS),
                "offset_seconds": _rounded(copy.offset_seconds),
                "overlap_seconds": _rounded(copy.overlap_seconds),
            }
            for copy in copies
        ],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, SECONDS_DIGITS)
