"""Segments of one video -> subtitles (SRT, WebVTT) and Audacity's label track.

Labels are folder names, so anything may stand in them. These formats are made of lines, hence
whatever would end one becomes a space; bytes that are no text become escapes.
"""

import html
import re

from activity_cli.types import Segment, VideoSegments

_NOT_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]+")


def srt_text(video: VideoSegments) -> str:
    """Subtitles that players show by themselves when they lie beside the video: `run 93%`.

    SRT has no escapes: what looks like a tag may be shown as one by a player. Only the arrow,
    by which readers know a line with times, is written differently.
    """
    blocks = []
    for number, segment in enumerate(video.segments, start=1):
        start, end = (_clock(ms, ",") for ms in milliseconds(segment))
        text = _caption(segment).replace("-->", "->")
        blocks.append(f"{number}\n{start} --> {end}\n{text}\n")
    return "\n".join(blocks)


def vtt_text(video: VideoSegments) -> str:
    """Subtitles for browsers, which `<track>` shows: `run 93%`, escaped as W3C WebVTT asks."""
    blocks = ["WEBVTT\n"]
    for segment in video.segments:
        start, end = (_clock(ms, ".") for ms in milliseconds(segment))
        blocks.append(f"{start} --> {end}\n{html.escape(_caption(segment), quote=False)}\n")
    return "\n".join(blocks)


def audacity_text(video: VideoSegments) -> str:
    """A label track for Audacity: File, Import, Labels. Start, end and label between tabs."""
    return "".join(
        f"{segment.start_seconds:.6f}\t{segment.end_seconds:.6f}\t{one_line(segment.label)}\n"
        for segment in video.segments
    )


def one_line(text: str) -> str:
    """Text that can stand in a line, and in XML."""
    printable = text.encode("utf-8", "backslashreplace").decode()
    return _NOT_TEXT.sub(" ", printable).strip()


def milliseconds(segment: Segment) -> tuple[int, int]:
    """Start and end of a segment; readers drop or refuse what lasts no time at all."""
    start = round(1000 * segment.start_seconds)
    return start, max(round(1000 * segment.end_seconds), start + 1)


def _caption(segment: Segment) -> str:
    return f"{one_line(segment.label)} {segment.mean_score:.0%}".strip()


def _clock(ms: int, point: str) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"
