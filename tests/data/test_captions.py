"""Captions are read from a CSV or from texts beside videos; each kind of bad input is one line."""

from pathlib import Path

import pytest

from activity_cli.data.captions import (
    check_trainable,
    load_captions,
    mixed_languages,
    sentence_of,
    words_of,
)
from activity_cli.errors import DataError


def table(folder: Path, text: str, *, clips: str = "a b c") -> Path:
    for name in clips.split():
        (folder / f"{name}.mp4").touch()
    (folder / "captions.csv").write_text(text, encoding="utf-8")
    return folder


def test_rows_and_columns_of_a_clip_become_its_captions(tmp_path: Path) -> None:
    rows = "a.mp4,A man walks.,,7\nb.mp4,She runs.,Somebody runs.,8\na.mp4,He walks home.,,7\n"
    data = load_captions(table(tmp_path, "path,caption_1,caption_2,group\n" + rows))

    assert [(one.name, one.captions, one.group) for one in data.samples] == [
        ("a.mp4", ("A man walks.", "He walks home."), "7"),
        ("b.mp4", ("She runs.", "Somebody runs."), "8"),
    ]


def test_texts_beside_videos_have_a_sentence_per_line(tmp_path: Path) -> None:
    (tmp_path / "night").mkdir()
    for name, text in (("1", "A man walks.\n\nHe is slow.\n"), ("night/2", "Nobody is there.")):
        (tmp_path / f"{name}.mp4").touch()
        (tmp_path / f"{name}.txt").write_text(text)

    found = {one.name: one.captions for one in load_captions(tmp_path).samples}

    assert found["1.mp4"] == ("A man walks.", "He is slow.")
    assert found["night/2.mp4"] == ("Nobody is there.",)
    (tmp_path / "1.txt").unlink()
    with pytest.raises(DataError, match=r"no text beside 1\.mp4"):
        load_captions(tmp_path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("path,caption\na.mp4,\n", "line 2, column caption: the caption is empty"),
        ("path,caption\na.mp4,...\n", "line 2, column caption: '...' has no words"),
        (f"path,caption\na.mp4,{'word ' * 5000}\n", "has 5,000 words; at most 500"),
        ("path,captoin\na.mp4,Hi.\n", r"no column caption .* are path, captoin. Did you mean"),
        ("path,caption\na.mp4,Hi.\nx.mp4,Hi.\nb.mp4,\n", r"line 3.*no file x.mp4. \(1 more bad"),
        ("path,caption,group\na.mp4,Hi.,1\na.mp4,Ho.,2\n", "line 3, column group: 2 here, but 1"),
        ("path,caption\na.mp4,Hi.\na.mp4,Ho.\n", "captions of one clip only"),
        ("path,caption\na.mp4,Hi.\nb.mp4,hi.\n", "all 2 clips have the same caption, 'hi.'"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem) as caught:
        check_trainable(load_captions(table(tmp_path, text)))

    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_a_second_language_is_noticed() -> None:
    english = ["The man is walking in the street."] * 6
    german = ["Der Mann geht mit dem Hund auf die Straße."] * 2

    assert mixed_languages(english + german) == "English 75.0%, German 25.0%"
    assert mixed_languages([*english, "男の人が歩いています", "人が走る"]).endswith(
        "Japanese 25.0%"
    )
    assert not mixed_languages([*english, "Un nom propre: Zoë."])


def test_sentences_survive_splitting_and_joining() -> None:
    for sentence in ("A man's dog, half-asleep, walks (slowly).", "他走得很慢。", "Is it 12.5?"):
        assert sentence_of(words_of(sentence)) == sentence
