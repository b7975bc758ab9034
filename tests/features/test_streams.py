"""Streams: their names on the command line, and who reads them by default."""

import pytest

from activity_cli.errors import SettingsError
from activity_cli.settings import ClipSettings, Stream, name_streams, parse_streams
from tests.action_weights import real_weights
from tests.workplace import QUICK, Workplace


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


@pytest.mark.slow
def test_training_uses_the_action_network_where_it_is_and_resumes_with_it(
    shared: Workplace, workplace: Workplace
) -> None:
    clips, streams = str(shared.folder / "clips"), "Streams: rgb, motion, action (movinet_a0)"
    train = ("train", clips, *QUICK, "--temporal", "mean", "--name", "run")
    workplace.environment["ACTIVITY_WEIGHTS"] = str(real_weights().parent)

    with_weights = workplace.run(*train)
    scratch = workplace.run("train", clips, "--cnn", "scratch", "--preview", "a.png")
    workplace.environment["ACTIVITY_WEIGHTS"] = ""
    without = workplace.run("train", clips, "--preview", "b.png")

    assert with_weights.stderr.count(streams) == 1
    settings = (workplace.folder / "runs/run/settings.toml").read_text()
    assert 'streams = "rgb+motion+action"' in settings
    assert "action" not in scratch.stderr
    assert "Without the action network, which usually raises accuracy" in without.stderr
    assert streams not in without.stderr
    # A run goes on with the streams that it began with: here they can be had no more.
    resumed = workplace.run("train", clips, "--resume", "runs/run", "--engine", "torch", code=1)
    assert "movinet_a0 are not on this machine" in resumed.stderr
