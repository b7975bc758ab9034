"""Annotation files -> one checked table of events in videos that exist, and the project's own CSV.

Every event is in the table, or counted by the reason why it is not or had to be repaired. A stretch
that was looked at is a piece with an empty label. Times are seconds from the start of the file.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from activity_cli.common import and_more
from activity_cli.data.annotations.events import NO_TIME, Event, FrameCount, Problem
from activity_cli.data.annotations.formats import Format, ImportOptions, open_source
from activity_cli.data.annotations.imported import Imported, Piece, SourceCounts, relative_path
from activity_cli.data.annotations.media import Media, MediaFinder, read_media
from activity_cli.data.annotations.source import Source
from activity_cli.errors import DataError, SettingsError, VideoError
from activity_cli.video.decoder_pool import ClipReader, DecoderPool, Decoders

_SLACK_SECONDS = 0.1  # beyond the end of a video: headers and annotation programs round
NO_VIDEO = "no such video"


def import_annotations(
    paths: Sequence[Path],
    options: ImportOptions,
    *,
    lenient: bool = False,
    on_source: Callable[[int], None] = lambda _: None,
) -> Imported:
    """Read annotation files, find their videos, and check all times against the videos' lengths.

    `on_source` is called with the number of finished files.

    Raises:
        DataError: a file cannot be read; unless `lenient`, also if an event had to be left out or
            repaired; or no event is left.
        SettingsError: there is no such format.
    """
    imported = Imported()
    with ExitStack() as stack:
        # Bad files need no worker process.
        reader = cache(lambda: stack.enter_context(DecoderPool(Decoders(num_workers=1))).reader())
        for number, path in enumerate(paths):
            on_source(number)
            source, kind = open_source(path, options.format)
            _read_file(source, kind, options, imported, reader, needs_videos=True)
    on_source(len(paths))
    lines = imported.problems()
    if lines and not lenient:
        raise DataError(
            " ".join(lines).rstrip(".") + ".",
            hint="Correct the files or videos; `activity import --lenient` goes on without these.",
        )
    if not len(imported):
        problem = f"{and_more([str(path) for path in paths], 3)}: there is no event."
        raise DataError(" ".join([problem, *lines]), hint="Check the export and --videos.")
    imported.finish()
    return imported


def read_files(paths: Sequence[Path], options: ImportOptions) -> Iterator[Imported]:
    """Read annotation files one by one, whether their videos are found or not.

    The path of a video that is not found is its name in the file. Times are as in the file.
    """
    with ExitStack() as stack:
        reader = cache(lambda: stack.enter_context(DecoderPool(Decoders(num_workers=1))).reader())
        for path in paths:
            source, kind = open_source(path, options.format)
            imported = Imported()
            _read_file(source, kind, options, imported, reader, needs_videos=False)
            imported.finish()
            yield imported


def _read_file(
    source: Source,
    kind: Format,
    options: ImportOptions,
    imported: Imported,
    reader: Callable[[], ClipReader],
    *,
    needs_videos: bool,
) -> None:
    counts = SourceCounts(path=source.path, format=kind.name)
    imported.sources.append(counts)
    checker = _Checker(source, options, counts, reader, needs_videos=needs_videos)
    for piece in checker.pieces(kind):
        imported.add(piece)
    checker.check_subjects()
    imported.media |= checker.media


def read_pieces(
    source: Path, videos: Path | None, *, may_overlap: bool = False
) -> Iterator[tuple[str, Piece]]:
    """Give the pieces of an annotation file to train on, with their names below `videos`.

    Raises:
        DataError: as `import_annotations`, or pieces of different labels overlap and must not.
    """
    found = import_annotations([source], ImportOptions(videos=videos))
    if (lines := found.overlaps()) and not may_overlap:
        raise DataError(
            f"{source}: {lines[0]}",
            hint="Train with --multi-label. Or choose one: `activity import --subject NAME`, or "
            "edit the CSV that it writes.",
        )
    folder = (videos or source.parent).absolute()
    for piece in found.pieces():
        yield relative_path(piece.path, folder), piece


class _Checker:
    """Makes pieces of the events of one file."""

    def __init__(
        self,
        source: Source,
        options: ImportOptions,
        counts: SourceCounts,
        reader: Callable[[], ClipReader],
        *,
        needs_videos: bool,
    ) -> None:
        self._source, self._options, self._counts = source, options, counts
        self._needs_videos = needs_videos
        self._finder = MediaFinder(source.path, options.videos)
        self._reader = reader
        self._media: dict[str, Media | str] = {}
        self.media: dict[Path, Media] = {}  # those that can be read
        self._subjects: set[str] = set()

    def pieces(self, kind: Format) -> Iterator[Piece]:
        """Give the pieces, and count what is not one."""
        items = kind.read(self._source)
        while True:
            try:
                item = next(items, None)
            except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
                # Anything can be in a file; its content is all that readers look at.
                what = f"{type(error).__name__}: {error}"
                raise DataError(
                    f"{self._source.path} is {kind.title}, but not as that program writes it "
                    f"({what}).",
                    hint="The file may be damaged or edited by hand: export it again.",
                ) from error
            match item:
                case None:
                    return
                case Problem(reason=reason, place=place):
                    self._counts.num_events += 1
                    self._counts.count(reason, place)
                case FrameCount(video=video, num_frames=count):
                    self._check_count(video, count)
                case Event():
                    self._counts.num_events += not item.looked_at
                    if (piece := self._piece(item)) is not None:
                        yield piece

    def check_subjects(self) -> None:
        """Raise a SettingsError if no event has one of the subjects that were asked for."""
        if missing := sorted(set(self._options.subject) - self._subjects):
            known = and_more(sorted(filter(None, self._subjects)), 10) or "none"
            problem = f"{self._source.path} has no events of the subject {', '.join(missing)}."
            raise SettingsError(problem, hint=f"Its subjects: {known}.")

    def _piece(self, event: Event) -> Piece | None:
        """Return the piece of an event; None if it is left out."""
        options, label = self._options, " ".join(event.label.split())
        if not event.looked_at:
            self._subjects.add(event.subject)
        if options.subject and event.subject not in options.subject and not event.looked_at:
            self._counts.num_other_subjects += 1
            return None
        if not label and not event.looked_at:
            self._counts.count("no label", event.place)
            return None
        media = self._find(event.video)
        if isinstance(media, str):
            self._counts.count(media, f"{event.video or 'no name'}, {event.place}")
            return None
        span = self._span(event, media)
        if span is None:
            return None
        if options.label_by_subject and event.subject:
            label = f"{event.subject}:{label}"
        group = event.subject if options.group_by_subject else event.group
        return Piece(media.path, label, *span, group)

    def _span(self, event: Event, media: Media) -> tuple[float | None, float | None] | None:
        """Return start and end in seconds within the video; None if there are none."""
        rate = (self._options.fps or event.fps or media.fps) if event.in_frames else 1.0
        start, end = (None if t is None else t / rate for t in (event.start, event.end))
        low, high, length = start or 0.0, end, media.seconds if self._needs_videos else None
        place = f"{event.place}, {low:g} s"
        if np.isnan(rate):
            self._counts.count("frames of a video that is not there: give --videos", event.place)
        elif not (np.isfinite(low) and np.isfinite(0.0 if high is None else high)):
            self._counts.count(NO_TIME, event.place)
        elif high is not None and high < low:
            self._counts.count("an end before the start", place)
        elif length is not None and low >= length + _SLACK_SECONDS:
            self._counts.count("a start beyond the end of the video", place)
        else:
            if high == low:
                self._counts.num_points += 1
                half = self._options.point_seconds / 2
                start, high = max(0.0, low - half), low + half
                end = high if length is None else min(high, length)
                return (start, end) if start < end else None
            if low < 0:
                self._counts.count("a start before the video", place, "shortened")
                start = 0.0
            if length is not None and high is not None and high > length:
                end = length
                if high > length + max(_SLACK_SECONDS, 1.5 / media.fps):
                    reason = "an end beyond the end of the video"
                    self._counts.count(reason, f"{event.place}, {high:g} s", "shortened")
            if end is None or (start or 0.0) < end:
                return start, end
            self._counts.count("nothing of it in the video", place)
        return None

    def _find(self, name: str) -> Media | str:
        """Return the video of that name, or the reason why there is none."""
        if (found := self._media.get(name)) is not None:
            return found
        path = self._finder.find(name) if name else None
        media: Media | str = NO_VIDEO if path is None else ""
        if path is not None:
            try:
                media = replace(self._reader().call(read_media, path), path=path)
                self.media[path] = media
            except VideoError:
                media = "a video that cannot be read"
        if isinstance(media, str) and name and not self._needs_videos:
            media = Media(path=path or Path(name), seconds=None, fps=np.nan, num_frames=None)
        self._media[name] = media
        return media

    def _check_count(self, video: str, count: int) -> None:
        media = self._find(video)
        actual = media.num_frames if isinstance(media, Media) else None
        if actual is not None and abs(count - actual) > max(2, 0.005 * actual):
            place = f"{video}: {count}, not {actual}"
            self._counts.count("another number of frames than the video", place, "kept")
