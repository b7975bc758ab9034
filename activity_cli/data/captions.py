"""Clips with sentences about them, and the words of sentences.

Either a CSV with `path` and `caption` (or `caption_1`, `caption_2`, ...; a clip may have several
rows), with `start,end,group,split` as in labelled data, or a folder in which `name.txt` beside
`name.mp4` has a sentence per line. A folder with a `captions.csv` is read as that CSV.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from activity_cli.common import and_more
from activity_cli.common.files import (
    describe_other_files,
    find_clips,
    is_clip,
    is_file,
    is_folder,
    walk_files,
)
from activity_cli.common.tables import (
    TABLE_SUFFIXES,
    Row,
    RowError,
    raise_first,
    read_table,
    read_text,
)
from activity_cli.data.dataset import Dataset, Sample
from activity_cli.data.loading import sample_of_row
from activity_cli.errors import DataError, did_you_mean

CAPTIONS_FILE = "captions.csv"
MOST_WORDS = 500
"""Of one caption: longer texts are no sentences about a clip."""
LABEL = "clip"  # of all samples: captions have no labels, and splits need one

_COLUMN = re.compile(r"caption(_\d+)?")
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"  # kana and Han: no spaces between words
_WORD = re.compile(
    rf"\d+(?:[.,:]\d+)+|[{_UNSPACED}]|[^\W{_UNSPACED}]+(?:['’\-][^\W{_UNSPACED}]+)*|[^\w\s]"
)
_TIGHT = re.compile(
    rf" (?=[.,;:!?%)\]}}。、，！？])|(?<=[(\[{{]) |(?<=[{_UNSPACED}]) (?=[{_UNSPACED}])"
)
_LAYOUT_HINT = "Put a text file with the same name beside each video: {0}/1.mp4 and {0}/1.txt"


def words_of(sentence: str) -> list[str]:
    """Split a sentence into words and punctuation marks; Han and kana character by character."""
    return _WORD.findall(unicodedata.normalize("NFC", sentence))


def sentence_of(words: Iterable[str]) -> str:
    """Join words and punctuation marks to a sentence that begins with a capital letter."""
    text = _TIGHT.sub("", " ".join(words))
    return text[:1].upper() + text[1:]


def load_captions(source: Path, *, videos: Path | None = None) -> Dataset:
    """Read clips with their captions; a DataError names the place and the fix.

    `videos` is the folder of the videos that a CSV names.
    """
    root = source if is_folder(source) else videos or source.parent
    if is_folder(source):
        table = source / CAPTIONS_FILE
        samples = _from_table(table, videos) if is_file(table) else _from_folder(source)
    elif not is_file(source):
        hint = "Give a CSV with path,caption, or a folder of videos with a text beside each."
        raise DataError(f"{source} does not exist.", hint=hint)
    elif source.suffix.lower() not in TABLE_SUFFIXES:
        raise DataError(
            f"{source} is not a table of captions.",
            hint="Give a CSV with path,caption, or a folder of videos with a text beside each.",
        )
    else:
        samples = _from_table(source, videos)
    return Dataset(root=root.absolute(), samples=tuple(samples), labels=(LABEL,))


def check_trainable(dataset: Dataset) -> None:
    """Raise a DataError for captions that nothing can be learned from."""
    source, num_clips = dataset.root, len(dataset.samples)
    if num_clips < 2:
        raise DataError(
            f"{source} has captions of one clip only; training needs training clips and "
            "others to test on.",
            hint="Add clips: 50 are a start, a few hundred are better.",
        )
    different = {caption.casefold() for one in dataset.samples for caption in one.captions}
    if len(different) == 1:
        raise DataError(
            f"{source}: all {num_clips} clips have the same caption, {different.pop()!r}.",
            hint="Write what differs between the clips.",
        )


def _from_folder(root: Path) -> list[Sample]:
    """Read videos and the texts beside them."""
    files = list(walk_files(root))
    texts = [path for path in files if path.suffix.lower() == ".txt"]
    clips = find_clips([path for path in files if path not in texts], inside=root)
    if not clips:
        hint = _LAYOUT_HINT.format(root)
        raise DataError(f"{root} has no videos{describe_other_files(files)}.", hint=hint)
    without = [path.name for path in clips if not is_file(path.with_suffix(".txt"))]
    if without:
        raise DataError(
            f"{root}: no text beside {and_more(without, 3, 'videos')}.",
            hint=f"{_LAYOUT_HINT.format(root)} - or list them in {CAPTIONS_FILE}: path,caption",
        )
    return [_with_text(path, root) for path in clips]


def _with_text(path: Path, root: Path) -> Sample:
    text = path.with_suffix(".txt")
    lines = enumerate(read_text(text).splitlines(), start=1)
    captions = [_checked(text, n, "", line.strip()) for n, line in lines if line.strip()]
    if not captions:
        hint = "Write a sentence about the clip into it."
        raise DataError(f"{text} is empty.", hint=hint)
    name = path.relative_to(root).as_posix()
    return Sample(path=path.absolute(), name=name, label=LABEL, captions=tuple(captions))


def _from_table(path: Path, videos: Path | None) -> list[Sample]:
    """Read a CSV; rows of the same clip add their captions to it."""
    table, folder = read_table(path, required=("path",)), videos or path.parent
    columns = [column for column in table.columns if _COLUMN.fullmatch(column)]
    if not columns:
        raise DataError(
            f"{path}, line 1: there is no column caption or caption_1; the columns are "
            f"{', '.join(table.columns)}.{did_you_mean('caption', table.columns)}",
            hint="The first line must name the columns, among them path,caption",
        )
    bad_rows = list(table.bad_rows)
    found: dict[tuple[Path, float | None, float | None], Sample] = {}
    for row in table.rows:
        try:
            sample = _sample(path, row, folder, columns)
            key = (sample.path, sample.start_seconds, sample.end_seconds)
            first = found.setdefault(key, sample)
            if first is not sample:
                _check_same(path, first, sample)
                found[key] = replace(first, captions=first.captions + sample.captions)
        except RowError as error:
            bad_rows.append(error)
    if bad_rows:
        raise_first(bad_rows)
    return list(found.values())


def _sample(path: Path, row: Row, folder: Path, columns: Sequence[str]) -> Sample:
    others = {name: value for name, value in row.values.items() if name not in columns}
    sample = sample_of_row(path, Row(line=row.line, values={**others, "label": LABEL}), folder)
    texts = [(column, row.values[column]) for column in columns if row.values[column]]
    if not texts:
        hint = "Write what the clip shows, or remove the row."
        raise RowError(path, row.line, columns[0], "the caption is empty.", hint=hint)
    if not is_clip(sample.path):
        hint = f"Paths are relative to {folder.absolute()}."
        raise RowError(path, row.line, "path", f"there is no file {sample.name}.", hint=hint)
    captions = tuple(_checked(path, row.line, column, text) for column, text in texts)
    return replace(sample, captions=captions)


def _check_same(path: Path, first: Sample, other: Sample) -> None:
    """Check that rows of one clip agree about its group and split."""
    for column in ("group", "split"):
        values = getattr(first, column), getattr(other, column)
        if values[0] != values[1]:
            raise RowError(
                path,
                other.line or 0,
                column,
                f"{values[1] or 'empty'} here, but {values[0] or 'empty'} in line {first.line}.",
                hint="All rows of a clip have the same group and split.",
            )


def _checked(path: Path, line: int, column: str, text: str) -> str:
    """Return a caption; a DataError if it has no words or too many."""
    count = len(words_of(text))
    problem = ""
    if not any(word[0].isalnum() for word in words_of(text)):
        problem = f"{text!r} has no words."
    elif count > MOST_WORDS:
        problem = f"the caption has {count:,} words; at most {MOST_WORDS} are possible."
    if problem:
        hint = "Write a sentence or two about what the clip shows."
        raise RowError(path, line, column or "caption", problem, hint=hint)
    return text


_FUNCTION_WORDS = {
    "English": "the is are with and of on a an in to his her",
    "German": "der die das ist ein eine und mit auf im den dem",
    "French": "le la les est un une et avec sur dans des du",
    "Spanish": "el los las es un una y con en del por su",
    "Italian": "il lo gli è un una e con sul nel della di",
    "Dutch": "de het een en met op is van zijn naar in",
    "Portuguese": "o os as é um uma e com em do da na no",
}
_LANGUAGE_OF_SCRIPT = {"cjk": "Chinese", "hiragana": "Japanese", "katakana": "Japanese"}
_SHARE = 0.1  # of the captions, which a second language needs to be reported


def mixed_languages(captions: Sequence[str]) -> str:
    """Describe the languages of captions, if there are several; empty if there is one."""
    counts = Counter(_language(words_of(caption.lower())) for caption in captions)
    counts.pop("", None)
    total = sum(counts.values())
    found = [(name, n) for name, n in counts.most_common() if n >= max(2, _SHARE * total)]
    if len(found) < 2:
        return ""
    return ", ".join(f"{name} {n / total:.1%}" for name, n in found)


def _language(words: Sequence[str]) -> str:
    """Return the language by its function words, or else the script; empty if it is not clear."""
    scripts = Counter(_scripts(words))
    if not scripts:
        return ""
    script = "Japanese" if "Japanese" in scripts else scripts.most_common(1)[0][0]
    if script != "latin":
        return script
    hits = {name: sum(w in known.split() for w in words) for name, known in _FUNCTION_WORDS.items()}
    best, second = sorted(hits.values(), reverse=True)[:2]
    return max(hits, key=hits.__getitem__) if best >= second + 2 else ""


def _scripts(words: Sequence[str]) -> Iterator[str]:
    for letter in "".join(words):
        if letter.isalpha():
            script = unicodedata.name(letter, "").partition(" ")[0].lower()
            yield _LANGUAGE_OF_SCRIPT.get(script, script)
