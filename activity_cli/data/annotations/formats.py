"""The formats of annotation files, and which one a file has."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from activity_cli.common.files import is_file, is_folder, is_video
from activity_cli.data.annotations import boris, json_formats, subtitles, tables, xml_formats
from activity_cli.data.annotations.events import Item
from activity_cli.data.annotations.source import Source
from activity_cli.errors import DataError, SettingsError
from activity_cli.setting_fields import setting

AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How events become labelled pieces of videos."""

    videos: Path | None = setting(None, metavar="FOLDER", derived="beside the file")
    """Folder with the videos, which are found by name, whatever their endings."""
    format: str = setting(AUTO, metavar="FORMAT", rare=True)
    """Format of the files, if their content does not tell."""
    subject: tuple[str, ...] = setting((), metavar="NAME")
    """Take the events of this subject (ELAN: participant or tier); can be given several times."""
    label_by_subject: bool = setting(False)
    """Use labels such as anna:wave."""
    group_by_subject: bool = setting(False)
    """Make the subject the group, which is never split."""
    point_seconds: float = setting(1.0, above=0, metavar="SECONDS")
    """Length of the piece around an event that is a point in time."""
    fps: float | None = setting(None, above=0, derived="the file's, else the video's", rare=True)
    """Frame rate at which the annotation program counted frames."""


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of annotation file."""

    name: str  # value of --format
    title: str
    matches: Callable[[Source], bool]
    """Return whether a file is of this kind, by its content."""
    read: Callable[[Source], Iterator[Item]]


FORMATS = (
    Format("boris", "a BORIS project", boris.is_project, boris.read_project),
    Format("boris-events", "exported events of BORIS", boris.is_table, boris.read_table),
    Format("elan", "ELAN", xml_formats.is_elan, xml_formats.read_elan),
    Format("cvat", "CVAT XML", xml_formats.is_cvat, xml_formats.read_cvat),
    Format(
        "label-studio",
        "Label Studio JSON",
        json_formats.is_label_studio,
        json_formats.read_label_studio,
    ),
    Format(
        "activitynet",
        "ActivityNet JSON",
        json_formats.is_activitynet,
        json_formats.read_activitynet,
    ),
    Format("via", "VIA 3 JSON", json_formats.is_via, json_formats.read_via),
    Format("feral", "FERAL JSON", json_formats.is_feral, json_formats.read_feral),
    Format("fiftyone", "FiftyOne JSON", json_formats.is_fiftyone, json_formats.read_fiftyone),
    Format("deepethogram", "DeepEthogram CSV", tables.is_deepethogram, tables.read_deepethogram),
    Format("vtt", "WebVTT", subtitles.is_vtt, subtitles.read_subtitles),
    Format("srt", "SRT", subtitles.is_srt, subtitles.read_subtitles),
    Format("audacity", "Audacity labels", subtitles.is_audacity, subtitles.read_audacity),
    Format("parquet", "Parquet", tables.is_parquet, tables.read_parquet),
    Format("csv", "CSV", tables.is_events, tables.read_events),
    Format("jsonl", "JSON lines", tables.is_json_lines, tables.read_json_lines),
)
"""In the order in which they are tried: those with more particular content first."""


def find_format(source: Source) -> Format | None:
    """Return the format of a file by its content; None where it is none of these.

    Raises:
        DataError: the file cannot be read, or it begins like JSON and is not complete.
    """
    return next((one for one in FORMATS if one.matches(source)), None)


def is_annotation_file(path: Path) -> bool:
    """Return whether a file is one of another program, not a CSV with path,label or a video."""
    source = Source(path)
    if is_video(path) or not source.is_readable:
        return False
    found = find_format(source)
    is_own = found is not None and found.name == "csv" and "path" in source.columns(_has_fields)
    return found is not None and not is_own


def open_source(path: Path, name: str = AUTO) -> tuple[Source, Format]:
    """Return an annotation file and its format, which is found by its content for `auto`.

    Raises:
        DataError: there is no such file, it is empty, or it is not of the format.
        SettingsError: there is no such format.
    """
    names = ", ".join(one.name for one in FORMATS)
    if name not in {AUTO, *(one.name for one in FORMATS)}:
        raise SettingsError(f"There is no format {name!r}.", hint=f"There are {names}.")
    if is_folder(path):
        raise DataError(f"{path} is a folder.", hint=f"Name its files, such as {path}/*.eaf.")
    if not is_file(path):
        raise DataError(f"{path} does not exist.", hint="Check the path.")
    source = Source(path)
    if not source.head.strip("\ufeff \t\r\n"):
        raise DataError(f"{path} is empty.", hint="Export it again.")
    found = next((one for one in FORMATS if one.name == name), None) or find_format(source)
    if found is None:
        kind = "a video" if is_video(path) else "no annotation file that this program knows"
        raise DataError(
            f"{path} is {kind}.", hint=f"Formats: {names}. A CSV needs video,label,start,end."
        )
    if name != AUTO and not found.matches(source):
        raise DataError(
            f"{path} is not {found.title}.", hint="Leave --format out: the content decides."
        )
    return source, found


def _has_fields(names: Sequence[str]) -> bool:
    return len(names) > 1
