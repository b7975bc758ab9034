"""Subtitles (SRT, WebVTT) and label tracks of Audacity. They are for one video, named like it."""

import html
import re
from collections.abc import Iterable, Iterator

from activity_cli.data.annotations.events import Event, Item, parse_seconds
from activity_cli.data.annotations.source import Source

_TIME = r"(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}"
_CUE = re.compile(rf"\s*({_TIME})\s+-->\s+({_TIME})(?:\s.*)?")
_SCORE = re.compile(r"\s*\b\d{1,3}%$")  # `run 93%`: captions that this program writes
_VOICE = re.compile(r"<v(?:\.[^ >]*)? ([^>]+)>")
_TAG = re.compile(r"</?[a-z][^>]*>|<\d[\d:.]*>")
_NUMBER = r"\s*-?\d+(?:[.,]\d+)?"
_AUDACITY = re.compile(rf"{_NUMBER}\t{_NUMBER}(?:\t.*)?")


def is_vtt(source: Source) -> bool:
    """Return whether it is WebVTT."""
    return re.match(r"WEBVTT(\s|$)", source.head) is not None


def is_srt(source: Source) -> bool:
    """Return whether it is SubRip: a number, then a line with times."""
    lines = [line for line in source.head.splitlines() if line.strip()]
    return any(_CUE.fullmatch(line) for line in lines[:2]) and not is_vtt(source)


def read_subtitles(source: Source) -> Iterator[Item]:
    """Give an event per caption. The voice of a WebVTT caption is its subject."""
    vtt = is_vtt(source)
    first = [text for *_, text in _cues(enumerate(source.head.splitlines(), 1))][:-1]
    has_scores = bool(first) and all(_SCORE.search(text) for text in first)
    for line, start, end, caption in _cues(source.lines()):
        voice = _VOICE.search(caption) if vtt else None
        label = html.unescape(_TAG.sub("", caption)) if vtt else caption
        yield Event(
            video=source.stem,
            label=_SCORE.sub("", label) if has_scores else label,
            start=parse_seconds(start),
            end=parse_seconds(end),
            place=f"line {line}",
            subject=voice[1].strip() if voice else "",
        )


def _cues(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str, str, str]]:
    """Give (line, start, end, text) of each caption, which ends at a blank line."""
    found: tuple[int, str, str] | None = None
    texts: list[str] = []
    for number, line in lines:
        if found is None and (cue := _CUE.fullmatch(line)):
            found, texts = (number, cue[1], cue[2]), []
        elif found is not None and not line.strip():
            yield *found, " ".join(texts)
            found = None
        elif found is not None:
            texts.append(line.strip())
    if found is not None:
        yield *found, " ".join(texts)


def is_audacity(source: Source) -> bool:
    """Return whether it has lines of start, end and label with tabs between them."""
    first = next((line for line in source.head.splitlines() if line.strip()), "")
    return _AUDACITY.fullmatch(first) is not None


def read_audacity(source: Source) -> Iterator[Item]:
    """Give an event per label. Lines that begin with a backslash have frequencies."""
    for number, line in source.lines():
        if line.strip() and not line.startswith("\\"):
            start, end, label = (*line.split("\t"), "", "")[:3]
            yield Event(
                video=source.stem,
                label=label,
                start=parse_seconds(start),
                end=parse_seconds(end),
                place=f"line {number}",
            )
