"""The result of `activity check` -> rows of a file, and one JSON document."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from activity_cli.data.inspection.duplicates import DuplicateSet
from activity_cli.data.inspection.survey import LABEL, Survey
from activity_cli.errors import OutputError
from activity_cli.predict.results import SCORE_DIGITS, SECONDS_DIGITS, rows_suffix

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


def check_output(path: Path, *, overwrite: bool) -> None:
    """Check, before the work begins, the suffix of a file for rows, and that it is a new one."""
    rows_suffix(path)
    if path.exists() and not overwrite:
        hint = "Choose another file, or add --overwrite."
        raise OutputError(f"{path} exists already.", hint=hint)


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
