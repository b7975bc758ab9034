"""Streams: their names on the command line, and who reads them by default."""

import pytest

from activity_cli.errors import SettingsError
from activity_cli.settings import ClipSettings, Stream, name_streams, parse_streams


@pytest.mark.parametrize(
    ("text", "streams"),
    [
        ("both", ("rgb", "motion")),
        ("all", ("rgb", "motion", "flow")),
        ("flow", ("flow",)),
        ("action+motion", ("motion", "action")),
        ("motion+rgb", ("rgb", "motion")),
    ],
)
def test_streams_are_words_or_names_in_any_order(text: str, streams: tuple[Stream, ...]) -> None:
    assert parse_streams(text) == streams
    assert parse_streams(name_streams(streams)) == streams


@pytest.mark.parametrize("text", ["rbg", "rgb+", "", "both+action"])
def test_an_unknown_stream_is_an_error_with_all_names(text: str) -> None:
    with pytest.raises(SettingsError, match="There is no stream") as raised:
        parse_streams(text)
    assert "rgb, motion, flow, action" in raised.value.hint


def test_grey_pictures_have_no_action() -> None:
    with pytest.raises(SettingsError, match="action needs 3 channels"):
        ClipSettings(channels=1, streams=("rgb", "action"))
