"""A folder of clips or a CSV -> a labelled data set. Decodes nothing.

Either `clips/<label>/*.mp4`, or a CSV with `path,label` and optional `start,end` (seconds),
`group`, `split` and further columns, any of which may hold folds. A folder with a `labels.csv` is
read as that CSV. Files of annotation programs are read by `data/annotations`.

A row with times and an empty label is a stretch of a video that was looked at, whatever happens in
it. Multi-label data needs it where not all of a video was looked at; other data ignores it.
"""

import math
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from activity_cli.common import count_of
from activity_cli.common.files import (
    describe_other_files,
    find_clips,
    is_clip,
    is_file,
    is_folder,
    is_video,
    walk_files,
)
from activity_cli.common.tables import TABLE_SUFFIXES, Row, RowError, raise_first, read_table
from activity_cli.data.annotations.formats import is_annotation_file
from activity_cli.data.dataset import Dataset, Sample, SplitName
from activity_cli.errors import DataError
from activity_cli.settings import MOST_LABEL_CHARACTERS

KNOWN_COLUMNS = ("path", "label", "start", "end", "group", "split")
SPLIT_NAMES: Mapping[str, SplitName] = {
    **{"train": "train", "test": "test"},
    **{"val": "val", "valid": "val", "validation": "val"},
}
LAYOUT_HINT = (
    "Put the clips of each action in a folder with its name: {0}/wave/1.mp4, {0}/run/2.mp4"
)
_TOUCH_SECONDS = 1e-3  # pieces that overlap by less count as adjacent: programs round times


def load_dataset(
    source: Path,
    *,
    min_labels: int = 2,
    allow_missing: bool = False,
    videos: Path | None = None,
    multi_label: bool | None = False,
) -> Dataset:
    """Read labelled data from a folder, a CSV or an annotation file of another program.

    A DataError names the place and the fix. `videos` is the folder of the videos that a file names.

    Fewer than `min_labels` are an error: training needs two, evaluation needs one. With
    `allow_missing` the files of a CSV need not exist. `multi_label` lets several labels be in a
    video at the same time; None: where pieces of different labels overlap.
    """
    root = source if is_folder(source) else videos or source.parent
    if is_folder(source):
        table = source / "labels.csv"
        has_table = is_file(table)
        rows = (
            _from_table(table, allow_missing, videos, multi_label)
            if has_table
            else _from_folders(source)
        )
    elif not is_file(source):
        hint = "Give a folder of labelled clips, or a CSV."
        raise DataError(f"{source} does not exist.", hint=hint)
    elif is_annotation_file(source):
        rows = _from_annotations(source, videos, multi_label)
    elif source.suffix.lower() not in TABLE_SUFFIXES:
        kind = "a video" if is_video(source) else f"a {source.suffix or 'nameless'} file"
        hint = "Give a folder with one folder of clips per label, or a CSV with path,label."
        raise DataError(f"{source} is {kind}, not labelled data.", hint=hint)
    else:
        rows = _from_table(source, allow_missing, videos, multi_label)
    if multi_label is None:
        multi_label = any(True for _ in _overlaps(rows))
    samples = [row for row in rows if row.label]
    labels = tuple(sorted({sample.label for sample in samples}))
    if not labels:
        raise DataError(f"{source} has no label.", hint="Write what each piece shows.")
    if len(labels) < (1 if multi_label else min_labels):
        raise DataError(
            f"{source} has one label only, {labels[0]!r}; a classifier needs at least two.",
            hint="Add clips of another action, for example of 'nothing happens'; or, with pieces "
            "of videos, train with --multi-label: the rest of a video is 'none'.",
        )
    return Dataset(
        root=root.absolute(),
        samples=tuple(samples),
        labels=labels,
        multi_label=multi_label,
        events=tuple(rows) if multi_label else (),
    )


def _from_folders(root: Path) -> list[Sample]:
    """Read `root/<label>/**`, or `root/<split>/<label>/**`."""
    folders = [path for path in _entries(root) if is_folder(path)]
    names = {folder.name.lower() for folder in folders}
    if "train" in names and names <= set(SPLIT_NAMES) and not any(map(_loose_videos, folders)):
        by_split = [(SPLIT_NAMES[folder.name.lower()], folder) for folder in folders]
        return [s for split, folder in by_split for s in _from_labels(root, folder, split)]
    return _from_labels(root, root, None)


def _from_labels(root: Path, parent: Path, split: SplitName | None) -> list[Sample]:
    """Read `parent/<label>/**`. Each folder must hold videos, and no video may lie beside them."""
    loose = _loose_videos(parent)
    folders = [path for path in _entries(parent) if is_folder(path)]
    if loose and not folders:
        raise DataError(
            f"{parent} has {count_of(len(loose), 'video')} but no folders for their labels.",
            hint=LAYOUT_HINT.format(parent) + " - or list them in a CSV with path,label",
        )
    if loose:
        raise DataError(
            f"{parent} has label folders, but also {count_of(len(loose), 'video')} outside of "
            f"them; the first is {loose[0].name}.",
            hint="Move them into the folder of their label, or out of the data.",
        )
    if not folders:
        others = describe_other_files(walk_files(parent))
        raise DataError(f"{parent} has no videos{others}.", hint=LAYOUT_HINT.format(parent))
    found = [(path, folder.name) for folder in folders for path in _videos(folder)]
    return [
        Sample(path=p.absolute(), name=p.relative_to(root).as_posix(), label=label, split=split)
        for p, label in found
    ]


def _entries(folder: Path) -> list[Path]:
    """List what is directly in a folder, sorted, without hidden entries."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder} cannot be read.", hint="Check its permissions.") from error


def _loose_videos(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if is_video(path) and is_file(path)]


def _videos(folder: Path) -> list[Path]:
    """List all videos of one label."""
    files = list(walk_files(folder))
    for path in files:
        if is_folder(path):
            hint = "Remove it, or check its permissions."
            raise DataError(f"{path} is a folder that is empty or cannot be read.", hint=hint)
    videos = find_clips(files, inside=folder)
    if not videos:
        hint = "Every folder is a label: put clips in it, or remove it."
        raise DataError(f"{folder} has no videos{describe_other_files(files)}.", hint=hint)
    return videos


def _from_annotations(source: Path, videos: Path | None, multi_label: bool | None) -> list[Sample]:
    """Read a file of another program, all of whose events must be usable."""
    from activity_cli.data.annotations.importing import read_pieces  # opens videos: OpenCV

    may_overlap = multi_label is not False
    return [
        Sample(
            path=piece.path,
            name=name,
            label=piece.label,
            start_seconds=piece.start,
            end_seconds=piece.end,
            group=piece.group or None,
        )
        for name, piece in read_pieces(source, videos, may_overlap=may_overlap)
    ]


def _from_table(
    path: Path, allow_missing: bool, videos: Path | None, multi_label: bool | None
) -> list[Sample]:
    """Read a CSV. The error is that of the first bad row and counts the others."""
    folder = videos or path.parent
    table = read_table(path, required=("path", "label"))
    bad_rows = list(table.bad_rows)
    samples: list[Sample] = []
    seen: dict[tuple[str, float | None, float | None, str], Sample] = {}
    num_missing = 0
    for row in table.rows:
        try:
            sample = sample_of_row(path, row, folder)
            is_whole = sample.start_seconds is None and sample.end_seconds is None
            # Several labels of a whole file are more often a mistake than several actions.
            has_one = multi_label is False or (multi_label is None and is_whole)
            label = "" if has_one and sample.label else f"label {sample.label}"
            times = (sample.start_seconds or 0.0, sample.end_seconds)
            key = (os.path.normpath(sample.path), *times, label)
            if (first := seen.setdefault(key, sample)) is not sample:
                raise _listed_twice(path, sample, first)
        except RowError as error:
            bad_rows.append(error)
            continue
        if allow_missing or is_clip(sample.path):
            samples.append(sample)
            continue
        base = "--videos" if videos else "the CSV's folder"
        hint = f"Paths are relative to {base}, {folder.absolute()}."
        if "\\" in sample.name and is_file(folder / sample.name.replace("\\", "/")):
            hint = "Write / instead of \\ between folders."
        problem = f"there is no file {sample.name}."
        bad_rows.append(RowError(path, row.line, "path", problem, hint=hint))
        num_missing += 1
    if multi_label is False:
        bad_rows += [_overlap_error(path, *pair) for pair in _overlaps(samples)]
    if num_missing > 1:
        raise_first(bad_rows, f"{num_missing} files are missing in all")
    if bad_rows:
        raise_first(bad_rows)
    return samples


def sample_of_row(path: Path, row: Row, folder: Path) -> Sample:
    """Read one row of a CSV, whose file may be missing."""
    values = row.values
    has_times = bool(values.get("start") or values.get("end"))
    for column in ("path", "label"):
        if not values[column] and not (column == "label" and has_times):
            hint = "Write the video's path." if column == "path" else "Write what the clip shows."
            raise RowError(path, row.line, column, "the value is empty.", hint=hint)
    if len(values["label"]) > MOST_LABEL_CHARACTERS:
        problem = f"the label has {len(values['label']):,} characters."
        hint = f"A label has at most {MOST_LABEL_CHARACTERS} characters."
        raise RowError(path, row.line, "label", problem, hint=hint)
    start, end = _seconds(path, row, "start"), _seconds(path, row, "end")
    if end is not None and (start or 0.0) >= end:
        problem = f"the clip ends at {end:g} s, but starts at {start or 0.0:g} s."
        hint = "end must be after start, both in seconds from the start of the video."
        raise RowError(path, row.line, "end", problem, hint=hint)
    split = values.get("split", "")
    if split and split.lower() not in SPLIT_NAMES:
        hint = "Use train, val or test."
        raise RowError(path, row.line, "split", f"{split!r} is not a split.", hint=hint)
    return Sample(
        path=(folder / values["path"]).absolute(),
        name=values["path"],
        label=values["label"],
        start_seconds=start,
        end_seconds=end,
        group=values.get("group") or None,
        split=SPLIT_NAMES[split.lower()] if split else None,
        folds={name: value for name, value in values.items() if name not in KNOWN_COLUMNS},
        line=row.line,
    )


def _seconds(path: Path, row: Row, column: str) -> float | None:
    text = row.values.get(column, "")
    if not text:
        return None
    seconds = math.nan
    with suppress(ValueError):
        seconds = float(text)
    if not math.isfinite(seconds):
        problem, hint = f"{text!r} is not a number.", "Write seconds with a point, such as 12.5"
        raise RowError(path, row.line, column, problem, hint=hint)
    if seconds < 0:
        hint = "Times count from the start of the video, which is 0."
        raise RowError(path, row.line, column, f"{text} s is negative.", hint=hint)
    return seconds


def _listed_twice(path: Path, sample: Sample, first: Sample) -> RowError:
    problem = f"listed twice, first in line {first.line}."
    hint = "Remove one of the two rows."
    if first.label != sample.label:
        problem = f"{sample.label!r} here, but {first.label!r} in line {first.line}."
        hint = (
            "A clip has one label: remove the wrong row, or give each its start and end. If both "
            "happen at once: --multi-label."
        )
    return RowError(path, sample.line or 0, "path", f"{sample.name} is {problem}", hint=hint)


def _overlaps(samples: Sequence[Sample]) -> Iterator[tuple[Sample, Sample]]:
    """Give each piece that overlaps an earlier one with another label of the same video."""
    by_video: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.label:
            by_video[os.path.normpath(sample.path)].append(sample)
    for pieces in by_video.values():
        pieces.sort(key=lambda s: s.start_seconds or 0.0)
        last_of: dict[str, Sample] = {}  # by label: of the pieces so far, the one that ends last
        for piece in pieces:
            start = (piece.start_seconds or 0.0) + _TOUCH_SECONDS
            for label, other in last_of.items():
                if label != piece.label and _end_seconds(other) > start:
                    yield piece, other
                    break
            before = last_of.setdefault(piece.label, piece)
            last_of[piece.label] = max(before, piece, key=_end_seconds)


def _overlap_error(path: Path, piece: Sample, other: Sample) -> RowError:
    both = f"which is {other.label!r}, not {piece.label!r}"
    problem = f"the piece overlaps that of line {other.line}, {both}."
    hint = (
        "Here a moment has one label: move the start or the end of one of them. If both happen at "
        "once, train with --multi-label."
    )
    return RowError(path, piece.line or 0, "start", problem, hint=hint)


def _end_seconds(sample: Sample) -> float:
    return math.inf if sample.end_seconds is None else sample.end_seconds
